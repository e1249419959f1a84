//! `[[encoder]]`: one encoder of this PC.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use encoder_protocols::wire::{EncoderKey, KeyScope};

use super::{error::ConfigError, table::Table};
use crate::{
    discovery::identity::scope_of_listed,
    drivers,
    encoder::{EncoderSettings, POLL_INTERVAL},
};

/// What an `[[encoder]]` may hold.
pub(super) const KEYS: &[&str] = &[
    "name",
    "driver",
    "port",
    "key",
    "baud",
    "dtr",
    "rts",
    "lift_between_cards",
    "allow_irreversible",
    "poll_interval_ms",
    "simulated",
];

/// How many encoders one agent drives at most.
const MAX_ENCODERS: usize = 64;

/// The longest name that people are shown, in characters.
const MAX_NAME_CHARS: usize = 100;

/// The encoders that are listed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// By their ports.
    pub(super) by_port: Vec<EncoderSettings>,
    /// By what they are recognised by; their ports are empty.
    pub(super) by_key: Vec<EncoderSettings>,
}

/// Reads every `[[encoder]]` and checks that names, ports and keys are each used once.
pub(super) fn read_all(root: &Table<'_>) -> Result<Listed, ConfigError> {
    let tables = root.tables("encoder", KEYS)?;
    if tables.len() > MAX_ENCODERS {
        return Err(root.bad(
            "encoder",
            format!("{} encoders are listed", tables.len()),
            format!("expected at most {MAX_ENCODERS}"),
        ));
    }
    let mut listed = Listed::default();
    let mut names = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        let encoder = read(table)?;
        if let Some(first) = names.insert(encoder.name.to_lowercase(), index) {
            let problem = format!("\"{}\" is the name of encoder[{first}] too", encoder.name);
            return Err(table.bad("name", problem, "give each encoder a name of its own"));
        }
        let is_by_port = !encoder.port.as_os_str().is_empty();
        let (by, place) = if is_by_port {
            ("port", encoder.port.display().to_string())
        } else {
            ("key", encoder.key.0.clone())
        };
        if let Some(first) = places.insert(encoder.key.clone(), index) {
            let problem = format!("{place} is the {by} of encoder[{first}] too");
            let remedy = format!("give each encoder a {by} of its own");
            return Err(table.bad(by, problem, remedy));
        }
        if is_by_port {
            listed.by_port.push(encoder);
        } else {
            listed.by_key.push(encoder);
        }
    }
    Ok(listed)
}

fn read(table: &Table<'_>) -> Result<EncoderSettings, ConfigError> {
    let (key, key_scope, port) = place(table)?;
    Ok(EncoderSettings {
        name: name(table)?,
        baud: table.integer("baud", 1_200..=4_000_000, " baud")?,
        dtr: table.boolean("dtr")?,
        rts: table.boolean("rts")?,
        named: true,
        lift_between_cards: table.boolean("lift_between_cards")?.unwrap_or(true),
        allow_irreversible: table.boolean("allow_irreversible")?.unwrap_or(false),
        poll_interval: table
            .integer("poll_interval_ms", 20..=5_000, " milliseconds")?
            .map_or(POLL_INTERVAL, |time| Duration::from_millis(time.into())),
        simulated: table.boolean("simulated")?.unwrap_or(false),
        ..EncoderSettings::unlisted(key, key_scope, &driver(table)?, port)
    })
}

/// What it is recognised by, and its port, where that is what it is recognised by.
fn place(table: &Table<'_>) -> Result<(EncoderKey, KeyScope, PathBuf), ConfigError> {
    let Some(key) = table.text("key", KEY_EXPECTED)? else {
        if table.text("port", PORT_EXPECTED)?.is_none() {
            return Err(table.missing("port", PORT_OR_KEY_EXPECTED));
        }
        let port = required(table, "port", PORT_EXPECTED)?;
        let key = EncoderKey(format!("port:{port}"));
        return Ok((key, KeyScope::Agent, PathBuf::from(port)));
    };
    if table.text("port", PORT_EXPECTED)?.is_some() {
        return Err(table.bad(
            "key",
            "`key` and `port` are both given",
            "keep `key` for an encoder that is found wherever it is plugged in, or `port` for one that always has the same port",
        ));
    }
    let Some(scope) = scope_of_listed(&key) else {
        return Err(table.bad(
            "key",
            format!("\"{key}\" is no key of a device"),
            format!("expected {KEY_EXPECTED}, as `encoder-agent devices` prints it"),
        ));
    };
    Ok((EncoderKey(key), scope, PathBuf::new()))
}

const NAME_EXPECTED: &str = "a name for people such as \"Front Desk\"";
const DRIVER_EXPECTED: &str = "a driver's name such as \"pn532\"";
const PORT_EXPECTED: &str = if cfg!(windows) {
    "a port such as \"COM3\""
} else {
    "a port such as \"/dev/serial/by-id/…\" or \"/dev/ttyUSB0\""
};
const PORT_OR_KEY_EXPECTED: &str =
    "`port` with the encoder's port, or `key` with what `encoder-agent devices` prints as its key";
const KEY_EXPECTED: &str =
    "a device's key such as \"usb:0403:6001:A9XK01\" or \"socket:0000:00:14.0/2:1.0\"";

fn required(table: &Table<'_>, key: &str, expected: &'static str) -> Result<String, ConfigError> {
    let text = table
        .text(key, expected)?
        .ok_or_else(|| table.missing(key, expected))?;
    if text.trim().is_empty() {
        return Err(table.bad(key, "is empty", format!("expected {expected}")));
    }
    Ok(text)
}

fn name(table: &Table<'_>) -> Result<String, ConfigError> {
    let name = required(table, "name", NAME_EXPECTED)?.trim().to_owned();
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(table.bad(
            "name",
            "is too long or has control characters",
            format!("expected at most {MAX_NAME_CHARS} printable characters"),
        ));
    }
    Ok(name)
}

fn driver(table: &Table<'_>) -> Result<String, ConfigError> {
    let driver = required(table, "driver", DRIVER_EXPECTED)?;
    if drivers::driver(&driver).is_none() {
        return Err(table.bad(
            "driver",
            format!("no driver is called \"{driver}\""),
            format!("expected one of: {}", drivers::names()),
        ));
    }
    Ok(driver)
}
