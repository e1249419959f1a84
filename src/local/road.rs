//! The road to the agent's own socket: a Unix socket, or a named pipe on Windows.

#[cfg(unix)]
#[path = "road/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "road/windows.rs"]
mod system;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

pub(super) use system::{Listener, Stream, connect};

/// Where the agent listens: a path, or a pipe's name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address(pub PathBuf);

/// Who is at the other end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Peer {
    /// The user, by number; users that the system does not tell apart have one.
    pub user: u32,
    /// Whether it may read and write cards: an administrator, or the agent's own user.
    pub is_administrator: bool,
}

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    /// Another program answers there.
    #[error("{} is in use by another program", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[cfg(unix)]
    #[error("{} is there already and is no socket; take it away", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen at {}: {source}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The socket's name in its directory.
const SOCKET_NAME: &str = "agent.sock";

/// Where the installed service listens.
const INSTALLED: &str = if cfg!(windows) {
    r"\\.\pipe\encoder-agent"
} else {
    "/run/encoder-agent/agent.sock"
};

/// Where the agent listens: where the settings say, else in the directory that systemd made for it, else beside its journal.
pub fn listening_address(
    configured: Option<&Path>,
    state_dir: &Path,
    runtime_dir: Option<OsString>,
) -> Address {
    if let Some(configured) = configured {
        return Address(configured.to_owned());
    }
    if cfg!(windows) {
        return Address(INSTALLED.into());
    }
    // systemd.exec(5): several directories have colons between them, and we ask for one.
    let runtime_dir = runtime_dir.filter(|directory| !directory.is_empty());
    let directory = runtime_dir.map_or_else(|| state_dir.to_owned(), PathBuf::from);
    Address(directory.join(SOCKET_NAME))
}

/// Where a command looks for the running agent, in this order. Without the settings, which only the agent's user may have to read, it
/// is the installed service that is meant.
pub fn default_addresses(
    configured: Option<&Path>,
    state_dir: Option<&Path>,
    is_installed: bool,
) -> Vec<Address> {
    if let Some(configured) = configured {
        return vec![Address(configured.to_owned())];
    }
    if cfg!(windows) {
        return vec![Address(INSTALLED.into())];
    }
    let beside = state_dir.map(|directory| Address(directory.join(SOCKET_NAME)));
    let installed = is_installed.then(|| Address(INSTALLED.into()));
    installed.into_iter().chain(beside).collect()
}
