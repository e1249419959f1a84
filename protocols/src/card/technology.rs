//! The card technologies that are told apart.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Uid;

/// A card's technology, as far as it can be told without keys.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Technology {
    /// MIFARE Classic Mini: 5 sectors.
    MifareClassicMini,
    /// MIFARE Classic 1K: 16 sectors.
    #[serde(rename = "mifare_classic_1k")]
    MifareClassic1k,
    /// MIFARE Classic 4K: 40 sectors.
    #[serde(rename = "mifare_classic_4k")]
    MifareClassic4k,
    /// MIFARE Ultralight: 16 pages.
    Ultralight,
    /// MIFARE Ultralight C: 48 pages, 3DES.
    UltralightC,
    /// MIFARE Ultralight EV1, MF0UL11: 20 pages.
    UltralightEv1Ul11,
    /// MIFARE Ultralight EV1, MF0UL21: 41 pages.
    UltralightEv1Ul21,
    /// NTAG213: 45 pages.
    Ntag213,
    /// NTAG215: 135 pages.
    Ntag215,
    /// NTAG216: 231 pages.
    Ntag216,
    /// MIFARE DESFire, any.
    Desfire,
    /// Another ISO/IEC 14443-4 card.
    IsoDep,
    /// A magnetic stripe: swiped, without a UID.
    Magstripe,
    /// A card that answers, of a technology not listed here.
    #[serde(other)]
    Unknown,
}

impl Technology {
    /// Whether its cards are drawn through the encoder instead of lying on it: they have no UID, and are never seen before
    /// they are read or written.
    pub const fn is_swiped(self) -> bool {
        matches!(self, Self::Magstripe)
    }

    /// The bytes of user data that an image could fill: data blocks or user pages, neither keys nor locks nor the
    /// manufacturer's block. 0 for a technology that no image is made for.
    pub const fn capacity(self) -> u32 {
        match self {
            Self::MifareClassicMini => 224,
            Self::MifareClassic1k => 752,
            Self::MifareClassic4k => 3440,
            Self::Ultralight | Self::UltralightEv1Ul11 => 48,
            Self::UltralightEv1Ul21 => 128,
            Self::UltralightC | Self::Ntag213 => 144,
            Self::Ntag215 => 504,
            Self::Ntag216 => 888,
            // Characters: 76, 37 and 104 on the three tracks.
            Self::Magstripe => 217,
            Self::Desfire | Self::IsoDep | Self::Unknown => 0,
        }
    }
}

impl fmt::Display for Technology {
    /// The name that the vendor prints on it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MifareClassicMini => "MIFARE Classic Mini",
            Self::MifareClassic1k => "MIFARE Classic 1K",
            Self::MifareClassic4k => "MIFARE Classic 4K",
            Self::Ultralight => "MIFARE Ultralight",
            Self::UltralightC => "MIFARE Ultralight C",
            Self::UltralightEv1Ul11 => "MIFARE Ultralight EV1 (MF0UL11)",
            Self::UltralightEv1Ul21 => "MIFARE Ultralight EV1 (MF0UL21)",
            Self::Ntag213 => "NTAG213",
            Self::Ntag215 => "NTAG215",
            Self::Ntag216 => "NTAG216",
            Self::Desfire => "MIFARE DESFire",
            Self::IsoDep => "ISO/IEC 14443-4 card",
            Self::Magstripe => "magnetic stripe card",
            Self::Unknown => "card of an unknown technology",
        })
    }
}

/// A card that lies on an encoder.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CardDescription {
    /// Its technology.
    pub technology: Technology,
    /// Its UID; none where the medium has none.
    pub uid: Option<Uid>,
    /// The bytes that an image could fill.
    pub capacity: u32,
}

impl CardDescription {
    /// A card of `technology` with `uid`.
    pub const fn new(technology: Technology, uid: Uid) -> Self {
        Self {
            technology,
            uid: Some(uid),
            capacity: technology.capacity(),
        }
    }

    /// The card that an encoder awaits which is ready for a swipe.
    pub const fn to_be_swiped() -> Self {
        Self {
            technology: Technology::Magstripe,
            uid: None,
            capacity: Technology::Magstripe.capacity(),
        }
    }

    /// The number that the API prints for this card: the UID in lower-case hex; none for a random UID.
    pub fn card_number(&self) -> Option<String> {
        self.uid
            .filter(|uid| !uid.is_random())
            .map(|uid| uid.to_string())
    }
}
