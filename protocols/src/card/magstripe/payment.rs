//! Payment cards are none of an encoder's business: their data is never written, and never shown.
//!
//! ISO/IEC 7813: track 2 holds the primary account number, `=`, the expiry and the service code; track 1 holds `B`, the
//! number, `^`, the holder's name, `^` and the expiry. A long number alone is no payment data.

use std::ops::{Range, RangeInclusive};

use super::{BitString, CharacterSet, characters::decode_anything};

/// How long account numbers are (ISO/IEC 7812; the shortest in use have 12 digits).
const ACCOUNT_DIGITS: RangeInclusive<usize> = 12..=19;

/// The last digits of an account number, which receipts print too.
const SHOWN_DIGITS: usize = 4;

/// YYMM.
const EXPIRY_DIGITS: usize = 4;
const SERVICE_CODE_DIGITS: usize = 3;

/// How many characters of payment data may have the wrong parity: with more, bits that are no characters at all would
/// often look like it.
const WORN_CHARACTERS: usize = 2;

/// Whether a track's characters hold payment data anywhere, with or without sentinels.
pub fn is_payment_data(text: &str) -> bool {
    spans(text).next().is_some()
}

/// Whether bits hold payment data in any character set, from any bit on and in either direction. A worn stripe hides
/// nothing: a few characters may have the wrong parity.
pub fn hides_payment_data(bits: &BitString) -> bool {
    [bits.clone(), bits.reversed()].iter().any(|bits| {
        let sets = [CharacterSet::Alphanumeric, CharacterSet::Numeric];
        sets.into_iter().any(|set| {
            let mut offsets = 0..set.bits_per_character();
            offsets.any(|offset| is_payment_data_from(set, bits.as_slice(), offset))
        })
    })
}

fn is_payment_data_from(set: CharacterSet, bits: &[bool], offset: usize) -> bool {
    let (text, is_odd) = decode_anything(set, bits, offset);
    spans(&text).any(|span| {
        let parities = is_odd.get(span).unwrap_or_default();
        parities.iter().filter(|is_odd| !**is_odd).count() <= WORN_CHARACTERS
    })
}

/// What may be shown of a track with payment data: how many digits the account number has, and its last four.
pub(super) fn masked(text: &str) -> String {
    let span = spans(text).next().unwrap_or_default();
    let account = text.get(span).unwrap_or_default();
    let end = account.find(['=', '^']).unwrap_or_default();
    let digits = account.get(..end).unwrap_or_default();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let hidden = digits.len().saturating_sub(SHOWN_DIGITS);
    let shown = digits.get(hidden..).unwrap_or_default();
    format!("{}{shown}", "*".repeat(hidden))
}

/// Where in a track's characters payment data stands, from the account number to the expiry or service code.
fn spans(text: &str) -> impl Iterator<Item = Range<usize>> {
    let track_2 = text.match_indices('=').filter_map(|(at, _)| {
        let (before, after) = (text.get(..at)?, text.get(at + 1..)?);
        let rest = before.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_account = ACCOUNT_DIGITS.contains(&(at - rest.len()));
        let length = EXPIRY_DIGITS + SERVICE_CODE_DIGITS;
        (is_account && begins_with_expiry(after, SERVICE_CODE_DIGITS))
            .then_some(rest.len()..at + 1 + length)
    });
    let track_1 = text.match_indices('^').filter_map(|(at, _)| {
        let (before, after) = (text.get(..at)?, text.get(at + 1..)?);
        // Older cards print the number in groups.
        let rest = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let digits = before.get(rest.len()..)?.bytes().filter(u8::is_ascii_digit);
        let is_account = rest.ends_with('B') && ACCOUNT_DIGITS.contains(&digits.count());
        let (name, expiry) = after.split_once('^')?;
        let end = at + 1 + name.len() + 1 + EXPIRY_DIGITS;
        (is_account && begins_with_expiry(expiry, 0)).then_some(rest.len()..end)
    });
    track_2.chain(track_1)
}

/// Whether `text` begins with YYMM and `more` digits.
fn begins_with_expiry(text: &str, more: usize) -> bool {
    let Some(digits) = text.get(..EXPIRY_DIGITS + more) else {
        return false;
    };
    let month: Option<u8> = digits
        .get(2..EXPIRY_DIGITS)
        .and_then(|month| month.parse().ok());
    digits.bytes().all(|digit| digit.is_ascii_digit())
        && month.is_some_and(|month| (1..=12).contains(&month))
}
