//! The record on a magnetic stripe: digits, and a number for the card in place of a UID (README, "On a magnetic stripe").

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    KeyRecord, KeyRecordError, RecordContentError, VersionedSiteKey,
    derive::{CARD_NUMBER_DIGITS, MAC_DIGITS},
    record::{NO_END, NO_ENTRANCE, NO_START},
};
use crate::card::magstripe::{
    Coercivity, MagstripeImage, MagstripeRead, Track, TrackContents, TrackForm, TrackFound,
    TrackImage,
};

/// Where the card's number and the record stand.
const NUMBER_TRACK: Track = Track::Two;
const RECORD_TRACK: Track = Track::Three;

/// "E" as ASCII and the version of this form.
const MAGIC: &str = "691";
const KEY_VERSION_DIGITS: usize = 3;
const CREDENTIAL_DIGITS: usize = 39;
const TIME_DIGITS: usize = 10;
const ENTRANCE_DIGITS: usize = 5;

/// The entrances that a stripe has room for.
pub(super) const ENTRANCES: usize = 3;

/// A stripe's record, and the number that its image gave the card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StripeRecord {
    /// The record.
    pub record: KeyRecord,
    /// The card's number.
    pub card_number: String,
}

/// What a scan reads to find a record.
pub(super) fn read_plan() -> MagstripeRead {
    MagstripeRead {
        form: TrackForm::Iso,
        tracks: Track::ALL.to_vec(),
    }
}

/// The tracks that carry `record`, under `site_key`. Their caller has counted the entrances.
pub(super) fn image(
    record: &KeyRecord,
    site_key: &VersionedSiteKey,
    coercivity: Coercivity,
) -> Result<MagstripeImage, RecordContentError> {
    let times = record.times()?;
    let key = &site_key.key;
    let card_number = key.stripe_number(&record.credential_id, times.issued_at);
    let mut digits = format!(
        "{MAGIC}{:0KEY_VERSION_DIGITS$}{:0CREDENTIAL_DIGITS$}",
        site_key.version,
        record.credential_id.as_u128()
    );
    for time in [times.issued_at, times.starts_at, times.ends_at] {
        digits.push_str(&format!("{time:0TIME_DIGITS$}"));
    }
    digits.push_str(&record.entrances.len().to_string());
    let unused = std::iter::repeat(&NO_ENTRANCE);
    for entrance in record.entrances.iter().chain(unused).take(ENTRANCES) {
        digits.push_str(&format!("{entrance:0ENTRANCE_DIGITS$}"));
    }
    let mac = key.stripe_mac(&card_number, &digits);
    digits.push_str(&mac);
    Ok(MagstripeImage {
        tracks: vec![
            TrackImage::iso(NUMBER_TRACK, card_number.clone()),
            TrackImage::iso(RECORD_TRACK, digits),
        ],
        card_number,
        coercivity,
    })
}

/// The record on the tracks as they were read, if one of `keys` made it with the number that stands beside it.
///
/// # Errors
/// [`KeyRecordError`]; nothing of a record whose MAC is wrong is ever given out.
pub fn decode_stripe(
    tracks: &[TrackContents],
    keys: &[VersionedSiteKey],
) -> Result<StripeRecord, KeyRecordError> {
    let digits = text(tracks, RECORD_TRACK)
        .filter(|text| text.starts_with(MAGIC) && text.bytes().all(|digit| digit.is_ascii_digit()))
        .ok_or(KeyRecordError::NotARecord)?;
    if digits.len() != RECORD_TRACK.capacity() {
        return Err(KeyRecordError::WrongLength {
            expected: RECORD_TRACK.capacity(),
            got: digits.len(),
        });
    }
    let (body, mac) = digits
        .split_at_checked(digits.len() - MAC_DIGITS)
        .ok_or(KeyRecordError::NotARecord)?;
    let mut fields = Fields(body);
    fields.skip(MAGIC.len());
    let version = fields
        .number::<u8>(KEY_VERSION_DIGITS)
        .ok_or(KeyRecordError::NotAuthentic)?;
    let card_number = text(tracks, NUMBER_TRACK)
        .filter(|number| number.len() == CARD_NUMBER_DIGITS)
        .ok_or(KeyRecordError::NotAuthentic)?;
    let mut named = keys.iter().filter(|key| key.version == version).peekable();
    if named.peek().is_none() {
        return Err(KeyRecordError::UnknownKeyVersion(version));
    }
    if !named.any(|site_key| site_key.key.is_stripe_mac(card_number, body, mac)) {
        return Err(KeyRecordError::NotAuthentic);
    }
    Ok(StripeRecord {
        record: content(fields).ok_or(KeyRecordError::Malformed)?,
        card_number: card_number.to_owned(),
    })
}

/// What a stripe with a record of this form says of itself to somebody who has no site key and cannot tell whether it is
/// authentic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StripeMark {
    /// The version of the site key that is to have made it.
    pub site_key_version: u8,
    /// The number that stands beside it.
    pub card_number: String,
}

/// Whether the tracks look like a record's: its length, its beginning, and a number beside it.
pub fn stripe_mark(tracks: &[TrackContents]) -> Option<StripeMark> {
    let digits = text(tracks, RECORD_TRACK)?.strip_prefix(MAGIC)?;
    let is_whole = MAGIC.len() + digits.len() == RECORD_TRACK.capacity();
    let card_number = text(tracks, NUMBER_TRACK)?;
    let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let is_record = is_whole && card_number.len() == CARD_NUMBER_DIGITS;
    let are_numbers = is_number(digits) && is_number(card_number);
    Some(StripeMark {
        site_key_version: Fields(digits).number(KEY_VERSION_DIGITS)?,
        card_number: card_number.to_owned(),
    })
    .filter(|_| is_record && are_numbers)
}

fn text(tracks: &[TrackContents], track: Track) -> Option<&str> {
    let mut tracks = tracks.iter();
    tracks.find_map(|contents| match &contents.found {
        TrackFound::Iso { text } if contents.track == track => Some(text.as_str()),
        TrackFound::Iso { .. }
        | TrackFound::Raw { .. }
        | TrackFound::Blank
        | TrackFound::Unreadable
        | TrackFound::PaymentData { .. } => None,
    })
}

/// The content of an authentic record behind its site key's version; none where it breaks the layout.
fn content(mut fields: Fields<'_>) -> Option<KeyRecord> {
    let credential_id = Uuid::from_u128(fields.number(CREDENTIAL_DIGITS)?);
    let issued_at: u32 = fields.number(TIME_DIGITS)?;
    let starts_at: u32 = fields.number(TIME_DIGITS)?;
    let ends_at: u32 = fields.number(TIME_DIGITS)?;
    let count: usize = fields.number(1)?;
    let numbers: Option<Vec<u16>> = (0..ENTRANCES)
        .map(|_| fields.number(ENTRANCE_DIGITS))
        .collect();
    let numbers = numbers?;
    let (entrances, unused) = numbers.split_at_checked(count)?;
    let is_well_formed = starts_at <= ends_at
        && !entrances.contains(&NO_ENTRANCE)
        && unused.iter().all(|number| *number == NO_ENTRANCE);
    let at = |second: u32| Timestamp::from_second(second.into()).ok();
    is_well_formed.then_some(KeyRecord {
        credential_id,
        issued_at: at(issued_at)?,
        starts_at: at(starts_at).filter(|_| starts_at != NO_START),
        ends_at: at(ends_at).filter(|_| ends_at != NO_END),
        entrances: entrances.to_vec(),
    })
}

/// Digits that are not read yet.
struct Fields<'d>(&'d str);

impl Fields<'_> {
    fn skip(&mut self, digits: usize) {
        self.0 = self.0.get(digits..).unwrap_or_default();
    }

    fn number<N: std::str::FromStr>(&mut self, digits: usize) -> Option<N> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.parse().ok()
    }
}
