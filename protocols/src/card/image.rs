//! The exact bytes to put on a card, what to read from one, and what was read.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{
    hex,
    magstripe::{MagstripeImage, MagstripeRead, TrackContents},
};

/// A MIFARE Classic sector key: 6 bytes. Never shows itself when it is formatted.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize, Zeroize)]
#[zeroize(drop)]
#[serde(transparent)]
pub struct ClassicKey(#[serde(with = "hex::array")] pub [u8; 6]);

impl fmt::Debug for ClassicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClassicKey(…)")
    }
}

/// Which of a sector's two keys.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySlot {
    /// Key A, command 60.
    A,
    /// Key B, command 61.
    B,
}

/// A key that may open a sector. Plans list them in the order in which to try them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CandidateKey {
    /// As which of the sector's keys to try it.
    pub slot: KeySlot,
    /// The key.
    pub key: ClassicKey,
}

/// Every byte that an encode puts on a card.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CardImage {
    /// MIFARE Classic Mini, 1K or 4K.
    MifareClassic(ClassicImage),
    /// MIFARE Ultralight family and NTAG21x.
    Type2(Type2Image),
    /// A magnetic stripe.
    Magstripe(MagstripeImage),
}

impl CardImage {
    /// The number that the image assigns to a card without a UID.
    pub fn card_number(&self) -> Option<&str> {
        match self {
            Self::Magstripe(image) => Some(&image.card_number),
            Self::MifareClassic(_) | Self::Type2(_) => None,
        }
    }
}

/// Sectors of a MIFARE Classic card.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClassicImage {
    /// The sectors to write, each at most once.
    pub sectors: Vec<SectorImage>,
}

/// One sector of a MIFARE Classic card.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SectorImage {
    /// The sector, 0 to 39.
    pub sector: u8,
    /// The keys that may open it, in the order in which to try them.
    pub keys: Vec<CandidateKey>,
    /// The data blocks to write, each at most once.
    pub blocks: Vec<BlockImage>,
    /// The trailer to write after all data blocks, if it is to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailer: Option<TrailerImage>,
}

/// One 16-byte data block.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct BlockImage {
    /// The block within its sector: 0 to 2, in the large sectors of a 4K card 0 to 14.
    pub block: u8,
    /// Its bytes.
    #[serde(with = "hex::array")]
    pub data: [u8; 16],
}

impl fmt::Debug for BlockImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockImage({}, …)", self.block)
    }
}

/// A sector trailer: both keys and the access bits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrailerImage {
    /// Key A.
    pub key_a: ClassicKey,
    /// Bytes 6 to 8: the access bits, each stored plain and inverted.
    #[serde(with = "hex::array")]
    pub access_bits: [u8; 3],
    /// Byte 9, free for any use.
    pub user_byte: u8,
    /// Key B.
    pub key_b: ClassicKey,
}

/// A password of an Ultralight EV1 or NTAG21x: 4 bytes. Never shows itself when it is formatted.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize, Zeroize)]
#[zeroize(drop)]
#[serde(transparent)]
pub struct Password(#[serde(with = "hex::array")] pub [u8; 4]);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Pages of a card of the MIFARE Ultralight family or an NTAG21x.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Type2Image {
    /// The passwords that may open the card if it is protected, in the order in which to try them. Where the card counts
    /// wrong ones, or protects its configuration from being read, only the first is tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passwords: Vec<Password>,
    /// The pages to write, each at most once.
    pub pages: Vec<PageImage>,
    /// The protection to set after all pages, if it is to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Type2Protection>,
}

/// One 4-byte page.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct PageImage {
    /// The page.
    pub page: u8,
    /// Its bytes.
    #[serde(with = "hex::array")]
    pub data: [u8; 4],
}

impl fmt::Debug for PageImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageImage({}, …)", self.page)
    }
}

/// The password protection of an Ultralight EV1 or NTAG21x.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Type2Protection {
    /// The password.
    pub password: Password,
    /// What the card answers to the right password.
    #[serde(with = "hex::array")]
    pub acknowledge: [u8; 2],
    /// AUTH0: the first protected page.
    pub first_protected_page: u8,
    /// PROT: reading needs the password too.
    pub protect_reading: bool,
}

/// What a scan reads from a card.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReadPlan {
    /// Sectors of a MIFARE Classic card.
    MifareClassic(ClassicRead),
    /// Pages of a card of the Ultralight family or an NTAG21x.
    Type2(Type2Read),
    /// Tracks of a magnetic stripe.
    Magstripe(MagstripeRead),
    /// Nothing but the UID, which is known already.
    UidOnly,
}

/// Sectors to read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClassicRead {
    /// Each at most once.
    pub sectors: Vec<SectorRead>,
    /// Where the extension of a key record goes on that begins in the first of `sectors`: read in this order, as far as such a
    /// record says that it goes, and not at all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extension: Vec<SectorRead>,
}

/// One sector to read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SectorRead {
    /// The sector, 0 to 39.
    pub sector: u8,
    /// The keys that may open it, in the order in which to try them.
    pub keys: Vec<CandidateKey>,
}

/// Pages to read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Type2Read {
    /// The first page.
    pub first_page: u8,
    /// The last page.
    pub last_page: u8,
    /// The last page that the extension of a key record may take which begins on `first_page`: the pages behind `last_page`
    /// are read as far as such a record says that it goes, and not at all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_extension_page: Option<u8>,
    /// The passwords that may open the card if it is protected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passwords: Vec<Password>,
}

/// What was read from a card.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CardContents {
    /// Blocks of a MIFARE Classic card.
    MifareClassic {
        /// The blocks that were read; trailers are left out.
        blocks: Vec<BlockContents>,
        /// The sectors that no key opened.
        unread: Vec<UnreadSector>,
    },
    /// Pages of a card of the Ultralight family or an NTAG21x.
    Type2 {
        /// The first page read.
        first_page: u8,
        /// The bytes of that page and the following ones; shorter than planned where the card refused.
        #[serde(with = "hex::bytes")]
        data: Vec<u8>,
    },
    /// Tracks of a magnetic stripe. A payment card's data is masked before it is sent.
    Magstripe {
        /// The tracks that were asked for.
        tracks: Vec<TrackContents>,
    },
    /// Nothing was to be read.
    UidOnly,
}

impl fmt::Debug for CardContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MifareClassic { .. } => "MifareClassic(…)",
            Self::Type2 { .. } => "Type2(…)",
            Self::Magstripe { .. } => "Magstripe(…)",
            Self::UidOnly => "UidOnly",
        })
    }
}

/// One block as it was read.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct BlockContents {
    /// The block on the card: 0 to 255.
    pub block: u8,
    /// Its bytes.
    #[serde(with = "hex::array")]
    pub data: [u8; 16],
}

/// A sector that could not be read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UnreadSector {
    /// The sector.
    pub sector: u8,
    /// Why, in words.
    pub reason: String,
}
