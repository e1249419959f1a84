//! How an agent describes its encoders.

use serde::{Deserialize, Serialize};

/// What an encoder is recognised by, across replugs and restarts. Its text is opaque to the coordinator.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct EncoderKey(pub String);

impl std::fmt::Display for EncoderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far an encoder's key counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyScope {
    /// A serial number or chip id: the encoder may move to another PC of the same access system.
    System,
    /// A path or port name: it counts within its agent only.
    Agent,
}

/// What an encoder can do.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Abilities {
    /// It can write cards.
    pub encode: bool,
    /// It can read cards.
    pub scan: bool,
    /// It makes keys itself: jobs carry the credential's content, and no image is planned.
    #[serde(default)]
    pub makes_keys: bool,
    /// The card technologies it handles, by their wire names.
    pub technologies: Vec<crate::card::Technology>,
}

impl Abilities {
    /// Whether cards are drawn through it: it sees none before it reads or writes it.
    pub fn swipes(&self) -> bool {
        self.technologies
            .iter()
            .any(|technology| technology.is_swiped())
    }
}

/// Whether an encoder can take a job.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderState {
    /// It is being opened.
    Starting,
    /// It can take a job.
    Ready,
    /// It works on a job.
    Busy,
    /// It cannot take a job; the description's `problem` says why.
    Fault,
}

/// One encoder of an agent, as the inventory lists it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EncoderDescription {
    /// What it is recognised by.
    pub key: EncoderKey,
    /// How far that key counts.
    pub key_scope: KeyScope,
    /// The name to show to people.
    pub name: String,
    /// Whether people gave it that name where it is; else a name that the coordinator gives counts more.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub named: bool,
    /// Whether an encoder that the coordinator has never seen takes jobs at once; else it waits to be adopted.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub adopted: bool,
    /// The driver's name.
    pub driver: String,
    /// The device's model, as far as it is known.
    pub model: Option<String>,
    /// The device's serial number, where it has one.
    pub serial: Option<String>,
    /// The device's firmware, as it prints it.
    pub firmware: Option<String>,
    /// What it can do.
    pub abilities: Abilities,
    /// Whether it can take a job.
    pub state: EncoderState,
    /// Why it cannot take a job, in words, while `state` is `fault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// True for an emulator.
    pub simulated: bool,
}

const fn yes() -> bool {
    true
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands the field by reference"
)]
const fn is_true(value: &bool) -> bool {
    *value
}
