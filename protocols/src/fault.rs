//! What the hardware itself said when something went wrong.

use serde::{Deserialize, Serialize};

/// A device's own error code with its meaning, so that a report names the culprit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{driver} {code}: {meaning}")]
pub struct HardwareFault {
    /// The driver that spoke with the device, for example `pn532`.
    pub driver: String,
    /// The code as the vendor prints it, for example `0x14`.
    pub code: String,
    /// The vendor's meaning in words, for example `authentication failed`.
    pub meaning: String,
}
