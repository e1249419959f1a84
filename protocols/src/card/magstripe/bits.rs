//! A track's bits, in the order in which they pass the head.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use zeroize::Zeroize;

/// The most bits: what a device's length byte can count.
const MAX_BITS: usize = 255 * 8;

/// A text is no string of bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected at most {MAX_BITS} characters 0 and 1")]
pub struct BadBits;

/// A string of bits, the first to pass the head first. Travels as text of `0` and `1`, and never shows itself when it is
/// formatted.
#[derive(Clone, Default, Eq, PartialEq, Zeroize)]
#[zeroize(drop)]
pub struct BitString(Vec<bool>);

impl BitString {
    /// The bits of text of `0` and `1`.
    ///
    /// # Errors
    /// [`BadBits`] where it holds anything else, or too much.
    pub fn from_text(text: &str) -> Result<Self, BadBits> {
        if text.len() > MAX_BITS {
            return Err(BadBits);
        }
        let bits = text.bytes().map(|digit| match digit {
            b'0' => Ok(false),
            b'1' => Ok(true),
            _ => Err(BadBits),
        });
        Ok(Self(bits.collect::<Result<_, _>>()?))
    }

    /// The bits of bytes whose highest bit passed the head first: as an MSR encoder reads raw.
    pub fn from_high_first(bytes: &[u8]) -> Self {
        Self(bits_of(bytes, 0b1000_0000, |byte, at| byte << at))
    }

    /// The bits of bytes whose lowest bit is to pass the head first: as an MSR encoder writes raw.
    pub fn from_low_first(bytes: &[u8]) -> Self {
        Self(bits_of(bytes, 1, |byte, at| byte >> at))
    }

    /// The bits as bytes, the first in the highest bit; the last byte is filled up with zeros.
    pub fn to_high_first(&self) -> Vec<u8> {
        let bytes = self.0.chunks(8).map(|bits| {
            let places = bits.iter().zip((0..8).rev());
            places.fold(0, |byte, (bit, at)| byte | u8::from(*bit) << at)
        });
        bytes.collect()
    }

    /// The bits as bytes, the first in the lowest bit; the last byte is filled up with zeros.
    pub fn to_low_first(&self) -> Vec<u8> {
        let bytes = self.0.chunks(8).map(|bits| {
            let places = bits.iter().zip(0..8);
            places.fold(0, |byte, (bit, at)| byte | u8::from(*bit) << at)
        });
        bytes.collect()
    }

    /// The bits as text of `0` and `1`.
    pub fn to_text(&self) -> String {
        let digits = self.0.iter().map(|bit| if *bit { '1' } else { '0' });
        digits.collect()
    }

    /// The bits.
    pub fn as_slice(&self) -> &[bool] {
        &self.0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bits from the first one bit to the last: clocking bits lie before and behind, as many as a device likes.
    pub fn trimmed(&self) -> Self {
        let first = self.0.iter().position(|bit| *bit);
        let last = self.0.iter().rposition(|bit| *bit);
        let bits = first
            .zip(last)
            .and_then(|(first, last)| self.0.get(first..=last));
        Self(bits.unwrap_or_default().to_vec())
    }

    /// The bits as they pass the head when the card is swiped the other way round.
    pub fn reversed(&self) -> Self {
        Self(self.0.iter().rev().copied().collect())
    }

    pub(super) fn push(&mut self, bit: bool) {
        self.0.push(bit);
    }
}

fn bits_of(bytes: &[u8], mask: u8, shift: impl Fn(u8, u32) -> u8) -> Vec<bool> {
    let bits = bytes.iter().flat_map(|byte| {
        let shift = &shift;
        (0..8).map(move |at| shift(*byte, at) & mask != 0)
    });
    bits.collect()
}

impl fmt::Debug for BitString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BitString({} bits)", self.0.len())
    }
}

impl Serialize for BitString {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for BitString {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::from_text(&text).map_err(D::Error::custom)
    }
}
