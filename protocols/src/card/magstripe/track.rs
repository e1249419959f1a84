//! The tracks, and what ISO/IEC 7811 lets each hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The usable length of a track in micrometres: the card's 85.6 mm less 7.44 mm before the first data bit and 6.93 mm after
/// the last (ISO/IEC 7811-2).
const USABLE_MICROMETRES: usize = 71_230;
const MICROMETRES_PER_INCH: usize = 25_400;

/// Start sentinel, end sentinel and LRC.
pub(super) const FRAME_CHARACTERS: usize = 3;

/// A track's number is neither 1, 2 nor 3; or a density neither 75 nor 210 bits per inch.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadTrack {
    /// The track.
    #[error("expected track 1, 2 or 3, got {0}")]
    Number(u8),
    /// The density.
    #[error("expected 75 or 210 bits per inch, got {0}")]
    Density(u8),
}

/// One of the three tracks. Travels as its number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Track {
    /// Track 1: letters and digits.
    One,
    /// Track 2: digits.
    Two,
    /// Track 3: digits.
    Three,
}

impl Track {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// 1, 2 or 3.
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// The characters that ISO/IEC 7811 lets it hold.
    pub const fn character_set(self) -> CharacterSet {
        match self {
            Self::One => CharacterSet::Alphanumeric,
            Self::Two | Self::Three => CharacterSet::Numeric,
        }
    }

    /// The most characters between the sentinels: 79, 40 and 107 with sentinels and LRC.
    pub const fn capacity(self) -> usize {
        match self {
            Self::One => 76,
            Self::Two => 37,
            Self::Three => 104,
        }
    }

    /// The density that ISO/IEC 7811 sets.
    pub const fn density(self) -> Density {
        match self {
            Self::One | Self::Three => Density::Bpi210,
            Self::Two => Density::Bpi75,
        }
    }
}

impl TryFrom<u8> for Track {
    type Error = BadTrack;

    fn try_from(number: u8) -> Result<Self, BadTrack> {
        match number {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            _ => Err(BadTrack::Number(number)),
        }
    }
}

impl From<Track> for u8 {
    fn from(track: Track) -> Self {
        track.number()
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "track {}", self.number())
    }
}

/// How densely a track's bits lie. Travels as bits per inch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Density {
    /// 75 bits per inch.
    Bpi75,
    /// 210 bits per inch.
    Bpi210,
}

impl Density {
    /// Bits per inch.
    pub const fn bits_per_inch(self) -> u8 {
        match self {
            Self::Bpi75 => 75,
            Self::Bpi210 => 210,
        }
    }

    /// The most bits that a track holds, from the first one bit to the last.
    pub const fn capacity(self) -> usize {
        self.bits_per_inch() as usize * USABLE_MICROMETRES / MICROMETRES_PER_INCH
    }
}

impl TryFrom<u8> for Density {
    type Error = BadTrack;

    fn try_from(bits_per_inch: u8) -> Result<Self, BadTrack> {
        match bits_per_inch {
            75 => Ok(Self::Bpi75),
            210 => Ok(Self::Bpi210),
            _ => Err(BadTrack::Density(bits_per_inch)),
        }
    }
}

impl From<Density> for u8 {
    fn from(density: Density) -> Self {
        density.bits_per_inch()
    }
}

/// How strong a field the stripe needs to be written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coercivity {
    /// 2750 Oe and more: the stripe is mostly black.
    High,
    /// 300 Oe: the stripe is mostly brown.
    Low,
}

/// A track's characters: a code of 6 or 4 bits each, the lowest bit first, and an odd parity bit after them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CharacterSet {
    /// 20h to 5Fh as 6 bits, `%` to begin and `?` to end with.
    Alphanumeric,
    /// 30h to 3Fh as 4 bits, `;` to begin and `?` to end with.
    Numeric,
}

impl CharacterSet {
    /// Bits of a character, the parity bit included.
    pub const fn bits_per_character(self) -> usize {
        self.data_bits() + 1
    }

    /// The character before the first.
    pub const fn start(self) -> u8 {
        match self {
            Self::Alphanumeric => b'%',
            Self::Numeric => b';',
        }
    }

    /// The character after the last, before the LRC.
    pub const fn end(self) -> u8 {
        b'?'
    }

    pub(super) const fn data_bits(self) -> usize {
        match self {
            Self::Alphanumeric => 6,
            Self::Numeric => 4,
        }
    }

    /// The character with code 0.
    const fn first(self) -> u8 {
        match self {
            Self::Alphanumeric => b' ',
            Self::Numeric => b'0',
        }
    }

    /// The code of a character; none for one that the set lacks.
    pub(super) fn code(self, character: u8) -> Option<u8> {
        let code = character.checked_sub(self.first())?;
        (code < 1 << self.data_bits()).then_some(code)
    }

    /// The character of a code; higher bits do not count.
    pub(super) const fn character(self, code: u8) -> u8 {
        self.first() + (code & ((1 << self.data_bits()) - 1))
    }

    /// Whether a track may hold `character` between its sentinels.
    pub fn holds(self, character: u8) -> bool {
        self.code(character).is_some() && character != self.start() && character != self.end()
    }
}
