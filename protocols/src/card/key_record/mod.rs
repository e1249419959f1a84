//! The open key record of the embedded access system: what an encode writes and a scan decodes.
//!
//! The layout, the derivation of every key and what the record cannot detect are specified in the README beside this
//! file; `vectors.txt` holds its test vectors.

mod derive;
mod extension;
mod layout;
mod magstripe;
mod place;
mod record;

pub use derive::{DerivedPassword, KeyVersion, SiteKey, VersionedSiteKey};
pub use extension::extension_length;
pub use layout::{Layout, LayoutError, Type2Password};
pub use magstripe::{StripeMark, StripeRecord, decode_stripe, stripe_mark};
pub use record::{KeyRecord, KeyRecordError, RecordContentError, decode};

/// The length in bytes of a key record without its extension: three blocks of MIFARE Classic, twelve pages of an Ultralight.
pub const RECORD_LENGTH: usize = 48;

/// The entrances that the largest card has room for: a MIFARE Classic 4K with its record in sector 1.
pub const MOST_ENTRANCES: usize = 1683;

#[cfg(test)]
mod tests;
