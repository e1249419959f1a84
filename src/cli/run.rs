//! `run`: the service itself.

use std::{pin::pin, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    Exit, Output, SettingsArgs,
    pair::{NotPaired, check_machine},
    tracing::LevelSwitch,
};
use crate::{
    agent::{Agent, AgentError, Reload},
    config::Settings,
    platform::{ReloadSignal, ServiceNotifier, StopSignals},
    pulse,
};

/// How long threads of the runtime may take to end, for example one that still looks a name up.
const THREADS_LIMIT: Duration = Duration::from_millis(500);

/// Run the agent until it is told to stop; a second signal stops it at once
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs until a signal.
pub(super) fn run(args: &Args, output: &Output) -> Exit {
    let settings = match args.settings.load() {
        Ok(settings) => settings,
        Err(error) => {
            output.complain(error);
            return Exit::Unusable;
        }
    };
    let levels = match super::tracing::start(settings.log) {
        Ok(levels) => levels,
        Err(error) => {
            output.complain(error);
            return Exit::Failed;
        }
    };
    let again = Again {
        settings: &args.settings,
        levels: &levels,
    };
    let settings = match super::pair::by_credential(&args.settings, settings) {
        Ok(settings) => settings,
        Err(error) => {
            output.complain(&error);
            return error.exit();
        }
    };
    let served = ServiceNotifier::from_environment()
        .map_err(Failure::from)
        .and_then(|notifier| serve(&settings, &notifier, Some(&again)));
    served.unwrap_or_else(|failure| {
        output.complain(&failure);
        failure.exit()
    })
}

/// Runs until the notifier's service manager says stop; what goes wrong is logged.
#[cfg(windows)]
pub(super) fn serve_logged(settings: &Settings, notifier: &ServiceNotifier) -> Exit {
    serve(settings, notifier, None).unwrap_or_else(|failure| {
        tracing::error!("{failure}");
        failure.exit()
    })
}

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Pairing(#[from] NotPaired),
    #[error("cannot set up the process: {0}")]
    Process(#[from] std::io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Agent(AgentError::Config(_)) => Exit::Unusable,
            Self::Agent(_) | Self::Process(_) => Exit::Failed,
            Self::Pairing(error) => error.exit(),
        }
    }
}

/// How settings are read again.
struct Again<'a> {
    settings: &'a SettingsArgs,
    levels: &'a LevelSwitch,
}

fn serve(
    settings: &Settings,
    notifier: &ServiceNotifier,
    again: Option<&Again<'_>>,
) -> Result<Exit, Failure> {
    check_machine(settings)?;
    let stop = CancellationToken::new();
    let mut agent = Agent::prepare(settings, stop.clone())?;
    let runtime = super::runtime()?;
    let reload = agent.reload();
    let result = runtime.block_on(async {
        let reloading = reload_when_told(again, reload);
        tokio::select! {
            exit = attend(agent, &stop, notifier) => exit,
            failure = reloading => Err(failure),
        }
    });
    runtime.shutdown_timeout(THREADS_LIMIT);
    result
}

/// Runs the agent, and meanwhile listens to signals, and feeds the watchdog as long as every task answers.
async fn attend(
    agent: Agent,
    stop: &CancellationToken,
    notifier: &ServiceNotifier,
) -> Result<Exit, Failure> {
    let mut signals = StopSignals::listen()?;
    let pulse = agent.pulse();
    let interval = notifier.watchdog_interval().unwrap_or(pulse::UNWATCHED);
    let mut beating = pin!(pulse.beat(interval, || notifier.alive()));
    let mut running = pin!(agent.run());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the agent runs");
    notifier.ready();
    loop {
        tokio::select! {
            result = &mut running => {
                result?;
                tracing::info!("the agent has stopped");
                return Ok(Exit::Done);
            }
            () = signals.next() => {
                if stop.is_cancelled() {
                    tracing::warn!("told to stop again: stopping at once");
                    return Ok(Exit::Failed);
                }
                tracing::info!("told to stop; a write that has begun ends first");
                notifier.stopping();
                stop.cancel();
            }
            never = &mut beating => match never {},
            () = stopping_pause(notifier) => notifier.alive(),
        }
    }
}

/// Reads the settings again each time that somebody asks for it; ends only where the system does not let that be asked.
async fn reload_when_told(again: Option<&Again<'_>>, reload: Option<Reload>) -> Failure {
    let (Some(again), Some(mut reload)) = (again, reload) else {
        return std::future::pending().await;
    };
    let mut signal = match ReloadSignal::listen() {
        Ok(signal) => signal,
        Err(error) => return error.into(),
    };
    loop {
        signal.next().await;
        if let Some(level) = reload.take(again.settings.load()).await {
            again.levels.set(level);
        }
    }
}

/// Until a manager that wants to hear that the service still stops is to hear it.
async fn stopping_pause(notifier: &ServiceNotifier) {
    match notifier.stopping_interval() {
        Some(interval) => tokio::time::sleep(interval).await,
        None => std::future::pending().await,
    }
}
