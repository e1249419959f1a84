//! What is known of jobs, holds, agents and encoders.

use std::time::Duration;

use encoder_protocols::{
    card::{CardDescription, Uid},
    wire::{
        EncoderDescription, EncoderKey, EncoderState, JobContent, JobError, JobId, JobKind,
        KeyScope, Outcome, Touched,
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AgentId, BootId, CredentialId, EncoderId, SessionId, SystemId};

/// Everything a key record is made of besides the card's UID and the keys. It is fixed at the binding, so that the
/// plan of one binding is the same bytes whenever it is asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlanContent {
    /// The version of the access system's site key.
    pub key_version: u32,
    /// The revision of the credential that this is.
    pub revision: i64,
    /// The first moment at which the key opens.
    pub starts_at: Option<Timestamp>,
    /// The last moment at which the key opens.
    pub ends_at: Option<Timestamp>,
    /// The numbers of the entrances, as the key record carries them.
    pub entrances: Vec<u16>,
    /// The record's own date.
    pub issued_at: Timestamp,
    /// The image that a key server made, sealed: it is made once. None where the image is made of the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// The card that a job may change or read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// The presentation.
    pub n: u64,
    /// The card's UID; none where the medium has none.
    pub uid: Option<Uid>,
    /// The card.
    pub card: CardDescription,
    /// The only session into which the plan goes.
    pub session: SessionId,
    /// The start of the agent's process that presented the card.
    pub boot: BootId,
    /// What the plan is made of; none for a scan.
    pub content: Option<PlanContent>,
}

/// How an attempt stands. Once ended it never changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Attempt {
    /// It waits for its outcome.
    Pending,
    /// It succeeded. The result of a scan is given; that of an encode is its credential.
    Success {
        /// What a scan found, as the HTTP API prints it.
        result: Option<serde_json::Value>,
    },
    /// It failed.
    Error(JobError),
}

impl Attempt {
    /// Whether it waits for its outcome.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }
}

/// A job with its attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// The job's id, and its action attempt's.
    pub id: JobId,
    /// What was asked.
    pub kind: JobKind,
    /// In which access system.
    pub system: SystemId,
    /// On which encoder.
    pub encoder: EncoderId,
    /// That encoder's key as the agent knows it.
    pub encoder_key: EncoderKey,
    /// The agent that the job belongs to for good. None for a job that ended before it could go anywhere.
    pub agent: Option<AgentId>,
    /// The credential to encode; none for a scan.
    pub credential: Option<CredentialId>,
    /// The credential's content as it was when the job was asked for, for encoders that make keys themselves.
    pub content: Option<JobContent>,
    /// The API key that asked.
    pub api_key: Option<Uuid>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// How long the agent waits for a card once the job is at the head of its queue.
    pub card_wait: Duration,
    /// Its encoder is a simulated one.
    pub simulated: bool,
    /// Whether it may have reached the agent.
    pub sent: bool,
    /// The card that it is bound to.
    pub binding: Option<Binding>,
    /// Every UID that it was bound to so far.
    pub cards: Vec<Uid>,
    /// The agent's process has changed since the binding: the job stays on its UID, and its `untouched` counts as
    /// `unknown`.
    pub pinned: bool,
    /// Its attempt has ended, but its agent has listed it as open: its credential goes to no other job until the
    /// outcome comes.
    pub awaited: bool,
    /// Why it is not wanted any more, once that was decided.
    pub cancelled: Option<JobError>,
    /// How its attempt stands.
    pub attempt: Attempt,
    /// What it did to cards, once its outcome was taken.
    pub outcome: Option<Touched>,
}

impl JobRecord {
    /// Whether only a message that names it could change anything about it.
    pub fn is_settled(&self) -> bool {
        let answered = self.outcome.is_some() || !self.is_bound();
        !self.attempt.is_pending() && !self.awaited && answered
    }

    /// Whether it may have changed a card: it was bound to one, or its agent says that it has started on one.
    pub fn is_bound(&self) -> bool {
        self.binding.is_some() || self.pinned
    }
}

/// What a hold rests on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// The job is bound to the card.
    Bound,
    /// A byte of the card may have changed.
    Unknown,
    /// The card carries the whole image.
    Written,
}

/// A credential's tie to a card: while it stands, the credential goes onto no other card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hold {
    /// The job whose hold it is.
    pub job: JobId,
    /// The credential that is held.
    pub credential: CredentialId,
    /// The card; none where it is not known which one, so that no card fits.
    pub uid: Option<Uid>,
    /// What it rests on.
    pub state: HoldState,
}

/// A job that an agent names and the store does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    /// The job's id.
    pub job: JobId,
    /// Who named it.
    pub agent: AgentId,
    /// What it is.
    pub kind: JobKind,
    /// Its credential.
    pub credential: Option<CredentialId>,
    /// The card, as far as it is known.
    pub uid: Option<Uid>,
    /// How it ended; none while the agent lists it as open.
    pub outcome: Option<(Outcome, Touched)>,
    /// When it was first heard of.
    pub seen_at: Timestamp,
}

/// A live session.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The start of the agent's process.
    pub boot: BootId,
    /// The last outcome that the agent's journal holds, as `hello` said.
    pub last_sequence: u64,
    /// The jobs that `hello` listed.
    pub listed: Vec<JobId>,
    /// The encoders whose settings were sent.
    pub told: Vec<EncoderKey>,
}

/// An agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    /// Its id here.
    pub id: AgentId,
    /// Its access system.
    pub system: SystemId,
    /// Its name for people.
    pub name: String,
    /// The id that it gave itself, as its last `hello` said.
    pub own_id: Option<Uuid>,
    /// The last outcome stored.
    pub last_sequence: u64,
    /// Its live session.
    pub session: Option<Session>,
    /// Since when it has none; after a start of the coordinator, since that start.
    pub away_since: Timestamp,
    /// The operator said that it never comes back.
    pub retired: bool,
}

/// Where an encoder is, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The agent that lists it, or did.
    pub agent: AgentId,
    /// Whether the agent's last inventory lists it.
    pub listed: bool,
    /// Since when.
    pub since: Timestamp,
    /// What the agent last said of it.
    pub description: EncoderDescription,
}

impl Place {
    /// Whether the encoder could take a job there.
    pub fn is_ready(&self) -> bool {
        self.listed && self.description.state != EncoderState::Fault
    }
}

/// An encoder of an access system.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderRecord {
    /// Its id, which stays the same for the same key.
    pub id: EncoderId,
    /// Its access system.
    pub system: SystemId,
    /// What it is recognised by.
    pub key: EncoderKey,
    /// How far the key counts.
    pub scope: KeyScope,
    /// The name that people gave it here; without one, what its agent calls it counts.
    pub display_name: Option<String>,
    /// Whether it may take jobs.
    pub adopted: bool,
    /// No agent has it: what comes of its jobs is made up.
    pub simulated: bool,
    /// When it was first listed.
    pub created_at: Timestamp,
    /// Every place it was seen at.
    pub places: Vec<Place>,
}

impl EncoderRecord {
    /// The name to show to people: the one that people gave it where it is, else the one that they gave it here, else what
    /// its agent calls it.
    pub fn name(&self) -> &str {
        let told = self.places.iter().max_by_key(|place| place.since);
        let told = told.map(|place| (place.description.named, place.description.name.as_str()));
        match (told, self.display_name.as_deref()) {
            (Some((true, name)), _) | (_, Some(name)) | (Some((false, name)), None) => name,
            (None, None) => &self.key.0,
        }
    }
}

/// A store that was started from a backup's copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// The copy contains the credentials made until then.
    pub until: Timestamp,
    /// The agents that have not yet said `hello` and delivered every outcome.
    pub awaited: Vec<AgentId>,
}
