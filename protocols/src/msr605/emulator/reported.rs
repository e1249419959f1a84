//! The emulated encoder behind HID reports, as an MSR605X.

use std::collections::VecDeque;

use super::{
    super::report::{REPORT_BYTES, ReportDecoder, ReportError, encode},
    Emulator, Pace,
};
use crate::moment::Moment;

/// An emulated MSR605X: reports in, reports out. What else there is to an encoder, its [`ReportedEmulator::device`] has.
#[derive(Clone, Debug)]
pub struct ReportedEmulator {
    /// The encoder.
    pub device: Emulator,
    decoder: ReportDecoder,
    outgoing: VecDeque<[u8; REPORT_BYTES]>,
}

impl ReportedEmulator {
    /// An encoder right after power-up.
    pub fn new(pace: Pace) -> Self {
        Self {
            device: Emulator::new(pace),
            decoder: ReportDecoder::new(),
            outgoing: VecDeque::new(),
        }
    }

    /// Takes the supply away and gives it back, as [`Emulator::power_cycle`].
    pub fn power_cycle(&mut self) {
        self.device.power_cycle();
        self.decoder.clear();
        self.outgoing.clear();
    }

    /// Takes a report that the host sent, without report id.
    ///
    /// # Errors
    /// [`ReportError`] for one that the device throws away.
    pub fn handle_report(&mut self, now: Moment, report: &[u8]) -> Result<(), ReportError> {
        if let Some(message) = self.decoder.push(report)? {
            self.device.handle_input(now, &message);
        }
        Ok(())
    }

    /// The next report that has reached the host by `now`.
    pub fn poll_report(&mut self, now: Moment) -> Option<[u8; REPORT_BYTES]> {
        if self.outgoing.is_empty()
            && let Some((_, message)) = self.device.poll_frames(now)
        {
            self.outgoing.extend(encode(&message));
        }
        self.outgoing.pop_front()
    }
}
