//! Cards that are drawn through the encoder: what is presented is an encoder that is ready for one, and a write that was
//! started still waits for somebody's hand.
//!
//! Without a UID the job alone is the binding. Until the swipe comes nothing has changed, so such a write can be given up:
//! the encoder is reset, and says whether the swipe had come before. Once it came, another swipe must show what it wrote.

use std::time::Duration;

use encoder_protocols::wire::{JobError, JobId, Progress, Touched};

use super::{
    action::Now,
    job::{Armed, Front, Phase, Reswiping},
    machine::Jobs,
    outcome::{self, Done},
};
use crate::encoder::{EncoderCommand, OperationError, OperationResult};

/// How long the swipe that verifies is awaited at least, as long as the deadline lets it.
const SWIPE_AGAIN_FOR: Duration = Duration::from_secs(15);

impl Jobs {
    /// *Started* is durable and the encoder is set up: it awaits the swipe that writes, as long as both this swipe and the
    /// one that verifies fit before the deadline.
    pub(super) fn arm(&mut self, now: Now, job_id: JobId, front: Front, estimate: Duration) {
        let stopped = self.draining.then(outcome::stopped);
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        if let Some(error) = job.unwanted.take().or(stopped) {
            return self.not_committed(job_id, error);
        }
        job.wait.go_on(now.at);
        let latest = job.deadline - estimate;
        let until = job.wait.until().map_or(latest, |until| until.min(latest));
        job.phase = Phase::Armed(Armed {
            front,
            until,
            given_up: None,
        });
        let id = job.encoder;
        self.set_operating(id, job_id);
        self.command(id, EncoderCommand::Commit { job_id });
        self.tell_writing(job_id, front);
        self.tell_swiping(job_id);
    }

    /// A scan awaits its swipe: the wait for a card goes on.
    pub(super) fn await_swipe(&mut self, now: Now, job_id: JobId) {
        if let Some(job) = self.open.get_mut(&job_id) {
            job.wait.go_on(now.at);
        }
        self.tell_swiping(job_id);
    }

    /// The swipe came and was written, as the encoder says: one more shall show it.
    pub(super) fn swiped(&mut self, now: Now, job_id: JobId, front: Front) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        let wait = job.facts.card_wait.max(SWIPE_AGAIN_FOR);
        let until = (now.at + wait).min(job.deadline);
        job.phase = Phase::Reswiping(Reswiping {
            front,
            until,
            given_up: None,
        });
        self.tell_swiping(job_id);
        if self.draining {
            self.give_up_swipe(job_id, outcome::not_swiped_again("the agent was stopped"));
        }
    }

    /// Says which swipe is awaited, if one is.
    pub(super) fn tell_swiping(&mut self, job_id: JobId) {
        let progress = match self.open.get(&job_id).map(|job| &job.phase) {
            Some(Phase::Armed(_)) => Progress::SwipeCard,
            Some(Phase::Reading(front)) if front.card.technology.is_swiped() => Progress::SwipeCard,
            Some(Phase::Reswiping(_)) => Progress::SwipeAgain,
            Some(
                Phase::Waiting
                | Phase::Settling
                | Phase::Planning(_)
                | Phase::Preparing { .. }
                | Phase::Reading(_)
                | Phase::Writing(_)
                | Phase::Looking(_),
            )
            | None => return,
        };
        self.tell(job_id, progress);
    }

    /// No swipe came in time.
    pub(super) fn swipe_timeout(&mut self, now: Now, job_id: JobId) {
        let Some(job) = self.open.get(&job_id) else {
            return;
        };
        let error = if matches!(job.phase, Phase::Reswiping(_)) {
            outcome::not_swiped_again("was not drawn through the encoder again in time")
        } else if job.wait.until().is_some_and(|until| until <= now.at) {
            outcome::no_swipe(job.facts.card_wait)
        } else {
            outcome::expired(None)
        };
        self.give_up_swipe(job_id, error);
    }

    /// Waits for the swipe no longer. The encoder's answer ends the job: with `error`, unless the swipe was faster.
    pub(super) fn give_up_swipe(&mut self, job_id: JobId, error: JobError) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        let (given_up, command) = match &mut job.phase {
            Phase::Armed(armed) => (&mut armed.given_up, EncoderCommand::Abort { job_id }),
            Phase::Reswiping(reswiping) => (
                &mut reswiping.given_up,
                EncoderCommand::StopVerifying { job_id },
            ),
            Phase::Waiting
            | Phase::Settling
            | Phase::Planning(_)
            | Phase::Preparing { .. }
            | Phase::Reading(_)
            | Phase::Writing(_)
            | Phase::Looking(_) => return,
        };
        if given_up.is_some() {
            return;
        }
        *given_up = Some(error);
        let id = job.encoder;
        self.command(id, command);
    }

    /// The agent stops, and waits for nobody's hand: what was presented ends `untouched` while the coordinator can still
    /// believe it, and scans wait for the next start.
    pub(super) fn give_up_swipes(&mut self, now: Now) {
        for job_id in self.open.keys().copied().collect::<Vec<_>>() {
            let Some(job) = self.open.get(&job_id) else {
                continue;
            };
            let is_encode = job.is_encode();
            match &job.phase {
                Phase::Armed(_) => self.give_up_swipe(job_id, outcome::stopped()),
                Phase::Reswiping(_) => {
                    let error = outcome::not_swiped_again("the agent was stopped");
                    self.give_up_swipe(job_id, error);
                }
                Phase::Planning(front) | Phase::Preparing { front, .. } | Phase::Reading(front)
                    if front.card.technology.is_swiped() =>
                {
                    self.give_up_operation(job_id);
                    if is_encode {
                        self.fail(job_id, outcome::stopped());
                    } else {
                        self.set_phase(job_id, Phase::Waiting);
                    }
                }
                Phase::Waiting
                | Phase::Settling
                | Phase::Planning(_)
                | Phase::Preparing { .. }
                | Phase::Reading(_)
                | Phase::Writing(_)
                | Phase::Looking(_) => {}
            }
        }
        self.settle_all(now);
    }

    /// The wait for the swipe that writes ended, or the write failed.
    pub(super) fn armed_ended(
        &mut self,
        now: Now,
        job_id: JobId,
        armed: Armed,
        result: Result<OperationResult, OperationError>,
    ) {
        match result {
            Ok(OperationResult::Written) => self.succeed(now, job_id, armed.front, Done::Written),
            Ok(
                OperationResult::Prepared | OperationResult::Verified | OperationResult::Read(_),
            ) => self.fail(job_id, outcome::strange_result(Touched::Unknown)),
            Err(error) if error.is_untouched() => {
                self.fail(job_id, armed.given_up.unwrap_or(error.error));
            }
            Err(error) => self.fail(job_id, outcome::write_failed(error.error)),
        }
    }

    /// The wait for the swipe that verifies ended, or the reading.
    pub(super) fn reswiping_ended(
        &mut self,
        now: Now,
        job_id: JobId,
        reswiping: Reswiping,
        result: Result<OperationResult, OperationError>,
    ) {
        match result {
            Ok(OperationResult::Written) => {
                self.succeed(now, job_id, reswiping.front, Done::Written);
            }
            Ok(
                OperationResult::Prepared | OperationResult::Verified | OperationResult::Read(_),
            ) => self.fail(job_id, outcome::strange_result(Touched::Unknown)),
            Err(error) => {
                let read = outcome::reading_back_failed(error.error);
                self.fail(job_id, reswiping.given_up.unwrap_or(read));
            }
        }
    }
}
