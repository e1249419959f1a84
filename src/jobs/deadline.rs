//! The coordinator's deadlines on this process's clock, and how long a write takes.

use std::time::Duration;

use encoder_protocols::{card::CardImage, moment::Moment};
use jiff::{SignedDuration, Timestamp};

use crate::{drivers, encoder::EncoderSettings};

/// For the journal's flush before the write, on a slow disk.
const JOURNAL_TIME: Duration = Duration::from_millis(250);

/// What preparing, writing and verifying an image takes at most on this encoder: no write starts that could not end in
/// time.
pub(super) fn write_estimate(settings: &EncoderSettings, image: &CardImage) -> Duration {
    drivers::write_time(settings, image).saturating_add(JOURNAL_TIME)
}

/// A moment that the coordinator named, on this process's clock. What has passed already is now.
pub(super) fn on_our_clock(now: Moment, deadline: Timestamp, server_time: Timestamp) -> Moment {
    let left = deadline.duration_since(server_time);
    now + Duration::try_from(left).unwrap_or(Duration::ZERO)
}

/// The coordinator's time, by an offset that was measured before.
pub(super) fn server_time(utc: Timestamp, offset: SignedDuration) -> Timestamp {
    utc.saturating_add(offset).unwrap_or(utc)
}
