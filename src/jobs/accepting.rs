//! Jobs as they are offered: refused, answered from the journal, or accepted into their encoder's queue.

use encoder_protocols::wire::{
    self, AgentMessage, JobFinished, JobId, JobKind, JobRefused, MAX_WAITING_JOBS, RefusalReason,
};
use jiff::SignedDuration;

use super::{
    action::{AfterPersist, AfterRecall, Now},
    attached::Attached,
    deadline::on_our_clock,
    job::Job,
    machine::Jobs,
};
use crate::{
    encoder::{EncoderCommand, EncoderId},
    journal::{JobFacts, JournalError, RETENTION, Recall, Record},
};

impl Jobs {
    /// A job came from the coordinator.
    pub(super) fn offer(&mut self, job: wire::Job) {
        if self.draining {
            return;
        }
        let job_id = job.job_id;
        if self.open.contains_key(&job_id) {
            self.send(AgentMessage::JobAccepted { job_id });
        } else if !self.send_outcome_of(job_id) {
            self.agenda
                .recall(Recall::Job(job_id), AfterRecall::Offered(Box::new(job)));
        }
    }

    /// The journal was asked about an offered job that is not open.
    pub(super) fn offered(
        &mut self,
        now: Now,
        job: wire::Job,
        known: Result<Vec<JobFinished>, JournalError>,
    ) {
        match known {
            Err(error) => {
                self.refuse(
                    job.job_id,
                    RefusalReason::JournalUnavailable,
                    error.to_string(),
                );
            }
            Ok(outcomes) if !outcomes.is_empty() => {
                for outcome in outcomes {
                    self.send(AgentMessage::JobFinished(outcome));
                }
            }
            Ok(_) => match self.acceptable(&job) {
                Err((reason, message)) => self.refuse(job.job_id, reason, message),
                Ok(encoder) => self.accept(now, job, encoder),
            },
        }
    }

    /// The job is durable.
    pub(super) fn accepted(&mut self, now: Now, job: Job) {
        let (job_id, id) = (job.id(), job.encoder);
        self.open.insert(job_id, job);
        self.enqueue(job_id, id);
        self.send(AgentMessage::JobAccepted { job_id });
        self.settle(now, id);
    }

    /// The job could not be made durable.
    pub(super) fn not_accepted(&mut self, now: Now, job: &Job, problem: String) {
        self.refuse(job.id(), RefusalReason::JournalUnavailable, problem);
        self.settle(now, job.encoder);
    }

    pub(super) fn enqueue(&mut self, job_id: JobId, id: EncoderId) {
        if let Some(encoder) = self.encoders.get_mut(id.0) {
            encoder.queue.push(job_id);
            self.inventory_changed = true;
        }
    }

    /// Which encoder takes the job, or why none does.
    fn acceptable(&self, job: &wire::Job) -> Result<EncoderId, (RefusalReason, String)> {
        let retention = SignedDuration::try_from(RETENTION).unwrap_or(SignedDuration::MAX);
        if job.deadline <= job.server_time
            || job.server_time.duration_since(job.created_at) > retention
        {
            let message = "the job's deadline has passed, or it is too old; ask again".to_owned();
            return Err((RefusalReason::TooOld, message));
        }
        let Some(id) = self.find_encoder(&job.encoder_key) else {
            let message = format!(
                "no encoder with the key {} is known here; take one of the inventory",
                job.encoder_key
            );
            return Err((RefusalReason::UnknownEncoder, message));
        };
        match self
            .encoders
            .get(id.0)
            .and_then(|encoder| cannot(encoder, job.kind))
        {
            Some(refusal) => Err(refusal),
            None => Ok(id),
        }
    }

    fn accept(&mut self, now: Now, job: wire::Job, id: EncoderId) {
        let facts = JobFacts {
            job_id: job.job_id,
            encoder_key: job.encoder_key,
            kind: job.kind,
            credential_id: job.credential_id,
            created_at: job.created_at,
            deadline: job.deadline,
            server_offset: job.server_time.duration_since(now.utc),
            card_wait: std::time::Duration::from_millis(job.card_wait_ms),
        };
        let deadline = on_our_clock(now.at, job.deadline, job.server_time);
        let record = Record::Accepted(facts.clone());
        let job = Job::new(facts, id, deadline, now.at);
        self.look_early(id);
        self.agenda
            .persist(vec![record], AfterPersist::Accepted(Box::new(job)));
    }

    /// Looking for a card promises nothing, so that the encoder may begin while the disk still writes.
    fn look_early(&mut self, id: EncoderId) {
        let Some(encoder) = self.encoders.get_mut(id.0) else {
            return;
        };
        if !encoder.watching {
            encoder.watching = true;
            self.command(id, EncoderCommand::Watch);
        }
    }

    fn refuse(&mut self, job_id: JobId, reason: RefusalReason, message: String) {
        self.send(AgentMessage::JobRefused(JobRefused {
            job_id,
            reason,
            message,
        }));
    }
}

/// Why this encoder cannot take a job of this kind now.
fn cannot(encoder: &Attached, kind: JobKind) -> Option<(RefusalReason, String)> {
    let name = encoder.name();
    if !encoder.is_adopted() {
        let message = format!("the encoder {name} is not adopted; adopt it first");
        return Some((RefusalReason::Unsupported, message));
    }
    let able = encoder.identity.as_ref().is_none_or(|identity| match kind {
        JobKind::Encode => identity.abilities.encode,
        JobKind::Scan => identity.abilities.scan,
    });
    if !able {
        let verb = match kind {
            JobKind::Encode => "write",
            JobKind::Scan => "read",
        };
        let message = format!("the encoder {name} cannot {verb} cards; take another one");
        return Some((RefusalReason::Unsupported, message));
    }
    // One works at the head, the others wait.
    if encoder.queue.len() > MAX_WAITING_JOBS {
        let message = format!(
            "{MAX_WAITING_JOBS} jobs wait on the encoder {name} already; ask again when one has ended"
        );
        return Some((RefusalReason::QueueFull, message));
    }
    None
}
