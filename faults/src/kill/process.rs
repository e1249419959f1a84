//! A real program of ours, started by the harness.

use std::{
    fs::OpenOptions,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{HarnessError, until};

/// How long an orderly stop may take.
const STOPPING: Duration = Duration::from_secs(15);

/// Killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts it; what it logs goes to the end of `log`.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
    ) -> Result<Self, HarnessError> {
        let log = OpenOptions::new().create(true).append(true).open(log);
        let log = log.map_err(HarnessError::system("the log of a process"))?;
        let child = command
            .env_remove("RUST_LOG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(HarnessError::system(format!("starting the {name}")))?;
        Ok(Self { name, child })
    }

    pub(super) fn id(&self) -> Result<Pid, HarnessError> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        id.ok_or(HarnessError::Ended(self.name))
    }

    /// Whether it was killed; it must not end in any other way.
    pub(super) fn is_killed(&mut self) -> Result<bool, HarnessError> {
        match self.status()? {
            None => Ok(false),
            Some(status) if status.signal() == Some(Signal::KILL.as_raw()) => Ok(true),
            Some(_) => Err(HarnessError::Ended(self.name)),
        }
    }

    /// Whether it still runs.
    pub(super) fn runs(&mut self) -> Result<bool, HarnessError> {
        Ok(self.status()?.is_none())
    }

    /// Asks it to stop, as the service's supervisor does; true if it did so in time and without an error.
    pub(super) fn stop(&mut self) -> Result<bool, HarnessError> {
        kill_process(self.id()?, Signal::TERM)
            .map_err(std::io::Error::from)
            .map_err(HarnessError::system(format!("stopping the {}", self.name)))?;
        let mut ended = None;
        let in_time = until(STOPPING, || {
            ended = self.status()?;
            Ok(ended.is_some())
        })?;
        Ok(in_time && ended.is_some_and(|status| status.success()))
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, HarnessError> {
        self.child.try_wait().map_err(HarnessError::system(format!(
            "waiting for the {}",
            self.name
        )))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
