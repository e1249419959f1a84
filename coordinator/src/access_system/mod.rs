//! The embedded default access system: makes the image for one card out of a credential and the system's site keys,
//! says what to read from a card, and decodes what was read.
//!
//! The record on the card is [`encoder_protocols::card::key_record`]. Keys leave the store here and nowhere else, and
//! never but inside the plan for one card.

mod out_of_sync;
mod scan;
#[cfg(test)]
pub(crate) mod tests;

pub use scan::{Seen, last_written, scan_result};

use encoder_protocols::{
    card::{
        CardContents, CardDescription, CardImage, ReadPlan,
        key_record::{
            self, KeyRecord, KeyRecordError, Layout, LayoutError, RecordContentError, SiteKey,
            StripeRecord, VersionedSiteKey,
        },
        magstripe::TrackFound,
    },
    wire::ErrorCode,
};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::{
    jobs::{PlanContent, Refusal},
    secrets::MasterKey,
    store::{
        StoreError,
        credentials::{CredentialRow, Validity},
        key_servers, site_keys,
    },
};

/// An access system with its site keys, the newest first. Never shows them when it is formatted.
#[derive(Debug)]
pub struct AccessSystem {
    keys: Vec<VersionedSiteKey>,
    layout: Layout,
    /// What stands on its cards is known to a key server alone.
    is_external: bool,
}

/// What a card turned out to carry.
#[derive(Debug)]
pub enum Decoded {
    /// A record that this system made for this very card.
    Record {
        /// The record.
        record: KeyRecord,
        /// The card's number: that of its UID, or the one that its image gave it.
        card_number: Option<String>,
    },
    /// A payment card, whose data its agent kept to itself.
    PaymentData,
    /// Something that looks like a record and is not authentic, or is not whole. Nothing of it is given out.
    NotAuthentic,
    /// No record.
    Nothing,
    /// What only a key server could read: the card is known by its number alone.
    Unread,
}

/// Whether a card can carry such a credential at all, before there is a card.
///
/// # Errors
/// [`RecordContentError`] where it cannot.
pub fn check_fits(
    (starts_at, ends_at): Validity,
    entrances: Vec<u16>,
    now: Timestamp,
) -> Result<(), RecordContentError> {
    let record = KeyRecord {
        credential_id: Uuid::nil(),
        issued_at: now,
        starts_at,
        ends_at,
        entrances,
    };
    record.check()
}

impl AccessSystem {
    /// Reads the system's site keys.
    ///
    /// # Errors
    /// [`StoreError`] when the statement fails or a key does not open.
    pub async fn load(
        conn: &mut SqliteConnection,
        master_key: &MasterKey,
        acs_system_id: Uuid,
    ) -> Result<Self, StoreError> {
        let keys = site_keys::list(conn, master_key, acs_system_id).await?;
        let system = Self::new(keys.iter().map(|stored| VersionedSiteKey {
            version: stored.version,
            key: SiteKey::new(*stored.key),
        }));
        let is_external = key_servers::url(conn, acs_system_id).await?.is_some();
        Ok(Self {
            is_external,
            ..system
        })
    }

    /// A system with these site keys, the newest first.
    pub fn new(keys: impl IntoIterator<Item = VersionedSiteKey>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            layout: Layout::default(),
            is_external: false,
        }
    }

    /// What a plan that puts the credential on this card is made of.
    ///
    /// # Errors
    /// [`Refusal`] when the card cannot carry the credential: the code says whether another card would.
    pub fn prepare(
        &self,
        card: &CardDescription,
        credential: &CredentialRow,
        entrances: Vec<u16>,
        now: Timestamp,
    ) -> Result<PlanContent, Refusal> {
        let newest = self.keys.first().map_or(0, |key| key.version);
        let content = PlanContent {
            key_version: u32::from(newest),
            revision: credential.content_version,
            starts_at: credential.starts_at,
            ends_at: credential.ends_at,
            entrances,
            issued_at: now,
            image: None,
        };
        match self.image(card, credential.acs_credential_id, &content) {
            Ok(_) => Ok(content),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// The image for one card. The same card, credential and content give the same bytes, also after newer site keys
    /// were made.
    ///
    /// # Errors
    /// [`LayoutError`] when the card cannot carry the record.
    pub fn image(
        &self,
        card: &CardDescription,
        acs_credential_id: Uuid,
        content: &PlanContent,
    ) -> Result<CardImage, LayoutError> {
        let record = KeyRecord {
            credential_id: acs_credential_id,
            issued_at: content.issued_at,
            starts_at: content.starts_at,
            ends_at: content.ends_at,
            entrances: content.entrances.clone(),
        };
        let known = self
            .keys
            .iter()
            .position(|key| u32::from(key.version) == content.key_version);
        let keys = known.and_then(|at| self.keys.get(at..)).unwrap_or_default();
        self.layout.image_for(card, &record, keys)
    }

    /// What to read from this card: where a key server made it, nothing but its UID.
    pub fn read_plan(&self, card: &CardDescription) -> ReadPlan {
        if self.is_external && !card.technology.is_swiped() {
            return ReadPlan::UidOnly;
        }
        self.layout.read_plan_for(card, &self.keys)
    }

    /// What the bytes read from this card are.
    pub fn decode(&self, card: &CardDescription, contents: &CardContents) -> Decoded {
        if self.is_external {
            return Decoded::Unread;
        }
        let decoded = if let CardContents::Magstripe { tracks } = contents {
            key_record::decode_stripe(tracks, &self.keys).map(
                |StripeRecord {
                     record,
                     card_number,
                 }| (record, Some(card_number)),
            )
        } else {
            let bytes = self.layout.record_bytes_from(contents, card);
            let Some((bytes, uid)) = bytes.zip(card.uid) else {
                return Decoded::Nothing;
            };
            key_record::decode(&uid, &bytes, &self.keys).map(|record| (record, card.card_number()))
        };
        match decoded {
            Ok((record, card_number)) => Decoded::Record {
                record,
                card_number,
            },
            Err(KeyRecordError::NotARecord) if has_payment_data(contents) => Decoded::PaymentData,
            Err(KeyRecordError::NotARecord) => Decoded::Nothing,
            Err(
                KeyRecordError::NotAuthentic
                | KeyRecordError::UnknownVersion(_)
                | KeyRecordError::WrongLength { .. }
                | KeyRecordError::UnknownKeyVersion(_)
                | KeyRecordError::Malformed,
            ) => Decoded::NotAuthentic,
        }
    }
}

/// Whether the agent kept a payment card's data to itself.
fn has_payment_data(contents: &CardContents) -> bool {
    let CardContents::Magstripe { tracks } = contents else {
        return false;
    };
    let mut tracks = tracks.iter();
    tracks.any(|track| matches!(track.found, TrackFound::PaymentData { .. }))
}

fn refusal(error: &LayoutError) -> Refusal {
    let code = match error {
        LayoutError::IncompatibleTechnology(_)
        | LayoutError::NoUid
        | LayoutError::TooManyEntrances { .. }
        | LayoutError::NoSuchSector { .. } => ErrorCode::IncompatibleCardFormat,
        LayoutError::NoSiteKey | LayoutError::Content(_) => ErrorCode::UncategorizedError,
    };
    Refusal {
        code,
        message: error.to_string(),
    }
}
