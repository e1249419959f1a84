//! Log lines on standard error, or in a file.

use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter, util::TryInitError};

use crate::config::{LogFormat, LogSettings};

/// Starts logging for the process. `RUST_LOG` wins over the settings' level.
///
/// # Errors
/// [`TryInitError`] when logging was started before.
pub(super) fn start(settings: LogSettings) -> Result<(), TryInitError> {
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    write_to(settings, std::io::stderr, colours)
}

/// Starts logging for a process that nobody sees the standard error of.
///
/// # Errors
/// [`TryInitError`] when logging was started before.
#[cfg(windows)]
pub(super) fn start_in(
    settings: LogSettings,
    file: super::log_file::LogFile,
) -> Result<(), TryInitError> {
    write_to(settings, std::sync::Mutex::new(file), false)
}

fn write_to<W>(settings: LogSettings, writer: W, colours: bool) -> Result<(), TryInitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(settings.level.as_str()));
    let lines = fmt().with_env_filter(filter).with_writer(writer);
    match settings.format {
        LogFormat::Text => lines.with_ansi(colours).finish().try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    }
}
