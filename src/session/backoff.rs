//! How long to wait before the next attempt.

use std::time::Duration;

/// Draws a duration between zero and the one given, evenly.
pub type Jitter = Box<dyn FnMut(Duration) -> Duration + Send>;

/// The first failure's longest wait; it doubles with each failure in a row.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait after ordinary failures.
const LONGEST: Duration = Duration::from_secs(64);

/// The shortest and the longest wait after the token was refused.
const REFUSED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

/// The shortest wait after another session used the token.
const IN_USE: Duration = Duration::from_secs(30);

/// The longest wait after the coordinator said that it restarts.
const RESTART: Duration = Duration::from_secs(3);

/// The longest `Retry-After` that is believed.
const LONGEST_INVITATION: Duration = Duration::from_secs(60 * 60);

/// A connection that stood this long was a good one: the next failure is a first one again.
const GOOD_CONNECTION: Duration = Duration::from_secs(60);

/// Counts failures and draws waits: full jitter, so that many agents do not come back at once.
pub(super) struct Backoff {
    jitter: Jitter,
    failures: u32,
    refusals: u32,
}

impl Backoff {
    /// No failure yet.
    pub(super) fn new(jitter: Jitter) -> Self {
        Self {
            jitter,
            failures: 0,
            refusals: 0,
        }
    }

    /// How many attempts in a row were refused.
    pub(super) fn refusals(&self) -> u32 {
        self.refusals
    }

    /// The wait after an ordinary failure.
    pub(super) fn after_failure(&mut self) -> Duration {
        let longest = doubled(FIRST, self.failures, LONGEST);
        self.failures = self.failures.saturating_add(1);
        (self.jitter)(longest)
    }

    /// The wait after the token was refused or revoked.
    pub(super) fn after_refusal(&mut self) -> Duration {
        let (shortest, longest) = REFUSED;
        let spread = doubled(shortest, self.refusals, longest - shortest);
        self.refusals = self.refusals.saturating_add(1);
        shortest + (self.jitter)(spread)
    }

    /// The wait after the coordinator named one.
    pub(super) fn after_invitation(&mut self, retry_after: Duration) -> Duration {
        retry_after.min(LONGEST_INVITATION) + self.after_failure()
    }

    /// The wait after another session was found to use the token.
    pub(super) fn after_in_use(&mut self) -> Duration {
        IN_USE + self.after_failure()
    }

    /// The wait after the coordinator said that it restarts.
    pub(super) fn after_restart(&mut self) -> Duration {
        (self.jitter)(RESTART)
    }

    /// The coordinator took the token, or it is another one now.
    pub(super) fn token_was_changed(&mut self) {
        self.refusals = 0;
    }

    /// A connection ended that stood this long.
    pub(super) fn connection_lasted(&mut self, time: Duration) {
        if time >= GOOD_CONNECTION {
            self.failures = 0;
        }
    }
}

/// Even draws from the system's randomness; without it no jitter at all.
pub(super) fn system_jitter() -> Jitter {
    Box::new(|longest| {
        let mut bytes = [0; 4];
        if getrandom::fill(&mut bytes).is_err() {
            return longest;
        }
        longest.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
    })
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first
        .saturating_mul(2_u32.saturating_pow(times))
        .min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(duration: Duration) -> u64 {
        duration.as_secs()
    }

    #[test]
    fn failures_double_up_to_the_longest_wait() {
        let mut backoff = Backoff::new(Box::new(|longest| longest));
        let waits: Vec<_> = (0..9).map(|_| seconds(backoff.after_failure())).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::new(Box::new(|_| Duration::ZERO));
        assert_eq!(backoff.after_failure(), Duration::ZERO);
    }

    #[test]
    fn a_good_connection_starts_over_and_a_short_one_does_not() {
        let mut backoff = Backoff::new(Box::new(|longest| longest));
        backoff.after_failure();
        backoff.after_failure();
        backoff.connection_lasted(Duration::from_secs(59));
        assert_eq!(seconds(backoff.after_failure()), 4);
        backoff.connection_lasted(Duration::from_secs(60));
        assert_eq!(seconds(backoff.after_failure()), 1);
    }

    #[test]
    fn refusals_wait_between_one_and_fifteen_minutes() {
        let mut most = Backoff::new(Box::new(|longest| longest));
        let waits: Vec<_> = (0..6).map(|_| seconds(most.after_refusal())).collect();
        assert_eq!(waits, [120, 180, 300, 540, 900, 900]);
        let mut least = Backoff::new(Box::new(|_| Duration::ZERO));
        assert_eq!(seconds(least.after_refusal()), 60);
    }

    #[test]
    fn a_named_wait_is_kept_and_bounded() {
        let mut backoff = Backoff::new(Box::new(|_| Duration::ZERO));
        assert_eq!(seconds(backoff.after_invitation(Duration::from_secs(7))), 7);
        assert_eq!(seconds(backoff.after_invitation(Duration::MAX)), 3_600);
    }

    #[test]
    fn system_jitter_stays_within_its_bound_and_varies() {
        let mut jitter = system_jitter();
        let draws: Vec<_> = (0..100).map(|_| jitter(LONGEST)).collect();
        assert!(draws.iter().all(|draw| *draw <= LONGEST));
        assert!(draws.iter().any(|draw| *draw != draws[0]));
    }
}
