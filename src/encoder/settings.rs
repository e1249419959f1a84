//! What one encoder task needs to know before it opens its device.

use std::{path::PathBuf, time::Duration};

use encoder_protocols::wire::{EncoderKey, KeyScope};

/// The time between two looks for a card, unless the configuration says otherwise.
pub const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// One encoder as it is configured, or as it was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EncoderSettings {
    /// What it is recognised by.
    pub key: EncoderKey,
    /// How far that key counts.
    pub key_scope: KeyScope,
    /// The name to show to people.
    pub name: String,
    /// Whether the configuration gives that name; else a name that the coordinator gives counts more.
    pub named: bool,
    /// Whether it takes jobs before the coordinator has said so.
    pub adopted: bool,
    /// The driver's name, as `DRIVERS` lists it.
    pub driver: String,
    /// The serial port or HID node.
    pub port: PathBuf,
    /// The baud rate, where it is not the driver's own.
    pub baud: Option<u32>,
    /// Level to set on DTR after opening; untouched when none.
    pub dtr: Option<bool>,
    /// Level to set on RTS after opening; untouched when none.
    pub rts: Option<bool>,
    /// Whether a card that was just written must leave before another credential is encoded (promise, rule 7).
    pub lift_between_cards: bool,
    /// Whether one-way doors (lock bits, OTP, attempt limits) may be written when an image asks for them.
    pub allow_irreversible: bool,
    /// The time between two looks for a card.
    pub poll_interval: Duration,
    /// True where an emulator is known to stand behind the port.
    pub simulated: bool,
}

impl EncoderSettings {
    /// An encoder that the configuration does not list, with the driver's own settings; its port is its name.
    pub fn unlisted(key: EncoderKey, key_scope: KeyScope, driver: &str, port: PathBuf) -> Self {
        Self {
            key,
            key_scope,
            name: port.display().to_string(),
            named: false,
            adopted: true,
            driver: driver.to_owned(),
            port,
            baud: None,
            dtr: None,
            rts: None,
            lift_between_cards: true,
            allow_irreversible: false,
            poll_interval: POLL_INTERVAL,
            simulated: false,
        }
    }
}
