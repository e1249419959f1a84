//! A Unix socket: the system tells who is at the other end.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::PathBuf,
};

use tokio::net::{UnixListener, UnixStream};

use super::{Address, ListenError, Peer};

/// Everyone on this PC may connect; what each may ask is decided by who it is.
const MODE: u32 = 0o666;

/// The superuser.
const ROOT: u32 = 0;

/// One client's stream.
pub(in crate::local) type Stream = UnixStream;

/// The agent's end.
#[derive(Debug)]
pub(in crate::local) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    own_user: u32,
}

impl Listener {
    /// Listens at `address`. A socket that an agent left behind when it was killed is replaced.
    pub(in crate::local) async fn listen(address: &Address) -> Result<Self, ListenError> {
        let path = address.0.clone();
        let system = |source| ListenError::System {
            path: address.0.clone(),
            source,
        };
        if let Ok(found) = fs::symlink_metadata(&path) {
            if !found.file_type().is_socket() {
                return Err(ListenError::NoSocket(path));
            }
            if UnixStream::connect(&path).await.is_ok() {
                return Err(ListenError::InUse(path));
            }
            fs::remove_file(&path).map_err(system)?;
        }
        let listener = UnixListener::bind(&path).map_err(system)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE)).map_err(system)?;
        Ok(Self {
            listener,
            path,
            own_user: rustix::process::geteuid().as_raw(),
        })
    }

    /// The next client. Dropping the future loses none.
    pub(in crate::local) async fn accept(&mut self) -> io::Result<(Stream, Peer)> {
        let (stream, _) = self.listener.accept().await?;
        let user = stream.peer_cred()?.uid();
        let peer = Peer {
            user,
            is_administrator: user == ROOT || user == self.own_user,
        };
        Ok((stream, peer))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Reaches the agent.
pub(in crate::local) async fn connect(address: &Address) -> io::Result<Stream> {
    UnixStream::connect(&address.0).await
}
