//! Magnetic stripe cards: three tracks of characters or bits, without a UID.
//!
//! Track formats after ISO/IEC 7811-2, -6 and -7 and 7813, as the programmer's manuals of the MSR206 and MSR605 print them.
//! Bits are kept in the order in which they pass the head; what devices make of that order is theirs.

mod bits;
mod characters;
mod contents;
mod image;
mod payment;
#[cfg(test)]
mod tests;
mod track;

pub use bits::{BadBits, BitString};
pub use characters::{TrackFlaw, decode, encode, encode_bytes};
pub use contents::{TrackContents, TrackFound};
pub use image::{MagstripeImage, MagstripeRead, TrackData, TrackForm, TrackImage};
pub use payment::{hides_payment_data, is_payment_data};
pub use track::{BadTrack, CharacterSet, Coercivity, Density, Track};
