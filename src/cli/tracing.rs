//! Log lines on standard error, or in a file.

use std::io;

use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter, reload, util::TryInitError};

use crate::{
    config::{LogFormat, LogLevel, LogSettings},
    platform,
};

/// Changes the log's level while the process runs.
pub(super) struct LevelSwitch(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error>>);

impl LevelSwitch {
    /// Logs at another level from now on, unless `RUST_LOG` says which.
    pub(super) fn set(&self, level: LogLevel) {
        if EnvFilter::try_from_default_env().is_ok() {
            tracing::info!("RUST_LOG wins over the changed log.level");
        } else if let Err(error) = (self.0)(EnvFilter::new(level.as_str())) {
            tracing::warn!(%error, "the log keeps its level");
        }
    }
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
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(settings.level.as_str()));
    let lines = fmt().with_env_filter(filter).with_writer(writer);
    match settings.format {
        LogFormat::Text if look == Look::Journal => {
            let lines = lines.without_time().with_level(false).with_ansi(false);
            let lines = lines.with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Ok(switch(handle))
        }
        LogFormat::Text => {
            let lines = lines.with_ansi(look == Look::Colours);
            let lines = lines.with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Ok(switch(handle))
        }
        LogFormat::Json => {
            let lines = lines.json().with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Ok(switch(handle))
        }
    }
}

fn switch<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> LevelSwitch {
    LevelSwitch(Box::new(move |filter| handle.reload(filter)))
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
