//! Log lines on standard error, or in a file.

use std::io;
#[cfg(unix)]
use std::path::Path;

use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

#[cfg(unix)]
use super::journal_log::{self, Entries, Journal};
use crate::config::{LogFormat, LogLevel, LogSettings};
#[cfg(unix)]
use crate::platform;

/// Changes the log's level while the process runs.
pub(super) struct LevelSwitch(reload::Handle<Targets, Registry>);

impl LevelSwitch {
    /// Logs at another level from now on, unless `RUST_LOG` says which.
    pub(super) fn set(&self, level: LogLevel) {
        if by_environment().is_some() {
            tracing::info!("RUST_LOG wins over the changed log.level");
        } else if let Err(error) = self.0.reload(all_at(level)) {
            tracing::warn!(%error, "the log keeps its level");
        }
    }
}

/// What `RUST_LOG` says, such as `info,encoder_agent::session=debug`; none where it says nothing that can be understood.
fn by_environment() -> Option<Targets> {
    std::env::var("RUST_LOG").ok()?.parse().ok()
}

fn all_at(level: LogLevel) -> Targets {
    Targets::new().with_default(match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    })
}

/// Starts logging for the process. `RUST_LOG` wins over the settings' level.
///
/// # Errors
/// [`TryInitError`] when logging was started before.
pub(super) fn start(settings: LogSettings) -> Result<LevelSwitch, TryInitError> {
    #[cfg(unix)]
    if platform::logs_to_journal() {
        let journal = Journal::connect(Path::new(journal_log::SOCKET));
        return write_to(settings, journal, Look::Journal);
    }
    let look = if io::IsTerminal::is_terminal(&io::stderr()) {
        Look::Colours
    } else {
        Look::Plain
    };
    write_to(settings, io::stderr, look)
}

/// Starts logging for a process that nobody sees the standard error of.
///
/// # Errors
/// [`TryInitError`] when logging was started before.
#[cfg(windows)]
pub(super) fn start_in(
    settings: LogSettings,
    file: super::log_file::LogFile,
) -> Result<LevelSwitch, TryInitError> {
    write_to(settings, std::sync::Mutex::new(file), Look::Plain)
}

/// How text lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Look {
    Plain,
    Colours,
    /// Entries of the journal, which has the time and the level already.
    #[cfg(unix)]
    Journal,
}

fn write_to<W>(settings: LogSettings, writer: W, look: Look) -> Result<LevelSwitch, TryInitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = by_environment().unwrap_or_else(|| all_at(settings.level));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(writer);
    let lines = match (settings.format, look) {
        #[cfg(unix)]
        (LogFormat::Text, Look::Journal) => {
            let lines = lines.without_time().with_level(false).with_ansi(false);
            lines.map_event_format(Entries).boxed()
        }
        #[cfg(unix)]
        (LogFormat::Json, Look::Journal) => lines.json().map_event_format(Entries).boxed(),
        (LogFormat::Text, look) => lines.with_ansi(look == Look::Colours).boxed(),
        (LogFormat::Json, _) => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    Ok(LevelSwitch(handle))
}
