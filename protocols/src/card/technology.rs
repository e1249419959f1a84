//! The card technologies that are told apart.

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
    /// A card that answers, of a technology not listed here.
    #[serde(other)]
    Unknown,
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
    /// The number that the API prints for this card: the UID in lower-case hex; none for a random UID.
    pub fn card_number(&self) -> Option<String> {
        self.uid
            .filter(|uid| !uid.is_random())
            .map(|uid| uid.to_string())
    }
}
