//! What systemd hands over and wants to be told (`sd_listen_fds(3)`, `sd_notify(3)`); nothing where it did not start the
//! process.

use std::{io, net::TcpListener};

use tokio::sync::watch;

/// The listening socket that the process was started with: a socket unit holds the address. Takes the variables that tell of
/// it away, so it must be asked before there is a second thread.
///
/// # Errors
/// What was handed over is no TCP socket.
#[cfg(unix)]
pub(crate) fn listening_socket() -> io::Result<Option<TcpListener>> {
    listenfd::ListenFd::from_env().take_tcp_listener(0)
}

/// No such thing here.
#[cfg(not(unix))]
pub(crate) fn listening_socket() -> io::Result<Option<TcpListener>> {
    Ok(None)
}

/// The service is up.
pub(crate) fn ready() {
    #[cfg(unix)]
    tell(sd_notify::NotifyState::Ready);
}

/// The service is stopping, and may take a while.
pub(crate) fn stopping() {
    #[cfg(unix)]
    tell(sd_notify::NotifyState::Stopping);
}

/// Says twice within systemd's limit that the service still runs, as long as `rounds` has changed meanwhile: a desk that hangs
/// answers nobody, even if this task still runs.
#[cfg(unix)]
pub(crate) async fn feed_watchdog(mut rounds: watch::Receiver<u64>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    loop {
        tokio::time::sleep(limit / 2).await;
        match rounds.has_changed() {
            Ok(true) => tell(sd_notify::NotifyState::Watchdog),
            Ok(false) => {
                tracing::error!("the desk hangs, so systemd is about to start the service again")
            }
            // The desk has ended; the service is stopping.
            Err(_) => return,
        }
        rounds.mark_unchanged();
    }
}

/// Nobody watches.
#[cfg(not(unix))]
pub(crate) async fn feed_watchdog(rounds: watch::Receiver<u64>) {
    drop(rounds);
}

#[cfg(unix)]
fn tell(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
