//! What an agent says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    EncoderDescription, EncoderKey, JobError, JobId, JobKind, Outcome, Touched, WireMessage,
};
use crate::card::{CardContents, CardDescription, Uid};

/// A message from an agent to the coordinator.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentMessage {
    /// The first message of a session.
    Hello(Hello),
    /// Every encoder of the agent: always the full list, never a difference.
    Inventory {
        /// All of them.
        encoders: Vec<EncoderDescription>,
        /// What is wrong with the agent as a whole, in words; empty when nothing is.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        problems: Vec<String>,
    },
    /// The job is durable on the agent.
    JobAccepted {
        /// Which job.
        job_id: JobId,
    },
    /// The job will never run here.
    JobRefused(JobRefused),
    /// Where a job stands, for people to look at; carries no promise.
    JobProgress {
        /// Which job.
        job_id: JobId,
        /// Where it stands.
        progress: Progress,
    },
    /// A card lies on the encoder of the job at the head of its queue: a plan for it is wanted.
    CardPresented(CardPresented),
    /// The plan of a bound job is wanted again.
    PlanRequest(PlanRequest),
    /// A job's one outcome; sent again until it is acknowledged.
    JobFinished(JobFinished),
    /// A message of the coordinator was of a type that this agent does not know.
    Unsupported {
        /// The unknown `type`.
        message_type: String,
    },
}

impl WireMessage for AgentMessage {
    const TYPES: &'static [&'static str] = &[
        "hello",
        "inventory",
        "job_accepted",
        "job_refused",
        "job_progress",
        "card_presented",
        "plan_request",
        "job_finished",
        "unsupported",
    ];
}

/// Who connects, and what it still owes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Hello {
    /// The agent's own id, made at its first start and kept in its journal.
    pub agent_id: Uuid,
    /// Random per start of the process.
    pub boot_id: Uuid,
    /// The agent's version.
    pub version: String,
    /// The operating system, for people.
    pub os: String,
    /// The PC's name, for people.
    pub hostname: String,
    /// Every job that is accepted and has no acknowledged outcome.
    pub open_jobs: Vec<OpenJob>,
    /// The sequence of the last outcome that the journal holds; 0 when it holds none.
    #[serde(deserialize_with = "super::count::read")]
    pub last_sequence: u64,
}

/// A job that the agent still holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OpenJob {
    /// Which job.
    pub job_id: JobId,
    /// Its encoder.
    pub encoder_key: EncoderKey,
    /// What it is.
    pub kind: JobKind,
    /// Its credential; none for a scan.
    pub credential_id: Option<Uuid>,
    /// How far it came.
    #[serde(flatten)]
    pub state: OpenJobState,
}

/// How far an open job came.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OpenJobState {
    /// It waits; no byte of any card has changed.
    Accepted,
    /// The first byte of this card may have changed.
    Started {
        /// The card.
        uid: Option<Uid>,
        /// The presentation whose plan was taken.
        #[serde(deserialize_with = "super::count::read")]
        n: u64,
    },
    /// It has an outcome that is not yet acknowledged.
    Finished {
        /// The outcome's sequence.
        #[serde(deserialize_with = "super::count::read")]
        sequence: u64,
    },
}

/// A job that will never run here, and why.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobRefused {
    /// Which job.
    pub job_id: JobId,
    /// The closed reason.
    pub reason: RefusalReason,
    /// The reason in words, with what to do.
    pub message: String,
}

/// Why an agent refuses a job.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The journal cannot be written.
    JournalUnavailable,
    /// The encoder's queue is full.
    QueueFull,
    /// The job is past its deadline or older than the journal's retention.
    TooOld,
    /// No such encoder is attached.
    UnknownEncoder,
    /// The encoder cannot do what is asked.
    Unsupported,
}

/// Where a job stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Progress {
    /// It is at the head of the queue and no card lies there.
    WaitingForCard,
    /// A card lies there that this job may not take: it was written just before.
    LiftCard,
    /// A card was seen.
    CardPresented,
    /// The card was lifted before anything was written.
    CardRemoved,
    /// More than one card lies there.
    SeveralCards,
    /// *Started* is durable: from now on bytes change.
    Writing {
        /// The card.
        uid: Option<Uid>,
        /// The presentation whose plan was taken.
        #[serde(deserialize_with = "super::count::read")]
        n: u64,
    },
    /// The card is read back.
    Verifying,
    /// The encoder waits for a card to be drawn through it: to be read, or, behind [`Progress::Writing`], to be written.
    SwipeCard,
    /// The card was written and must be drawn through the encoder once more, to be read back.
    SwipeAgain,
}

/// A card lies there.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CardPresented {
    /// For which job.
    pub job_id: JobId,
    /// The presentation: counts up within a job, over restarts too.
    #[serde(deserialize_with = "super::count::read")]
    pub n: u64,
    /// The card; one without a UID is not there yet: the encoder is ready for it to be swiped.
    pub card: CardDescription,
}

/// Why a plan is asked for again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanPurpose {
    /// To compare the card with the image; nothing will be written.
    Verify,
}

/// The plan of a bound job is wanted again; answered even after the attempt has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PlanRequest {
    /// Which job.
    pub job_id: JobId,
    /// The card that lies there.
    pub uid: Uid,
    /// The presentation under which the job was started.
    #[serde(deserialize_with = "super::count::read")]
    pub n: u64,
    /// Why.
    pub purpose: PlanPurpose,
}

/// A job's outcome.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobFinished {
    /// Counts up per agent, over restarts too; the first is 1.
    #[serde(deserialize_with = "super::count::read")]
    pub sequence: u64,
    /// Which job.
    pub job_id: JobId,
    /// What it was.
    pub kind: JobKind,
    /// Its credential; none for a scan.
    pub credential_id: Option<Uuid>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did to cards.
    pub touched: Touched,
    /// The card it was done on, or was bound to.
    pub card: Option<CardDescription>,
    /// The UID in lower-case hex, or the number that the image assigns; none for a random UID.
    pub card_number: Option<String>,
    /// When the write was verified, in UTC.
    pub issued_at: Option<Timestamp>,
    /// What a scan read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<CardContents>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}
