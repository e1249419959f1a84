//! The one place that reads the clocks.

#![allow(clippy::disallowed_methods)]

use encoder_protocols::moment::Moment;
use jiff::Timestamp;
use tokio::time::Instant;

/// Monotonic time and the time of day. Cheap to copy; all copies share one origin. In a test whose runtime pauses time
/// the monotonic part stands and jumps with the runtime's timers.
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

    /// The time of day in UTC, for people and for `issued_at`.
    pub fn utc(&self) -> Timestamp {
        Timestamp::now()
    }

    /// A moment as tokio's timers take it.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.since_origin()
    }
}
