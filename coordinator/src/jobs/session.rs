//! An agent comes, says where its jobs stand, and goes.

use encoder_protocols::{
    card::Uid,
    wire::{
        ErrorCode, Hello, JobId, JobKind, MAX_STORED_SEQUENCE, OpenJob, OpenJobState, Progress,
        ServiceMessage, Touched, Welcome,
    },
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    AgentId, Attempt, Book, BootId, Change, CredentialId, Decision, Delivery, Hold, HoldState,
    JobRecord, Orphan, Session, SessionId, Violation, operator::retired,
};

/// What `welcome` says besides what the book knows.
#[derive(Clone, Copy, Debug)]
pub struct Greeting {
    /// The id of the store.
    pub store_id: Uuid,
    /// How often each side pings, in milliseconds.
    pub heartbeat_ms: u64,
}

impl Book {
    /// Decides on an agent's first message (rules 4, 6, 8, 9 and 10). Whether another session of this agent is alive
    /// was asked before.
    ///
    /// Every job that it lists must be at hand if the store knows it, with its credential's holds.
    ///
    /// # Errors
    /// [`Violation`] when it lists another agent's job, or a job on another encoder.
    pub fn hello(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        session: SessionId,
        hello: &Hello,
        greeting: Greeting,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        self.check_listed(agent, &hello.open_jobs)?;
        let journal_behind = self.is_journal_behind(agent, hello);
        let awaited = self.restored.awaited.contains(&agent);
        let Some(record) = self.agents.get_mut(&agent) else {
            return Ok(out);
        };
        if record.retired {
            out.messages.push(Delivery::End(session, retired()));
            return Ok(out);
        }
        // The numbers of a copy, or of another journal, may stand for other outcomes than this journal's: it tells all.
        if awaited || record.own_id.is_some_and(|own| own != hello.agent_id) {
            record.last_sequence = 0;
        }
        record.own_id = Some(hello.agent_id);
        record.session = Some(Session {
            id: session,
            boot: BootId(hello.boot_id),
            last_sequence: hello.last_sequence,
            listed: hello.open_jobs.iter().map(|open| open.job_id).collect(),
            told: Vec::new(),
        });
        out.store(Change::SaveAgent(record.clone()));
        let welcome = Welcome {
            session_id: session.0,
            store_id: greeting.store_id,
            // No honest agent ever counts that far.
            last_sequence: record.last_sequence.min(MAX_STORED_SEQUENCE),
            journal_behind,
            heartbeat_ms: greeting.heartbeat_ms,
            server_time: now,
            next_pins: None,
        };
        out.send(session, ServiceMessage::Welcome(welcome));
        for open in &hello.open_jobs {
            self.listed(now, agent, session, open, &mut out);
        }
        self.pin_jobs_of_other_boots(agent, BootId(hello.boot_id), &mut out);
        self.send_again(now, agent, &mut out);
        self.caught_up(now, agent, &mut out);
        Ok(out)
    }

    /// Whether the agent's journal has forgotten something (rules 4, 6 and 7): it is another one, or it does not know that a
    /// job which another process of the agent was bound for may have started. That it lacks outcomes the agent sees itself,
    /// by the last sequence of `welcome`.
    fn is_journal_behind(&self, agent: AgentId, hello: &Hello) -> bool {
        let Some(record) = self.agents.get(&agent) else {
            return false;
        };
        let is_another = record.own_id.is_some_and(|own| own != hello.agent_id);
        let knows = |job: JobId| {
            let listed = hello.open_jobs.iter().find(|open| open.job_id == job);
            listed.is_some_and(|open| open.state != OpenJobState::Accepted)
        };
        let forgot_a_write = self.jobs.values().any(|job| {
            job.agent == Some(agent)
                && job.kind == JobKind::Encode
                && job.outcome.is_none()
                && job.is_bound()
                && job
                    .binding
                    .as_ref()
                    .is_none_or(|bound| bound.boot != BootId(hello.boot_id))
                && !knows(job.id)
        });
        is_another || forgot_a_write
    }

    /// The agent's session has ended.
    pub fn session_lost(&mut self, now: Timestamp, agent: AgentId, session: SessionId) {
        if let Some(record) = self.agents.get_mut(&agent)
            && record
                .session
                .as_ref()
                .is_some_and(|live| live.id == session)
        {
            record.session = None;
            record.away_since = now;
        }
    }

    /// The job is durable on the agent. One that is not wanted any more is cancelled (rules 10 and 11).
    ///
    /// # Errors
    /// [`Violation`] when the job belongs to another agent.
    pub fn job_accepted(
        &self,
        agent: AgentId,
        session: SessionId,
        job: JobId,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        let wanted = self
            .owned_job(agent, job)?
            .is_some_and(|job| job.attempt.is_pending() && job.cancelled.is_none());
        if !wanted && self.boot_of(agent, session).is_some() {
            self.send_cancel(session, job, &mut out);
        }
        Ok(out)
    }

    /// Where a job stands. A write on a card that is not the bound one must not be; it is held like the bound one.
    ///
    /// # Errors
    /// [`Violation`] when the job belongs to another agent.
    pub fn job_progress(
        &mut self,
        agent: AgentId,
        session: SessionId,
        job: JobId,
        progress: &Progress,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        let owned = self.owned_job(agent, job)?.is_some();
        if let Progress::Writing { uid, .. } = progress
            && owned
            && self.boot_of(agent, session).is_some()
        {
            self.started(job, *uid, &mut out);
        }
        Ok(out)
    }

    /// The agent's job, or one of an agent of the same system that was retired: its PC may come back under a new token,
    /// and all its jobs are settled. None when it is unknown.
    pub(crate) fn owned_job(
        &self,
        agent: AgentId,
        job: JobId,
    ) -> Result<Option<&JobRecord>, Violation> {
        let known = self.jobs.get(&job);
        let orphan = self.orphans.get(&job).map(|orphan| orphan.agent);
        let owner = orphan.or_else(|| known.and_then(|job| job.agent));
        let is_nobodys = known.is_some_and(|job| job.agent.is_none());
        if is_nobodys || owner.is_some_and(|owner| !self.speaks_for(agent, owner)) {
            return Err(Violation::ForeignJob(job));
        }
        Ok(known)
    }

    fn speaks_for(&self, agent: AgentId, owner: AgentId) -> bool {
        let system = self.agents.get(&agent).map(|agent| agent.system);
        let retired = self.agents.get(&owner).filter(|owner| owner.retired);
        agent == owner || retired.is_some_and(|owner| Some(owner.system) == system)
    }

    /// Tells the agent that the job is not wanted, with the code that its attempt ended with.
    pub(crate) fn send_cancel(&self, session: SessionId, job: JobId, out: &mut Decision) {
        let known = self.jobs.get(&job);
        let why = known.and_then(|job| match (&job.attempt, &job.cancelled) {
            (Attempt::Error(error), _) | (_, Some(error)) => Some(error.clone()),
            (Attempt::Pending | Attempt::Success { .. }, None) => None,
        });
        let (code, message) = why.map_or_else(
            || {
                (
                    ErrorCode::UncategorizedError,
                    "the service does not know this job any more".to_owned(),
                )
            },
            |error| (error.code, error.message),
        );
        out.send(
            session,
            ServiceMessage::Cancel {
                job_id: job,
                code,
                message,
            },
        );
    }

    /// When every outcome that the agent announced is here: a restored store has heard it (rule 9), what a former
    /// process was bound to and this one does not know has ended as `unknown` (rule 6), and nothing else that it does not
    /// know is waited for.
    pub(crate) fn caught_up(&mut self, now: Timestamp, agent: AgentId, out: &mut Decision) {
        let Some(record) = self.agents.get(&agent) else {
            return;
        };
        let Some(session) = record
            .session
            .clone()
            .filter(|session| record.last_sequence >= session.last_sequence)
        else {
            return;
        };
        if self.restored.awaited.contains(&agent) {
            self.restored.awaited.retain(|awaited| *awaited != agent);
            out.store(Change::AgentHeard(agent));
        }
        let forgotten: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| {
                job.agent == Some(agent)
                    && job.outcome.is_none()
                    && !session.listed.contains(&job.id)
                    && job.is_bound()
                    && job
                        .binding
                        .as_ref()
                        .is_none_or(|binding| binding.boot != session.boot)
            })
            .map(|job| job.id)
            .collect();
        for job in forgotten {
            self.forgotten(now, job, out);
        }
        let unknown = |job| !session.listed.contains(&job);
        for job in self.jobs.values_mut() {
            if job.agent == Some(agent) && job.awaited && unknown(job.id) {
                job.awaited = false;
                out.save(job);
            }
        }
        self.end_orphans(now, agent, unknown, out);
    }

    fn check_listed(&self, agent: AgentId, open_jobs: &[OpenJob]) -> Result<(), Violation> {
        for open in open_jobs {
            if let Some(job) = self.owned_job(agent, open.job_id)?
                && job.encoder_key != open.encoder_key
            {
                return Err(Violation::ForeignEncoder(open.job_id));
            }
        }
        Ok(())
    }

    /// One job that `hello` lists.
    fn listed(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        session: SessionId,
        open: &OpenJob,
        out: &mut Decision,
    ) {
        let finished = matches!(open.state, OpenJobState::Finished { .. });
        let wanted = match self.jobs.get_mut(&open.job_id) {
            Some(job) => {
                job.sent = true;
                job.awaited = !job.attempt.is_pending() && job.outcome.is_none();
                let job = job.clone();
                out.save(&job);
                job.attempt.is_pending() && job.cancelled.is_none()
            }
            None => {
                self.put_orphan(now, agent, open, out);
                false
            }
        };
        if let OpenJobState::Started { uid, .. } = &open.state {
            self.started(open.job_id, *uid, out);
        }
        if !wanted && !finished {
            self.send_cancel(session, open.job_id, out);
        }
    }

    fn put_orphan(&mut self, now: Timestamp, agent: AgentId, open: &OpenJob, out: &mut Decision) {
        if self.orphans.contains_key(&open.job_id) {
            return;
        }
        let uid = match &open.state {
            OpenJobState::Started { uid, .. } => *uid,
            OpenJobState::Accepted | OpenJobState::Finished { .. } => None,
        };
        let orphan = Orphan {
            job: open.job_id,
            agent,
            kind: open.kind,
            credential: open.credential_id.map(CredentialId),
            uid,
            outcome: None,
            seen_at: now,
        };
        out.store(Change::PutOrphan(orphan.clone()));
        self.orphans.insert(open.job_id, orphan);
    }

    /// The agent says that it has started to write this card. If that is not the bound card, or no binding is known
    /// (a restored store), the card is held all the same and the job stays on it.
    fn started(&mut self, id: JobId, uid: Option<Uid>, out: &mut Decision) {
        let credential = match (self.jobs.get_mut(&id), self.orphans.get(&id)) {
            (Some(job), _) => {
                let fits = job.binding.as_ref().is_some_and(|bound| bound.uid == uid);
                if job.kind != JobKind::Encode || job.outcome.is_some() || fits {
                    return;
                }
                job.pinned = true;
                let job = job.clone();
                out.save(&job);
                job.credential
            }
            (None, Some(orphan)) if orphan.outcome.is_none() => orphan.credential,
            (None, _) => None,
        };
        if let Some(credential) = credential {
            self.put_hold(
                Hold {
                    job: id,
                    credential,
                    uid,
                    state: HoldState::Unknown,
                },
                out,
            );
        }
    }

    /// Rule 6: a job that another process of the agent was bound for stays on its card.
    fn pin_jobs_of_other_boots(&mut self, agent: AgentId, boot: BootId, out: &mut Decision) {
        for job in self.jobs.values_mut() {
            let other = job.binding.as_ref().is_some_and(|bound| bound.boot != boot);
            if job.agent == Some(agent) && job.outcome.is_none() && other && !job.pinned {
                job.pinned = true;
                out.save(job);
            }
        }
    }

    /// Rule 4: what was sent, is not bound and is not known to the agent is sent once more.
    fn send_again(&mut self, now: Timestamp, agent: AgentId, out: &mut Decision) {
        let Some(session) = self.live(agent) else {
            return;
        };
        let again: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| {
                job.agent == Some(agent)
                    && job.attempt.is_pending()
                    && !job.is_bound()
                    && job.outcome.is_none()
                    && now < job.deadline
                    && !session.listed.contains(&job.id)
            })
            .map(|job| job.id)
            .collect();
        for id in again {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.sent = true;
                let job = job.clone();
                out.save(&job);
                self.send_job(now, &job, out);
            }
        }
    }

    /// A bound job that its agent does not know any more: nobody can say what it did to its card.
    fn forgotten(&mut self, now: Timestamp, id: JobId, out: &mut Decision) {
        let error = encoder_protocols::wire::JobError {
            code: ErrorCode::EncodingInterrupted,
            message: "the agent was restarted and does not know this job any more; the card may have been changed, so \
                      encode that same card again, or make a new credential"
                .to_owned(),
            touched: Touched::Unknown,
            hardware: None,
        };
        self.end(now, id, error, out);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.awaited = false;
        let job = job.clone();
        out.save(&job);
        if job.kind == JobKind::Encode {
            self.hold_for_good(&job, out);
        }
    }
}
