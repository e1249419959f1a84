//! The agent: journal, jobs, encoders and session, joined by channels.

mod reload;

use std::{net::SocketAddr, pin::pin, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::Clock,
    config::{ConfigError, Settings, TokenSetting},
    discovery::Lister,
    drivers::DRIVERS,
    encoder::{EncoderCommand, EncoderSettings, Fleet, FleetParts},
    jobs::{AgentFacts, Jobs, Now, Runner},
    journal::{Journal, JournalError},
    local::{Address, Desk, DeskFacts, Server, listening_address},
    platform,
    pulse::Pulse,
    session::{Session, TlsSetupError},
    status::{ConfigStatus, Page},
    transport::Opener,
};

pub use reload::Reload;

/// How many messages or events may wait between two parts.
const CHANNEL_ROOM: usize = 64;

/// How long encoders and session may take to end once the jobs are drained.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Why an agent cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A setting that `run` needs is missing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Encryption cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The agent ended although nobody had told it to stop.
    #[error("a part of the agent ended by itself; the log says why, and a restart repairs it")]
    Died,
}

/// An agent that is ready to run.
pub struct Agent {
    runner: Runner,
    session: Session,
    fleet: Fleet,
    desk: Desk,
    problems: watch::Sender<Vec<String>>,
    pulse: Pulse,
    reload: Option<Reload>,
    address: Address,
    http: Option<SocketAddr>,
    stop: CancellationToken,
}

impl Agent {
    /// Opens the journal and prepares everything else; opens no port and no connection yet. Blocks.
    ///
    /// The agent runs until `stop` is cancelled.
    ///
    /// # Errors
    /// [`AgentError`] when a setting is missing, the journal cannot be opened, or encryption cannot be set up.
    pub fn prepare(settings: &Settings, stop: CancellationToken) -> Result<Self, AgentError> {
        let state_dir = settings.require_state_dir()?;
        let coordinator = settings.require_coordinator()?;
        let encoders = settings.require_encoders()?;
        let clock = Clock::start();
        let now = Now {
            at: clock.now(),
            utc: clock.utc(),
        };
        let (journal, contents) = Journal::open(state_dir, now.utc)?;
        let (events_in, session_events) = mpsc::channel(CHANNEL_ROOM);
        let (outgoing, outgoing_out) = mpsc::channel(CHANNEL_ROOM);
        let session = Session::new(coordinator, state_dir, clock, events_in, outgoing_out)?;
        let (requests, desk_requests) = mpsc::channel(CHANNEL_ROOM);
        let config = watch::Sender::new(ConfigStatus {
            file: settings.file.clone(),
            read_at: now.utc,
            refused: None,
            after_restart: Vec::new(),
        });
        let local_problems = watch::Sender::default();
        let pulse = Pulse::default();
        let facts_for_desk = DeskFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: platform::os_name(),
            hostname: platform::host_name(),
            started_at: now.utc,
            started: now.at,
            url: coordinator.url.to_string(),
            proxy: coordinator.proxy.as_ref().map(ToString::to_string),
            token: token_place(&coordinator.token),
            state_dir: state_dir.to_owned(),
        };
        let desk = Desk::new(
            requests,
            session.status(),
            config.subscribe(),
            local_problems.subscribe(),
            pulse.silent(),
            facts_for_desk,
            clock,
        );
        let (encoder_events_in, encoder_events) = mpsc::channel(CHANNEL_ROOM);
        let (problems, device_problems) = watch::channel(Vec::new());
        let jobs = Jobs::recover(facts(), encoders, contents, now);
        let (commands, configured) = encoders.iter().map(attach).unzip();
        let (change, changes) = mpsc::channel(CHANNEL_ROOM);
        let reload = Reload {
            used: settings.clone(),
            desk: desk.clone(),
            fleet: change,
            told: config,
            clock,
        };
        let fleet = Fleet::new(FleetParts {
            configured,
            keys: jobs.encoder_keys(),
            drivers: DRIVERS,
            discovery: settings.discovery.clone(),
            lister: Lister::system(&settings.discovery),
            opener: Opener::system(),
            clock,
            hostname: platform::host_name(),
            events: encoder_events_in,
            changes,
            problems,
            pulse: pulse.clone(),
        });
        Ok(Self {
            runner: Runner {
                jobs,
                journal,
                clock,
                session_events,
                outgoing,
                encoders: commands,
                device_problems,
                encoder_events,
                desk: desk_requests,
                shutdown: stop.clone(),
                sign: pulse.task("jobs"),
            },
            session,
            fleet,
            desk,
            problems: local_problems,
            pulse,
            reload: Some(reload),
            address: listening_address(
                settings.local.socket.as_deref(),
                state_dir,
                std::env::var_os("RUNTIME_DIRECTORY"),
            ),
            http: settings.local.http,
            stop,
        })
    }

    /// Who takes settings that are read again while it runs; once.
    pub fn reload(&mut self) -> Option<Reload> {
        self.reload.take()
    }

    /// Who asks its tasks for a sign of life.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Runs until it is told to stop. A write that has begun ends first, and its outcome is sent; then the encoders are
    /// let go and the coordinator hears a farewell.
    ///
    /// # Errors
    /// [`AgentError::Died`] when a part of it ended by itself; what is left is stopped as if it had been told to.
    pub async fn run(self) -> Result<(), AgentError> {
        let leave = CancellationToken::new();
        let mut tasks = Tasks::new();
        tasks.push(tokio::spawn(self.fleet.run(leave.clone())));
        tasks.push(tokio::spawn(
            self.session.run(leave.clone(), self.pulse.task("session")),
        ));
        let locally = Locally {
            desk: self.desk,
            address: self.address,
            http: self.http,
            pulse: self.pulse,
        };
        let (local, problems) = locally.serve(&leave).await;
        self.problems.send_replace(problems);
        let result = supervise(self.runner, &mut tasks, &self.stop).await;
        leave.cancel();
        tasks.extend(local);
        join(tasks).await;
        result
    }
}

/// What lets this PC's commands and monitors in.
struct Locally {
    desk: Desk,
    address: Address,
    http: Option<SocketAddr>,
    pulse: Pulse,
}

impl Locally {
    /// Lets them in, and tells what hinders it: the agent does its work without them.
    async fn serve(self, leave: &CancellationToken) -> (Vec<JoinHandle<()>>, Vec<String>) {
        let mut tasks = Vec::new();
        let mut problems = Vec::new();
        match Server::listen(&self.address, self.desk.clone()).await {
            Ok(server) => {
                let sign = self.pulse.task("local socket");
                tasks.push(tokio::spawn(server.serve(leave.clone(), sign)));
            }
            Err(problem) => problems.push(format!(
                "commands of this pc cannot ask the agent: {problem}"
            )),
        }
        if let Some(http) = self.http {
            match Page::listen(http).await {
                Ok(page) => {
                    tracing::info!(address = %page.address(), "the status can be read over http");
                    let look = move || {
                        let desk = self.desk.clone();
                        async move { desk.status().await.ok() }
                    };
                    let sign = self.pulse.task("http page");
                    tasks.push(tokio::spawn(page.serve(look, leave.clone(), sign)));
                }
                Err(problem) => {
                    problems.push(format!("the status cannot be read over http: {problem}"))
                }
            }
        }
        for problem in &problems {
            tracing::warn!("{problem}");
        }
        (tasks, problems)
    }
}

fn token_place(token: &TokenSetting) -> String {
    match token {
        TokenSetting::Text(_) => "in the settings".to_owned(),
        TokenSetting::File(path) => format!("in {}", path.display()),
        TokenSetting::Paired(path) => format!("of the pairing, in {}", path.display()),
        TokenSetting::None => "nowhere".to_owned(),
    }
}

type Tasks = FuturesUnordered<JoinHandle<()>>;

/// Runs the jobs to their end, and stops them when a task ends that should not.
async fn supervise(
    runner: Runner,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) -> Result<(), AgentError> {
    let mut running = pin!(runner.run());
    let early = tokio::select! {
        () = &mut running => None,
        ended = tasks.next() => ended,
    };
    if let Some(ended) = early {
        tracing::error!(
            panicked = ended.is_err(),
            "an encoder's task or the session ended by itself; the agent stops"
        );
        stop.cancel();
        running.await;
        return Err(AgentError::Died);
    }
    if stop.is_cancelled() {
        Ok(())
    } else {
        Err(AgentError::Died)
    }
}

fn attach(
    settings: &EncoderSettings,
) -> (
    mpsc::Sender<EncoderCommand>,
    (EncoderSettings, mpsc::Receiver<EncoderCommand>),
) {
    let (sender, commands) = mpsc::channel(CHANNEL_ROOM);
    (sender, (settings.clone(), commands))
}

fn facts() -> AgentFacts {
    AgentFacts {
        boot_id: Uuid::new_v4(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        os: platform::os_name(),
        hostname: platform::host_name(),
    }
}

/// Waits for the tasks' ends, but not for ever: what hangs then is the system's to clean up.
async fn join(tasks: Tasks) {
    let all = tasks.for_each(|ended| async move {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the agent ended badly");
        }
    });
    if tokio::time::timeout(LEAVE_LIMIT, all).await.is_err() {
        tracing::warn!(
            "an encoder or the session has not ended in time; the agent stops without it"
        );
    }
}

#[cfg(test)]
mod tests;
