//! Jobs found in the journal at the start, and looking at what became of a write that was under way (promise, rule 5).

use std::time::Duration;

use encoder_protocols::{
    moment::Moment,
    wire::{AgentMessage, CardPlan, EncoderKey, JobId, Plan, PlanPurpose, PlanRequest},
};

use super::{
    action::Now,
    attached::Attached,
    deadline::{on_our_clock, server_time},
    job::{Front, Job, Looking, Phase},
    machine::Jobs,
    outcome::{self, Done},
    session::Session,
};
use crate::{
    encoder::{CardOperation, EncoderId, OperationError, OperationResult, Poll},
    journal::{JournaledJob, JournaledState},
};

/// How long a job looks, with encoder and session up (promise, rule 5).
const LOOK_FOR: Duration = Duration::from_secs(10);

/// How long after its deadline a job waits for an encoder that is gone, to look at its card: the coordinator has given
/// the attempt up then (promise, rule 10), and an encoder may have been carried to another PC for good.
const ENCODER_BACK_WITHIN: Duration = Duration::from_secs(120);

impl Jobs {
    /// When a job that looks ends because its encoder is gone. While there is no session nobody would hear of it.
    pub(super) fn gives_up_look_at(&self, job: &Job) -> Option<Moment> {
        let welcomed = matches!(self.session, Session::Welcomed { .. });
        let gone = self.encoders.get(job.encoder.0)?.gives_up_at()?;
        welcomed.then(|| gone.max(job.deadline + ENCODER_BACK_WITHIN))
    }

    /// Takes up a job from the journal.
    pub(super) fn reopen(&mut self, now: Now, journaled: JournaledJob) {
        let JournaledJob {
            facts,
            n,
            cards,
            state,
        } = journaled;
        let id = self.find_or_await(&facts.encoder_key, now);
        // This PC's clock may have been set back meanwhile: a job never gets more time than it had at first.
        let told = server_time(now.utc, facts.server_offset).max(facts.created_at);
        let deadline = on_our_clock(now.at, facts.deadline, told);
        let mut job = Job::new(facts, id, deadline, now.at);
        let job_id = job.id();
        job.n = n;
        job.durable_n = n;
        job.cards = cards;
        let mut can_look = true;
        if let JournaledState::Started { n, card } = state {
            can_look = card.uid.is_some();
            job.last_card = Some(card);
            job.phase = Phase::Looking(Looking {
                front: Front { n, card },
                left: LOOK_FOR,
                until: None,
                asked: None,
                verifying: false,
            });
        }
        let started = job.is_started();
        self.open.insert(job_id, job);
        self.queue_again(job_id, id, started);
        // Whether a card was swiped, and which one it was, nobody can tell.
        if started && !can_look {
            self.fail(job_id, outcome::not_verified_without_uid());
        }
    }

    /// The encoder of that key; where it is neither configured nor found yet, one that is awaited.
    fn find_or_await(&mut self, key: &EncoderKey, now: Now) -> EncoderId {
        self.find_encoder(key).unwrap_or_else(|| {
            let guards = self.guards.remove(key).unwrap_or_default();
            self.encoders
                .push(Attached::awaited(key.clone(), guards, now.at));
            EncoderId(self.encoders.len() - 1)
        })
    }

    /// Looks on, as far as encoder, card and session allow.
    pub(super) fn look(&mut self, now: Now, job_id: JobId) {
        let connection = match self.session {
            Session::Welcomed { connection } => Some(connection),
            Session::Away | Session::Connected { .. } => None,
        };
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        let Some(encoder) = self.encoders.get(job.encoder.0) else {
            return;
        };
        let Phase::Looking(looking) = &mut job.phase else {
            return;
        };
        let Some(connection) = connection.filter(|_| encoder.is_up()) else {
            if let Some(until) = looking.until.take() {
                looking.left = until.since(now.at);
            }
            return;
        };
        looking.until.get_or_insert(now.at + looking.left);
        let front = looking.front;
        let lies =
            matches!(encoder.field.lies, Some(Poll::Card(card)) if card.uid == front.card.uid);
        let (Some(uid), true) = (front.card.uid, lies && !self.draining) else {
            return;
        };
        if !looking.verifying && looking.asked != Some(connection) {
            looking.asked = Some(connection);
            self.send(AgentMessage::PlanRequest(PlanRequest {
                job_id,
                uid,
                n: front.n,
                purpose: PlanPurpose::Verify,
            }));
        }
    }

    /// A plan came for a job that looks.
    pub(super) fn planned_look(&mut self, plan: CardPlan) {
        let job_id = plan.job_id;
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        let Phase::Looking(looking) = &mut job.phase else {
            return;
        };
        let front = looking.front;
        if plan.n != front.n || plan.uid != front.card.uid || looking.verifying || self.draining {
            return;
        }
        match plan.plan {
            Plan::Verify { image } => {
                let lies = self.encoders.get(job.encoder.0).is_some_and(|encoder| {
                    matches!(encoder.field.lies, Some(Poll::Card(card)) if card.uid == front.card.uid)
                });
                if lies {
                    looking.verifying = true;
                    self.operate(job_id, front, CardOperation::Verify(image));
                } else {
                    looking.asked = None;
                }
            }
            Plan::Refuse { message, .. } => {
                self.fail(job_id, outcome::not_verified(&message));
            }
            Plan::Write { .. } | Plan::Read { .. } | Plan::Ignore => {}
        }
    }

    /// The comparison ended.
    pub(super) fn look_ended(
        &mut self,
        now: Now,
        job_id: JobId,
        result: Result<OperationResult, OperationError>,
    ) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        let Phase::Looking(looking) = &mut job.phase else {
            return;
        };
        let front = looking.front;
        looking.verifying = false;
        looking.asked = None;
        match result {
            Ok(OperationResult::Verified) => self.succeed(now, job_id, front, Done::Written),
            Ok(OperationResult::Prepared | OperationResult::Written | OperationResult::Read(_)) => {
                self.fail(
                    job_id,
                    outcome::not_verified("the encoder answered with something else"),
                )
            }
            // The card, or the encoder with it, may come back while the time lasts.
            Err(error) if error.card_left || !self.encoder_of_is_up(job_id) => {}
            Err(error) => self.fail(job_id, outcome::not_verified_by(error.error)),
        }
    }

    fn encoder_of_is_up(&self, job_id: JobId) -> bool {
        self.open
            .get(&job_id)
            .and_then(|job| self.encoders.get(job.encoder.0))
            .is_some_and(|encoder| encoder.is_up())
    }

    fn queue_again(&mut self, job_id: JobId, id: EncoderId, started: bool) {
        if !started {
            return self.enqueue(job_id, id);
        }
        let open = &self.open;
        if let Some(encoder) = self.encoders.get_mut(id.0) {
            let behind_started = encoder
                .queue
                .iter()
                .take_while(|other| open.get(other).is_some_and(Job::is_started))
                .count();
            encoder.queue.insert(behind_started, job_id);
        }
    }
}
