//! The open key record of the embedded access system: what an encode writes and a scan decodes.
//!
//! The layout, the derivation of every key and what the record cannot detect are specified in the README beside this
//! file; `vectors.txt` holds its test vectors.

mod derive;
mod layout;
mod record;

pub use derive::{DerivedPassword, KeyVersion, SiteKey, VersionedSiteKey};
pub use layout::{Layout, LayoutError, Type2Password};
pub use record::{KeyRecord, KeyRecordError, RecordContentError, decode};

/// The length of a key record in bytes: three blocks of MIFARE Classic, twelve pages of an Ultralight.
pub const RECORD_LENGTH: usize = 48;

#[cfg(test)]
mod tests;
