//! The pairing as a layer of the settings.

use std::path::Path;

use super::{CoordinatorUrl, Unpaired};
use crate::pairing::{Pairing, PairingError};

/// Reads the pairing of a state directory.
pub(super) fn read(state_dir: &Path) -> Result<Option<Pairing>, Unpaired> {
    Pairing::read(state_dir).map_err(|error| match &error {
        PairingError::Unreadable { .. } => Unpaired::Unreadable(error.to_string()),
        PairingError::Damaged { .. }
        | PairingError::Unwritable { .. }
        | PairingError::NoRandomness(_) => Unpaired::Damaged(error.to_string()),
    })
}

/// The pairing, if there is one and it is with the coordinator that the settings name, where they name one.
pub(super) fn that_counts(
    found: Result<Option<Pairing>, Unpaired>,
    listed: Option<&CoordinatorUrl>,
) -> Result<Pairing, Unpaired> {
    let pairing = found?.ok_or(Unpaired::Never)?;
    match listed {
        Some(listed) if *listed != pairing.url => Err(Unpaired::WithAnother {
            paired: pairing.url.to_string(),
            listed: listed.to_string(),
        }),
        Some(_) | None => Ok(pairing),
    }
}
