//! Log lines on standard error, or in a file.

use std::io;

use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

use crate::{
    config::{LogFormat, LogLevel, LogSettings},
    platform,
};

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
    if platform::logs_to_journal() {
        return write_to(settings, Journal, Look::Journal);
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
    /// The journal has the time and the level already.
    Journal,
}

fn write_to<W>(settings: LogSettings, writer: W, look: Look) -> Result<LevelSwitch, TryInitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = by_environment().unwrap_or_else(|| all_at(settings.level));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(writer);
    let lines = match settings.format {
        LogFormat::Text if look == Look::Journal => {
            let lines = lines.without_time().with_level(false);
            lines.with_ansi(false).boxed()
        }
        LogFormat::Text => lines.with_ansi(look == Look::Colours).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    Ok(LevelSwitch(handle))
}

/// Standard error that the journal reads, each line with its priority before it (sd-daemon(3)), so that `journalctl -p warning`
/// finds what needs a person.
struct Journal;

impl<'w> MakeWriter<'w> for Journal {
    type Writer = Prioritised;

    fn make_writer(&'w self) -> Self::Writer {
        Prioritised { priority: b"<6>" }
    }

    fn make_writer_for(&'w self, metadata: &tracing::Metadata<'_>) -> Self::Writer {
        Prioritised {
            priority: priority(*metadata.level()),
        }
    }
}

/// One line.
struct Prioritised {
    priority: &'static [u8; 3],
}

/// The priority of syslog(3) in angle brackets.
fn priority(level: tracing::Level) -> &'static [u8; 3] {
    if level == tracing::Level::ERROR {
        b"<3>"
    } else if level == tracing::Level::WARN {
        b"<4>"
    } else if level == tracing::Level::INFO {
        b"<6>"
    } else {
        b"<7>"
    }
}

impl io::Write for Prioritised {
    /// A line is written at once, with its end, and so is this.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut all = Vec::with_capacity(self.priority.len() + line.len());
        all.extend_from_slice(self.priority);
        all.extend_from_slice(line);
        io::stderr().lock().write_all(&all)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
