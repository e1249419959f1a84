//! An emulated device and the pseudo terminal that leads to it.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use encoder_protocols::moment::Moment;

use super::{EmulationError, pty::Pty};
use crate::clock::Clock;

/// More than the longest frame, so that one written at once is read at once.
const READ_AT_ONCE: usize = 4096;
/// More lateness than this is not made up for: the machine was away, not merely slow.
const LONGEST_CATCHING_UP: Duration = Duration::from_millis(5);

/// An emulated device on a serial line, free of I/O.
pub(super) trait Device {
    /// The rate that the line shows until the host sets another one.
    const BAUD: u32;

    /// Takes bytes that the host wrote.
    fn handle_input(&mut self, now: Moment, input: &[u8]);

    /// Lets pass what has become due.
    fn handle_timeout(&mut self, now: Moment);

    /// What has reached the host as a whole by `now`, and when the last byte did.
    fn poll_frames(&mut self, now: Moment) -> Option<(Moment, Vec<u8>)>;

    /// When something becomes due.
    fn poll_timeout(&self) -> Option<Moment>;

    /// Tells the rate that the host's end of the line is set to.
    fn set_line_baud(&mut self, baud: u32);

    /// Takes the supply away and gives it back.
    fn power_cycle(&mut self);
}

/// What stands on a desk: a device on its line, and what belongs to it.
pub(super) trait Wired: Send + 'static {
    /// The device.
    type Device: Device;

    /// Its line.
    fn line(&mut self) -> &mut Line<Self::Device>;

    /// Puts things in order after bytes have moved.
    fn tidy(&mut self) {}
}

pub(super) struct Line<D> {
    pub(super) device: D,
    clock: Clock,
    is_paced: bool,
    /// How much later than due the last output was handed over.
    late: Duration,
    link: Option<PathBuf>,
    terminal: Option<Pty>,
}

impl<D: Device> Line<D> {
    /// A plugged line. Where it is paced, bytes take their time at the rate that the host sets.
    pub(super) fn open(
        device: D,
        link: Option<&Path>,
        is_paced: bool,
    ) -> Result<Self, EmulationError> {
        Ok(Self {
            device,
            clock: Clock::start(),
            is_paced,
            late: Duration::ZERO,
            link: link.map(Path::to_owned),
            terminal: Some(Pty::open(link, D::BAUD)?),
        })
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = |terminal: &Pty| terminal.path().to_owned();
        self.terminal.as_ref().map(path)
    }

    pub(super) fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().map(|terminal| &terminal.master)
    }

    pub(super) fn paces_wire(&self) -> bool {
        self.is_paced
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        self.device.poll_timeout()
    }

    /// Takes what the host has written; false when there is nothing.
    pub(super) fn take_input(&mut self) -> bool {
        let Some(terminal) = &self.terminal else {
            return false;
        };
        let mut buffer = [0; READ_AT_ONCE];
        let input = terminal.read(&mut buffer);
        let now = self.clock.now();
        if input.is_empty() {
            return false;
        }
        if self.is_paced
            && let Some(baud) = terminal.baud()
        {
            self.device.set_line_baud(baud);
        }
        // What the host does next it does as much later as it got the output late; dated back, the line's own time is
        // kept over many exchanges.
        let late = std::mem::take(&mut self.late);
        self.device.handle_input(now - late, input);
        true
    }

    /// Gives the host what is due; false when nothing is.
    pub(super) fn give_output(&mut self) -> bool {
        let now = self.clock.now();
        self.device.handle_timeout(now);
        let mut gave = false;
        while let Some((due, bytes)) = self.device.poll_frames(now) {
            if let Some(terminal) = &self.terminal {
                terminal.write(&bytes);
            }
            self.late = self.clock.now().since(due).min(LONGEST_CATCHING_UP);
            gave = true;
        }
        gave
    }

    pub(super) fn end_exclusive_use(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.end_exclusive_use();
        }
    }

    /// Closes the terminal and takes the device's power away.
    pub(super) fn unplug(&mut self) {
        self.terminal = None;
        self.device.power_cycle();
    }

    /// Opens a new terminal with the same link; does nothing while plugged.
    pub(super) fn plug(&mut self) -> Result<(), EmulationError> {
        if self.terminal.is_none() {
            self.terminal = Some(Pty::open(self.link.as_deref(), D::BAUD)?);
        }
        Ok(())
    }
}
