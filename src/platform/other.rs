//! Systems without a service manager that wants to be told.

use std::{io, path::PathBuf, time::Duration};

/// Tells nobody.
#[derive(Debug)]
pub struct ServiceNotifier(());

impl ServiceNotifier {
    /// Nothing to look for.
    ///
    /// # Errors
    /// None.
    pub fn from_environment() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Nobody watches.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        None
    }

    /// Nobody waits.
    pub fn stopping_interval(&self) -> Option<Duration> {
        None
    }

    /// The service is up.
    pub fn ready(&self) {}

    /// The service is stopping.
    pub fn stopping(&self) {}

    /// The service still runs.
    pub fn alive(&self) {}
}

/// The operating system's name, for people.
pub fn os_name() -> String {
    std::env::consts::OS.to_owned()
}

/// The system's monotonic clock is the runtime's.
pub fn time_since_boot() -> Option<Duration> {
    None
}

/// Where the settings are.
pub fn settings_dir() -> PathBuf {
    PathBuf::from("/etc/encoder-agent")
}
