//! The system's wish that the process stops.

use std::io;

/// SIGTERM and SIGINT.
#[cfg(unix)]
#[derive(Debug)]
pub struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl StopSignals {
    /// Takes the signals from the system's default, which is to end the process at once.
    ///
    /// # Errors
    /// The system's error when it does not hand them over.
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // Once listened to, this one ends no process any more: a journal that outgrows the limit for files fails to be
        // written instead.
        let outgrown = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        drop(signal(outgrown)?);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one. Dropping the future loses none.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP: the wish that the settings are read again.
#[cfg(unix)]
#[derive(Debug)]
pub struct ReloadSignal(tokio::signal::unix::Signal);

#[cfg(unix)]
impl ReloadSignal {
    /// Takes the signal from the system's default, which is to end the process at once.
    ///
    /// # Errors
    /// The system's error when it does not hand it over.
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one. Dropping the future loses none.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// There is none: the service is started again instead.
#[cfg(windows)]
#[derive(Debug)]
pub struct ReloadSignal(());

#[cfg(windows)]
impl ReloadSignal {
    /// Nothing to listen to.
    ///
    /// # Errors
    /// None.
    pub fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Never comes.
    pub async fn next(&mut self) {
        std::future::pending().await
    }
}

/// Ctrl-C, Ctrl-Break, and the word of the system to a service.
#[cfg(windows)]
#[derive(Debug)]
pub struct StopSignals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
}

#[cfg(windows)]
impl StopSignals {
    /// Takes the signals from the system's default, which is to end the process at once.
    ///
    /// # Errors
    /// The system's error when it does not hand them over.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            ctrl_c: tokio::signal::windows::ctrl_c()?,
            ctrl_break: tokio::signal::windows::ctrl_break()?,
        })
    }

    /// Waits for the next one. Dropping the future loses none.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.ctrl_c.recv() => {}
            _ = self.ctrl_break.recv() => {}
            () = super::windows::stop_wanted() => {}
        }
    }
}
