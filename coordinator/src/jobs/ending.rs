//! Attempts that the coordinator ends on its own: those of jobs that are not bound, and what must not wait for ever.

use encoder_protocols::wire::{ErrorCode, JobError, JobId, Touched};
use jiff::Timestamp;

use super::{AGENT_AWAY, BOUND_GRACE, Book, CredentialId, Decision, JobRecord, request::fail};

impl Book {
    /// Ends what is due (rule 10).
    pub fn tick(&mut self, now: Timestamp) -> Decision {
        let mut out = Decision::default();
        let due: Vec<(JobId, JobError)> = self
            .jobs
            .values()
            .filter(|job| job.attempt.is_pending())
            .map(|job| (job.id, self.next_end(job)))
            .filter(|(_, (at, _))| now >= *at)
            .map(|(job, (_, error))| (job, error))
            .collect();
        for (job, error) in due {
            self.end_and_cancel(now, job, error, &mut out);
        }
        out
    }

    /// When the next attempt is due to end on its own.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.jobs
            .values()
            .filter(|job| job.attempt.is_pending())
            .map(|job| self.next_end(job).0)
            .min()
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
            return (job.deadline + BOUND_GRACE, interrupted());
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
                agent.away_since + patience,
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
