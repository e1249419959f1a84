//! The unique identifier of a contactless card.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::hex;

/// The first byte of a 4-byte UID that the card draws anew at each selection (ISO/IEC 14443-3, 6.5.4).
const RANDOM_UID_PREFIX: u8 = 0x08;

/// A UID in transmission order: 4, 7 or 10 bytes (ISO/IEC 14443-3, 6.5.4).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uid {
    bytes: [u8; 10],
    length: u8,
}

/// The bytes are no UID.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a uid of 4, 7 or 10 bytes, got {0}")]
pub struct BadUid(pub usize);

impl Uid {
    /// A UID from its bytes in transmission order.
    ///
    /// # Errors
    /// [`BadUid`] unless there are 4, 7 or 10 bytes.
    pub fn new(uid: &[u8]) -> Result<Self, BadUid> {
        if !matches!(uid.len(), 4 | 7 | 10) {
            return Err(BadUid(uid.len()));
        }
        let mut bytes = [0; 10];
        for (to, from) in bytes.iter_mut().zip(uid) {
            *to = *from;
        }
        // 4, 7 or 10, as checked above.
        let length = u8::try_from(uid.len()).unwrap_or(10);
        Ok(Self { bytes, length })
    }

    /// A UID of seven bytes, as most cards have one.
    pub const fn of_seven([a, b, c, d, e, f, g]: [u8; 7]) -> Self {
        Self {
            bytes: [a, b, c, d, e, f, g, 0, 0, 0],
            length: 7,
        }
    }

    /// The bytes in transmission order.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or(&self.bytes)
    }

    /// Whether the card draws this UID anew at each selection, so that it names no card.
    pub fn is_random(&self) -> bool {
        self.length == 4 && self.bytes.first() == Some(&RANDOM_UID_PREFIX)
    }
}

impl fmt::Display for Uid {
    /// Lower-case hex, as the API prints card numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

impl FromStr for Uid {
    type Err = BadUid;

    fn from_str(text: &str) -> Result<Self, BadUid> {
        Self::new(&hex::decode(text).ok_or(BadUid(0))?)
    }
}

impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse()
            .map_err(|_| D::Error::custom("expected a uid of 4, 7 or 10 bytes in hex"))
    }
}
