//! What goes into and comes out of the machine, and what waits inside it for the journal.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use encoder_protocols::{
    moment::Moment,
    wire::{self, EncoderKey, ErrorCode, JobFinished, JobId, JobKind, Touched},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::job::{Front, Job};
use crate::{
    encoder::{EncoderCommand, EncoderId},
    journal::{Recall, Record},
    session::Outgoing,
};

/// How many cancels wait for a journal that cannot be read.
const MOST_UNREAD: usize = 64;

/// Both times at which something happens.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For waiting and for deadlines.
    pub at: Moment,
    /// The time of day in UTC, for `issued_at` and for mapping the coordinator's clock after a restart.
    pub utc: Timestamp,
}

/// What an agent says of itself, besides the id that its journal keeps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentFacts {
    /// Random per start of the process.
    pub boot_id: Uuid,
    /// The agent's version.
    pub version: String,
    /// The operating system, for people.
    pub os: String,
    /// The PC's name, for people.
    pub hostname: String,
}

/// What the machine wants done. Actions are carried out in their order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make these records durable, then call [`super::Jobs::handle_stored`] before anything else.
    Persist(Vec<Record>),
    /// Look outcomes up, then call [`super::Jobs::handle_recalled`] before anything else.
    Recall(Recall),
    /// Send a message; dropped when its connection is over.
    Send(Outgoing),
    /// Tell an encoder task something.
    Command(EncoderId, EncoderCommand),
    /// A job ended; for the log.
    Ended(JobEnd),
}

/// How a job ended and where its time went; for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobEnd {
    /// The job.
    pub job_id: JobId,
    /// Its encoder.
    pub encoder_key: EncoderKey,
    /// What it was.
    pub kind: JobKind,
    /// The error's code; none for a success.
    pub error: Option<ErrorCode>,
    /// What it did to cards.
    pub touched: Touched,
    /// From its acceptance to the head of the queue.
    pub queued: Duration,
    /// From there to the last presentation of a card, or to the end.
    pub waited: Duration,
    /// From the presentation to the plan.
    pub planned: Duration,
    /// From the plan to the end.
    pub worked: Duration,
}

/// What is still to be done, in order. A step that needs the journal holds all later ones back.
#[derive(Debug)]
pub(super) enum Step {
    Do(Action),
    Persist(Vec<Record>, AfterPersist),
    Recall(Recall, AfterRecall),
}

/// What follows once records are durable, or could not be made so.
#[derive(Debug)]
pub(super) enum AfterPersist {
    /// Nothing; records that failed are tried again later.
    Nothing,
    /// A new job is put into its queue.
    Accepted(Box<Job>),
    /// A card is presented to the coordinator.
    Presented { job_id: JobId, front: Front },
    /// The prepared write is committed.
    Started {
        job_id: JobId,
        front: Front,
        estimate: Duration,
    },
    /// The outcome goes out.
    Finished(Box<JobFinished>),
}

/// What follows once outcomes were looked up.
#[derive(Debug)]
pub(super) enum AfterRecall {
    /// A job was offered that is not open.
    Offered(Box<wire::Job>),
    /// A job is cancelled that is not open.
    Cancelled {
        job_id: JobId,
        code: ErrorCode,
        message: String,
    },
    /// A page of outcomes behind this sequence is sent again.
    Repeat { sequence: u64 },
}

/// What the machine awaits from the journal.
#[derive(Debug)]
pub(super) enum Gate {
    Persist {
        deferred: Vec<Record>,
        records: Vec<Record>,
        then: AfterPersist,
    },
    Recall(AfterRecall),
}

/// The steps, in order.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    pub(super) steps: VecDeque<Step>,
    pub(super) gate: Option<Gate>,
    /// Records that nothing waits for: they go with the next that something does, or after a while.
    pub(super) deferred: Vec<Record>,
    /// When deferred records go by themselves.
    pub(super) flush_at: Option<Moment>,
    /// Cancels of jobs that are not open, whose outcome could not be read.
    pub(super) unread: BTreeMap<JobId, (ErrorCode, String)>,
    /// When it is asked for again.
    pub(super) read_at: Option<Moment>,
}

impl Agenda {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.gate.is_none()
    }

    pub(super) fn push(&mut self, action: Action) {
        self.steps.push_back(Step::Do(action));
    }

    pub(super) fn persist(&mut self, records: Vec<Record>, then: AfterPersist) {
        self.steps.push_back(Step::Persist(records, then));
    }

    pub(super) fn recall(&mut self, recall: Recall, then: AfterRecall) {
        self.steps.push_back(Step::Recall(recall, then));
    }

    /// Keeps a record that nothing waits for.
    pub(super) fn defer(&mut self, record: Record, flush_at: Moment) {
        self.deferred.push(record);
        self.flush_at.get_or_insert(flush_at);
    }

    /// Keeps a cancel until the journal can be read again. The coordinator repeats one that is dropped.
    pub(super) fn keep_unread(
        &mut self,
        job_id: JobId,
        cancel: (ErrorCode, String),
        again_at: Moment,
    ) {
        if self.unread.len() < MOST_UNREAD {
            self.unread.insert(job_id, cancel);
        }
        self.read_at.get_or_insert(again_at);
    }
}
