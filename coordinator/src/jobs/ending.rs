//! Attempts that the coordinator ends on its own: those of jobs that are not bound, and what must not wait for ever.

use encoder_protocols::{
    card::Uid,
    wire::{ErrorCode, JobError, JobId, JobKind, Touched},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    AGENT_AWAY, BOUND_GRACE, Book, Change, CredentialId, Decision, JobRecord, LONGEST_ATTEMPT,
    SystemId, after, request::fail, simulated::simulated_end,
};

impl Book {
    /// Ends what is due (rule 10).
    pub fn tick(&mut self, now: Timestamp) -> Decision {
        let mut out = Decision::default();
        let due: Vec<(JobId, JobError)> = self
            .jobs
            .values()
            .filter(|job| job.attempt.is_pending() && !job.simulated)
            .map(|job| (job.id, self.next_end(job)))
            .filter(|(_, (at, _))| now >= *at)
            .map(|(job, (_, error))| (job, error))
            .collect();
        for (job, error) in due {
            let bound = self.jobs.get(&job).and_then(card_of_encode);
            if let Some((system, uid)) = bound {
                out.store(Change::CardInDoubt(system, uid));
            }
            self.end_and_cancel(now, job, error, &mut out);
        }
        out
    }

    /// When the next attempt is due to end on its own.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.jobs
            .values()
            .filter(|job| job.attempt.is_pending())
            .map(|job| {
                if job.simulated {
                    simulated_end(job)
                } else {
                    self.next_end(job).0
                }
            })
            .min()
    }

    /// The time of day was set anew, by so much more than time has passed: what waits goes on for as long as it had left.
    pub fn clock_moved(&mut self, by: SignedDuration) -> Decision {
        let mut out = Decision::default();
        for agent in self.agents.values_mut() {
            agent.away_since = moved(agent.away_since, by);
        }
        for job in self
            .jobs
            .values_mut()
            .filter(|job| job.attempt.is_pending())
        {
            job.deadline = moved(job.deadline, by);
            out.save(job);
        }
        out
    }

    /// After a start: a deadline lies no further ahead than a new attempt's could, even if the clock was set back while
    /// nobody looked.
    pub fn bound_deadlines(&mut self, now: Timestamp) {
        for job in self
            .jobs
            .values_mut()
            .filter(|job| job.attempt.is_pending())
        {
            job.deadline = job.deadline.min(after(now, LONGEST_ATTEMPT));
        }
    }

    /// The credential was deleted: a job that is not bound ends at once; a bound one is cancelled and its outcome
    /// counts.
    pub fn credential_deleted(&mut self, now: Timestamp, credential: CredentialId) -> Decision {
        let mut out = Decision::default();
        let open: Vec<(JobId, bool)> = self
            .jobs
            .values()
            .filter(|job| job.attempt.is_pending() && job.credential == Some(credential))
            .map(|job| (job.id, job.is_bound()))
            .collect();
        for (id, bound) in open {
            let error = fail(
                ErrorCode::CredentialDeleted,
                "the credential was deleted while its encode waited".to_owned(),
            );
            if !bound {
                self.end_and_cancel(now, id, error, &mut out);
            } else if let Some(job) = self.jobs.get_mut(&id) {
                job.cancelled = Some(error);
                let job = job.clone();
                out.save(&job);
                self.cancel(&job, &mut out);
            }
        }
        out
    }

    /// When a pending attempt ends on its own, and as what.
    fn next_end(&self, job: &JobRecord) -> (Timestamp, JobError) {
        if job.is_bound() {
            return (after(job.deadline, BOUND_GRACE), interrupted());
        }
        let away = job.agent.and_then(|agent| self.agents.get(&agent));
        let away = away.filter(|agent| agent.session.is_none());
        let disconnected = away.map(|agent| {
            let patience = if job.sent {
                AGENT_AWAY
            } else {
                Default::default()
            };
            (
                after(agent.away_since, patience),
                fail(
                    ErrorCode::BridgeDisconnected,
                    format!(
                        "the agent \"{}\" is not connected; start it or check its network",
                        agent.name
                    ),
                ),
            )
        });
        let expired = (
            job.deadline,
            fail(
                ErrorCode::ActionAttemptExpired,
                "the attempt's time ran out before a card was bound; ask for it again".to_owned(),
            ),
        );
        match disconnected {
            Some(disconnected) if disconnected.0 < expired.0 => disconnected,
            Some(_) | None => expired,
        }
    }

    fn end_and_cancel(&mut self, now: Timestamp, id: JobId, error: JobError, out: &mut Decision) {
        self.end(now, id, error, out);
        if let Some(job) = self.jobs.get(&id).filter(|job| job.sent) {
            self.cancel(job, out);
        }
    }

    fn cancel(&self, job: &JobRecord, out: &mut Decision) {
        if let Some(session) = self.session_of(job) {
            self.send_cancel(session, job.id, out);
        }
    }
}

/// The card that a bound encode may have changed.
fn card_of_encode(job: &JobRecord) -> Option<(SystemId, Uid)> {
    let binding = job.binding.as_ref()?;
    let uid = binding.uid.filter(|_| job.kind == JobKind::Encode)?;
    Some((job.system, uid))
}

fn moved(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(at)
}

fn interrupted() -> JobError {
    JobError {
        code: ErrorCode::EncodingInterrupted,
        message: "the agent did not say how the write ended; the card may have been changed, so encode that same card \
                  again, or make a new credential"
            .to_owned(),
        touched: Touched::Unknown,
        hardware: None,
    }
}
