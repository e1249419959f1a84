//! One job while it has no outcome.

use std::time::Duration;

use encoder_protocols::{
    card::{CardDescription, Uid},
    moment::Moment,
    wire::{EncoderKey, ErrorCode, JobError, JobId, JobKind, Progress, Touched},
};

use super::action::JobEnd;
use crate::{encoder::EncoderId, journal::JobFacts};

/// A card as it was presented to the coordinator: what a plan must name to be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Front {
    pub(super) n: u64,
    pub(super) card: CardDescription,
}

/// Where a job stands.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// In the queue, or at its head and no card is presented.
    Waiting,
    /// Its next record is on the way to the journal.
    Settling,
    /// A card is presented and its plan is awaited.
    Planning(Front),
    /// The encoder authenticates what the image needs; nothing changes.
    Preparing { front: Front, estimate: Duration },
    /// The encoder reads.
    Reading(Front),
    /// *Started*: bytes change.
    Writing(Front),
    /// *Started* on a card that is to be swiped: the encoder awaits the swipe that writes.
    Armed(Armed),
    /// Such a card was written, and is to be swiped again to be read back.
    Reswiping(Reswiping),
    /// Found *started* after a restart: the card is compared, never written.
    Looking(Looking),
}

/// A write that awaits its swipe.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    /// What was presented.
    pub(super) front: Front,
    /// When the swipe is awaited no longer.
    pub(super) until: Moment,
    /// Why it is not awaited any more, once that was said to the encoder: the job's end, if no swipe had come.
    pub(super) given_up: Option<JobError>,
}

/// A write that awaits the swipe which shows it.
#[derive(Clone, Debug)]
pub(super) struct Reswiping {
    /// What was presented.
    pub(super) front: Front,
    /// When the swipe is awaited no longer.
    pub(super) until: Moment,
    /// Why it is not awaited any more, once that was said to the encoder.
    pub(super) given_up: Option<JobError>,
}

/// A job that looks at what became of its write.
#[derive(Clone, Debug)]
pub(super) struct Looking {
    /// The card and the presentation under which it was started.
    pub(super) front: Front,
    /// How long it may still look, counted only while encoder and session are up.
    pub(super) left: Duration,
    /// When that time is over; none while it is not counted.
    pub(super) until: Option<Moment>,
    /// The connection on which the plan was asked for.
    pub(super) asked: Option<u64>,
    /// The encoder compares the card.
    pub(super) verifying: bool,
}

/// The wait for a card, counted only while none lies there that the job could take.
#[derive(Clone, Copy, Debug)]
pub(super) struct CardWait {
    left: Duration,
    until: Option<Moment>,
}

impl CardWait {
    pub(super) fn new(wait: Duration) -> Self {
        Self {
            left: wait,
            until: None,
        }
    }

    pub(super) fn go_on(&mut self, now: Moment) {
        self.until.get_or_insert(now + self.left);
    }

    pub(super) fn pause(&mut self, now: Moment) {
        if let Some(until) = self.until.take() {
            self.left = until.since(now);
        }
    }

    pub(super) fn until(&self) -> Option<Moment> {
        self.until
    }
}

/// When a job reached its stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct StageTimes {
    pub(super) accepted: Moment,
    pub(super) headed: Option<Moment>,
    pub(super) presented: Option<Moment>,
    pub(super) planned: Option<Moment>,
}

/// A job without an outcome.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) facts: JobFacts,
    pub(super) encoder: EncoderId,
    /// When it must have ended, on this process's clock.
    pub(super) deadline: Moment,
    /// The highest presentation used.
    pub(super) n: u64,
    /// Presentations up to this one are spent in the journal.
    pub(super) durable_n: u64,
    /// The different cards presented.
    pub(super) cards: Vec<Uid>,
    pub(super) phase: Phase,
    pub(super) wait: CardWait,
    /// What people were told last on this connection.
    pub(super) told: Option<Progress>,
    /// The card presented last.
    pub(super) last_card: Option<CardDescription>,
    /// The number that the image assigns to a card without a UID.
    pub(super) assigned_number: Option<String>,
    /// Why it is not wanted any more, where that was said while a record of it was on the way to the journal.
    pub(super) unwanted: Option<JobError>,
    pub(super) times: StageTimes,
}

impl Job {
    /// A job that was just asked for: its first presentation is spent together with its acceptance.
    pub(super) fn new(
        facts: JobFacts,
        encoder: EncoderId,
        deadline: Moment,
        accepted: Moment,
    ) -> Self {
        let wait = CardWait::new(facts.card_wait);
        Self {
            facts,
            encoder,
            deadline,
            n: 0,
            durable_n: 1,
            cards: Vec::new(),
            phase: Phase::Waiting,
            wait,
            told: None,
            last_card: None,
            assigned_number: None,
            unwanted: None,
            times: StageTimes {
                accepted,
                headed: None,
                presented: None,
                planned: None,
            },
        }
    }

    pub(super) fn id(&self) -> JobId {
        self.facts.job_id
    }

    pub(super) fn is_encode(&self) -> bool {
        self.facts.kind == JobKind::Encode
    }

    /// Whether the first byte of a card may have changed.
    pub(super) fn is_started(&self) -> bool {
        matches!(
            self.phase,
            Phase::Writing(_) | Phase::Armed(_) | Phase::Reswiping(_) | Phase::Looking(_)
        )
    }

    /// Whether an encoder works for it.
    pub(super) fn is_operating(&self) -> bool {
        match &self.phase {
            Phase::Preparing { .. }
            | Phase::Reading(_)
            | Phase::Writing(_)
            | Phase::Armed(_)
            | Phase::Reswiping(_) => true,
            Phase::Looking(looking) => looking.verifying,
            Phase::Waiting | Phase::Settling | Phase::Planning(_) => false,
        }
    }

    /// How it ended and where its time went.
    pub(super) fn end(
        &self,
        encoder_key: EncoderKey,
        now: Moment,
        error: Option<ErrorCode>,
        touched: Touched,
    ) -> JobEnd {
        let times = self.times;
        let headed = times.headed.unwrap_or(now);
        let presented = times.presented.unwrap_or(now);
        let planned = times.planned.unwrap_or(now);
        JobEnd {
            job_id: self.id(),
            encoder_key,
            kind: self.facts.kind,
            error,
            touched,
            queued: headed.since(times.accepted),
            waited: presented.since(headed),
            planned: planned.since(presented),
            worked: now.since(planned),
        }
    }
}
