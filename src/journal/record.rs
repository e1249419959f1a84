//! What the journal keeps: facts about jobs, outcomes, and the cards that encoders have written.

use std::{collections::BTreeMap, time::Duration};

use encoder_protocols::{
    card::{CardDescription, Uid},
    wire::{EncoderKey, JobFinished, JobId, JobKind},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long an acknowledged outcome is remembered: 180 days.
pub const RETENTION: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// One fact to make durable. Facts that are appended together become durable together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A job was accepted. Its first presentation, n = 1, is spent with it.
    Accepted(JobFacts),
    /// A presentation of a job was spent, and with which card.
    Presented {
        /// Which job.
        job_id: JobId,
        /// The presentation.
        n: u64,
        /// The card; none where the medium has no UID.
        uid: Option<Uid>,
    },
    /// The first byte of this card may change from now on.
    Started {
        /// Which job.
        job_id: JobId,
        /// The presentation whose plan was taken.
        n: u64,
        /// The card.
        card: CardDescription,
    },
    /// A job's one outcome; also of a job that was never accepted here. The last sequence rises to this one's.
    Finished(Box<JobFinished>),
    /// The coordinator holds the outcome: what was read goes, the rest stays as a tombstone.
    Acknowledged {
        /// Which outcome.
        sequence: u64,
        /// When, in UTC: the retention counts from here.
        at: Timestamp,
    },
    /// Outcomes go on behind this sequence, which the coordinator already holds.
    SequenceFloor(u64),
    /// Which cards must leave this encoder first; none any more when the list is empty.
    Guarded {
        /// Which encoder.
        encoder_key: EncoderKey,
        /// All of them.
        guards: Vec<Guard>,
    },
    /// The coordinator's store that the agent last spoke with.
    Store(Uuid),
}

/// What is known of a job from its acceptance on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobFacts {
    /// The job.
    pub job_id: JobId,
    /// Its encoder.
    pub encoder_key: EncoderKey,
    /// What it is.
    pub kind: JobKind,
    /// Its credential; none for a scan.
    pub credential_id: Option<Uuid>,
    /// When it was asked for, by the coordinator's clock.
    pub created_at: Timestamp,
    /// When it must have ended, by the coordinator's clock.
    pub deadline: Timestamp,
    /// The coordinator's clock minus this PC's, as it was when the job came.
    pub server_offset: SignedDuration,
    /// How long to wait for a card at the head of the queue.
    pub card_wait: Duration,
}

/// A card that must leave the field before an encode of another credential may take a card (promise, rule 7).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "card", rename_all = "snake_case")]
pub enum Guard {
    /// Whatever lies there when the encoder is next looked at: the journal may have forgotten a write.
    Any,
    /// This card was written, or may have been.
    Written {
        /// The card.
        uid: Uid,
        /// The credential that may go onto it again at once; none when it is not known.
        credential_id: Option<Uuid>,
    },
}

impl Guard {
    /// Whether both stand for the same card.
    pub fn is_same_card(self, other: Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Written { uid, .. }, Self::Written { uid: other, .. }) => uid == other,
            (Self::Any, Self::Written { .. }) | (Self::Written { .. }, Self::Any) => false,
        }
    }
}

/// A job without an outcome, as the journal holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct JournaledJob {
    /// What is known from its acceptance on.
    pub facts: JobFacts,
    /// The highest presentation that may have been used.
    pub n: u64,
    /// The different cards that are known to have been presented, in order.
    pub cards: Vec<Uid>,
    /// How far it came.
    pub state: JournaledState,
}

/// How far a job without an outcome came.
#[derive(Clone, Debug, PartialEq)]
pub enum JournaledState {
    /// No byte of any card has changed.
    Accepted,
    /// A byte of this card may have changed.
    Started {
        /// The presentation whose plan was taken.
        n: u64,
        /// The card.
        card: CardDescription,
    },
}

/// An outcome that is not acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Owed {
    /// The outcome.
    pub finished: JobFinished,
    /// Its encoder; none for a job that was cancelled before it ever came.
    pub encoder_key: Option<EncoderKey>,
}

/// Everything that a starting agent must know.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalContents {
    /// The agent's own id.
    pub agent_id: Uuid,
    /// The sequence behind which outcomes go on: of the last one, or a later one that the coordinator knew.
    pub last_sequence: u64,
    /// The sequence of the last outcome that is held; 0 where none is.
    pub last_outcome: u64,
    /// The coordinator's store that the agent last spoke with.
    pub store_id: Option<Uuid>,
    /// Jobs without an outcome, in the order of their acceptance.
    pub open_jobs: Vec<JournaledJob>,
    /// Outcomes that are not acknowledged, by sequence.
    pub unacknowledged: Vec<Owed>,
    /// Cards that must leave their encoder first.
    pub guards: BTreeMap<EncoderKey, Vec<Guard>>,
    /// What was wrong with the journal at its opening, in words for the operator.
    pub problems: Vec<String>,
}

/// Outcomes to look up, acknowledged ones included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recall {
    /// The outcome of one job.
    Job(JobId),
    /// The first `limit` outcomes behind this sequence, in order.
    After {
        /// The sequence that is known already.
        sequence: u64,
        /// How many to return at most.
        limit: u32,
    },
}
