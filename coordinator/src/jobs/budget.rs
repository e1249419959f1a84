//! How many plans an agent may ask for: plans carry keys, and a stolen token must be no key oracle.

use jiff::Timestamp;

/// How many plans an agent may take in one go.
pub(crate) const PLAN_BURST: u32 = 2_000;
/// How long it takes until one more may be taken, in milliseconds: 3,600 an hour.
pub(crate) const PLAN_INTERVAL_MS: i64 = 1_000;

/// A token bucket over plans.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlanBudget {
    left: u32,
    filled_at: Timestamp,
}

impl PlanBudget {
    /// A full budget.
    pub(crate) fn full(now: Timestamp) -> Self {
        Self {
            left: PLAN_BURST,
            filled_at: now,
        }
    }

    /// Takes one plan out of the budget; false when none is left.
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        let elapsed = now.as_millisecond() - self.filled_at.as_millisecond();
        let refill = elapsed.max(0) / PLAN_INTERVAL_MS;
        if refill > 0 {
            let room = i64::from(PLAN_BURST - self.left);
            self.left += u32::try_from(refill.min(room)).unwrap_or(0);
            self.filled_at = now;
        }
        if elapsed < 0 {
            self.filled_at = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_fills_up_again_with_time() {
        let start = Timestamp::UNIX_EPOCH;
        let mut budget = PlanBudget::full(start);
        for _ in 0..PLAN_BURST {
            assert!(budget.take(start));
        }
        assert!(!budget.take(start));
        let later = start + jiff::SignedDuration::from_secs(3);
        for _ in 0..3 {
            assert!(budget.take(later));
        }
        assert!(!budget.take(later));
    }

    #[test]
    fn a_clock_set_back_neither_fills_nor_blocks_the_budget_for_good() {
        let start = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(10);
        let mut budget = PlanBudget::full(start);
        for _ in 0..PLAN_BURST {
            assert!(budget.take(start));
        }
        let back = Timestamp::UNIX_EPOCH;
        assert!(!budget.take(back));
        assert!(budget.take(back + jiff::SignedDuration::from_secs(2)));
    }
}
