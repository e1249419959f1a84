//! The running agent as the commands of this PC see it. Cheap to clone; every question is answered within a bounded time.

use std::{future::Future, path::PathBuf, time::Duration};

use encoder_protocols::{card::Uid, moment::Moment};
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    clock::Clock,
    encoder::{EncoderId, EncoderSettings},
    jobs::{DeskRequest, Loan, NotCancelled, NotLent},
    session::SessionStatus,
    status::{
        AgentStatus, ConfigStatus, CoordinatorStatus, Health, HealthState, JournalStatus, Status,
    },
};

use super::message::Cancelled;

/// How long the jobs may take to answer; a slow disk may hold them up.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// How long a cancelled job may take to end: an encoder that awaits a swipe is reset first.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// Why a question has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DeskError {
    /// The jobs are stuck, or have ended.
    #[error("the agent's jobs do not answer: it stops, or its disk takes very long; try again")]
    Silent,
    /// They are, or others are.
    #[error("the agent's jobs do not answer; no sign of life from: {0}")]
    Stuck(String),
    /// Nothing was cancelled.
    #[error(transparent)]
    NotCancelled(#[from] NotCancelled),
    /// It was cancelled, and has not ended yet.
    #[error(
        "the job was cancelled and has not ended yet: `encoder-agent status` shows how it goes on"
    )]
    NotEnded,
    /// No encoder was lent.
    #[error(transparent)]
    NotLent(#[from] NotLent),
    /// The journal cannot be written.
    #[error("nothing was written to the card: {0}")]
    NotDurable(String),
}

/// What never changes while the agent runs.
#[derive(Clone, Debug)]
pub struct DeskFacts {
    /// The agent's version.
    pub version: String,
    /// The operating system, for people.
    pub os: String,
    /// The PC's name.
    pub hostname: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// The same by the agent's clock.
    pub started: Moment,
    /// The coordinator's base URL.
    pub url: String,
    /// The proxy on the way, without user name and password.
    pub proxy: Option<String>,
    /// Where the token comes from; never the token.
    pub token: String,
    /// Where the journal is kept.
    pub state_dir: PathBuf,
}

/// The running agent as the commands of this PC see it.
#[derive(Clone, Debug)]
pub struct Desk {
    requests: mpsc::Sender<DeskRequest>,
    session: watch::Receiver<SessionStatus>,
    config: watch::Receiver<ConfigStatus>,
    problems: watch::Receiver<Vec<String>>,
    silent: watch::Receiver<Vec<String>>,
    facts: DeskFacts,
    clock: Clock,
}

impl Desk {
    /// A desk that asks the jobs over `requests` and looks on at the others; `silent` are the tasks that give no sign of life.
    pub fn new(
        requests: mpsc::Sender<DeskRequest>,
        session: watch::Receiver<SessionStatus>,
        config: watch::Receiver<ConfigStatus>,
        problems: watch::Receiver<Vec<String>>,
        silent: watch::Receiver<Vec<String>>,
        facts: DeskFacts,
        clock: Clock,
    ) -> Self {
        Self {
            requests,
            session,
            config,
            problems,
            silent,
            facts,
            clock,
        }
    }

    /// How the agent is.
    ///
    /// # Errors
    /// [`DeskError::Silent`] when the jobs do not answer.
    pub async fn status(&self) -> Result<Status, DeskError> {
        let asked = self.ask(DeskRequest::Status).await;
        let (jobs, tally) = asked.map_err(|error| self.named(error))?;
        let free_bytes = self.free_bytes().await;
        let session = self.session.borrow().clone();
        let facts = &self.facts;
        let mut status = Status {
            health: Health {
                state: HealthState::Ok,
                problems: Vec::new(),
            },
            agent: AgentStatus {
                version: facts.version.clone(),
                os: facts.os.clone(),
                hostname: facts.hostname.clone(),
                agent_id: jobs.agent_id,
                process_id: std::process::id(),
                started_at: facts.started_at,
                uptime_s: self.clock.now().since(facts.started).as_secs(),
            },
            config: self.config.borrow().clone(),
            coordinator: CoordinatorStatus {
                url: facts.url.clone(),
                proxy: facts.proxy.clone(),
                token: facts.token.clone(),
                state: session.state,
                since: session.since,
                sessions: session.sessions,
                last_problem: session.last_problem,
                view: session.view,
            },
            encoders: jobs.encoders,
            journal: JournalStatus {
                state_dir: facts.state_dir.clone(),
                problem: jobs.journal_problem,
                found: jobs.journal_found,
                open_jobs: jobs.open_jobs,
                owed_outcomes: jobs.owed_outcomes,
                free_bytes,
            },
            jobs: tally,
            problems: jobs.device_problems,
        };
        status
            .problems
            .extend(self.problems.borrow().iter().cloned());
        let silent = self.silent.borrow().clone();
        let silent = silent.iter().map(|name| no_sign_of_life(name));
        status.problems.extend(silent);
        status.health = Health::of(&status);
        Ok(status)
    }

    /// Frees an encoder, and waits for the end of the job that it had.
    ///
    /// # Errors
    /// [`DeskError`] when there is none, or it is too late.
    pub async fn cancel(&self, encoder: Option<String>) -> Result<Cancelled, DeskError> {
        let asked = self.ask(|answer| DeskRequest::Cancel { encoder, answer });
        let end = asked.await??;
        let end = timeout(ENDED_WITHIN, end).await;
        let Ok(Ok(end)) = end else {
            return Err(DeskError::NotEnded);
        };
        Ok(Cancelled {
            job_id: end.job_id,
            encoder_key: end.encoder_key,
            error: end.error,
            touched: end.touched,
        })
    }

    /// Borrows an encoder.
    ///
    /// # Errors
    /// [`DeskError`] when it is busy or does not answer.
    pub async fn borrow(&self, encoder: Option<String>) -> Result<Loan, DeskError> {
        let asked = self.ask(|answer| DeskRequest::Borrow { encoder, answer });
        Ok(asked.await??)
    }

    /// Makes durable that this card must leave the borrowed encoder before a credential is put on one.
    ///
    /// # Errors
    /// [`DeskError`] when that cannot be: nothing may be written then.
    pub async fn guard(&self, id: EncoderId, uid: Uid) -> Result<(), DeskError> {
        let asked = self.ask(|answer| DeskRequest::Guard { id, uid, answer });
        asked.await?.map_err(DeskError::NotDurable)
    }

    /// Gives encoders their other names.
    ///
    /// # Errors
    /// [`DeskError::Silent`] when the jobs have ended.
    pub async fn rename(&self, renamed: Vec<EncoderSettings>) -> Result<(), DeskError> {
        let sent = self.requests.send(DeskRequest::Rename(renamed));
        bounded(sent).await?.map_err(|_| DeskError::Silent)
    }

    /// The free room on the disk, which may hang.
    async fn free_bytes(&self) -> Option<u64> {
        let state_dir = self.facts.state_dir.clone();
        let look = tokio::task::spawn_blocking(move || crate::platform::free_bytes(&state_dir));
        bounded(look).await.ok()?.ok()?
    }

    /// Why the jobs are silent, where it is known which part of the agent is stuck.
    fn named(&self, error: DeskError) -> DeskError {
        match (error, self.silent.borrow().as_slice()) {
            (DeskError::Silent, silent @ [_, ..]) => DeskError::Stuck(silent.join(", ")),
            (error, _) => error,
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> DeskRequest,
    ) -> Result<T, DeskError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(request(answer)).await.ok()?;
            answered.await.ok()
        };
        bounded(asked).await?.ok_or(DeskError::Silent)
    }
}

fn no_sign_of_life(name: &str) -> String {
    format!(
        "{name} gives no sign of life: a service manager that watches the agent will start it again"
    )
}

async fn bounded<T>(future: impl Future<Output = T>) -> Result<T, DeskError> {
    timeout(ANSWER_WITHIN, future)
        .await
        .map_err(|_| DeskError::Silent)
}
