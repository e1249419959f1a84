//! News of plugging and unplugging.
//!
//! On Linux from the directory of the nodes, by inotify(7): a node appears there, udev gives it to its group, and it goes
//! with its device. That tells when a port can be used, not only that it exists, and it works without udev too.
//! Elsewhere there is no news, and looking again soon takes its place.

use std::{path::Path, time::Duration};

/// How long a burst of news must have ended: a device with several nodes brings several, and udev changes each.
#[cfg(target_os = "linux")]
const SETTLE: Duration = Duration::from_millis(40);

/// How long a burst may go on before it is told all the same.
#[cfg(target_os = "linux")]
const LONGEST_BURST: Duration = Duration::from_millis(200);

/// How often to look again where news comes: it may get lost.
const SAFETY_NET: Duration = Duration::from_secs(5);

/// How often to look where no news comes.
const NO_NEWS: Duration = Duration::from_millis(800);

/// Tells when it is worth looking what is attached.
#[derive(Debug)]
pub struct Watcher {
    #[cfg(target_os = "linux")]
    nodes: Option<linux::Nodes>,
}

impl Watcher {
    /// Watches the directory of the nodes, within a runtime.
    #[cfg(target_os = "linux")]
    pub fn new(nodes: Option<&Path>) -> Self {
        let nodes = nodes.and_then(|directory| match linux::Nodes::watch(directory) {
            Ok(nodes) => Some(nodes),
            Err(error) => {
                let directory = directory.display();
                tracing::warn!(%directory, %error, "cannot watch for devices; looking often instead");
                None
            }
        });
        Self { nodes }
    }

    /// There is nothing to watch on this system.
    #[cfg(not(target_os = "linux"))]
    pub fn new(_nodes: Option<&Path>) -> Self {
        Self {}
    }

    /// How often to look without any news.
    pub fn interval(&self) -> Duration {
        #[cfg(target_os = "linux")]
        if self.nodes.is_some() {
            return SAFETY_NET;
        }
        NO_NEWS.min(SAFETY_NET)
    }

    /// Returns when something was plugged in or out, or may be used by others than before, and that is over. Dropping the
    /// future loses at most what the safety net catches.
    pub async fn changed(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(nodes) = &mut self.nodes {
            if nodes.burst().await.is_ok() {
                return;
            }
            tracing::warn!("news of devices has ended; looking often instead");
            self.nodes = None;
        }
        std::future::pending().await
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{io, mem::MaybeUninit, os::fd::OwnedFd, path::Path};

    use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
    use tokio::{io::unix::AsyncFd, time::timeout};

    use super::{LONGEST_BURST, SETTLE};

    /// What the names of ports begin with.
    const PORTS: [&[u8]; 2] = [b"tty", b"hidraw"];

    /// Room for a few events with their names.
    const EVENT_BYTES: usize = 2_048;

    #[derive(Debug)]
    pub(super) struct Nodes(AsyncFd<OwnedFd>);

    impl Nodes {
        pub(super) fn watch(directory: &Path) -> io::Result<Self> {
            let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let wanted = WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::ATTRIB;
            add_watch(&inotify, directory, wanted)?;
            #[allow(
                deprecated,
                reason = "unsound only for types that give away another descriptor than they own; its successor is unsafe"
            )]
            let inotify = AsyncFd::new(inotify)?;
            Ok(Self(inotify))
        }

        /// Waits for news of a port, and for the end of the burst that it began.
        pub(super) async fn burst(&mut self) -> io::Result<()> {
            while !self.heard().await? {}
            let settled = async {
                while let Ok(heard) = timeout(SETTLE, self.heard()).await {
                    heard?;
                }
                Ok(())
            };
            timeout(LONGEST_BURST, settled).await.unwrap_or(Ok(()))
        }

        /// Waits for events. True when one of them is of a port, or when some were lost.
        async fn heard(&mut self) -> io::Result<bool> {
            let mut ready = self.0.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
            let mut reader = Reader::new(ready.get_inner(), &mut buffer);
            let mut of_port = false;
            loop {
                match reader.next() {
                    Ok(event) => {
                        of_port |= event.file_name().is_none_or(|name| {
                            PORTS.iter().any(|port| name.to_bytes().starts_with(port))
                        });
                    }
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            Ok(of_port)
        }
    }
}
