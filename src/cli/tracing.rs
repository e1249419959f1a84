//! Log lines on standard error.

use tracing_subscriber::{EnvFilter, fmt, util::TryInitError};

use crate::config::{LogFormat, LogSettings};

/// Starts logging for the process. `RUST_LOG` wins over the settings' level.
///
/// # Errors
/// [`TryInitError`] when logging was started before.
pub(super) fn start(settings: LogSettings) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(settings.level.as_str()));
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .finish()
            .try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    }
}
