//! `service`: the agent as a Windows service.

mod folder;
mod system;

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Subcommand;

use self::system::{Failure, State};
use super::{Exit, Output, SettingsArgs, log_file::LogFile};
use crate::{
    config::{LogSettings, default_file, default_state_dir},
    pairing,
    platform::{run_as_service, settings_dir},
};

/// Where the service logs to, below the folder of the settings.
const LOG_FILE: &str = r"logs\agent.log";

/// How many bytes a log file holds, and how many files there are.
const LOG_ROOM: (u64, usize) = (4 * 1024 * 1024, 5);

/// Install, remove, start, stop or look at the Windows service
///
/// All but `status` need administrator rights.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the service of this very program, or change it to this one; it starts with the PC from then on
    ///
    /// Also makes the folders for settings, state and logs, and lets nobody but administrators, the system and the service into
    /// them. Does not start the service.
    Install {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value_os_t = default_file())]
        config: PathBuf,
    },
    /// Stop and remove the service; settings, state and logs stay
    Uninstall {
        /// Remove settings, state, journal and logs too
        #[arg(long)]
        purge: bool,
    },
    /// Start the service, and wait until it is ready
    Start,
    /// Stop the service, and wait until it has; a write that has begun ends first
    Stop,
    /// Print whether the service runs; ends with 0 only if it does
    Status,
    /// What the system starts
    #[command(hide = true)]
    Run {
        #[command(flatten)]
        settings: SettingsArgs,
        /// The file to log to
        #[arg(long, value_name = "FILE")]
        log: PathBuf,
    },
}

/// Does what the command says, and prints what came of it.
pub(super) fn service(args: Args, output: &Output) -> Exit {
    let done = match args.command {
        Command::Install { config } => install(&config),
        Command::Uninstall { purge } => uninstall(purge),
        Command::Start => start(),
        Command::Stop => system::stop().map(|()| "stopped".to_owned()),
        Command::Status => return status(output),
        Command::Run { settings, log } => run(settings, log),
    };
    match done {
        Ok(said) => {
            if !said.is_empty() {
                output.line(said);
            }
            Exit::Done
        }
        Err(failure) => {
            output.complain(failure);
            Exit::Failed
        }
    }
}

fn install(config: &Path) -> Result<String, Failure> {
    let config = std::path::absolute(config).map_err(|source| Failure::Folder {
        path: config.to_owned(),
        reason: source.to_string(),
    })?;
    let program = std::env::current_exe().map_err(|source| Failure::System {
        attempted: "find this program",
        source,
    })?;
    let is_first = system::install(&program, &config, &log_path())?;
    folder::prepare(&settings_dir(), is_first)?;
    let is_paired = default_state_dir().join(pairing::FILE_NAME).exists();
    let next = if config.exists() || is_paired {
        "start it with `encoder-agent service start`"
    } else {
        "pair it with `encoder-agent pair URL`, then `encoder-agent service start`"
    };
    Ok(format!("installed; {next}"))
}

fn uninstall(purge: bool) -> Result<String, Failure> {
    system::uninstall()?;
    let folder = settings_dir();
    if !purge {
        return Ok(format!(
            "uninstalled; settings, state and logs are still in {}",
            folder.display()
        ));
    }
    folder::remove(&folder)?;
    Ok("uninstalled; nothing is left".to_owned())
}

fn start() -> Result<String, Failure> {
    let id = system::start(&log_path())?;
    Ok(format!("running, process {id}"))
}

fn status(output: &Output) -> Exit {
    match system::state() {
        Ok(state) => {
            output.line(state);
            match state {
                State::Running(_) => Exit::Done,
                State::NotInstalled | State::Starting | State::Stopping | State::Stopped(_) => {
                    Exit::Failed
                }
            }
        }
        Err(failure) => {
            output.complain(failure);
            Exit::Failed
        }
    }
}

/// Sees to it that nobody else is in the service's folder, also before there is a service.
///
/// # Errors
/// What the system says, above all to somebody who is no administrator.
pub(super) fn take_folder() -> io::Result<()> {
    let taken = match system::state() {
        Ok(State::NotInstalled) => folder::prepare(&settings_dir(), true),
        Ok(State::Starting | State::Running(_) | State::Stopping | State::Stopped(_)) => Ok(()),
        Err(failure) => Err(failure),
    };
    taken.map_err(io::Error::other)
}

/// Where the service logs.
pub(super) fn log_path() -> PathBuf {
    settings_dir().join(LOG_FILE)
}

/// Serves until the system stops the service. Nothing is printed: nobody would see it.
fn run(settings: SettingsArgs, log: PathBuf) -> Result<String, Failure> {
    run_as_service(move |notifier| {
        let loaded = settings.load();
        let wanted = loaded
            .as_ref()
            .map_or_else(|_| LogSettings::default(), |settings| settings.log);
        if let Ok(file) = LogFile::open(&log, LOG_ROOM.0, LOG_ROOM.1) {
            // It fails only where logging was started before.
            let _ = super::tracing::start_in(wanted, file);
        }
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        let exit = match loaded {
            Ok(settings) => super::run::serve_logged(&settings, notifier),
            Err(error) => {
                tracing::error!("{error}");
                Exit::Unusable
            }
        };
        exit.code().into()
    })
    .map_err(|source| Failure::System {
        attempted: "run as a service, which only the system does: use `encoder-agent service start`",
        source,
    })?;
    Ok(String::new())
}
