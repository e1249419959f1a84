//! The one place that reads the clocks.

#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use encoder_protocols::moment::Moment;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::platform;

/// How late a timer may fire after the PC slept: the runtime's timers stand still meanwhile, so they are looked at this
/// often.
const RESUME_NOTICE: Duration = Duration::from_secs(1);

/// Monotonic time, which goes on while the PC sleeps, and the time of day. Cheap to copy; all copies share one origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Origin,
}

/// Which clock, and where it stood at the start.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// The system's, which counts sleep too.
    System(Duration),
    /// The runtime's, which a test can pause: it then stands and jumps with the runtime's timers.
    Runtime(Instant),
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        let origin = match platform::time_since_boot() {
            Some(since_boot) if !cfg!(test) => Origin::System(since_boot),
            Some(_) | None => Origin::Runtime(Instant::now()),
        };
        Self { origin }
    }

    /// A clock that stands and jumps with a runtime whose time is paused.
    #[cfg(feature = "fuzzing")]
    pub fn of_the_runtime() -> Self {
        Self {
            origin: Origin::Runtime(Instant::now()),
        }
    }

    /// Now, for waiting and for timeouts.
    pub fn now(&self) -> Moment {
        let elapsed = match self.origin {
            Origin::System(start) => platform::time_since_boot()
                .unwrap_or(start)
                .saturating_sub(start),
            Origin::Runtime(start) => start.elapsed(),
        };
        Moment::after_origin(elapsed)
    }

    /// The time of day in UTC, for people and for `issued_at`.
    pub fn utc(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Waits for a moment, at most a second beyond it if the PC slept over it. Dropping the future loses nothing.
    pub async fn sleep_until(&self, moment: Moment) {
        loop {
            let left = moment.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(RESUME_NOTICE)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_systems_clock_goes_on_and_is_slept_by() {
        let Some(since_boot) = platform::time_since_boot() else {
            return;
        };
        let clock = Clock {
            origin: Origin::System(since_boot),
        };
        let until = clock.now() + Duration::from_millis(20);
        clock.sleep_until(until).await;
        assert!(clock.now() >= until);
    }
}
