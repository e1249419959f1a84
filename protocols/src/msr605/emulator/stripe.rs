//! Cards with a magnetic stripe, and what a swipe leaves on them. Characters are made and read here on their own, apart from what
//! the agent does (ISO/IEC 7811-2 and 7811-6).

use std::str::FromStr;

/// The stripe's length, in eighths of an inch: a card is 3.375 inches wide.
const EIGHTHS: usize = 27;

/// What a track can be wrong with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// Nothing is on it.
    Blank,
    /// A character's parity, the check character or a sentinel is wrong.
    Unreadable,
}

/// Which kind of stripe a card has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StripeKind {
    /// Hard to magnetise: a weak field spoils it.
    HiCo,
    /// Easy to magnetise, also by a strong field.
    LoCo,
}

impl StripeKind {
    /// The kind's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HiCo => "hico",
            Self::LoCo => "loco",
        }
    }
}

/// The text names no kind of stripe.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown card {0:?}; known: hico, loco")]
pub struct UnknownStripe(pub String);

impl FromStr for StripeKind {
    type Err = UnknownStripe;

    fn from_str(text: &str) -> Result<Self, UnknownStripe> {
        match text {
            "hico" => Ok(Self::HiCo),
            "loco" => Ok(Self::LoCo),
            _ => Err(UnknownStripe(text.to_owned())),
        }
    }
}

/// A card with three tracks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StripeCard {
    kind: StripeKind,
    /// A worn stripe takes nothing any more.
    worn: bool,
    tracks: [StripeTrack; 3],
    writes: u64,
}

/// A track: bits in their order on the card.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StripeTrack {
    /// The bits, leading zeros included.
    pub bits: Vec<bool>,
    /// The density with which they were written, in bits per inch; 0 on a blank track.
    pub bpi: u16,
}

/// How the characters of a track are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code {
    /// Data bits; a parity bit follows them.
    data: u8,
    /// The character of which all data bits are 0.
    zero: u8,
    start: u8,
}

impl Code {
    /// The code of so many bits a character; none is known for others than 5 and 7.
    pub(super) fn of(bits_per_character: u8) -> Option<Self> {
        match bits_per_character {
            7 => Some(Self {
                data: 6,
                zero: b' ',
                start: b'%',
            }),
            5 => Some(Self {
                data: 4,
                zero: b'0',
                start: b';',
            }),
            _ => None,
        }
    }

    pub(super) fn start(self) -> u8 {
        self.start
    }

    pub(super) fn has(self, character: u8) -> bool {
        let value = character.checked_sub(self.zero);
        value.is_some_and(|value| u16::from(value) < 1 << self.data)
    }

    /// The bits of characters and of the check character behind them.
    pub(super) fn encode(self, characters: &[u8]) -> Vec<bool> {
        let mut bits = Vec::new();
        let mut check = 0;
        for character in characters {
            let value = character.wrapping_sub(self.zero);
            check ^= value;
            self.push(value, &mut bits);
        }
        self.push(check, &mut bits);
        bits
    }

    fn push(self, value: u8, bits: &mut Vec<bool>) {
        let data = (0..self.data).map(|bit| value >> bit & 1 == 1);
        let even = data.clone().filter(|bit| *bit).count() % 2 == 0;
        bits.extend(data.chain([even]));
    }

    /// The characters from the start to the end sentinel.
    fn decode(self, bits: &[bool]) -> Result<Vec<u8>, Reading> {
        let first = bits.iter().position(|bit| *bit).ok_or(Reading::Blank)?;
        let bits = bits.get(first..).unwrap_or_default();
        let mut characters = Vec::new();
        let mut check = 0;
        let mut ended = false;
        for group in bits.chunks_exact(usize::from(self.data) + 1) {
            if group.iter().filter(|bit| **bit).count() % 2 == 0 {
                return Err(Reading::Unreadable);
            }
            let data = (0..self.data).zip(group);
            let value = data.fold(0_u8, |value, (at, bit)| value | u8::from(*bit) << at);
            check ^= value;
            if ended {
                let right = check == 0 && characters.first() == Some(&self.start);
                return if right {
                    Ok(characters)
                } else {
                    Err(Reading::Unreadable)
                };
            }
            let character = self.zero.wrapping_add(value);
            characters.push(character);
            ended = character == b'?';
        }
        Err(Reading::Unreadable)
    }
}

impl StripeTrack {
    /// How many bits the card's length holds.
    fn capacity(bpi: u16) -> usize {
        usize::from(bpi) * EIGHTHS / 8
    }

    /// The characters with their sentinels.
    pub(super) fn characters(&self, code: Code) -> Result<Vec<u8>, Reading> {
        code.decode(&self.bits)
    }

    /// The bits from the first that is 1 on, as a head sees them.
    pub(super) fn seen(&self) -> &[bool] {
        let first = self.bits.iter().position(|bit| *bit);
        first
            .and_then(|first| self.bits.get(first..))
            .unwrap_or_default()
    }

    pub(super) fn put(&mut self, mut bits: Vec<bool>, bpi: u16) {
        // What does not fit falls behind the card's edge.
        bits.truncate(Self::capacity(bpi));
        *self = Self { bits, bpi };
    }

    /// Half of what stands behind the leading zeros as it was to be, the rest as it was.
    pub(super) fn tear(&mut self, bits: &[bool], bpi: u16) {
        let first = bits.iter().position(|bit| *bit).unwrap_or_default();
        let half = first.midpoint(bits.len());
        let rest = self.bits.iter().skip(half).copied();
        let torn = bits.iter().take(half).copied().chain(rest).collect();
        self.put(torn, bpi);
    }

    /// Leaves something that nothing can be made of: every other bit is lost.
    pub(super) fn spoil(&mut self) {
        for bit in self.bits.iter_mut().skip(1).step_by(2) {
            *bit = false;
        }
    }
}

impl StripeCard {
    /// A blank card.
    pub fn blank(kind: StripeKind) -> Self {
        Self {
            kind,
            worn: false,
            tracks: Default::default(),
            writes: 0,
        }
    }

    /// What kind of stripe it has.
    pub fn kind(&self) -> StripeKind {
        self.kind
    }

    /// A worn card keeps what is on it but takes nothing any more.
    pub fn wear_out(&mut self) {
        self.worn = true;
    }

    /// Whether a field of this strength writes it.
    pub(super) fn takes(&self, high: bool) -> bool {
        !self.worn && (high || self.kind == StripeKind::LoCo)
    }

    /// The tracks as they stand on the card.
    pub fn tracks(&self) -> &[StripeTrack; 3] {
        &self.tracks
    }

    pub(super) fn tracks_mut(&mut self) -> &mut [StripeTrack; 3] {
        self.writes += 1;
        &mut self.tracks
    }

    /// How many swipes have changed it.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// The characters of the tracks in ISO/IEC 7811's codes, with sentinels; without the check character.
    ///
    /// # Errors
    /// [`Reading`], for each track.
    pub fn texts(&self) -> [Result<String, Reading>; 3] {
        let [one, two, three] = &self.tracks;
        [(one, 7), (two, 5), (three, 5)].map(|(track, bits)| {
            let code = Code::of(bits).ok_or(Reading::Unreadable)?;
            let characters = track.characters(code)?;
            String::from_utf8(characters).map_err(|_| Reading::Unreadable)
        })
    }

    /// Puts characters on a track as another encoder would have: with leading zeros, the check character and ISO's density. The
    /// sentinels are part of `text`; an empty text blanks the track. Answers false for a track or characters that there are
    /// not.
    pub fn set_text(&mut self, track: usize, text: &str) -> bool {
        let (bits, zeros, bpi) = if track == 1 {
            (5, 22, 75)
        } else {
            (if track == 0 { 7 } else { 5 }, 61, 210)
        };
        let code = Code::of(bits).filter(|code| text.bytes().all(|character| code.has(character)));
        let (Some(code), Some(track)) = (code, self.tracks.get_mut(track)) else {
            return false;
        };
        *track = StripeTrack::default();
        if !text.is_empty() {
            let mut all = vec![false; zeros];
            all.extend(code.encode(text.as_bytes()));
            track.put(all, bpi);
        }
        true
    }

    /// Puts bits on a track as they are, at ISO's density. Answers false for a track that there is not.
    pub fn set_bits(&mut self, track: usize, bits: &[bool]) -> bool {
        let bpi = if track == 1 { 75 } else { 210 };
        self.tracks
            .get_mut(track)
            .map(|track| track.put(bits.to_vec(), bpi))
            .is_some()
    }
}
