//! What differs between operating systems: the service manager, signals, and what the PC says of itself.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
mod signals;

#[cfg(target_os = "linux")]
pub use linux::{ServiceNotifier, os_name, time_since_boot};
#[cfg(not(target_os = "linux"))]
pub use other::{ServiceNotifier, os_name, time_since_boot};
pub use signals::StopSignals;

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
