//! The one place that reads the clocks.

#![allow(clippy::disallowed_methods)]

use std::time::Instant;

use encoder_protocols::moment::Moment;
use jiff::Timestamp;

/// Monotonic time and the time of day. Cheap to copy; all copies share one origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    time_of_day: fn() -> Timestamp,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
            time_of_day: Timestamp::now,
        }
    }

    /// Now, for waiting and for timeouts.
    pub fn now(&self) -> Moment {
        Moment::after_origin(self.origin.elapsed())
    }

    /// The time of day in UTC, cut to the millisecond that the store keeps.
    pub fn utc(&self) -> Timestamp {
        let now = (self.time_of_day)();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// A moment as tokio's timers take it.
    pub fn instant(&self, moment: Moment) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin + moment.since_origin())
    }
}

/// A clock whose time of day a test sets, each for itself.
#[cfg(test)]
pub(crate) mod set {
    use std::cell::Cell;

    use jiff::SignedDuration;

    use super::*;

    thread_local! {
        static BY: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
    }

    /// The clock of this thread.
    pub(crate) fn clock() -> Clock {
        Clock {
            time_of_day: || Timestamp::now() + BY.get(),
            ..Clock::start()
        }
    }

    /// Sets it to so much more than the time of day.
    pub(crate) fn set_off(by: SignedDuration) {
        BY.set(by);
    }
}
