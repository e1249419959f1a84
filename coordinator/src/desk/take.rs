//! One input: what the decision needs is read, the book decides, the decision is carried out.

use encoder_protocols::wire::{
    AgentMessage, CardPresented, ErrorCode, JobContent, JobId, MAX_MESSAGE_BYTES,
};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Asked, DeskError, Input, Opened, Outgoing, Round, journal, new_job,
    operator::{end_session, obey},
    scanned::take_scan,
    task::Task,
};
use crate::{
    access_system::AccessSystem,
    ids,
    jobs::{
        AgentId, Book, CredentialFacts, CredentialId, EncoderId, PlanContent, Refusal, Request,
        SessionId, SystemId, Violation,
    },
    store::{
        StoreError, agents, attempts,
        credentials::{self, CredentialRow, IssueState},
        entrances, jobs, simulations,
    },
};

/// A card as the access system sees it: what a plan is made of, or why there is none; and when the credential was made.
type Prepared = (Result<Option<PlanContent>, Refusal>, Option<Timestamp>);

impl Task {
    pub(super) async fn take(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        input: Input,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        match input {
            Input::Answered(answered) => self.answered(book, conn, *answered, round).await?,
            Input::AnsweredSimulated(answer) => {
                self.answered_simulated(book, conn, *answer, round).await?;
            }
            Input::Operator(command) => {
                let now = self.clock.utc();
                obey(book, conn, &self.store, now, command, round).await?;
            }
            Input::Asked(asked, answer) => {
                let result = self.asked(book, conn, asked, round).await?;
                round.answers.push((answer, result));
            }
            Input::CredentialDeleted(credential) => {
                let now = self.clock.utc();
                let decision = book.credential_deleted(now, credential);
                let key = self.store.master_key();
                round.carry_out(conn, key, now, decision).await?;
            }
            Input::Lost(agent, session) => {
                self.sessions.remove(&session);
                book.session_lost(self.clock.utc(), agent, session);
                if !self.sessions.values().any(|(live, _)| *live == agent) {
                    agents::set_connected(conn, agent, None).await?;
                }
            }
            Input::Opened(opened) => self.opened(book, conn, *opened, round).await?,
            Input::Said(agent, session, message) => {
                self.said(book, conn, agent, session, *message, round)
                    .await?;
            }
            Input::TokenRenewed(agent) => {
                let now = self.clock.utc();
                let ended = end_session(book, now, agent);
                let key = self.store.master_key();
                round.carry_out(conn, key, now, ended).await?;
            }
        }
        Ok(())
    }

    async fn asked(
        &self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        asked: Asked,
        round: &mut Round,
    ) -> Result<Result<JobId, DeskError>, StoreError> {
        let credential = match asked.credential {
            None => None,
            Some(id) => {
                need_holds(book, conn, id).await?;
                let row = credentials::by_id(conn, id.0).await?;
                let Some(row) = row.filter(|row| row.deleted_at.is_none()) else {
                    return Ok(Err(DeskError::Unknown));
                };
                Some(CredentialFacts {
                    id,
                    created_at: row.created_at,
                    on_card_unchanged: row.issue_state() == IssueState::Issued,
                    content: job_content(conn, &row).await?,
                })
            }
        };
        let request = Request {
            job: new_job(self.clock),
            encoder: asked.encoder,
            api_key: Some(asked.api_key),
            credential,
        };
        let now = self.clock.utc();
        let Some((job, decision)) = book.request(now, &request) else {
            return Ok(Err(DeskError::Unknown));
        };
        let key = self.store.master_key();
        round.carry_out(conn, key, now, decision).await?;
        let (aim, tags) = (asked.aim, asked.tags);
        if job == request.job
            && let Some(made) = book
                .job(job)
                .filter(|job| job.simulated && job.attempt.is_pending())
        {
            let credential = made.credential.map(|id| id.0);
            let about = (job, made.kind, credential);
            simulations::take_next(conn, asked.encoder, about).await?;
        }
        if job == request.job && (aim.is_some() || tags.is_some()) {
            attempts::put_aim(conn, job, aim, tags).await?;
        }
        Ok(Ok(job))
    }

    async fn opened(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        opened: Opened,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let Opened {
            agent,
            session,
            hello,
            outbox,
            answer,
        } = opened;
        if self.is_alive(agent) {
            round.greetings.push((answer, Err(DeskError::AgentInUse)));
            return Ok(());
        }
        let now = self.clock.utc();
        let row = agents::by_id(conn, agent.0).await?;
        let Some(row) = row.filter(|row| row.revoked_at.is_none()) else {
            round.greetings.push((answer, Err(DeskError::Revoked)));
            return Ok(());
        };
        let is_alive = |agent| self.is_alive(agent);
        let row = match journal::owner(book, conn, row, &hello, is_alive, now).await? {
            Ok(row) => row,
            Err(error) => {
                round.greetings.push((answer, Err(error)));
                return Ok(());
            }
        };
        let agent = AgentId(row.agent_id);
        if book.agent(agent).is_none() {
            book.admit_agent(row.record(now));
        }
        for open in &hello.open_jobs {
            need_job(book, conn, open.job_id).await?;
            if let Some(credential) = open.credential_id {
                need_holds(book, conn, CredentialId(credential)).await?;
            }
        }
        self.sessions.insert(session, (agent, outbox));
        agents::set_connected(conn, agent, Some(now)).await?;
        round.greetings.push((answer, Ok(agent)));
        let open_jobs = hello.open_jobs.iter();
        let named: Vec<Uuid> = open_jobs.filter_map(|open| open.credential_id).collect();
        let decision = match own_credentials(book, conn, agent, &named).await? {
            Ok(()) => book.hello(now, agent, session, &hello, self.greeting),
            Err(violation) => Err(violation),
        };
        let key = self.store.master_key();
        round
            .carry_out_or_end(conn, key, now, session, decision)
            .await
    }

    /// Whether a session has the agent's place; it must show then that it is alive.
    fn is_alive(&self, agent: AgentId) -> bool {
        let live = self.sessions.values().find(|(live, _)| *live == agent);
        if let Some((_, first)) = live {
            // A full outbox is no answer either: that session ends by itself.
            let _ = first.try_send(Outgoing::Probe);
        }
        live.is_some()
    }

    fn note_problems(&self, agent: AgentId, problems: &[String]) {
        let said = self.problems.borrow().get(&agent).cloned();
        if said.unwrap_or_default() == problems {
            return;
        }
        tracing::warn!(%agent, ?problems, "the agent's problems have changed");
        self.problems.send_modify(|all| {
            if problems.is_empty() {
                all.remove(&agent);
            } else {
                all.insert(agent, problems.to_vec());
            }
        });
    }

    async fn said(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        agent: AgentId,
        session: SessionId,
        message: AgentMessage,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        if let Some(job) = job_named(&message) {
            need_job(book, conn, job).await?;
        }
        let now = self.clock.utc();
        let decision = match &message {
            AgentMessage::Inventory { encoders, problems } => {
                self.note_problems(agent, problems);
                book.inventory(now, agent, session, encoders, || {
                    EncoderId(ids::new_id(now))
                })
            }
            AgentMessage::JobAccepted { job_id } => book.job_accepted(agent, session, *job_id),
            AgentMessage::JobRefused(refused) => book.job_refused(now, agent, refused),
            AgentMessage::JobProgress { job_id, progress } => {
                book.job_progress(agent, session, *job_id, progress)
            }
            AgentMessage::CardPresented(presented) => {
                let from = (agent, session);
                self.presented(book, conn, from, presented, now).await?
            }
            AgentMessage::PlanRequest(wish) => book.plan_request(now, agent, session, wish),
            AgentMessage::JobFinished(finished) => {
                if let Some(credential) = finished.credential_id {
                    need_holds(book, conn, CredentialId(credential)).await?;
                }
                let told = finished.credential_id;
                match own_credentials(book, conn, agent, told.as_slice()).await? {
                    Ok(()) => {
                        // What a scan leads to is stored before the book judges: so only for the job's own agent.
                        let job = book.job(finished.job_id).filter(|job| {
                            job.agent == Some(agent) && book.boot_of(agent, session).is_some()
                        });
                        let key = self.store.master_key();
                        let (finished, scanned) = take_scan(conn, key, job, finished, now).await?;
                        book.job_finished(now, agent, session, &finished, scanned)
                    }
                    Err(violation) => Err(violation),
                }
            }
            AgentMessage::Unsupported { message_type } => {
                tracing::warn!(%agent, %message_type, "the agent does not know this message");
                return Ok(());
            }
            // The session takes `hello` as its first message alone.
            AgentMessage::Hello(_) => return Ok(()),
        };
        let key = self.store.master_key();
        round
            .carry_out_or_end(conn, key, now, session, decision)
            .await
    }

    /// What the access system says of a presented card.
    pub(super) async fn prepare(
        &self,
        book: &Book,
        conn: &mut SqliteConnection,
        presented: &CardPresented,
        now: Timestamp,
    ) -> Result<Prepared, StoreError> {
        let Some((system, credential)) = book
            .job(presented.job_id)
            .and_then(|job| Some((job.system, job.credential?)))
        else {
            return Ok((Ok(None), None));
        };
        let row = credentials::by_id(conn, credential.0).await?;
        let Some(row) = row.filter(|row| row.deleted_at.is_none()) else {
            return Ok((Err(deleted()), None));
        };
        let entrances = credentials::entrance_numbers(conn, credential.0).await?;
        let system = self.system(conn, system).await?;
        let prepared = system.prepare(&presented.card, &row, entrances, now);
        Ok((prepared.map(Some), Some(row.created_at)))
    }

    async fn system(
        &self,
        conn: &mut SqliteConnection,
        system: SystemId,
    ) -> Result<AccessSystem, StoreError> {
        AccessSystem::load(conn, self.store.master_key(), system.0).await
    }
}

/// Why no card gets the credential any more.
pub(super) fn deleted() -> Refusal {
    Refusal::new(
        ErrorCode::CredentialDeleted,
        "the credential was deleted while its encode waited",
    )
}

/// How much of a job's message its content may fill.
const MAX_CONTENT: usize = MAX_MESSAGE_BYTES / 2;

/// What goes with a credential's jobs in systems whose makers add something. Content that no message has room for is
/// left out; encoders that take images do not need it.
async fn job_content(
    conn: &mut SqliteConnection,
    row: &CredentialRow,
) -> Result<Option<JobContent>, StoreError> {
    let Some(provider) = &row.provider else {
        return Ok(None);
    };
    let id = row.acs_credential_id;
    let doors = entrances::of_credential(conn, row.workspace_id, id).await?;
    let content = JobContent {
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        entrances: doors.into_iter().map(|door| door.display_name).collect(),
        provider: Some(provider.named()),
    };
    let length = serde_json::to_string(&content).map_or(usize::MAX, |text| text.len());
    Ok((length <= MAX_CONTENT).then_some(content))
}

fn job_named(message: &AgentMessage) -> Option<JobId> {
    match message {
        AgentMessage::JobAccepted { job_id } | AgentMessage::JobProgress { job_id, .. } => {
            Some(*job_id)
        }
        AgentMessage::JobRefused(refused) => Some(refused.job_id),
        AgentMessage::CardPresented(presented) => Some(presented.job_id),
        AgentMessage::PlanRequest(wish) => Some(wish.job_id),
        AgentMessage::JobFinished(finished) => Some(finished.job_id),
        AgentMessage::Hello(_)
        | AgentMessage::Inventory { .. }
        | AgentMessage::Unsupported { .. } => None,
    }
}

/// Refuses a credential of another access system. One that the store does not know may be the agent's: a store restored
/// from a copy has forgotten newer ones.
async fn own_credentials(
    book: &Book,
    conn: &mut SqliteConnection,
    agent: AgentId,
    named: &[Uuid],
) -> Result<Result<(), Violation>, StoreError> {
    let system = book.agent(agent).map(|agent| agent.system.0);
    for credential in named {
        let row = credentials::by_id(conn, *credential).await?;
        if row.is_some_and(|row| Some(row.acs_system_id) != system) {
            return Ok(Err(Violation::ForeignCredential(CredentialId(*credential))));
        }
    }
    Ok(Ok(()))
}

/// Brings a job or orphan to hand, with its credential's holds.
pub(super) async fn need_job(
    book: &mut Book,
    conn: &mut SqliteConnection,
    job: JobId,
) -> Result<(), StoreError> {
    if !book.knows_job(job) {
        if let Some(job) = jobs::by_id(conn, job).await? {
            book.admit_job(job);
        } else if let Some(orphan) = jobs::orphan(conn, job).await? {
            book.admit_orphan(orphan);
        }
    }
    let known = book.job(job).and_then(|job| job.credential);
    let orphan = book.orphan(job).and_then(|orphan| orphan.credential);
    match known.or(orphan) {
        Some(credential) => need_holds(book, conn, credential).await,
        None => Ok(()),
    }
}

/// Brings a credential's holds to hand.
pub(super) async fn need_holds(
    book: &mut Book,
    conn: &mut SqliteConnection,
    credential: CredentialId,
) -> Result<(), StoreError> {
    if !book.knows_credential(credential) {
        book.admit_holds(credential, jobs::holds(conn, credential).await?);
    }
    Ok(())
}
