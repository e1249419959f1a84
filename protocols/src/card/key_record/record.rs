//! The record's bytes (README, "Layout").

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{KeyVersion, RECORD_LENGTH, VersionedSiteKey};
use crate::card::Uid;

const MAGIC: [u8; 2] = *b"EK";
const FORMAT_VERSION: u8 = 1;
const MOST_ENTRANCES: usize = 3;
const AUTHENTICATED_LENGTH: usize = 40;
const NO_START: u32 = 0;
const NO_END: u32 = u32::MAX;
const RESERVED: u8 = 0;
const NO_ENTRANCE: u16 = 0;

/// A credential as it stands on a card. It does not show itself when formatted, being a card's payload.
#[derive(Clone, Eq, PartialEq)]
pub struct KeyRecord {
    /// The credential.
    pub credential_id: Uuid,
    /// When it was issued; whole seconds, from 1970 to early 2106.
    pub issued_at: Timestamp,
    /// The first second at which it opens; none: from ever.
    pub starts_at: Option<Timestamp>,
    /// The last second at which it opens; none: for ever.
    pub ends_at: Option<Timestamp>,
    /// The access system's own numbers of the entrances it opens, from 1 on; at most 3.
    pub entrances: Vec<u16>,
}

/// The content does not fit a record.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordContentError {
    /// Ends before it starts.
    #[error("expected an end at or after the start {starts_at}, got {ends_at}")]
    EndsBeforeStart {
        /// The start.
        starts_at: Timestamp,
        /// The end.
        ends_at: Timestamp,
    },
    /// A time outside what 32 bits hold.
    #[error("expected {what} between {first} and {last}, got {got}")]
    TimeOutOfRange {
        /// Which time.
        what: &'static str,
        /// The first one that fits.
        first: Timestamp,
        /// The last one that fits.
        last: Timestamp,
        /// What was asked.
        got: Timestamp,
    },
    /// More entrances than fit.
    #[error(
        "expected at most {MOST_ENTRANCES} entrances, got {0}; give the credential fewer entrances"
    )]
    TooManyEntrances(usize),
    /// Number 0 means "no entrance".
    #[error("expected entrance numbers from 1 on, got 0")]
    EntranceZero,
}

/// The bytes are no record of this card and these keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyRecordError {
    /// Not the length or the first bytes of a record.
    #[error("the card carries no key record")]
    NotARecord,
    /// A record of another format.
    #[error("expected a key record of version {FORMAT_VERSION}, got version {0}")]
    UnknownVersion(u8),
    /// A record made with a site key that was not given.
    #[error("the key record names site key version {0}, which this access system does not have")]
    UnknownKeyVersion(KeyVersion),
    /// The MAC is wrong: another card's record, another system's, or changed bytes.
    #[error("the key record is not authentic: its mac is not that of this card")]
    NotAuthentic,
    /// Authentic, and yet against the layout.
    #[error("the key record is authentic but malformed")]
    Malformed,
}

impl KeyRecord {
    /// Whether the content fits a record, before there is a card to put it on.
    ///
    /// # Errors
    /// [`RecordContentError`] where it does not.
    pub fn check(&self) -> Result<(), RecordContentError> {
        self.body(KeyVersion::MIN).map(drop)
    }

    /// The record's bytes for the card `uid`, under `site_key`. Fractions of a second are dropped.
    ///
    /// # Errors
    /// [`RecordContentError`] where the content does not fit.
    pub fn encode(
        &self,
        uid: &Uid,
        site_key: &VersionedSiteKey,
    ) -> Result<[u8; RECORD_LENGTH], RecordContentError> {
        let body = self.body(site_key.version)?;
        let mac = site_key.key.record_mac(uid, &body);
        let mut record = [0; RECORD_LENGTH];
        for (to, from) in record.iter_mut().zip(body.iter().chain(&mac)) {
            *to = *from;
        }
        Ok(record)
    }

    fn body(&self, version: KeyVersion) -> Result<Vec<u8>, RecordContentError> {
        if let (Some(starts_at), Some(ends_at)) = (self.starts_at, self.ends_at)
            && ends_at.as_second() < starts_at.as_second()
        {
            return Err(RecordContentError::EndsBeforeStart { starts_at, ends_at });
        }
        let issued_at = seconds("issued_at", self.issued_at, 0, u32::MAX)?;
        let starts_at = match self.starts_at {
            Some(at) => seconds("starts_at", at, NO_START + 1, u32::MAX)?,
            None => NO_START,
        };
        let ends_at = match self.ends_at {
            Some(at) => seconds("ends_at", at, 0, NO_END - 1)?,
            None => NO_END,
        };
        let (count, entrances) = self.entrance_fields()?;
        let mut body = Vec::with_capacity(AUTHENTICATED_LENGTH);
        body.extend(MAGIC);
        body.extend([FORMAT_VERSION, version]);
        body.extend(self.credential_id.as_bytes());
        for time in [issued_at, starts_at, ends_at] {
            body.extend(time.to_be_bytes());
        }
        body.extend([count, RESERVED]);
        for entrance in entrances {
            body.extend(entrance.to_be_bytes());
        }
        Ok(body)
    }

    fn entrance_fields(&self) -> Result<(u8, [u16; MOST_ENTRANCES]), RecordContentError> {
        let too_many = RecordContentError::TooManyEntrances(self.entrances.len());
        if self.entrances.len() > MOST_ENTRANCES {
            return Err(too_many);
        }
        if self.entrances.contains(&NO_ENTRANCE) {
            return Err(RecordContentError::EntranceZero);
        }
        let count = u8::try_from(self.entrances.len()).map_err(|_| too_many)?;
        let mut fields = [NO_ENTRANCE; MOST_ENTRANCES];
        for (to, from) in fields.iter_mut().zip(&self.entrances) {
            *to = *from;
        }
        Ok((count, fields))
    }
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRecord(…)")
    }
}

/// The record in `bytes`, as they were read from the card `uid`, if one of `keys` made it for that card.
///
/// # Errors
/// [`KeyRecordError`]; nothing of a record whose MAC is wrong is ever given out.
pub fn decode(
    uid: &Uid,
    bytes: &[u8],
    keys: &[VersionedSiteKey],
) -> Result<KeyRecord, KeyRecordError> {
    let record: &[u8; RECORD_LENGTH] = bytes.try_into().map_err(|_| KeyRecordError::NotARecord)?;
    let Some((body, mac)) = record.split_last_chunk() else {
        return Err(KeyRecordError::NotARecord);
    };
    let [m0, m1, format, version, ..] = *record;
    if [m0, m1] != MAGIC {
        return Err(KeyRecordError::NotARecord);
    }
    if format != FORMAT_VERSION {
        return Err(KeyRecordError::UnknownVersion(format));
    }
    let mut named = keys.iter().filter(|key| key.version == version).peekable();
    if named.peek().is_none() {
        return Err(KeyRecordError::UnknownKeyVersion(version));
    }
    if !named.any(|site_key| site_key.key.is_record_mac(uid, body, mac)) {
        return Err(KeyRecordError::NotAuthentic);
    }
    content(body).ok_or(KeyRecordError::Malformed)
}

/// The content of an authentic record's first 40 bytes; none where they break the layout.
fn content(body: &[u8]) -> Option<KeyRecord> {
    let (_, body) = body.split_first_chunk::<4>()?;
    let (credential_id, body) = body.split_first_chunk::<16>()?;
    let (issued_at, body) = body.split_first_chunk::<4>()?;
    let (starts_at, body) = body.split_first_chunk::<4>()?;
    let (ends_at, body) = body.split_first_chunk::<4>()?;
    let ([count, reserved], numbers) = body.split_first_chunk::<2>()?;
    let entrances: Vec<u16> = numbers
        .chunks_exact(2)
        .filter_map(|number| Some(u16::from_be_bytes(number.try_into().ok()?)))
        .collect();
    let (named, unused) = entrances.split_at_checked(usize::from(*count))?;
    let starts_at = u32::from_be_bytes(*starts_at);
    let ends_at = u32::from_be_bytes(*ends_at);
    let is_well_formed = *reserved == RESERVED
        && starts_at <= ends_at
        && !named.contains(&NO_ENTRANCE)
        && unused.iter().all(|number| *number == NO_ENTRANCE);
    if !is_well_formed {
        return None;
    }
    Some(KeyRecord {
        credential_id: Uuid::from_bytes(*credential_id),
        issued_at: at(u32::from_be_bytes(*issued_at)),
        starts_at: (starts_at != NO_START).then(|| at(starts_at)),
        ends_at: (ends_at != NO_END).then(|| at(ends_at)),
        entrances: named.to_vec(),
    })
}

fn seconds(
    what: &'static str,
    time: Timestamp,
    first: u32,
    last: u32,
) -> Result<u32, RecordContentError> {
    u32::try_from(time.as_second())
        .ok()
        .filter(|second| (first..=last).contains(second) && time >= Timestamp::UNIX_EPOCH)
        .ok_or(RecordContentError::TimeOutOfRange {
            what,
            first: at(first),
            last: at(last),
            got: time,
        })
}

fn at(second: u32) -> Timestamp {
    Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second.into())
}
