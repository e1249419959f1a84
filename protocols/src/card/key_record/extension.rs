//! The part of a record that holds the entrances behind its first three (README, "Extension").

use super::{RECORD_LENGTH, record::Format};

/// How many entrances the record's own 48 bytes hold.
pub(super) const OWN_ENTRANCES: usize = 3;
/// An extension is a whole number of units: blocks of a MIFARE Classic, four pages of an Ultralight or NTAG.
pub(super) const UNIT: usize = 16;
const ENTRANCE: usize = 2;
const ENTRANCES_PER_UNIT: usize = UNIT / ENTRANCE;

/// The bytes that the entrances beyond the record's own take.
const fn length_of(entrances: usize) -> usize {
    entrances
        .saturating_sub(OWN_ENTRANCES)
        .div_ceil(ENTRANCES_PER_UNIT)
        * UNIT
}

/// How many entrances a record may have where `room` bytes are left for its extension.
pub(super) const fn entrances_within(room: usize) -> usize {
    OWN_ENTRANCES + room / UNIT * ENTRANCES_PER_UNIT
}

/// The extension that holds `entrances`, which are those behind the record's own; filled up with zeros.
pub(super) fn extension_of(entrances: &[u16]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entrances
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect();
    bytes.resize(bytes.len().next_multiple_of(UNIT), 0);
    bytes
}

/// How many bytes of extension belong to the record that `bytes` begin with, as it says itself: 0 where it has none, or where
/// they are no record. Nothing is authenticated by this.
pub fn extension_length(bytes: &[u8]) -> usize {
    let head: Option<&[u8; RECORD_LENGTH]> = bytes.first_chunk();
    let count = head.and_then(Format::extended_count);
    count.map_or(0, |count| length_of(count.into()))
}
