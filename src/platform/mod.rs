//! What differs between operating systems: the service manager, signals, and what the PC says of itself.

#[cfg(windows)]
#[expect(unsafe_code, reason = "the system takes and gives secrets by pointers")]
mod dpapi;
#[cfg(target_os = "linux")]
mod linux;
mod machine;
#[cfg(not(any(target_os = "linux", windows)))]
mod other;
mod seal;
mod signals;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::{ServiceNotifier, os_name, settings_dir, time_since_boot};
pub use machine::machine_fact;
#[cfg(not(any(target_os = "linux", windows)))]
pub use other::{ServiceNotifier, os_name, settings_dir, time_since_boot};
pub(crate) use seal::{is_sealed, sealed, unsealed};
pub use signals::{ReloadSignal, StopSignals};
#[cfg(windows)]
pub use windows::{
    SERVICE_NAME, ServiceNotifier, os_name, run_as_service, settings_dir, system_error,
    time_since_boot,
};

/// Who may change what all of the PC's users share.
pub const ADMINISTRATOR: &str = if cfg!(windows) {
    "an administrator"
} else {
    "root"
};

/// What such a person says to start the installed service.
pub const START_SERVICE: &str = if cfg!(windows) {
    "encoder-agent service start"
} else {
    "sudo systemctl start encoder-agent"
};

/// What such a person says to stop the installed service.
pub const STOP_SERVICE: &str = if cfg!(windows) {
    "encoder-agent service stop"
} else {
    "sudo systemctl stop encoder-agent"
};

/// Whether standard error goes to the journal of systemd, which says so (systemd.exec(5)).
#[cfg(unix)]
pub fn logs_to_journal() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|told| {
        let stream = rustix::fs::fstat(std::io::stderr());
        stream.is_ok_and(|stream| told == format!("{}:{}", stream.st_dev, stream.st_ino))
    })
}

/// The free room on the file system of a path, in bytes; none where the system does not tell.
pub fn free_bytes(path: &std::path::Path) -> Option<u64> {
    #[cfg(unix)]
    let free = rustix::fs::statvfs(path)
        .ok()
        .map(|told| told.f_bavail.saturating_mul(told.f_frsize));
    #[cfg(not(unix))]
    let free = {
        let _ = path;
        None
    };
    free
}

/// The PC's name, for people.
pub fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    name
}
