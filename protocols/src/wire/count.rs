//! Counts as they are read: none so large that counting on could overflow.

use serde::{Deserialize, Deserializer, de::Error};

use super::{MAX_COUNT, MAX_STORED_SEQUENCE};

/// For `#[serde(deserialize_with)]` on a `sequence` or an `n`.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    at_most(MAX_COUNT, from)
}

/// For `#[serde(deserialize_with)]` on the sequence behind which an agent goes on.
pub(super) fn read_stored<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    at_most(MAX_STORED_SEQUENCE, from)
}

fn at_most<'de, D: Deserializer<'de>>(most: u64, from: D) -> Result<u64, D::Error> {
    let count = u64::deserialize(from)?;
    if count > most {
        return Err(D::Error::custom(format!(
            "expected a count of at most {most}"
        )));
    }
    Ok(count)
}
