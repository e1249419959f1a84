//! Waits and counts of the link.

use std::time::Duration;

use crate::moment::Moment;

/// How long the link waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkTiming {
    /// How long the device hears nothing after a reset. Units need 50 to 300 ms.
    pub reset: Duration,
    /// How long the line must be quiet after a reset and before a command that waits for a card: what still comes belongs to an
    /// earlier one.
    pub quiet: Duration,
    /// How long an answer may take from its first byte on. The longest takes 0.8 s at 9600 baud.
    pub answer: Duration,
    /// The silence that ends the text of the firmware.
    pub silence: Duration,
}

impl Default for LinkTiming {
    /// 300 ms, 20 ms, 2 s, 100 ms.
    fn default() -> Self {
        Self {
            reset: Duration::from_millis(300),
            quiet: Duration::from_millis(20),
            answer: Duration::from_secs(2),
            silence: Duration::from_millis(100),
        }
    }
}

/// What went by that should not, since the link was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Bytes that belonged to no answer.
    pub noise_bytes: u64,
    /// Reports that could not be right.
    pub bad_reports: u64,
    /// Resets of the link's own making: after an abort, and when an answer was broken or stayed out.
    pub resets: u64,
}

/// Until when nothing is sent and what comes is thrown away.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    pub(super) until: Moment,
    /// No input puts `until` off beyond this.
    latest: Moment,
}

impl Rest {
    /// The longest time by which input puts the end off.
    pub(super) const MOST: Duration = Duration::from_secs(1);

    pub(super) fn from(now: Moment, least: Duration) -> Self {
        Self {
            until: now + least,
            latest: now + least + Self::MOST,
        }
    }

    pub(super) fn heard(self, now: Moment, quiet: Duration) -> Self {
        Self {
            until: self.until.max(now + quiet).min(self.latest),
            ..self
        }
    }

    pub(super) fn at_least(self, other: Self) -> Self {
        Self {
            until: self.until.max(other.until),
            latest: self.latest.max(other.latest),
        }
    }
}
