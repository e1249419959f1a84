//! Linux: the notification protocol of systemd (`sd_notify(3)`) and `os-release(5)`.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::PathBuf,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// Tells the service manager how the service is; does nothing where there is none.
#[derive(Debug)]
pub struct ServiceNotifier {
    road: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceNotifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    /// The system's error when `NOTIFY_SOCKET` names no socket that can be used.
    pub fn from_environment() -> io::Result<Self> {
        Self::new(|name| std::env::var_os(name), std::process::id())
    }

    fn new(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> io::Result<Self> {
        let road = match variable("NOTIFY_SOCKET") {
            Some(name) => Some((UnixDatagram::unbound()?, address(&name)?)),
            None => None,
        };
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process));
        let watchdog = number("WATCHDOG_USEC")
            .filter(|microseconds| is_ours && *microseconds > 0)
            .map(Duration::from_micros);
        Ok(Self { road, watchdog })
    }

    /// How often [`ServiceNotifier::alive`] is wanted while all is well: three times within the manager's limit, so that two
    /// thirds of it are left for who is slow.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 3)
    }

    /// The manager need not hear that the service still stops.
    pub fn stopping_interval(&self) -> Option<Duration> {
        None
    }

    /// The service is up.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The service is stopping, and may take a while.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The service still runs.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.road
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, state, "the service manager could not be told");
        }
    }
}

/// A path, or after `@` a name in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// The operating system's name, for people.
pub fn os_name() -> String {
    ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|file| pretty_name(&std::fs::read_to_string(file).ok()?))
        .unwrap_or_else(|| "Linux".to_owned())
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = value.trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The time since the PC was started, its sleep included.
pub fn time_since_boot() -> Option<Duration> {
    Duration::try_from(clock_gettime(ClockId::Boottime)).ok()
}

/// Where the settings are.
pub fn settings_dir() -> PathBuf {
    PathBuf::from("/etc/encoder-agent")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier(variables: &[(&str, OsString)]) -> io::Result<ServiceNotifier> {
        let find = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
        };
        ServiceNotifier::new(find, 77)
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_hears_every_state() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = notifier(&[("NOTIFY_SOCKET", path.into_os_string())]).unwrap();
        notifier.ready();
        notifier.alive();
        notifier.stopping();
        assert_eq!(heard(&manager), "READY=1");
        assert_eq!(heard(&manager), "WATCHDOG=1");
        assert_eq!(heard(&manager), "STOPPING=1");
    }

    #[test]
    fn an_abstract_socket_is_found() {
        let name = format!("encoder-agent-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = notifier(&[("NOTIFY_SOCKET", format!("@{name}").into())]).unwrap();
        notifier.ready();
        assert_eq!(heard(&manager), "READY=1");
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let notifier = notifier(&[]).unwrap();
        notifier.ready();
        assert_eq!(notifier.watchdog_interval(), None);
    }

    #[test]
    fn a_manager_that_is_gone_is_no_failure() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none");
        notifier(&[("NOTIFY_SOCKET", path.into_os_string())])
            .unwrap()
            .ready();
    }

    #[test]
    fn the_watchdog_is_ours_or_nobodys() {
        let interval = |pid: Option<&str>, limit: &str| {
            let mut variables = vec![("WATCHDOG_USEC", OsString::from(limit))];
            variables.extend(pid.map(|pid| ("WATCHDOG_PID", OsString::from(pid))));
            notifier(&variables).unwrap().watchdog_interval()
        };
        let ten_seconds = Some(Duration::from_secs(10));
        assert_eq!(interval(None, "30000000"), ten_seconds);
        assert_eq!(interval(Some("77"), "30000000"), ten_seconds);
        assert_eq!(interval(Some("78"), "30000000"), None);
        assert_eq!(interval(None, "0"), None);
        assert_eq!(interval(None, "soon"), None);
    }

    #[test]
    fn the_systems_name_is_unquoted() {
        let text = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(pretty_name(text).unwrap(), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(pretty_name("ID=debian\n"), None);
        assert_eq!(pretty_name("PRETTY_NAME=\"\"\n"), None);
    }
}
