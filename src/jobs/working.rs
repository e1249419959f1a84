//! From the plan to the end of the write: what is asked of the encoder for the job at the head of its queue.

use std::time::Duration;

use encoder_protocols::{
    card::{CardImage, ReadPlan},
    wire::{CardPlan, ErrorCode, JobError, JobId, JobKind, Plan, Progress, Touched},
};

use super::{
    action::{AfterPersist, Now},
    deadline::write_estimate,
    job::{Front, Phase},
    machine::Jobs,
    outcome::{self, Done},
};
use crate::{
    encoder::{CardOperation, EncoderCommand, EncoderId, OperationError, OperationResult, Signal},
    journal::Record,
};

impl Jobs {
    /// A plan came. It counts only for the card that lies there now, as it was presented last.
    pub(super) fn planned(&mut self, now: Now, plan: CardPlan) {
        let job_id = plan.job_id;
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        if let Phase::Looking(_) = job.phase {
            return self.planned_look(plan);
        }
        let Phase::Planning(front) = job.phase else {
            return;
        };
        if plan.n != front.n || plan.uid != front.card.uid {
            return;
        }
        job.times.planned = Some(now.at);
        match (plan.plan, job.facts.kind) {
            (Plan::Write { image }, JobKind::Encode) => self.prepare(now, job_id, front, image),
            (Plan::Read { plan }, JobKind::Scan) => self.read(now, job_id, front, plan),
            // No other card could be told from the one that is to be swiped.
            (Plan::Ignore, _) if front.card.technology.is_swiped() => {
                self.fail(job_id, outcome::plan_does_not_fit());
            }
            (Plan::Ignore, _) => self.ignore(now, job_id, front),
            (Plan::Refuse { code, message }, _) => {
                self.fail(job_id, outcome::refused(code, message));
            }
            (Plan::Write { .. }, JobKind::Scan)
            | (Plan::Read { .. }, JobKind::Encode)
            | (Plan::Verify { .. }, _) => {
                self.fail(job_id, outcome::plan_does_not_fit());
            }
        }
    }

    /// An operation ended, for whichever job it was.
    pub(super) fn operation_ended(
        &mut self,
        now: Now,
        id: EncoderId,
        job_id: JobId,
        result: Result<OperationResult, OperationError>,
    ) {
        if let Some(encoder) = self.encoders.get_mut(id.0) {
            if encoder.operating == Some(job_id) {
                encoder.operating = None;
            }
            encoder.field.lose_sight();
        }
        let phase = self
            .open
            .get(&job_id)
            .filter(|job| job.encoder == id)
            .map(|job| job.phase.clone());
        match phase {
            Some(Phase::Preparing { front, estimate }) => {
                self.prepare_ended(now, job_id, front, estimate, result);
            }
            Some(Phase::Reading(front)) => self.read_ended(now, job_id, front, result),
            Some(Phase::Writing(front)) => self.write_ended(now, job_id, front, result),
            Some(Phase::Armed(armed)) => self.armed_ended(now, job_id, armed, result),
            Some(Phase::Reswiping(reswiping)) => {
                self.reswiping_ended(now, job_id, reswiping, result);
            }
            Some(Phase::Looking(_)) => self.look_ended(now, job_id, result),
            Some(Phase::Waiting | Phase::Settling | Phase::Planning(_)) | None => {
                if matches!(result, Ok(OperationResult::Prepared)) {
                    self.command(id, EncoderCommand::Abort { job_id });
                }
            }
        }
        self.settle(now, id);
    }

    /// The write is over and is read back.
    pub(super) fn verifying(&mut self, now: Now, job_id: JobId) {
        match self.open.get(&job_id).map(|job| job.phase.clone()) {
            Some(Phase::Writing(_)) => self.tell(job_id, Progress::Verifying),
            Some(Phase::Armed(armed)) => self.swiped(now, job_id, armed.front),
            Some(
                Phase::Waiting
                | Phase::Settling
                | Phase::Planning(_)
                | Phase::Preparing { .. }
                | Phase::Reading(_)
                | Phase::Reswiping(_)
                | Phase::Looking(_),
            )
            | None => {}
        }
    }

    /// *Started* is durable: the prepared write begins.
    pub(super) fn started(&mut self, now: Now, job_id: JobId, front: Front, estimate: Duration) {
        // The disk may have taken long, or the PC may have slept.
        if self.ends_too_late(now, job_id, estimate) {
            return self.not_committed(job_id, outcome::expired(None));
        }
        if front.card.technology.is_swiped() {
            return self.arm(now, job_id, front, estimate);
        }
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        job.phase = Phase::Writing(front);
        let id = job.encoder;
        self.set_operating(id, job_id);
        self.command(id, EncoderCommand::Commit { job_id });
        self.tell_writing(job_id, front);
    }

    /// *Started* could not be made durable: nothing may be written.
    pub(super) fn not_started(&mut self, job_id: JobId, problem: &str) {
        self.not_committed(job_id, outcome::not_durable(problem));
    }

    /// Ends a job whose prepared write was never committed.
    pub(super) fn not_committed(&mut self, job_id: JobId, error: JobError) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        job.phase = Phase::Waiting;
        let id = job.encoder;
        self.command(id, EncoderCommand::Abort { job_id });
        self.fail(job_id, error);
    }

    pub(super) fn tell_writing(&mut self, job_id: JobId, front: Front) {
        let writing = Progress::Writing {
            uid: front.card.uid,
            n: front.n,
        };
        self.tell(job_id, writing);
    }

    /// Gives up what an encoder does for a job that has not begun to write.
    pub(super) fn give_up_operation(&mut self, job_id: JobId) {
        let Some(job) = self.open.get(&job_id) else {
            return;
        };
        if job.is_operating() && !matches!(job.phase, Phase::Writing(_)) {
            let id = job.encoder;
            self.command(id, EncoderCommand::Abort { job_id });
        }
    }

    /// Asks the encoder to work on the card in front of it.
    pub(super) fn operate(&mut self, job_id: JobId, front: Front, operation: CardOperation) {
        let Some(job) = self.open.get(&job_id) else {
            return;
        };
        let (id, uid) = (job.encoder, front.card.uid);
        self.set_operating(id, job_id);
        self.command(id, EncoderCommand::Signal(Signal::Working));
        self.command(
            id,
            EncoderCommand::Operate {
                job_id,
                uid,
                operation,
            },
        );
    }

    pub(super) fn set_operating(&mut self, id: EncoderId, job_id: JobId) {
        if let Some(encoder) = self.encoders.get_mut(id.0) {
            encoder.operating = Some(job_id);
            encoder.field.lose_sight();
        }
    }

    fn prepare(&mut self, now: Now, job_id: JobId, front: Front, image: CardImage) {
        let Some(encoder) = self
            .open
            .get(&job_id)
            .and_then(|job| self.encoders.get(job.encoder.0))
        else {
            return;
        };
        let estimate = write_estimate(&encoder.settings, &image);
        if self.ends_too_late(now, job_id, estimate) {
            return self.fail(job_id, outcome::expired(None));
        }
        if let Some(job) = self.open.get_mut(&job_id) {
            job.assigned_number = image.card_number().map(str::to_owned);
            job.phase = Phase::Preparing { front, estimate };
        }
        self.operate(job_id, front, CardOperation::Prepare(image));
    }

    fn read(&mut self, now: Now, job_id: JobId, front: Front, plan: ReadPlan) {
        self.set_phase(job_id, Phase::Reading(front));
        self.operate(job_id, front, CardOperation::Read(plan));
        if front.card.technology.is_swiped() {
            self.await_swipe(now, job_id);
        }
    }

    fn ignore(&mut self, now: Now, job_id: JobId, front: Front) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        job.phase = Phase::Waiting;
        job.wait.go_on(now.at);
        let id = job.encoder;
        if let Some(encoder) = self.encoders.get_mut(id.0) {
            encoder.field.ignore(front.card.uid);
        }
        self.settle(now, id);
    }

    fn ends_too_late(&self, now: Now, job_id: JobId, estimate: Duration) -> bool {
        self.open
            .get(&job_id)
            .is_none_or(|job| job.deadline < now.at + estimate)
    }

    fn prepare_ended(
        &mut self,
        now: Now,
        job_id: JobId,
        front: Front,
        estimate: Duration,
        result: Result<OperationResult, OperationError>,
    ) {
        match result {
            Ok(OperationResult::Prepared) => self.start(now, job_id, front, estimate),
            Ok(OperationResult::Written) => {
                self.fail(job_id, outcome::strange_result(Touched::Unknown));
            }
            Ok(OperationResult::Verified | OperationResult::Read(_)) => {
                self.fail(job_id, outcome::strange_result(Touched::Untouched));
            }
            Err(error) => self.not_begun(now, job_id, error),
        }
    }

    /// Everything is authenticated: the last look before the first byte.
    fn start(&mut self, now: Now, job_id: JobId, front: Front, estimate: Duration) {
        let too_late = self.ends_too_late(now, job_id, estimate);
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        let id = job.encoder;
        let up = self
            .encoders
            .get(id.0)
            .is_some_and(|encoder| encoder.is_up());
        if !up {
            job.phase = Phase::Waiting;
            job.wait.go_on(now.at);
            self.command(id, EncoderCommand::Abort { job_id });
        } else if too_late {
            self.command(id, EncoderCommand::Abort { job_id });
            self.fail(job_id, outcome::expired(None));
        } else {
            job.phase = Phase::Settling;
            let started = Record::Started {
                job_id,
                n: front.n,
                card: front.card,
            };
            let then = AfterPersist::Started {
                job_id,
                front,
                estimate,
            };
            self.agenda.persist(vec![started], then);
        }
    }

    /// An operation failed before *started*.
    fn not_begun(&mut self, now: Now, job_id: JobId, error: OperationError) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        let up = self
            .encoders
            .get(job.encoder.0)
            .is_some_and(|encoder| encoder.is_up());
        let gone = !up || error.error.code == ErrorCode::EncoderNotOnline;
        if error.is_untouched() && (error.card_left || gone) {
            job.phase = Phase::Waiting;
            job.wait.go_on(now.at);
            if error.card_left {
                self.tell(job_id, Progress::CardRemoved);
            }
        } else {
            self.fail(job_id, error.error);
        }
    }

    fn read_ended(
        &mut self,
        now: Now,
        job_id: JobId,
        front: Front,
        result: Result<OperationResult, OperationError>,
    ) {
        match result {
            Ok(OperationResult::Read(contents)) => {
                self.succeed(now, job_id, front, Done::Read(contents));
            }
            Ok(
                OperationResult::Prepared | OperationResult::Written | OperationResult::Verified,
            ) => self.fail(job_id, outcome::strange_result(Touched::Unknown)),
            Err(error) => self.not_begun(now, job_id, error),
        }
    }

    fn write_ended(
        &mut self,
        now: Now,
        job_id: JobId,
        front: Front,
        result: Result<OperationResult, OperationError>,
    ) {
        match result {
            Ok(OperationResult::Written) => self.succeed(now, job_id, front, Done::Written),
            Ok(
                OperationResult::Prepared | OperationResult::Verified | OperationResult::Read(_),
            ) => self.fail(job_id, outcome::strange_result(Touched::Unknown)),
            Err(error) => self.fail(job_id, outcome::write_failed(error.error)),
        }
    }
}
