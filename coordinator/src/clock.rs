//! The one place that reads the clocks.

#![allow(clippy::disallowed_methods)]

use std::time::Instant;

use encoder_protocols::moment::Moment;
use jiff::Timestamp;

/// Monotonic time and the time of day. Cheap to copy; all copies share one origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Now, for waiting and for timeouts.
    pub fn now(&self) -> Moment {
        Moment::after_origin(self.origin.elapsed())
    }

    /// The time of day in UTC, cut to the millisecond that the store keeps.
    pub fn utc(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// A moment as tokio's timers take it.
    pub fn instant(&self, moment: Moment) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin + moment.since_origin())
    }
}
