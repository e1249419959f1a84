//! When a delivery is tried.

use std::time::Duration;

use jiff::Timestamp;

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// How long after the failure before it each attempt is made. The first is made at once; after the last failure the
/// delivery is given up, some 27.6 hours after the event.
pub const WAITS: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_secs(5 * SECOND),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(5 * HOUR),
    Duration::from_secs(10 * HOUR),
    Duration::from_secs(10 * HOUR),
];

/// The longest wait. A delivery that seems due later than this from now was scheduled by a clock that has been set
/// back since, and counts as due.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10 * HOUR);

/// When the next attempt is to be made after `attempts` failures, the last of them now; none to give up.
pub fn next_attempt(attempts: u32, now: Timestamp) -> Option<Timestamp> {
    let wait = WAITS.get(usize::try_from(attempts).ok()?)?;
    // Beyond the end of the calendar nothing is tried again.
    now.checked_add(*wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_attempts_are_made() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let waits: Vec<_> = (1..=9)
            .map(|attempts| next_attempt(attempts, now).map(|at| at.duration_since(now).as_secs()))
            .collect();
        let expected = [5, 300, 1800, 7200, 18_000, 36_000, 36_000].map(Some);
        assert_eq!(waits[..7], expected);
        assert_eq!(waits[7..], [None, None]);
        assert_eq!(WAITS.iter().max(), Some(&LONGEST_WAIT));
    }
}
