//! A job's outcome, taken once.

use encoder_protocols::{
    card::{CardDescription, Uid},
    wire::{
        ErrorCode, JobError, JobFinished, JobId, JobKind, JobRefused, Outcome, RefusalReason,
        ServiceMessage, Touched,
    },
};
use jiff::Timestamp;

use super::{
    AgentId, Attempt, AuditAction, AuditEntry, Book, BootId, Change, CredentialId, Decision, Hold,
    Issue, JobRecord, Orphan, SessionId, SystemId, Violation,
    presented::hold_state,
    request::{end_name, fail},
};

impl Book {
    /// Takes an outcome (rules 2, 3, 4, 6 and 8). The first one of a job counts; every one is acknowledged. After the
    /// attempt has ended it settles hold and credential, and leaves the attempt as it is. `scanned` is what a scan
    /// found, as the HTTP API prints it.
    ///
    /// The job must be at hand if the store knows it, with the holds of its credential.
    ///
    /// # Errors
    /// [`Violation`] when the job belongs to another agent.
    pub fn job_finished(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        session: SessionId,
        finished: &JobFinished,
        scanned: Option<serde_json::Value>,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        if self.boot_of(agent, session).is_none() {
            return Ok(out);
        }
        let known = self.owned_job(agent, finished.job_id)?.is_some();
        self.advance_sequence(agent, finished.sequence, &mut out);
        if known {
            let boot = self.live(agent).map(|live| live.boot);
            self.take(now, boot, finished, scanned, &mut out);
        } else {
            self.take_orphan(now, agent, finished, &mut out);
        }
        let sequence = finished.sequence;
        out.send(session, ServiceMessage::FinishedAck { sequence });
        self.caught_up(now, agent, &mut out);
        Ok(out)
    }

    /// The agent will never run this job. A bound job cannot be refused: its outcome is waited for.
    ///
    /// # Errors
    /// [`Violation`] when the job belongs to another agent.
    pub fn job_refused(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        refused: &JobRefused,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        let id = refused.job_id;
        let open = self
            .owned_job(agent, id)?
            .is_some_and(|job| !job.is_bound() && job.outcome.is_none());
        if !open {
            return Ok(out);
        }
        let error = fail(code_of_refusal(refused.reason), refused.message.clone());
        self.end(now, id, error, &mut out);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.outcome = Some(Touched::Untouched);
            job.awaited = false;
            out.save(job);
        }
        Ok(out)
    }

    /// Ends the attempt with an error, if it still waits. Where a restored copy does not tell how far the job came, nobody
    /// can say that no card was touched.
    pub(crate) fn end(
        &mut self,
        now: Timestamp,
        job: JobId,
        mut error: JobError,
        out: &mut Decision,
    ) {
        let unheard = self.jobs.get(&job).is_some_and(|job| self.is_unheard(job));
        let Some(job) = self.jobs.get_mut(&job) else {
            return;
        };
        if !job.attempt.is_pending() {
            return;
        }
        if unheard && job.kind == JobKind::Encode {
            error.touched = Touched::Unknown;
        }
        job.attempt = Attempt::Error(error);
        // What the copy does not tell of it, its agent may: until then its credential goes nowhere.
        job.awaited |= unheard && !job.is_bound();
        let uid = job.binding.as_ref().and_then(|binding| binding.uid);
        out.audit(now, AuditAction::Ended, job, uid, end_name(&job.attempt));
        out.save(job);
    }

    fn advance_sequence(&mut self, agent: AgentId, sequence: u64, out: &mut Decision) {
        if let Some(record) = self.agents.get_mut(&agent)
            && sequence > record.last_sequence
        {
            record.last_sequence = sequence;
            out.store(Change::SaveAgent(record.clone()));
        }
    }

    /// Takes the outcome of a known job. `boot` is the start of the process that tells it.
    pub(crate) fn take(
        &mut self,
        now: Timestamp,
        boot: Option<BootId>,
        finished: &JobFinished,
        scanned: Option<serde_json::Value>,
        out: &mut Decision,
    ) {
        let Some(job) = self
            .jobs
            .get_mut(&finished.job_id)
            .filter(|job| job.outcome.is_none() || was_sent_again(job, finished))
        else {
            return;
        };
        let other_boot = job
            .binding
            .as_ref()
            .is_some_and(|binding| Some(binding.boot) != boot);
        let claims_success = finished.outcome == Outcome::Success;
        let unproved = job.kind == JobKind::Encode && (job.pinned || other_boot || claims_success);
        let touched = match finished.touched {
            Touched::Untouched if unproved => Touched::Unknown,
            Touched::Untouched | Touched::Unknown | Touched::Written => finished.touched,
        };
        job.outcome = Some(touched);
        job.awaited = false;
        let job = job.clone();
        let bound = job.binding.as_ref().map(|binding| binding.card);
        // What is doubted is what the former process did to the bound card; the card named now was only looked at.
        let card = if touched != finished.touched && !claims_success {
            bound.or(finished.card)
        } else {
            finished.card.or(bound)
        };
        if job.kind == JobKind::Encode {
            self.settle_holds(&job, finished, touched, card, out);
        }
        out.audit(
            now,
            AuditAction::Outcome,
            &job,
            card.and_then(|card| card.uid),
            Some(outcome_name(finished.outcome, touched)),
        );
        self.end_by_outcome(now, &job, finished, touched, scanned, out);
    }

    /// Rule 2: `untouched` releases this job's hold; anything else keeps the credential on the card.
    fn settle_holds(
        &mut self,
        job: &JobRecord,
        finished: &JobFinished,
        touched: Touched,
        card: Option<CardDescription>,
        out: &mut Decision,
    ) {
        let Some(state) = hold_state(touched) else {
            self.drop_holds(job.id, out);
            return;
        };
        let uid = card.and_then(|card| card.uid);
        let told = finished.credential_id.map(CredentialId);
        let mut credentials: Vec<CredentialId> = job.credential.into_iter().collect();
        credentials.extend(told.filter(|told| Some(*told) != job.credential));
        for credential in credentials {
            let hold = Hold {
                job: job.id,
                credential,
                uid,
                state,
            };
            self.put_hold(hold, out);
        }
        if touched == Touched::Unknown
            && let Some(uid) = uid
        {
            out.store(Change::CardInDoubt(job.system, uid));
        }
        if touched == Touched::Written
            && told == job.credential
            && let Some(credential) = job.credential
        {
            let content = job
                .binding
                .as_ref()
                .and_then(|bound| bound.content.as_ref());
            let revision = content.map(|content| content.revision);
            let issue = issue_of(
                now_of(finished, job.created_at),
                job.id,
                job.system,
                credential,
                finished,
                card,
            );
            out.store(Change::Issue(Issue { revision, ..issue }));
        }
    }

    fn end_by_outcome(
        &mut self,
        now: Timestamp,
        job: &JobRecord,
        finished: &JobFinished,
        touched: Touched,
        scanned: Option<serde_json::Value>,
        out: &mut Decision,
    ) {
        let Some(record) = self.jobs.get_mut(&job.id) else {
            return;
        };
        if record.attempt.is_pending() {
            record.attempt = attempt_of(job, finished, touched, scanned);
            let uid = finished.card.and_then(|card| card.uid);
            let name = end_name(&record.attempt);
            out.audit(now, AuditAction::Ended, record, uid, name);
        }
        out.save(record);
    }

    /// Rule 8: an outcome of a job that the store does not know is kept, and holds its credential.
    fn take_orphan(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        finished: &JobFinished,
        out: &mut Decision,
    ) {
        let known = self.orphans.get(&finished.job_id);
        if known.is_some_and(|orphan| orphan.outcome.is_some()) {
            return;
        }
        let credential = finished.credential_id.map(CredentialId);
        let uid = finished.card.and_then(|card| card.uid);
        let orphan = Orphan {
            job: finished.job_id,
            agent,
            kind: finished.kind,
            credential,
            uid,
            outcome: Some((finished.outcome, finished.touched)),
            seen_at: known.map_or(now, |orphan| orphan.seen_at),
        };
        out.store(Change::PutOrphan(orphan.clone()));
        let system = self.agents.get(&agent).map(|agent| agent.system);
        out.store(Change::Audit(audit_of_orphan(now, system, &orphan)));
        self.orphans.insert(orphan.job, orphan);
        let Some(state) = hold_state(finished.touched) else {
            self.drop_holds(finished.job_id, out);
            return;
        };
        let Some(credential) = credential.filter(|_| finished.kind == JobKind::Encode) else {
            return;
        };
        let hold = Hold {
            job: finished.job_id,
            credential,
            uid,
            state,
        };
        self.put_hold(hold, out);
        if let (Touched::Unknown, Some(system), Some(uid)) = (finished.touched, system, uid) {
            out.store(Change::CardInDoubt(system, uid));
        }
        if let (Touched::Written, Some(system)) = (finished.touched, system) {
            let at = now_of(finished, now);
            out.store(Change::Issue(issue_of(
                at,
                finished.job_id,
                system,
                credential,
                finished,
                finished.card,
            )));
        }
    }
}

/// How an attempt ends with this outcome.
fn attempt_of(
    job: &JobRecord,
    finished: &JobFinished,
    touched: Touched,
    scanned: Option<serde_json::Value>,
) -> Attempt {
    let mismatch = |message: &str| {
        Attempt::Error(JobError {
            code: ErrorCode::UncategorizedError,
            message: message.to_owned(),
            touched,
            hardware: None,
        })
    };
    let uid = finished.card.and_then(|card| card.uid);
    match (finished.outcome, job.kind) {
        (Outcome::Error, _) => {
            let told = finished.error.clone().unwrap_or_else(|| {
                fail(
                    ErrorCode::UncategorizedError,
                    "the agent gave no reason".to_owned(),
                )
            });
            Attempt::Error(JobError { touched, ..told })
        }
        (Outcome::Success, _) if !is_bound_card(job, uid) => mismatch(
            "the agent reports another card than the one this job was bound to; scan both cards",
        ),
        (Outcome::Success, JobKind::Scan) => Attempt::Success { result: scanned },
        (Outcome::Success, JobKind::Encode) if touched == Touched::Written => {
            Attempt::Success { result: None }
        }
        (Outcome::Success, JobKind::Encode) => {
            mismatch("the agent reports success without having read the card back; scan the card")
        }
    }
}

/// Whether the outcome's card is the bound one. A random UID names no card, and a job may have been bound before a
/// restored copy was made.
fn is_bound_card(job: &JobRecord, uid: Option<Uid>) -> bool {
    let random = uid.is_some_and(|uid| uid.is_random()) && job.kind == JobKind::Scan;
    random || job.binding.as_ref().is_none_or(|bound| bound.uid == uid)
}

fn now_of(finished: &JobFinished, otherwise: Timestamp) -> Timestamp {
    finished.issued_at.unwrap_or(otherwise)
}

fn issue_of(
    issued_at: Timestamp,
    job: JobId,
    system: SystemId,
    credential: CredentialId,
    finished: &JobFinished,
    card: Option<CardDescription>,
) -> Issue {
    Issue {
        job,
        system,
        credential,
        uid: card.and_then(|card| card.uid),
        card_number: card
            .and_then(|card| card.card_number())
            .or_else(|| finished.card_number.clone()),
        issued_at,
        revision: None,
    }
}

pub(crate) fn audit_of_orphan(
    at: Timestamp,
    system: Option<SystemId>,
    orphan: &Orphan,
) -> AuditEntry {
    AuditEntry {
        at,
        action: AuditAction::Orphan,
        job: orphan.job,
        kind: orphan.kind,
        system,
        api_key: None,
        agent: Some(orphan.agent),
        encoder: None,
        credential: orphan.credential,
        uid: orphan.uid,
        result: orphan
            .outcome
            .map(|(outcome, touched)| outcome_name(outcome, touched)),
    }
}

fn outcome_name(outcome: Outcome, touched: Touched) -> String {
    let outcome = match outcome {
        Outcome::Success => "success",
        Outcome::Error => "error",
    };
    let touched = match touched {
        Touched::Untouched => "untouched",
        Touched::Unknown => "unknown",
        Touched::Written => "written",
    };
    format!("{outcome}, {touched}")
}

/// Whether the agent knows more of a job than that it refused it, or never came to a card: the store went back to a copy from
/// before that, sent the job once more, and then went on to the copy it is now.
fn was_sent_again(job: &JobRecord, finished: &JobFinished) -> bool {
    job.outcome == Some(Touched::Untouched)
        && !job.is_bound()
        && finished.touched != Touched::Untouched
}

const fn code_of_refusal(reason: RefusalReason) -> ErrorCode {
    match reason {
        RefusalReason::TooOld => ErrorCode::ActionAttemptExpired,
        RefusalReason::UnknownEncoder => ErrorCode::EncoderNotOnline,
        RefusalReason::JournalUnavailable
        | RefusalReason::QueueFull
        | RefusalReason::Unsupported => ErrorCode::UncategorizedError,
    }
}
