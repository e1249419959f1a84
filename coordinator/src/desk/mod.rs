//! The desk: the one task that decides on jobs. It takes what happens in turn, asks the pure [`Book`], commits what the
//! book decides in one transaction, and only then lets messages and answers go. What came in while a commit was under
//! way shares the next one.

mod apply;
mod operator;
mod plan;
mod round;
mod take;

use std::{collections::BTreeMap, panic::AssertUnwindSafe, time::Duration};

use encoder_protocols::wire::{AgentMessage, Bye, Hello, JobId, ServiceMessage};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::{
    clock::Clock,
    ids,
    jobs::{AgentId, Book, CredentialId, EncoderId, Greeting, SessionId},
    operator::Refused,
    store::{Store, StoreError, agents, commands, encoders, jobs},
};
pub use operator::work_off;
use round::Round;

/// How many inputs may wait before those who bring them wait.
const INPUTS: usize = 256;
/// How many inputs share one transaction at most.
const BATCH: usize = 64;
/// How often the operator's commands are looked for.
const OPERATOR_CHECK: Duration = Duration::from_millis(500);
/// How many settled jobs and holds stay at hand.
const SETTLED_AT_HAND: usize = 2_000;
/// How many messages may wait for one agent; a session that lets more pile up is ended.
pub const OUTBOX: usize = 64;

/// How the desk works.
#[derive(Clone, Copy, Debug)]
pub struct DeskSettings {
    /// How often each side of a session pings.
    pub heartbeat: Duration,
    /// The operator says that the store was restored from a backup.
    pub restored: bool,
}

impl Default for DeskSettings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            restored: false,
        }
    }
}

/// The way to the desk's task. All clones lead to the same one, which ends when the last is dropped.
#[derive(Clone, Debug)]
pub struct Desk {
    inputs: mpsc::Sender<Input>,
    commits: watch::Receiver<u64>,
    heartbeat: Duration,
}

/// What an HTTP request asks of an encoder.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Which encoder.
    pub encoder: EncoderId,
    /// The credential to encode; none for a scan.
    pub credential: Option<CredentialId>,
    /// The API key that asks.
    pub api_key: Uuid,
}

/// Why the desk did not do what was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DeskError {
    /// Another session of the same agent is alive.
    #[error("another live session uses this agent's token; give every agent a token of its own")]
    AgentInUse,
    /// The store failed, or the service stops. The log says why.
    #[error("the desk could not store its decision; the log says why")]
    Failed,
    /// The agent's token was revoked.
    #[error("this agent's token was revoked; make a new one")]
    Revoked,
    /// The encoder or credential is gone.
    #[error("the encoder or the credential does not exist any more")]
    Unknown,
}

/// What goes to an agent's session.
#[derive(Debug)]
pub enum Outgoing {
    /// A message.
    Message(Box<ServiceMessage>),
    /// The last message, after which the session ends.
    End(Bye),
    /// Another session has come with the same token: ping, and end soon if no answer comes.
    Probe,
}

/// Why a turn changed nothing.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("a decision panicked")]
    Panicked,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something that happened.
#[derive(Debug)]
enum Input {
    Asked(Asked, oneshot::Sender<Result<JobId, DeskError>>),
    CredentialDeleted(CredentialId),
    Lost(AgentId, SessionId),
    Operator(commands::Waiting),
    Opened(Box<Opened>),
    Said(AgentId, SessionId, Box<AgentMessage>),
}

#[derive(Debug)]
struct Opened {
    agent: AgentId,
    session: SessionId,
    hello: Hello,
    outbox: mpsc::Sender<Outgoing>,
    answer: oneshot::Sender<Result<(), DeskError>>,
}

impl Desk {
    /// Starts the desk's task on a store.
    ///
    /// # Errors
    /// [`StoreError`] when what the store knows of open jobs cannot be read.
    pub async fn start(
        store: Store,
        clock: Clock,
        settings: DeskSettings,
    ) -> Result<Self, StoreError> {
        note_restored(&store, clock, settings.restored).await?;
        let book = load(&store, clock).await?;
        let (inputs, receiver) = mpsc::channel(INPUTS);
        let (commits, watched) = watch::channel(0);
        let heartbeat = settings.heartbeat;
        let task = Task {
            greeting: Greeting {
                store_id: store.store_id(),
                heartbeat_ms: u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX),
            },
            store,
            clock,
            book: Some(book),
            sessions: BTreeMap::new(),
            commits,
        };
        tokio::spawn(task.run(receiver));
        Ok(Self {
            inputs,
            commits: watched,
            heartbeat,
        })
    }

    /// How often each side of a session pings.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Changes with every commit, so that whoever waits for something need not poll.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Asks for an encode or a scan. Returns the attempt, which may have ended already.
    ///
    /// # Errors
    /// [`DeskError`] when encoder or credential are gone, or the decision could not be stored.
    pub async fn ask(&self, asked: Asked) -> Result<JobId, DeskError> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Asked(asked, answer)).await?;
        answered.await.map_err(|_| DeskError::Failed)?
    }

    /// Tells that a credential was deleted.
    ///
    /// # Errors
    /// [`DeskError::Failed`] when the service stops.
    pub async fn credential_deleted(&self, credential: CredentialId) -> Result<(), DeskError> {
        self.send(Input::CredentialDeleted(credential)).await
    }

    /// Opens an agent's session; everything for it then goes into `outbox`, beginning with `welcome`.
    ///
    /// # Errors
    /// [`DeskError`] when another session of the agent is alive, or its token was revoked.
    pub async fn open(
        &self,
        agent: AgentId,
        session: SessionId,
        hello: Hello,
        outbox: mpsc::Sender<Outgoing>,
    ) -> Result<(), DeskError> {
        let (answer, answered) = oneshot::channel();
        let opened = Opened {
            agent,
            session,
            hello,
            outbox,
            answer,
        };
        self.send(Input::Opened(Box::new(opened))).await?;
        answered.await.map_err(|_| DeskError::Failed)?
    }

    /// Hands on what an agent said in its session.
    ///
    /// # Errors
    /// [`DeskError::Failed`] when the service stops.
    pub async fn said(
        &self,
        agent: AgentId,
        session: SessionId,
        message: AgentMessage,
    ) -> Result<(), DeskError> {
        self.send(Input::Said(agent, session, Box::new(message)))
            .await
    }

    /// Tells that an agent's session has ended.
    pub async fn lost(&self, agent: AgentId, session: SessionId) {
        // A desk that has stopped needs no telling.
        let _ = self.send(Input::Lost(agent, session)).await;
    }

    async fn send(&self, input: Input) -> Result<(), DeskError> {
        self.inputs.send(input).await.map_err(|_| DeskError::Failed)
    }
}

/// The desk's task.
struct Task {
    store: Store,
    clock: Clock,
    greeting: Greeting,
    /// None after a failed commit, until the store was read anew.
    book: Option<Book>,
    sessions: BTreeMap<SessionId, (AgentId, mpsc::Sender<Outgoing>)>,
    commits: watch::Sender<u64>,
}

impl Task {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut check = tokio::time::interval(OPERATOR_CHECK);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = inputs.recv_many(&mut batch, BATCH) => if count == 0 { return },
                () = tokio::time::sleep(self.time_to_next_end()) => {}
                _ = check.tick() => {
                    self.obey_operator().await;
                    continue;
                }
            }
            self.turn(std::mem::take(&mut batch)).await;
        }
    }

    /// One turn: everything in `batch`, in one transaction. Returns whether that was stored.
    async fn turn(&mut self, batch: Vec<Input>) -> bool {
        let mut book = match self.book.take() {
            Some(book) => book,
            None => match load(&self.store, self.clock).await {
                Ok(book) => book,
                Err(error) => {
                    tracing::error!(%error, "the store cannot be read; what was asked for is dropped");
                    return false;
                }
            },
        };
        let mut round = Round::default();
        let decided = AssertUnwindSafe(self.decide(&mut book, batch, &mut round));
        let decided = decided.catch_unwind().await;
        match decided.unwrap_or(Err(TurnError::Panicked)) {
            Ok(()) => {
                self.release(round, &mut book);
                book.forget_settled(SETTLED_AT_HAND);
                self.book = Some(book);
                self.commits
                    .send_modify(|count| *count = count.wrapping_add(1));
                true
            }
            Err(error) => {
                // The book is ahead of the store now: it is read anew, and the agents tell anew where they stand.
                tracing::error!(%error, "a decision could not be stored; all sessions start anew");
                self.sessions.clear();
                false
            }
        }
    }

    async fn decide(
        &mut self,
        book: &mut Book,
        batch: Vec<Input>,
        round: &mut Round,
    ) -> Result<(), TurnError> {
        let mut transaction = self.store.write().await?;
        let due = book.tick(self.clock.utc());
        round
            .carry_out(
                &mut transaction,
                self.store.master_key(),
                self.clock.utc(),
                due,
            )
            .await?;
        for input in batch {
            self.take(book, &mut transaction, input, round).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Lets messages and answers go, after the commit. A session that does not keep up is ended.
    fn release(&mut self, round: Round, book: &mut Book) {
        for (answer, result) in round.answers {
            let _ = answer.send(result);
        }
        for (answer, result) in round.greetings {
            let _ = answer.send(result);
        }
        for (session, outgoing) in round.outgoing {
            let Some((agent, outbox)) = self.sessions.get(&session) else {
                continue;
            };
            let ends = matches!(outgoing, Outgoing::End(_));
            let kept_up = outbox.try_send(outgoing).is_ok();
            if ends || !kept_up {
                book.session_lost(self.clock.utc(), *agent, session);
                self.sessions.remove(&session);
            }
        }
    }

    fn time_to_next_end(&self) -> Duration {
        let due = self.book.as_ref().and_then(Book::next_due);
        let left = due.map(|due| due.duration_since(self.clock.utc()));
        left.map_or(Duration::from_secs(3600), |left| {
            Duration::try_from(left).unwrap_or_default()
        })
    }

    /// Does what the operator asked for meanwhile, each command in a turn of its own, so that one that cannot be done
    /// takes nothing else with it.
    async fn obey_operator(&mut self) {
        let waiting = match self.store.read().await {
            Ok(mut conn) => commands::waiting(&mut conn).await,
            Err(error) => Err(error),
        };
        let Ok(waiting) = waiting else { return };
        for command in waiting {
            let id = command.id;
            if !self.turn(vec![Input::Operator(command)]).await {
                self.refuse_command(id).await;
            }
        }
    }

    /// Whoever asked is told; where even that cannot be stored, they see no answer and take the command back.
    async fn refuse_command(&self, id: i64) {
        let Ok(mut transaction) = self.store.write().await else {
            return;
        };
        let refused = commands::answer(&mut transaction, id, &Err(Refused::Failed)).await;
        if refused.is_ok() {
            let _ = transaction.commit().await;
        }
    }
}

/// Makes the store a restored one if it is a backup's copy or the operator says so.
async fn note_restored(store: &Store, clock: Clock, said_so: bool) -> Result<(), StoreError> {
    let mut transaction = store.write().await?;
    if agents::note_restored(&mut transaction, said_so, clock.utc()).await? {
        tracing::warn!(
            "the store was restored: every agent is heard before its credentials are bound"
        );
    }
    Ok(transaction.commit().await?)
}

/// Reads everything that may change without being named.
async fn load(store: &Store, clock: Clock) -> Result<Book, StoreError> {
    let mut conn = store.read().await?;
    let mut book = Book::new(agents::restored(&mut conn).await?);
    let now = clock.utc();
    for agent in agents::all(&mut conn).await? {
        book.admit_agent(agent.record(now));
    }
    for encoder in encoders::all(&mut conn).await? {
        book.admit_encoder(encoder);
    }
    for orphan in jobs::open_orphans(&mut conn).await? {
        if let Some(credential) = orphan.credential {
            book.admit_holds(credential, jobs::holds(&mut conn, credential).await?);
        }
        book.admit_orphan(orphan);
    }
    for job in jobs::unsettled(&mut conn).await? {
        if let Some(credential) = job.credential
            && !book.knows_credential(credential)
        {
            book.admit_holds(credential, jobs::holds(&mut conn, credential).await?);
        }
        book.admit_job(job);
    }
    for agent in book.awaited_agents() {
        tracing::warn!(agent = %agent.name, "restored store: this agent was not heard yet");
    }
    Ok(book)
}

/// A new job's id.
fn new_job(clock: Clock) -> JobId {
    JobId(ids::new_id(clock.utc()))
}
