//! Waits, tries and counts of the link.

use std::time::Duration;

use crate::moment::Moment;

/// How long the link waits, and how often it tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkTiming {
    /// The wait for one ACK. The chip needs at most 15 ms; USB adapters add their own.
    pub acknowledge: Duration,
    /// How often a repeatable command is sent until an ACK comes; one that is not is sent once and waited for as long.
    pub attempts: u8,
    /// The wait for a response that was asked for again with NACK.
    pub retransmission: Duration,
    /// How often a response is asked for again.
    pub retransmissions: u8,
    /// How long the line must be quiet before the next command when an ACK may still be under way.
    pub settle: Duration,
}

impl Default for LinkTiming {
    /// 100 ms, 3 attempts, 250 ms, 2 retransmissions, 200 ms.
    fn default() -> Self {
        Self {
            acknowledge: Duration::from_millis(100),
            attempts: 3,
            retransmission: Duration::from_millis(250),
            retransmissions: 2,
            settle: Duration::from_millis(200),
        }
    }
}

/// What went by on the line that should not, since the link was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Bytes that belonged to no frame.
    pub noise_bytes: u64,
    /// Frames whose checksum was wrong.
    pub broken_frames: u64,
    /// Whole frames that nobody waited for.
    pub skipped_frames: u64,
    /// Commands sent again because no ACK came.
    pub resends: u64,
    /// Responses asked for again.
    pub retransmissions: u64,
    /// Commands aborted, by the caller or because no response came.
    pub aborts: u64,
}

/// Until when the line is listened to before a new command, as an ACK that belongs to the last one may still come. It would
/// be taken for the new command's, and the old response for the new.
#[derive(Clone, Copy)]
pub(super) struct Quiet {
    pub(super) until: Moment,
    /// No input puts `until` off beyond this.
    latest: Moment,
}

impl Quiet {
    /// The longest wait for a quiet line, in settle times.
    pub(super) const MOST: u32 = 3;

    pub(super) fn from(now: Moment, settle: Duration) -> Self {
        Self {
            until: now + settle,
            latest: now + settle * Self::MOST,
        }
    }

    pub(super) fn heard(self, now: Moment, settle: Duration) -> Self {
        Self {
            until: (now + settle).min(self.latest),
            ..self
        }
    }
}
