//! The two faces of an encoder of the family: bytes on a line, or the reports of an MSR605X.

use encoder_protocols::{
    moment::Moment,
    msr605::{
        emulator::{Emulator, Pace, ReportedEmulator},
        report::REPORT_BYTES,
    },
};

use super::super::line::Device;

/// An emulated encoder as it stands on a desk.
pub(super) enum Unit {
    /// It speaks on a serial line.
    Bytes(Box<Emulator>),
    /// It speaks in reports, which stand one behind the other on the line.
    Reports {
        encoder: Box<ReportedEmulator>,
        /// The beginning of a report whose rest has not come.
        begun: Vec<u8>,
    },
}

impl Unit {
    pub(super) fn bytes(pace: Pace) -> Self {
        Self::Bytes(Box::new(Emulator::new(pace)))
    }

    pub(super) fn reports(pace: Pace) -> Self {
        Self::Reports {
            encoder: Box::new(ReportedEmulator::new(pace)),
            begun: Vec::new(),
        }
    }

    pub(super) fn encoder(&self) -> &Emulator {
        match self {
            Self::Bytes(encoder) => encoder,
            Self::Reports { encoder, .. } => &encoder.device,
        }
    }

    pub(super) fn encoder_mut(&mut self) -> &mut Emulator {
        match self {
            Self::Bytes(encoder) => encoder,
            Self::Reports { encoder, .. } => &mut encoder.device,
        }
    }
}

impl Device for Unit {
    const BAUD: u32 = 9_600;

    fn handle_input(&mut self, now: Moment, input: &[u8]) {
        match self {
            Self::Bytes(encoder) => encoder.handle_input(now, input),
            Self::Reports { encoder, begun } => {
                begun.extend(input);
                let whole = begun.len() - begun.len() % REPORT_BYTES;
                for report in begun.drain(..whole).as_slice().chunks(REPORT_BYTES) {
                    // The device throws away what it cannot read.
                    let _ = encoder.handle_report(now, report);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.encoder_mut().handle_timeout(now);
    }

    fn poll_frames(&mut self, now: Moment) -> Option<(Moment, Vec<u8>)> {
        match self {
            Self::Bytes(encoder) => encoder.poll_frames(now),
            Self::Reports { encoder, .. } => {
                let report = encoder.poll_report(now)?;
                Some((now, report.to_vec()))
            }
        }
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.encoder().poll_timeout()
    }

    fn set_line_baud(&mut self, baud: u32) {
        self.encoder_mut().set_line_baud(baud);
    }

    fn power_cycle(&mut self) {
        match self {
            Self::Bytes(encoder) => encoder.power_cycle(),
            Self::Reports { encoder, begun } => {
                encoder.power_cycle();
                begun.clear();
            }
        }
    }
}
