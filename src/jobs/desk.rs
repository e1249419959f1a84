//! What is asked at the desk itself, not by the coordinator: how things stand, to free an encoder, to lend one.
//!
//! A lent encoder is a command's of this PC. Its jobs wait in their queue meanwhile, as behind another job; what is known of
//! its field goes on being kept, so that a card which must leave first still must (promise, rule 7).

use std::time::Duration;

use encoder_protocols::{
    card::Uid,
    wire::{ErrorCode, JobId},
};

use super::{
    action::{AfterPersist, Now},
    attached::{Attached, Link},
    job::{Job, Phase},
    machine::Jobs,
    presence::Standing,
    session::Session,
};
use crate::{
    encoder::{EncoderCommand, EncoderId, EncoderSettings},
    journal::{Guard, Record},
    status::{EncoderState, EncoderStatus, JobStage, JobStatus, JobsStatus},
};

/// What an attempt that was cancelled here says.
pub const CANCELLED_AT_THE_DESK: &str = "cancelled at the desk; ask again";

/// Why no encoder is meant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoEncoder {
    /// None has that name, key or port.
    #[error("no encoder is called \"{name}\": expected one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names of all.
        known: String,
    },
    /// More than one could be meant.
    #[error("several encoders could be meant: name one of {0}")]
    Several(String),
    /// There is none.
    #[error(
        "no encoder is plugged in, or none that may be asked: `encoder-agent devices` says why"
    )]
    None,
}

/// Why nothing was cancelled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotCancelled {
    /// No encoder is meant.
    #[error(transparent)]
    NoEncoder(#[from] NoEncoder),
    /// It has no job.
    #[error("the encoder {0} waits for nothing: there is no job to cancel")]
    Idle(String),
    /// A card may have changed already.
    #[error("the encoder {0} is writing a card: leave the card there until the write has ended")]
    Writing(String),
    /// The card was written, and only a second swipe shows that it was.
    #[error("the card was written already: draw it through the encoder {0} once more")]
    Written(String),
    /// A write that was interrupted is looked at.
    #[error("the encoder {0} looks at what became of an interrupted write: lay that card on it")]
    Looking(String),
}

/// Why an encoder is not lent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotLent {
    /// No encoder is meant.
    #[error(transparent)]
    NoEncoder(#[from] NoEncoder),
    /// It works, or another command uses it.
    #[error(
        "the encoder {0} is busy: try again when its job has ended, or free it with `encoder-agent cancel`"
    )]
    Busy(String),
    /// It does not answer.
    #[error("the encoder {name} cannot be used: {problem}")]
    NotReady {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The agent stops.
    #[error("the agent is stopping: try again when it runs")]
    Stopping,
}

impl Jobs {
    /// How things stand.
    pub fn status(&self, now: Now) -> JobsStatus {
        let encoders = self.encoders.iter();
        JobsStatus {
            agent_id: self.agent_id,
            encoders: encoders
                .map(|encoder| self.encoder_status(encoder, now))
                .collect(),
            journal_problem: self.journal_problem.clone(),
            journal_found: self.problems.clone(),
            open_jobs: self.open.len(),
            owed_outcomes: self.outbox.len(),
            device_problems: self.device_problems.clone(),
        }
    }

    /// Frees an encoder: ends the job at the head of its queue, unless a card may have changed already. Where the encoder
    /// awaits a swipe, it says whether that was faster.
    ///
    /// # Errors
    /// [`NotCancelled`] when there is nothing to end, or it is too late.
    pub fn cancel_at_desk(&mut self, name: Option<&str>) -> Result<JobId, NotCancelled> {
        let has_job = |encoder: &Attached| !encoder.queue.is_empty();
        let id = self.meant(name, has_job)?;
        let title = self.title(id);
        let Some(job) = self.head(id).and_then(|job_id| self.open.get(&job_id)) else {
            return Err(NotCancelled::Idle(title));
        };
        let job_id = job.id();
        match job.phase {
            Phase::Writing(_) => return Err(NotCancelled::Writing(title)),
            Phase::Reswiping(_) => return Err(NotCancelled::Written(title)),
            Phase::Looking(_) => return Err(NotCancelled::Looking(title)),
            Phase::Waiting
            | Phase::Settling
            | Phase::Planning(_)
            | Phase::Preparing { .. }
            | Phase::Reading(_)
            | Phase::Armed(_) => {}
        }
        self.cancel(
            job_id,
            ErrorCode::UncategorizedError,
            CANCELLED_AT_THE_DESK.to_owned(),
        );
        Ok(job_id)
    }

    /// Lends an idle encoder: none of its jobs begins until it is given back.
    ///
    /// # Errors
    /// [`NotLent`] when it has a job, does not answer, or is lent already.
    pub fn lend(&mut self, name: Option<&str>) -> Result<(EncoderId, EncoderSettings), NotLent> {
        let id = self.meant(name, |encoder| encoder.present)?;
        let title = self.title(id);
        if self.draining {
            return Err(NotLent::Stopping);
        }
        let Some(encoder) = self.encoders.get_mut(id.0) else {
            return Err(NotLent::Busy(title));
        };
        if !encoder.queue.is_empty() || encoder.lent || encoder.operating.is_some() {
            return Err(NotLent::Busy(title));
        }
        let problem = match &encoder.link {
            Link::Up => None,
            Link::Starting { .. } => Some("it is being opened".to_owned()),
            Link::Gone { problem, .. } => Some(problem.clone()),
        };
        if let Some(problem) = problem {
            return Err(NotLent::NotReady {
                name: title,
                problem,
            });
        }
        encoder.lent = true;
        let was_watching = std::mem::replace(&mut encoder.watching, true);
        let settings = encoder.settings.clone();
        if !was_watching {
            self.command(id, EncoderCommand::Watch);
        }
        self.inventory_changed = true;
        self.refresh_inventory();
        Ok((id, settings))
    }

    /// A lent encoder is given back, and its jobs go on.
    pub fn give_back(&mut self, now: Now, id: EncoderId) {
        let Some(encoder) = self.encoders.get_mut(id.0) else {
            return;
        };
        encoder.lent = false;
        encoder.watching = false;
        encoder.field.lose_sight();
        self.command(id, EncoderCommand::Rest);
        self.inventory_changed = true;
        self.settle(now, id);
        self.refresh_inventory();
    }

    /// Whether a job waits for a lent encoder.
    pub fn is_wanted(&self, id: EncoderId) -> bool {
        self.draining
            || self
                .encoders
                .get(id.0)
                .is_some_and(|encoder| !encoder.queue.is_empty())
    }

    /// Whether what lies on a lent encoder must be lifted before anything else is written.
    pub fn must_lift(&self, id: EncoderId) -> bool {
        let encoder = self.encoders.get(id.0);
        encoder.is_some_and(|encoder| {
            matches!(
                encoder.field.standing(true, None),
                Standing::MustLift | Standing::GoOnWaiting
            )
        })
    }

    /// An operation of whoever borrowed the encoder has ended: cards may have moved unseen.
    pub fn lose_sight(&mut self, id: EncoderId) {
        if let Some(encoder) = self.encoders.get_mut(id.0) {
            encoder.field.lose_sight();
        }
    }

    /// A card is about to be written by whoever borrowed the encoder: it must leave before any credential comes, also after a
    /// restart. It is durable once the actions that follow are carried out and the journal is well.
    pub fn guard_lent(&mut self, id: EncoderId, uid: Uid) {
        let encoder = self.encoders.get_mut(id.0);
        let Some(encoder) = encoder.filter(|encoder| encoder.settings.lift_between_cards) else {
            return;
        };
        encoder.field.add_guard(Guard::Written {
            uid,
            credential_id: None,
        });
        let record = Record::Guarded {
            encoder_key: encoder.settings.key.clone(),
            guards: encoder.field.guards(),
        };
        self.agenda.persist(vec![record], AfterPersist::Nothing);
    }

    /// Gives a known encoder another name, as changed settings say.
    pub fn rename(&mut self, renamed: &EncoderSettings) {
        let Some(id) = self.find_encoder(&renamed.key) else {
            return;
        };
        if let Some(encoder) = self.encoders.get_mut(id.0) {
            encoder.settings.name.clone_from(&renamed.name);
            encoder.settings.named = renamed.named;
            self.inventory_changed = true;
        }
        self.refresh_inventory();
    }

    /// The encoder with that name, key or port; without any of them the only one that `fits`.
    fn meant(
        &self,
        name: Option<&str>,
        fits: impl Fn(&Attached) -> bool,
    ) -> Result<EncoderId, NoEncoder> {
        let all = || self.encoders.iter().enumerate();
        if let Some(name) = name {
            let is_meant = |encoder: &Attached| {
                encoder.name().eq_ignore_ascii_case(name)
                    || encoder.settings.key.0 == name
                    || encoder.settings.port.as_os_str() == name
            };
            let found = all().find(|(_, encoder)| is_meant(encoder));
            return found
                .map(|(index, _)| EncoderId(index))
                .ok_or_else(|| NoEncoder::Unknown {
                    name: name.to_owned(),
                    known: names(all().map(|(_, encoder)| encoder)),
                });
        }
        let fitting: Vec<_> = all().filter(|(_, encoder)| fits(encoder)).collect();
        match (fitting.as_slice(), self.encoders.as_slice()) {
            ([(index, _)], _) => Ok(EncoderId(*index)),
            ([], []) => Err(NoEncoder::None),
            // Which one is meant is plain; what is asked of it cannot be done.
            ([], [_]) => Ok(EncoderId(0)),
            ([], several) => Err(NoEncoder::Several(names(several.iter()))),
            (several, _) => Err(NoEncoder::Several(names(
                several.iter().map(|(_, encoder)| *encoder),
            ))),
        }
    }

    fn title(&self, id: EncoderId) -> String {
        let encoder = self.encoders.get(id.0);
        encoder.map_or_else(String::new, |encoder| format!("\"{}\"", encoder.name()))
    }

    fn encoder_status(&self, encoder: &Attached, now: Now) -> EncoderStatus {
        let identity = encoder.identity.as_ref();
        let head = encoder.queue.first().and_then(|head| self.open.get(head));
        let (state, problem) = match &encoder.link {
            Link::Gone { problem, .. } if !encoder.present => {
                (EncoderState::Absent, Some(problem.clone()))
            }
            Link::Gone { problem, .. } => (EncoderState::Fault, Some(problem.clone())),
            Link::Starting { .. } => (EncoderState::Starting, None),
            Link::Up if encoder.lent => (EncoderState::Lent, None),
            Link::Up if head.is_some() => (EncoderState::Busy, None),
            Link::Up => (EncoderState::Ready, None),
        };
        EncoderStatus {
            key: encoder.settings.key.clone(),
            name: encoder.name().to_owned(),
            driver: encoder.settings.driver.clone(),
            port: encoder.settings.port.clone(),
            state,
            problem,
            model: identity.and_then(|identity| identity.model.clone()),
            serial: identity.and_then(|identity| identity.serial.clone()),
            firmware: identity.and_then(|identity| identity.firmware.clone()),
            adopted: encoder.is_adopted(),
            simulated: encoder.settings.simulated,
            job: head.map(|job| self.job_status(encoder, job, now)),
            waiting: encoder.queue.len().saturating_sub(1),
        }
    }

    fn job_status(&self, encoder: &Attached, job: &Job, now: Now) -> JobStatus {
        let (stage, waits_for) = match &job.phase {
            Phase::Waiting | Phase::Settling => (JobStage::Waiting, self.waits_for(encoder, job)),
            Phase::Planning(_) => (JobStage::Planning, "the coordinator's plan"),
            Phase::Preparing { .. } => (JobStage::Preparing, ""),
            Phase::Reading(front) if front.card.technology.is_swiped() => {
                (JobStage::AwaitingSwipe, "a card to be drawn through it")
            }
            Phase::Reading(_) => (JobStage::Reading, ""),
            Phase::Writing(_) => (JobStage::Writing, ""),
            Phase::Armed(_) => (JobStage::AwaitingSwipe, "the card to be drawn through it"),
            Phase::Reswiping(_) => (
                JobStage::AwaitingSecondSwipe,
                "the card to be drawn through it once more",
            ),
            Phase::Looking(_) => (
                JobStage::Looking,
                "that card, the encoder and the coordinator",
            ),
        };
        JobStatus {
            job_id: job.id(),
            kind: job.facts.kind,
            stage,
            waits_for: (!waits_for.is_empty()).then(|| waits_for.to_owned()),
            age_s: Duration::as_secs(&now.at.since(job.times.accepted)),
        }
    }

    /// What a waiting job at the head of its queue lacks.
    fn waits_for(&self, encoder: &Attached, job: &Job) -> &'static str {
        if !encoder.is_up() {
            return "the encoder to come back";
        }
        if encoder.lent {
            return "the encoder to be given back";
        }
        match self.standing(job) {
            Standing::MustLift => "the written card to be lifted",
            Standing::Several => "one card alone",
            Standing::GoOnWaiting => "another card",
            Standing::Takes(_) if !matches!(self.session, Session::Welcomed { .. }) => {
                "the coordinator to be reached"
            }
            Standing::Unseen | Standing::Empty | Standing::Takes(_) => "a card",
        }
    }
}

fn names<'a>(encoders: impl Iterator<Item = &'a Attached>) -> String {
    let names: Vec<_> = encoders
        .map(|encoder| format!("\"{}\"", encoder.name()))
        .collect();
    names.join(", ")
}
