//! A named pipe. Unless it is told otherwise, the system lets only administrators, itself and the user that the agent runs as write
//! to it; so whoever gets through is one of them.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::windows::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions},
    time::{Duration, sleep},
};

use super::{Address, ListenError, Peer};

/// All clients are users that are not told apart.
const EVERYONE: u32 = 0;

/// ERROR_PIPE_BUSY: every instance has a client, and the next one is about to be made.
const PIPE_BUSY: i32 = 231;

/// How often and how long apart a busy pipe is tried.
const TRIES: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// One client's stream, at either end.
pub(in crate::local) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// One client's stream.
pub(in crate::local) type Stream = Box<dyn Pipe>;

/// The agent's end.
#[derive(Debug)]
pub(in crate::local) struct Listener {
    address: Address,
    /// The instance that the next client gets.
    next: NamedPipeServer,
}

impl Listener {
    /// Makes the pipe; no other program may have made it before.
    #[allow(clippy::unused_async, reason = "the other road waits")]
    pub(in crate::local) async fn listen(address: &Address) -> Result<Self, ListenError> {
        let made = ServerOptions::new()
            .first_pipe_instance(true)
            .reject_remote_clients(true)
            .create(&address.0);
        match made {
            Ok(next) => Ok(Self {
                address: address.clone(),
                next,
            }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ListenError::InUse(address.0.clone()))
            }
            Err(source) => Err(ListenError::System {
                path: address.0.clone(),
                source,
            }),
        }
    }

    /// The next client. Dropping the future loses none.
    pub(in crate::local) async fn accept(&mut self) -> io::Result<(Stream, Peer)> {
        self.next.connect().await?;
        let following = ServerOptions::new()
            .reject_remote_clients(true)
            .create(&self.address.0)?;
        let stream = std::mem::replace(&mut self.next, following);
        let peer = Peer {
            user: EVERYONE,
            is_administrator: true,
        };
        Ok((Box::new(stream), peer))
    }
}

/// Reaches the agent.
pub(in crate::local) async fn connect(address: &Address) -> io::Result<Stream> {
    let mut tries = 0;
    loop {
        match ClientOptions::new().open(&address.0) {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) if error.raw_os_error() == Some(PIPE_BUSY) && tries < TRIES => {
                tries += 1;
                sleep(BETWEEN_TRIES).await;
            }
            Err(error) => return Err(error),
        }
    }
}
