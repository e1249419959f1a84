//! The desk: the one task that decides on jobs. It takes what happens in turn, asks the pure [`Book`], commits what the
//! book decides in one transaction, and only then lets messages and answers go. What came in while a commit was under
//! way shares the next one.

mod apply;
mod asking;
mod journal;
mod operator;
mod plan;
mod round;
mod scanned;
mod simulated;
mod take;
mod tally;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use encoder_protocols::wire::{AgentMessage, Bye, Hello, JobId, ServiceMessage};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::{
    clock::Clock,
    ids,
    jobs::{AgentId, Book, CredentialId, EncoderId, Greeting, SessionId},
    key_server::{AskKeyServer, AsksNobody},
    store::{
        Store, StoreError, agents,
        attempts::{Aim, Tags},
        commands, encoders, jobs,
    },
};
use asking::Answered;
pub use operator::work_off;
use round::Round;
use simulated::SimulatedAnswer;
pub use tally::{Ending, Tally};
use task::Task;

/// How many inputs may wait before those who bring them wait.
const INPUTS: usize = 256;
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
    rounds: watch::Receiver<u64>,
    stores: watch::Sender<bool>,
    problems: watch::Receiver<Problems>,
    tally: Arc<Tally>,
    heartbeat: Duration,
}

/// What the agents that are connected last said to be wrong with themselves, such as a damaged journal that was set aside.
pub type Problems = BTreeMap<AgentId, Vec<String>>;

/// What an HTTP request asks of an encoder.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Which encoder.
    pub encoder: EncoderId,
    /// The credential to encode; none for a scan.
    pub credential: Option<CredentialId>,
    /// What it is about beyond that.
    pub aim: Option<Aim>,
    /// Which cards a scan takes; none for any.
    pub tags: Option<Tags>,
    /// The API key that asks.
    pub api_key: Uuid,
}

/// Why the desk did not do what was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DeskError {
    /// Another session of the same agent is alive.
    #[error("another live session uses this agent's token; give every agent a token of its own")]
    AgentInUse,
    /// The journal that the agent brings is another agent's.
    #[error(
        "the journal in this agent's state folder is another agent's, which the coordinator's log names: pair this pc as that \
         one with `encoder-coordinator pairing code --agent ID`; or stop the agent and pair it with `encoder-agent pair \
         --new-journal`, which leaves behind what that journal has still to tell"
    )]
    AnothersJournal,
    /// The agent whose journal it is, is connected.
    #[error(
        "the agent whose journal this is, is connected from another pc, so this disk was copied: stop this agent and pair it \
         with `encoder-agent pair --new-journal`"
    )]
    JournalInUse,
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

/// Something that happened.
#[derive(Debug)]
enum Input {
    Answered(Box<Answered>),
    AnsweredSimulated(Box<SimulatedAnswer>),
    Asked(Asked, oneshot::Sender<Result<JobId, DeskError>>),
    CredentialDeleted(CredentialId),
    Lost(AgentId, SessionId),
    Operator(commands::Waiting),
    Opened(Box<Opened>),
    Said(AgentId, SessionId, Box<AgentMessage>),
    TokenRenewed(AgentId),
}

#[derive(Debug)]
struct Opened {
    agent: AgentId,
    session: SessionId,
    hello: Hello,
    outbox: mpsc::Sender<Outgoing>,
    answer: oneshot::Sender<Result<AgentId, DeskError>>,
}

impl Desk {
    /// Starts the desk's task on a store, where no key server is asked.
    ///
    /// # Errors
    /// [`StoreError`] when what the store knows of open jobs cannot be read.
    pub async fn start(
        store: Store,
        clock: Clock,
        settings: DeskSettings,
    ) -> Result<Self, StoreError> {
        Self::start_with(store, clock, settings, Arc::new(AsksNobody)).await
    }

    /// The same, asking key servers like this.
    ///
    /// # Errors
    /// [`StoreError`] when what the store knows of open jobs cannot be read.
    pub async fn start_with(
        store: Store,
        clock: Clock,
        settings: DeskSettings,
        asker: Arc<dyn AskKeyServer>,
    ) -> Result<Self, StoreError> {
        note_restored(&store, clock, settings.restored).await?;
        forget_connected(&store).await?;
        let book = load(&store, clock).await?;
        let (inputs, receiver) = mpsc::channel(INPUTS);
        let (commits, watched) = watch::channel(0);
        let (rounds, counted) = watch::channel(0);
        let stores = watch::Sender::new(true);
        let (told, problems) = watch::channel(Problems::new());
        let tally = Arc::new(Tally::default());
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
            rounds,
            stores: stores.clone(),
            problems: told,
            tally: Arc::clone(&tally),
            clocks: (clock.utc(), clock.now()),
            asker,
            asking: BTreeMap::new(),
            asking_simulated: BTreeSet::new(),
            inputs: inputs.downgrade(),
        };
        tokio::spawn(task.run(receiver));
        Ok(Self {
            inputs,
            commits: watched,
            rounds: counted,
            stores,
            problems,
            tally,
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

    /// Changes whenever the task comes round to what waits for it, several times a second.
    pub(crate) fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.clone()
    }

    /// Whether decisions can be stored, as far as the last attempt tells.
    pub fn stores(&self) -> bool {
        *self.stores.borrow()
    }

    /// What connected agents say is wrong with themselves; nothing of those that say nothing.
    pub fn problems(&self) -> Problems {
        self.problems.borrow().clone()
    }

    /// What it has counted since it started.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Tells that something could not be stored: until a write has gone through again, decisions cannot be either.
    pub fn store_failed(&self) {
        self.stores.send_replace(false);
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

    /// Opens an agent's session; everything for it then goes into `outbox`, beginning with `welcome`. Returns whose session
    /// it is: that of the agent whose journal came, where it was paired anew.
    ///
    /// # Errors
    /// [`DeskError`] when another session of the agent is alive, its token was revoked, or its journal is another's.
    pub async fn open(
        &self,
        agent: AgentId,
        session: SessionId,
        hello: Hello,
        outbox: mpsc::Sender<Outgoing>,
    ) -> Result<AgentId, DeskError> {
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

    /// Tells that an agent was given another token: a session with the one before ends.
    ///
    /// # Errors
    /// [`DeskError::Failed`] when the service stops.
    pub async fn token_renewed(&self, agent: AgentId) -> Result<(), DeskError> {
        self.send(Input::TokenRenewed(agent)).await
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

async fn forget_connected(store: &Store) -> Result<(), StoreError> {
    let mut transaction = store.write().await?;
    agents::forget_connected(&mut transaction).await?;
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
    book.bound_deadlines(now);
    for agent in book.awaited_agents() {
        tracing::warn!(agent = %agent.name, "restored store: this agent was not heard yet");
    }
    Ok(book)
}

/// A new job's id.
fn new_job(clock: Clock) -> JobId {
    JobId(ids::new_id(clock.utc()))
}
