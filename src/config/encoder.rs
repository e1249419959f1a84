//! `[[encoder]]`: one encoder of this PC.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use encoder_protocols::wire::{EncoderKey, KeyScope};

use super::{error::ConfigError, table::Table};
use crate::{
    drivers,
    encoder::{EncoderSettings, POLL_INTERVAL},
};

/// What an `[[encoder]]` may hold.
pub(super) const KEYS: &[&str] = &[
    "name",
    "driver",
    "port",
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

/// Reads every `[[encoder]]` and checks that names and ports are each used once.
pub(super) fn read_all(root: &Table<'_>) -> Result<Vec<EncoderSettings>, ConfigError> {
    let tables = root.tables("encoder", KEYS)?;
    if tables.len() > MAX_ENCODERS {
        return Err(root.bad(
            "encoder",
            format!("{} encoders are listed", tables.len()),
            format!("expected at most {MAX_ENCODERS}"),
        ));
    }
    let mut encoders: Vec<EncoderSettings> = Vec::new();
    let mut names = BTreeMap::new();
    let mut ports = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        let encoder = read(table)?;
        if let Some(first) = names.insert(encoder.name.to_lowercase(), index) {
            let problem = format!("\"{}\" is the name of encoder[{first}] too", encoder.name);
            return Err(table.bad("name", problem, "give each encoder a name of its own"));
        }
        if let Some(first) = ports.insert(encoder.port.clone(), index) {
            let problem = format!(
                "{} is the port of encoder[{first}] too",
                encoder.port.display()
            );
            return Err(table.bad("port", problem, "give each encoder a port of its own"));
        }
        encoders.push(encoder);
    }
    Ok(encoders)
}

fn read(table: &Table<'_>) -> Result<EncoderSettings, ConfigError> {
    let port = required(table, "port", PORT_EXPECTED)?;
    Ok(EncoderSettings {
        key: EncoderKey(format!("port:{port}")),
        key_scope: KeyScope::Agent,
        name: name(table)?,
        driver: driver(table)?,
        port: PathBuf::from(port),
        baud: table.integer("baud", 1_200..=4_000_000, " baud")?,
        dtr: table.boolean("dtr")?,
        rts: table.boolean("rts")?,
        named: true,
        adopted: true,
        lift_between_cards: table.boolean("lift_between_cards")?.unwrap_or(true),
        allow_irreversible: table.boolean("allow_irreversible")?.unwrap_or(false),
        poll_interval: table
            .integer("poll_interval_ms", 20..=5_000, " milliseconds")?
            .map_or(POLL_INTERVAL, |time| Duration::from_millis(time.into())),
        simulated: table.boolean("simulated")?.unwrap_or(false),
    })
}

const NAME_EXPECTED: &str = "a name for people such as \"Front Desk\"";
const DRIVER_EXPECTED: &str = "a driver's name such as \"pn532\"";
const PORT_EXPECTED: &str = if cfg!(windows) {
    "a port such as \"COM3\""
} else {
    "a port such as \"/dev/serial/by-id/…\" or \"/dev/ttyUSB0\""
};

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
