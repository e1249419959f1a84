//! Characters as bits: sentinels around them, an odd parity bit behind each, and an LRC at the end.

use super::{BitString, CharacterSet};

/// Why bits or characters are no track.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrackFlaw {
    /// A character that the set lacks, or a sentinel, at this place.
    #[error("the character at {0} cannot stand on this track")]
    Character(usize),
    /// The bits do not begin with the start sentinel.
    #[error("expected the start sentinel after the leading zeros")]
    NoStart,
    /// A character has the wrong parity, at this place behind the start sentinel.
    #[error("the character at {0} has the wrong parity")]
    Parity(usize),
    /// The bits end before the end sentinel and the LRC.
    #[error("the track ends before its end sentinel and lrc")]
    NoEnd,
    /// The LRC is not that of the characters.
    #[error("the lrc is not that of the characters")]
    Lrc,
}

/// The characters with sentinels and LRC, a byte each with its parity in the bit above the code: what an MSR encoder takes
/// where its bits per character are those of the set.
///
/// # Errors
/// [`TrackFlaw::Character`] where the track cannot hold one.
pub fn encode_bytes(set: CharacterSet, text: &str) -> Result<Vec<u8>, TrackFlaw> {
    let flaw = text.bytes().position(|character| !set.holds(character));
    if let Some(at) = flaw {
        return Err(TrackFlaw::Character(at));
    }
    let framed = [set.start()]
        .into_iter()
        .chain(text.bytes())
        .chain([set.end()]);
    let mut codes: Vec<u8> = framed.filter_map(|character| set.code(character)).collect();
    codes.push(lrc(&codes));
    Ok(codes
        .into_iter()
        .map(|code| with_parity(set, code))
        .collect())
}

/// The characters with sentinels, parity and LRC as bits.
///
/// # Errors
/// [`TrackFlaw::Character`] where the track cannot hold one.
pub fn encode(set: CharacterSet, text: &str) -> Result<BitString, TrackFlaw> {
    let mut bits = BitString::default();
    for byte in encode_bytes(set, text)? {
        for at in 0..set.bits_per_character() {
            bits.push(byte >> at & 1 == 1);
        }
    }
    Ok(bits)
}

/// The characters between the sentinels of a track's bits. Zeros before and whatever lies behind the LRC do not count.
///
/// # Errors
/// [`TrackFlaw`] tells the first thing that is wrong.
pub fn decode(set: CharacterSet, bits: &BitString) -> Result<String, TrackFlaw> {
    let bits = bits.as_slice();
    let begin = bits.iter().position(|bit| *bit).unwrap_or(bits.len());
    let bits = bits.get(begin..).unwrap_or_default();
    let mut characters = bits.chunks_exact(set.bits_per_character());
    let start = characters.next().map(value).ok_or(TrackFlaw::NoStart)?;
    if Some(start) != set.code(set.start()).map(|code| with_parity(set, code)) {
        return Err(TrackFlaw::NoStart);
    }
    let mut codes = vec![start];
    let mut text = String::new();
    for (at, bits) in characters.by_ref().enumerate() {
        let byte = value(bits);
        if byte.count_ones().is_multiple_of(2) {
            return Err(TrackFlaw::Parity(at));
        }
        codes.push(byte);
        let character = set.character(byte);
        if character == set.end() {
            let read = characters.next().map(value).ok_or(TrackFlaw::NoEnd)?;
            let right = with_parity(set, set_bits(set, lrc(&codes)));
            return (read == right).then_some(text).ok_or(TrackFlaw::Lrc);
        }
        if character == set.start() {
            return Err(TrackFlaw::Character(at));
        }
        text.push(char::from(character));
    }
    Err(TrackFlaw::NoEnd)
}

/// The characters of `bits` from bit `offset` on, and whether each has its parity: for looking for what must not be shown.
pub(super) fn decode_anything(
    set: CharacterSet,
    bits: &[bool],
    offset: usize,
) -> (String, Vec<bool>) {
    let bits = bits.get(offset..).unwrap_or_default();
    let characters = bits.chunks_exact(set.bits_per_character()).map(value);
    characters
        .map(|byte| (char::from(set.character(byte)), byte.count_ones() % 2 == 1))
        .unzip()
}

/// The longitudinal redundancy check: each bit makes the number of ones of its kind even.
fn lrc(codes: &[u8]) -> u8 {
    codes.iter().fold(0, |lrc, code| lrc ^ code)
}

const fn with_parity(set: CharacterSet, code: u8) -> u8 {
    let is_even = code.count_ones().is_multiple_of(2);
    code | (is_even as u8) << set.data_bits()
}

const fn set_bits(set: CharacterSet, byte: u8) -> u8 {
    byte & ((1 << set.data_bits()) - 1)
}

fn value(bits: &[bool]) -> u8 {
    let places = bits.iter().zip(0_u32..8);
    places.fold(0, |byte, (bit, at)| byte | u8::from(*bit) << at)
}
