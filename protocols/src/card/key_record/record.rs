//! The record's bytes (README, "Layout").

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    KeyVersion, MOST_ENTRANCES, RECORD_LENGTH, VersionedSiteKey,
    extension::{OWN_ENTRANCES, extension_length, extension_of},
};
use crate::card::Uid;

const MAGIC: [u8; 2] = *b"EK";
const BODY_LENGTH: usize = 40;
const COUNT: std::ops::Range<usize> = 32..34;
pub(super) const NO_START: u32 = 0;
pub(super) const NO_END: u32 = u32::MAX;
const RESERVED: u8 = 0;
pub(super) const NO_ENTRANCE: u16 = 0;

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
    /// The access system's own numbers of the entrances it opens, from 1 on; at most [`MOST_ENTRANCES`], and as many as the
    /// card has room for.
    pub entrances: Vec<u16>,
}

/// A record's times in unix seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Times {
    pub(super) issued_at: u32,
    /// [`NO_START`] where there is none.
    pub(super) starts_at: u32,
    /// [`NO_END`] where there is none.
    pub(super) ends_at: u32,
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
    /// More entrances than fit any card.
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
    #[error("expected a key record of version 1 or 2, got version {0}")]
    UnknownVersion(u8),
    /// Not as many bytes as the record says: its extension, or a part of it, was not read.
    #[error("the key record says that it has {expected} bytes, got {got}")]
    WrongLength {
        /// What it says.
        expected: usize,
        /// What was given.
        got: usize,
    },
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

/// How a record holds its entrances.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// Version 1: all of them in its own bytes.
    Single,
    /// Version 2: those behind the first three in an extension.
    Extended,
}

impl Format {
    const fn of(entrances: usize) -> Self {
        if entrances > OWN_ENTRANCES {
            Self::Extended
        } else {
            Self::Single
        }
    }

    const fn version(self) -> u8 {
        match self {
            Self::Single => 1,
            Self::Extended => 2,
        }
    }

    const fn from_version(version: u8) -> Option<Self> {
        match version {
            1 => Some(Self::Single),
            2 => Some(Self::Extended),
            _ => None,
        }
    }

    /// How many entrances stand in a record's bytes 32 and 33; none where they break the layout.
    fn count(self, bytes: [u8; 2]) -> Option<u16> {
        let count = match (self, bytes) {
            (Self::Single, [count, RESERVED]) => count.into(),
            (Self::Single, _) => return None,
            (Self::Extended, count) => u16::from_be_bytes(count),
        };
        (Self::of(count.into()) == self).then_some(count)
    }

    const fn count_bytes(self, count: u16) -> [u8; 2] {
        let [high, low] = count.to_be_bytes();
        match self {
            Self::Single => [low, RESERVED],
            Self::Extended => [high, low],
        }
    }

    /// How many entrances a record with an extension says it has; none for any other record.
    pub(super) fn extended_count(record: &[u8; RECORD_LENGTH]) -> Option<u16> {
        let [m0, m1, version, ..] = *record;
        let count = record.get(COUNT)?.first_chunk()?;
        ([m0, m1] == MAGIC && Self::from_version(version)? == Self::Extended)
            .then(|| Self::Extended.count(*count))?
    }
}

impl KeyRecord {
    /// Whether the content fits a record, before there is a card to put it on.
    ///
    /// # Errors
    /// [`RecordContentError`] where it does not.
    pub fn check(&self) -> Result<(), RecordContentError> {
        self.body(KeyVersion::MIN).map(drop)
    }

    /// The record's bytes for the card `uid`, under `site_key`: 48, and those of the extension where it has one. Fractions of
    /// a second are dropped.
    ///
    /// # Errors
    /// [`RecordContentError`] where the content does not fit.
    pub fn encode(
        &self,
        uid: &Uid,
        site_key: &VersionedSiteKey,
    ) -> Result<Vec<u8>, RecordContentError> {
        let mut record = self.body(site_key.version)?;
        let beyond = self.entrances.get(OWN_ENTRANCES..).unwrap_or_default();
        let extension = extension_of(beyond);
        let format = Format::of(self.entrances.len());
        let mac = site_key.key.record_mac(format, uid, &record, &extension);
        record.extend(mac);
        record.extend(extension);
        Ok(record)
    }

    /// The times as records hold them.
    pub(super) fn times(&self) -> Result<Times, RecordContentError> {
        if let (Some(starts_at), Some(ends_at)) = (self.starts_at, self.ends_at)
            && ends_at.as_second() < starts_at.as_second()
        {
            return Err(RecordContentError::EndsBeforeStart { starts_at, ends_at });
        }
        Ok(Times {
            issued_at: seconds("issued_at", self.issued_at, 0, u32::MAX)?,
            starts_at: match self.starts_at {
                Some(at) => seconds("starts_at", at, NO_START + 1, u32::MAX)?,
                None => NO_START,
            },
            ends_at: match self.ends_at {
                Some(at) => seconds("ends_at", at, 0, NO_END - 1)?,
                None => NO_END,
            },
        })
    }

    fn body(&self, version: KeyVersion) -> Result<Vec<u8>, RecordContentError> {
        let times = self.times()?;
        let (count, entrances) = self.entrance_fields()?;
        let mut body = Vec::with_capacity(BODY_LENGTH);
        body.extend(MAGIC);
        body.extend([Format::of(self.entrances.len()).version(), version]);
        body.extend(self.credential_id.as_bytes());
        for time in [times.issued_at, times.starts_at, times.ends_at] {
            body.extend(time.to_be_bytes());
        }
        body.extend(count);
        for entrance in entrances {
            body.extend(entrance.to_be_bytes());
        }
        Ok(body)
    }

    /// The count, and the entrances in the record's own bytes.
    fn entrance_fields(&self) -> Result<([u8; 2], [u16; OWN_ENTRANCES]), RecordContentError> {
        let entrances = self.entrances.len();
        if entrances > MOST_ENTRANCES {
            return Err(RecordContentError::TooManyEntrances(entrances));
        }
        if self.entrances.contains(&NO_ENTRANCE) {
            return Err(RecordContentError::EntranceZero);
        }
        let count = u16::try_from(entrances)
            .map_err(|_| RecordContentError::TooManyEntrances(entrances))?;
        let mut fields = [NO_ENTRANCE; OWN_ENTRANCES];
        for (to, from) in fields.iter_mut().zip(&self.entrances) {
            *to = *from;
        }
        Ok((Format::of(entrances).count_bytes(count), fields))
    }
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRecord(…)")
    }
}

/// The record in `bytes`, as they and its extension's were read from the card `uid`, if one of `keys` made it for that card.
///
/// # Errors
/// [`KeyRecordError`]; nothing of a record whose MAC is wrong is ever given out.
pub fn decode(
    uid: &Uid,
    bytes: &[u8],
    keys: &[VersionedSiteKey],
) -> Result<KeyRecord, KeyRecordError> {
    let Some((record, extension)) = bytes.split_first_chunk::<RECORD_LENGTH>() else {
        return Err(KeyRecordError::NotARecord);
    };
    let Some((body, mac)) = record.split_last_chunk() else {
        return Err(KeyRecordError::NotARecord);
    };
    let [m0, m1, version, key_version, ..] = *record;
    if [m0, m1] != MAGIC {
        return Err(KeyRecordError::NotARecord);
    }
    let format = Format::from_version(version).ok_or(KeyRecordError::UnknownVersion(version))?;
    let expected = RECORD_LENGTH + extension_length(record);
    if bytes.len() != expected {
        return Err(KeyRecordError::WrongLength {
            expected,
            got: bytes.len(),
        });
    }
    let mut named = keys
        .iter()
        .filter(|key| key.version == key_version)
        .peekable();
    if named.peek().is_none() {
        return Err(KeyRecordError::UnknownKeyVersion(key_version));
    }
    let is_authentic = |site_key: &VersionedSiteKey| {
        let key = &site_key.key;
        key.is_record_mac(format, uid, body, extension, mac)
    };
    if !named.any(is_authentic) {
        return Err(KeyRecordError::NotAuthentic);
    }
    content(format, body, extension).ok_or(KeyRecordError::Malformed)
}

/// The content of an authentic record's first 40 bytes and its extension; none where they break the layout.
fn content(format: Format, body: &[u8], extension: &[u8]) -> Option<KeyRecord> {
    let (_, body) = body.split_first_chunk::<4>()?;
    let (credential_id, body) = body.split_first_chunk::<16>()?;
    let (issued_at, body) = body.split_first_chunk::<4>()?;
    let (starts_at, body) = body.split_first_chunk::<4>()?;
    let (ends_at, body) = body.split_first_chunk::<4>()?;
    let (count, own) = body.split_first_chunk::<2>()?;
    let count = format.count(*count)?;
    let (own, _) = own.as_chunks();
    let (beyond, _) = extension.as_chunks();
    let numbers: Vec<u16> = own
        .iter()
        .chain(beyond)
        .map(|number| u16::from_be_bytes(*number))
        .collect();
    let (named, unused) = numbers.split_at_checked(count.into())?;
    let starts_at = u32::from_be_bytes(*starts_at);
    let ends_at = u32::from_be_bytes(*ends_at);
    let is_well_formed = starts_at <= ends_at
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
