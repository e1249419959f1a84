//! What is written to a track and read from it. The contents never show when they are formatted and are wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

use crate::card::magstripe::BitString;

/// How many tracks a card has.
pub const TRACKS: usize = 3;

/// The characters that a track can hold at all (ISO/IEC 7811-2, track 1).
const CHARACTERS: std::ops::RangeInclusive<u8> = 0x20..=0x5F;

/// The most bytes of one track in a raw block: its length is one byte.
const MOST_RAW_BYTES: usize = 255;

/// The characters of a track between its sentinels.
#[derive(Clone, Eq, PartialEq)]
pub struct TrackText(Zeroizing<Vec<u8>>);

/// The text cannot stand between the sentinels of a track.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected characters from space to `_` without `%` and `?`, got something else at character {at}: sentinels and case are \
     not the track's"
)]
pub struct BadTrackText {
    /// Where the first wrong character stands, from 0.
    pub at: usize,
}

impl TrackText {
    /// No characters: the device leaves the track as it is, or blanks it, which differs between firmwares.
    pub fn empty() -> Self {
        Self(Zeroizing::default())
    }

    /// The data to write to a track, without sentinels: the device adds them and the check character. Whether the track's own
    /// character set has them is not looked at.
    ///
    /// # Errors
    /// [`BadTrackText`] for characters that would end the track or the command.
    pub fn new(text: &str) -> Result<Self, BadTrackText> {
        let bad = |byte: u8| !CHARACTERS.contains(&byte) || matches!(byte, b'%' | b'?');
        match text.bytes().position(bad) {
            Some(at) => Err(BadTrackText { at }),
            None => Ok(Self(text.as_bytes().to_vec().into())),
        }
    }

    /// What a device read between the sentinels, of which `start` is the first; none where they are missing, or where there are
    /// characters that no track has.
    pub(super) fn between_sentinels(start: u8, read: &[u8]) -> Option<Self> {
        let (first, rest) = read.split_first()?;
        let (last, data) = rest.split_last()?;
        let sound =
            *first == start && *last == b'?' && data.iter().all(|byte| CHARACTERS.contains(byte));
        sound.then(|| Self(data.to_vec().into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for TrackText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackText({} characters)", self.0.len())
    }
}

/// How many bits of a track stand in each byte of a raw block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BitsPerCharacter {
    /// 5: a character of tracks 2 and 3, parity included.
    Five,
    /// 6.
    Six,
    /// 7: a character of track 1, parity included.
    Seven,
    /// 8: the track as a plain string of bits.
    Eight,
}

impl BitsPerCharacter {
    /// What the ISO commands want for tracks 1, 2 and 3.
    pub const ISO: [Self; TRACKS] = [Self::Seven, Self::Five, Self::Five];
    /// All tracks as plain strings of bits.
    pub const PLAIN: [Self; TRACKS] = [Self::Eight; TRACKS];

    /// The number.
    pub const fn count(self) -> u8 {
        match self {
            Self::Five => 5,
            Self::Six => 6,
            Self::Seven => 7,
            Self::Eight => 8,
        }
    }
}

/// The bits of a track in the order in which they pass the head.
///
/// The device wants and gives them packed differently: the first is bit 0 of the first byte when writing, and bit 7 when reading.
/// Neither shows here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawTrack {
    bits: BitString,
    per_byte: BitsPerCharacter,
}

/// More bits than a raw block can carry for a track.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected at most {MOST_RAW_BYTES} bytes for a track, got {bytes}")]
pub struct RawTrackTooLong {
    /// The bytes that the bits would take.
    pub bytes: usize,
}

impl RawTrack {
    /// No bits: the device leaves the track as it is, or blanks it, which differs between firmwares.
    pub fn empty() -> Self {
        Self {
            bits: BitString::default(),
            per_byte: BitsPerCharacter::Eight,
        }
    }

    /// Bits to write, so many to a byte. The device must be set to the same [`BitsPerCharacter`] before.
    ///
    /// # Errors
    /// [`RawTrackTooLong`].
    pub fn new(bits: BitString, per_byte: BitsPerCharacter) -> Result<Self, RawTrackTooLong> {
        let bytes = bits.len().div_ceil(per_byte.count().into());
        if bytes > MOST_RAW_BYTES {
            return Err(RawTrackTooLong { bytes });
        }
        Ok(Self { bits, per_byte })
    }

    /// What a device set to eight bits per character has read.
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self {
            bits: BitString::from_high_first(bytes),
            per_byte: BitsPerCharacter::Eight,
        }
    }

    /// The bytes as the device wants them for writing.
    pub(super) fn to_write(&self) -> Zeroizing<Vec<u8>> {
        let characters = self.bits.as_slice().chunks(self.per_byte.count().into());
        let bytes = characters.map(|bits| {
            let places = (0..8).zip(bits);
            places.fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at)
        });
        bytes.collect::<Vec<_>>().into()
    }

    /// The bits. What was read may have zeros before and behind what was written.
    pub fn bits(&self) -> &BitString {
        &self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_would_end_a_track_or_a_command_is_refused() {
        for (text, at) in [
            ("A%", 1),
            ("?", 0),
            ("AB\u{1B}", 2),
            ("12\u{1C}", 2),
            ("abc", 0),
            ("Ü", 0),
        ] {
            assert_eq!(TrackText::new(text), Err(BadTrackText { at }), "{text:?}");
        }
        assert_eq!(TrackText::new("A ;^_=0").unwrap().as_str(), "A ;^_=0");
    }

    #[test]
    fn contents_do_not_show() {
        let text = TrackText::new("SECRET").unwrap();
        let shown = format!("{text:?} {:?}", RawTrack::read(b"SECRET"));
        assert!(
            shown.starts_with("TrackText(6 characters) RawTrack"),
            "{shown}"
        );
        assert!(!shown.contains("SECRET") && !shown.contains("true") && !shown.contains("01"));
    }

    #[test]
    fn a_raw_track_has_at_most_255_bytes() {
        let bits = |count: usize| BitString::from_text(&"0".repeat(count)).unwrap();
        let longest = 255 * 8;
        assert!(RawTrack::new(bits(longest), BitsPerCharacter::Eight).is_ok());
        let error = RawTrack::new(bits(longest), BitsPerCharacter::Five).unwrap_err();
        assert_eq!(error, RawTrackTooLong { bytes: 408 });
    }
}
