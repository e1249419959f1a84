//! The agent: journal, jobs, encoders and session, joined by channels.

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::Clock,
    config::{ConfigError, Settings},
    encoder::{self, EncoderCommand, EncoderEvent, EncoderId, EncoderSettings},
    jobs::{AgentFacts, Jobs, Now, Runner},
    journal::{Journal, JournalError},
    platform,
    session::{Session, TlsSetupError},
};

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
    encoders: Vec<Attachment>,
    encoder_events: mpsc::Sender<(EncoderId, EncoderEvent)>,
    clock: Clock,
    stop: CancellationToken,
}

/// What the task of one encoder starts with.
struct Attachment {
    settings: EncoderSettings,
    commands: mpsc::Receiver<EncoderCommand>,
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
        let (encoder_events_in, encoder_events) = mpsc::channel(CHANNEL_ROOM);
        let (commands, attachments) = encoders.iter().map(attach).unzip();
        Ok(Self {
            runner: Runner {
                jobs: Jobs::recover(facts(), encoders, contents, now),
                journal,
                clock,
                session_events,
                outgoing,
                encoders: commands,
                encoder_events,
                shutdown: stop.clone(),
            },
            session,
            encoders: attachments,
            encoder_events: encoder_events_in,
            clock,
            stop,
        })
    }

    /// Runs until it is told to stop. A write that has begun ends first, and its outcome is sent; then the encoders are
    /// let go and the coordinator hears a farewell.
    ///
    /// # Errors
    /// [`AgentError::Died`] when a part of it ended by itself.
    pub async fn run(self) -> Result<(), AgentError> {
        let leave = CancellationToken::new();
        let mut tasks = self
            .encoders
            .into_iter()
            .enumerate()
            .map(|(index, encoder)| {
                encoder::spawn(
                    EncoderId(index),
                    encoder.settings,
                    self.clock,
                    encoder.commands,
                    self.encoder_events.clone(),
                    leave.clone(),
                )
            })
            .collect::<Vec<JoinHandle<()>>>();
        // The runner learns from the closed channel when every encoder's task has ended.
        drop(self.encoder_events);
        tasks.push(tokio::spawn(self.session.run(leave.clone())));
        self.runner.run().await;
        let was_told = self.stop.is_cancelled();
        leave.cancel();
        join(tasks).await;
        if was_told {
            Ok(())
        } else {
            Err(AgentError::Died)
        }
    }
}

fn attach(settings: &EncoderSettings) -> (mpsc::Sender<EncoderCommand>, Attachment) {
    let (sender, commands) = mpsc::channel(CHANNEL_ROOM);
    let attachment = Attachment {
        settings: settings.clone(),
        commands,
    };
    (sender, attachment)
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
async fn join(tasks: Vec<JoinHandle<()>>) {
    let all = async {
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the agent ended by itself");
            }
        }
    };
    if tokio::time::timeout(LEAVE_LIMIT, all).await.is_err() {
        tracing::warn!(
            "an encoder or the session has not ended in time; the agent stops without it"
        );
    }
}
