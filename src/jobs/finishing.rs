//! A job's end: its outcome becomes durable, goes out, and is sent again until it is acknowledged.

use encoder_protocols::wire::{AgentMessage, ErrorCode, JobError, JobFinished, JobId, Touched};

use super::{
    action::{Action, AfterPersist, AfterRecall, Now},
    job::{Front, Phase},
    machine::{Jobs, RETRY_AFTER},
    outcome::{self, Done},
};
use crate::{
    encoder::{EncoderCommand, Signal},
    journal::{Guard, JournalError, Owed, Recall, Record},
};

impl Jobs {
    /// The job did what was asked.
    pub(super) fn succeed(&mut self, now: Now, job_id: JobId, front: Front, done: Done) {
        let sequence = self.last_sequence + 1;
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        let finished = outcome::success(job, sequence, front.card, done, now.utc);
        self.finish(finished);
    }

    /// The job failed.
    pub(super) fn fail(&mut self, job_id: JobId, error: JobError) {
        let sequence = self.last_sequence + 1;
        let Some(job) = self.open.get(&job_id) else {
            return;
        };
        if matches!(job.phase, Phase::Settling) {
            return;
        }
        let finished = outcome::failure(job, sequence, error);
        self.finish(finished);
    }

    /// The coordinator does not want the job any more.
    pub(super) fn cancel(&mut self, job_id: JobId, code: ErrorCode, message: String) {
        match self.open.get(&job_id) {
            // Nothing is written before the swipe: the encoder says whether it had come.
            Some(job) if matches!(job.phase, Phase::Armed(_)) => {
                let error = outcome::cancelled(code, message, Touched::Untouched);
                self.give_up_swipe(job_id, error);
            }
            // Once started, the write's own outcome wins.
            Some(job) if job.is_started() => {}
            Some(_) => {
                let error = outcome::cancelled(code, message, Touched::Untouched);
                self.give_up_operation(job_id);
                if let Some(job) = self.open.get_mut(&job_id) {
                    job.unwanted = Some(error.clone());
                }
                self.fail(job_id, error);
            }
            None => {
                if self.send_outcome_of(job_id) {
                    return;
                }
                let then = AfterRecall::Cancelled {
                    job_id,
                    code,
                    message,
                };
                self.agenda.recall(Recall::Job(job_id), then);
            }
        }
    }

    /// The journal was asked about a cancelled job that is not open.
    pub(super) fn cancelled_unknown(
        &mut self,
        now: Now,
        job_id: JobId,
        code: ErrorCode,
        message: String,
        known: Result<Vec<JobFinished>, JournalError>,
    ) {
        match known {
            Ok(outcomes) if !outcomes.is_empty() => {
                for outcome in outcomes {
                    self.send(AgentMessage::JobFinished(outcome));
                }
                return;
            }
            Ok(_) => {}
            // The job may have an outcome already, and never has a second one.
            Err(_) => {
                let again_at = now.at + RETRY_AFTER;
                self.agenda.keep_unread(job_id, (code, message), again_at);
                return;
            }
        }
        let error = outcome::cancelled(code, message, Touched::Untouched);
        let finished = outcome::failure_of_unknown(job_id, self.last_sequence + 1, error);
        self.finish(finished);
    }

    /// The outcome is durable, or is at least known: it goes out, and the queue goes on.
    pub(super) fn finished(&mut self, now: Now, finished: JobFinished) {
        let job_id = finished.job_id;
        self.send(AgentMessage::JobFinished(finished.clone()));
        let (error, touched) = (finished.error.as_ref().map(|e| e.code), finished.touched);
        let job = self.open.get(&job_id);
        let encoder_key = job.map(|job| job.facts.encoder_key.clone());
        self.outbox.insert(
            finished.sequence,
            Owed {
                finished,
                encoder_key,
            },
        );
        let Some(job) = self.open.remove(&job_id) else {
            return;
        };
        let was_head = self.is_head(&job);
        if let Some(encoder) = self.encoders.get_mut(job.encoder.0) {
            encoder.queue.retain(|other| *other != job_id);
            if was_head {
                encoder.field.ignore(None);
            }
        }
        self.inventory_changed = true;
        if was_head {
            let signal = if error.is_none() {
                Signal::Done
            } else {
                Signal::Failed
            };
            self.command(job.encoder, EncoderCommand::Signal(signal));
        }
        let key = job.facts.encoder_key.clone();
        let end = job.end(key, now.at, error, touched);
        self.agenda.push(Action::Ended(end));
        self.settle(now, job.encoder);
    }

    /// The coordinator holds the outcome.
    pub(super) fn acknowledged(&mut self, now: Now, sequence: u64) {
        if self.outbox.remove(&sequence).is_some() {
            let at = self.coordinator_time(now.at).unwrap_or(now.utc);
            self.defer(now, Record::Acknowledged { sequence, at });
        }
    }

    /// Sends an outcome that is in memory again. False if the job has none there.
    pub(super) fn send_outcome_of(&mut self, job_id: JobId) -> bool {
        let owed = self.outbox.values().map(|owed| &owed.finished);
        let outcome = owed
            .chain(self.unwritten_outcomes())
            .find(|finished| finished.job_id == job_id)
            .cloned();
        let Some(outcome) = outcome else {
            return false;
        };
        self.send(AgentMessage::JobFinished(outcome));
        true
    }

    /// Outcomes that wait for a journal that cannot be written; some may be acknowledged already.
    pub(super) fn unwritten_outcomes(&self) -> impl Iterator<Item = &JobFinished> {
        self.agenda.deferred.iter().filter_map(|record| {
            if let Record::Finished(finished) = record {
                Some(finished.as_ref())
            } else {
                None
            }
        })
    }

    fn finish(&mut self, finished: JobFinished) {
        self.last_sequence = finished.sequence;
        self.last_outcome = finished.sequence;
        let mut records = vec![Record::Finished(Box::new(finished.clone()))];
        records.extend(self.guard_card(&finished));
        self.set_phase(finished.job_id, Phase::Settling);
        self.agenda
            .persist(records, AfterPersist::Finished(Box::new(finished)));
    }

    /// A card that may have changed must leave the encoder before another credential comes (promise, rule 7).
    fn guard_card(&mut self, finished: &JobFinished) -> Option<Record> {
        let job = self.open.get(&finished.job_id)?;
        let encoder = self.encoders.get_mut(job.encoder.0)?;
        let changed = finished.touched != Touched::Untouched;
        if !(job.is_encode() && changed && encoder.settings.lift_between_cards) {
            return None;
        }
        encoder.field.add_guard(Guard::Written {
            // A card without a UID was swiped and lies nowhere.
            uid: finished.card?.uid?,
            credential_id: job.facts.credential_id,
        });
        Some(Record::Guarded {
            encoder_key: encoder.settings.key.clone(),
            guards: encoder.field.guards(),
        })
    }
}
