//! The task that owns one encoder: opens it, keeps it open, looks for cards and works on them.

mod operation;
mod swipe;

use std::{collections::VecDeque, future::Future, time::Duration};

use encoder_protocols::{
    moment::Moment,
    wire::{ErrorCode, JobId},
};
use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::operation::{unprepared, untouched};
use super::{
    EncoderCommand, EncoderEvent, EncoderId, EncoderSettings, OperationError, OperationResult,
    closed::Closed,
};
use crate::{
    clock::Clock,
    drivers::{self, Encoder, EncoderError},
    pulse::SignOfLife,
    transport::{Opener, PortError},
};

/// The first pause after a failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to open.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long an event may wait to be taken once the process is to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often an encoder that has nothing to do is asked whether it still works.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// What the task of one encoder starts with.
pub struct Start {
    /// Its place in the fleet.
    pub id: EncoderId,
    /// How it is driven.
    pub settings: EncoderSettings,
    /// The clock that moments are of.
    pub clock: Clock,
    /// Who opens its port.
    pub opener: Opener,
    /// The device, where finding out what it is has opened it already.
    pub opened: Option<Box<dyn Encoder>>,
    /// Changes when something was plugged in or out: then a missing device is tried at once, and one that is there is
    /// asked whether it still works.
    pub plugged: watch::Receiver<()>,
    /// What is asked of it.
    pub commands: mpsc::Receiver<EncoderCommand>,
    /// Where it reports.
    pub events: mpsc::Sender<(EncoderId, EncoderEvent)>,
    /// Cancelled when it is to end.
    pub shutdown: CancellationToken,
    /// Its sign of life.
    pub sign: SignOfLife,
}

/// Starts the task of one encoder.
///
/// It ends when `shutdown` is cancelled or the commands' sender is dropped. A write that has begun is finished first,
/// so wait for the handle before the process ends.
pub fn spawn(start: Start) -> JoinHandle<()> {
    let Start {
        id,
        settings,
        clock,
        opener,
        opened,
        plugged,
        commands,
        events,
        shutdown,
        sign,
    } = start;
    let wanted = settings.clone();
    let cancel = shutdown.clone();
    let open = move || -> Opening {
        let (opener, settings, cancel) = (opener.clone(), wanted.clone(), cancel.clone());
        Box::pin(async move { drivers::open(&opener, &settings, clock, &cancel).await })
    };
    let span =
        tracing::info_span!("encoder", name = %settings.name, port = %settings.port.display());
    let task = EncoderTask {
        id,
        settings,
        clock,
        commands,
        events,
        shutdown,
        open,
        plugged,
        watching: false,
        deferred: VecDeque::new(),
        problem: None,
        closed: Closed::default(),
        sign,
    };
    tokio::spawn(task.run(opened).instrument(span))
}

type Opening = BoxFuture<'static, Result<Box<dyn Encoder>, EncoderError>>;

struct EncoderTask<O> {
    id: EncoderId,
    settings: EncoderSettings,
    clock: Clock,
    commands: mpsc::Receiver<EncoderCommand>,
    events: mpsc::Sender<(EncoderId, EncoderEvent)>,
    shutdown: CancellationToken,
    open: O,
    plugged: watch::Receiver<()>,
    watching: bool,
    /// Commands that came while an operation ran and are no matter of it.
    deferred: VecDeque<EncoderCommand>,
    /// Why the encoder cannot be used, while that is so.
    problem: Option<EncoderError>,
    closed: Closed,
    sign: SignOfLife,
}

/// The process stops, or nobody commands this task any more.
struct Over;

/// Why a device is used no longer.
enum Left {
    Over,
    Failed(EncoderError),
}

impl From<Over> for Left {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

/// What an encoder with nothing to do wakes up for.
enum Wake {
    Command(EncoderCommand),
    Timer,
}

impl<O: FnMut() -> Opening + Send> EncoderTask<O> {
    /// `opened` is the device where it was open before the task began.
    async fn run(mut self, mut opened: Option<Box<dyn Encoder>>) {
        let mut failures = 0;
        loop {
            let opening = match opened.take() {
                Some(encoder) => Ok(Ok(encoder)),
                None => self.open().await,
            };
            let error = match opening {
                Err(Over) => return,
                Ok(Err(error)) => error,
                Ok(Ok(mut encoder)) => {
                    failures = 0;
                    let left = self.serve(encoder.as_mut()).await;
                    encoder.close().await;
                    match left {
                        Left::Over => return,
                        Left::Failed(error) => error,
                    }
                }
            };
            let pause = match self.unsaid_for(&error) {
                Some(pause) => pause,
                None => {
                    self.report_fault(error).await;
                    failures += 1;
                    pause_after(failures - 1)
                }
            };
            if self.pause(pause).await.is_err() {
                return;
            }
        }
    }

    /// How long nothing is said of a port that may not be opened: udev may still be about it.
    fn unsaid_for(&mut self, error: &EncoderError) -> Option<Duration> {
        if !matches!(error, EncoderError::Port(PortError::NotPermitted { .. })) {
            self.closed.end();
            return None;
        }
        let now = self.clock.now();
        let told_at = self.closed.note(now)?;
        tracing::debug!(%error, "the encoder's port may not be opened yet");
        Some(told_at.since(now))
    }

    async fn open(&mut self) -> Result<Result<Box<dyn Encoder>, EncoderError>, Over> {
        let mut opening = (self.open)();
        self.meanwhile_offline(&mut opening).await
    }

    /// Waits before the next attempt; something that is plugged in makes it worth while at once.
    async fn pause(&mut self, pause: Duration) -> Result<(), Over> {
        let mut plugged = self.plugged.clone();
        let paused = self.meanwhile_offline(async {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = news(&mut plugged) => {}
            }
        });
        paused.await?;
        self.plugged.mark_unchanged();
        Ok(())
    }

    /// Answers commands while there is no device, until `work` is done.
    async fn meanwhile_offline<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Over> {
        let mut work = std::pin::pin!(work);
        loop {
            let command = match self.deferred.pop_front() {
                Some(command) => command,
                None => tokio::select! {
                    biased;
                    never = self.sign.answer() => match never {},
                    () = self.shutdown.cancelled() => return Err(Over),
                    done = &mut work => return Ok(done),
                    command = self.commands.recv() => command.ok_or(Over)?,
                },
            };
            self.decline(command).await;
        }
    }

    async fn decline(&mut self, command: EncoderCommand) {
        match command {
            EncoderCommand::Watch => self.watching = true,
            EncoderCommand::Rest => self.watching = false,
            EncoderCommand::Operate { job_id, .. } => {
                let error = match &self.problem {
                    Some(problem) => untouched(problem.code(), problem.to_string()),
                    None => untouched(
                        ErrorCode::EncoderNotOnline,
                        "the encoder is still being opened: try again".to_owned(),
                    ),
                };
                self.finish(job_id, Err(error)).await;
            }
            EncoderCommand::Commit { job_id } => self.finish(job_id, Err(unprepared())).await,
            EncoderCommand::Abort { .. }
            | EncoderCommand::StopVerifying { .. }
            | EncoderCommand::Signal(_) => {}
        }
    }

    async fn report_fault(&mut self, error: EncoderError) {
        if self.problem.as_ref() == Some(&error) {
            tracing::debug!(%error, "the encoder still cannot be used");
            return;
        }
        tracing::warn!(%error, "the encoder cannot be used");
        let fault = EncoderEvent::Fault {
            code: error.code(),
            problem: error.to_string(),
        };
        self.problem = Some(error);
        self.emit(fault).await;
    }

    async fn serve(&mut self, encoder: &mut dyn Encoder) -> Left {
        let identity = encoder.identity();
        tracing::info!(model = ?identity.model, firmware = ?identity.firmware, "the encoder is ready");
        self.problem = None;
        self.emit(EncoderEvent::Ready(identity)).await;
        match self.attend(encoder).await {
            Ok(never) => match never {},
            Err(left) => left,
        }
    }

    /// Looks for cards and obeys commands until the device fails or the task is over.
    async fn attend(
        &mut self,
        encoder: &mut dyn Encoder,
    ) -> Result<std::convert::Infallible, Left> {
        let first = if self.watching {
            Duration::ZERO
        } else {
            HEALTH_INTERVAL
        };
        let mut due = self.due_after(first);
        loop {
            match self.wake(encoder, due).await? {
                Wake::Command(command) => {
                    let was_watching = self.watching;
                    self.obey(encoder, command).await?;
                    if self.watching && !was_watching {
                        due = self.clock.now();
                    } else if was_watching && !self.watching {
                        encoder.rest().await.map_err(Left::Failed)?;
                        due = self.due_after(HEALTH_INTERVAL);
                    }
                }
                Wake::Timer if self.watching => {
                    due = self.clock.now() + self.settings.poll_interval;
                    self.poll(encoder).await?;
                }
                Wake::Timer => {
                    encoder.health().await.map_err(Left::Failed)?;
                    due = self.due_after(HEALTH_INTERVAL);
                }
            }
        }
    }

    fn due_after(&self, time: Duration) -> Moment {
        self.clock.now() + time
    }

    async fn wake(&mut self, encoder: &mut dyn Encoder, due: Moment) -> Result<Wake, Left> {
        if let Some(command) = self.deferred.pop_front() {
            return Ok(Wake::Command(command));
        }
        tokio::select! {
            biased;
            never = self.sign.answer() => match never {},
            () = self.shutdown.cancelled() => Err(Left::Over),
            command = self.commands.recv() => Ok(Wake::Command(command.ok_or(Over)?)),
            error = encoder.lost() => Err(Left::Failed(error)),
            () = news(&mut self.plugged) => Ok(Wake::Timer),
            () = self.clock.sleep_until(due) => Ok(Wake::Timer),
        }
    }

    async fn poll(&mut self, encoder: &mut dyn Encoder) -> Result<(), Left> {
        let shutdown = self.shutdown.clone();
        match encoder.poll(&shutdown).await {
            Ok(poll) => {
                self.emit(EncoderEvent::Polled(poll)).await;
                Ok(())
            }
            Err(EncoderError::Cancelled) => Err(Left::Over),
            Err(error) => Err(Left::Failed(error)),
        }
    }

    async fn obey(
        &mut self,
        encoder: &mut dyn Encoder,
        command: EncoderCommand,
    ) -> Result<(), Left> {
        match command {
            EncoderCommand::Watch => self.watching = true,
            EncoderCommand::Rest => self.watching = false,
            EncoderCommand::Operate {
                job_id,
                uid,
                operation,
            } => self.operate(encoder, job_id, uid, operation).await?,
            EncoderCommand::Commit { job_id } => self.finish(job_id, Err(unprepared())).await,
            EncoderCommand::Abort { .. } | EncoderCommand::StopVerifying { .. } => {}
            EncoderCommand::Signal(signal) => {
                encoder.signal(signal).await.map_err(Left::Failed)?;
            }
        }
        Ok(())
    }
}

impl<O> EncoderTask<O> {
    async fn finish(&mut self, job_id: JobId, result: Result<OperationResult, OperationError>) {
        self.emit(EncoderEvent::Operation { job_id, result }).await;
    }

    async fn emit(&mut self, event: EncoderEvent) {
        let given_up = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        // Nobody listens any more only when the process ends.
        tokio::select! {
            biased;
            // Whoever is to take it has a sign of life of its own.
            never = self.sign.answer() => match never {},
            _ = self.events.send((self.id, event)) => {}
            () = given_up => tracing::warn!("an event was not taken before the end"),
        }
    }
}

/// Waits for news; without anybody to bring it there is none.
async fn news(plugged: &mut watch::Receiver<()>) {
    if plugged.changed().await.is_err() {
        std::future::pending().await
    }
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
