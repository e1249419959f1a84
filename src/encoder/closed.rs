//! Ports that this process may not open, and how long nothing is said of it.

use std::time::Duration;

use encoder_protocols::moment::Moment;

/// A node belongs to root until udev has given it to its group, a moment after it appeared.
pub(super) const UDEV_WITHIN: Duration = Duration::from_secs(2);

/// Since when a port may not be opened, while that is so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Closed {
    since: Option<Moment>,
}

impl Closed {
    /// Notes that it may not be opened now. Until when udev has time to change that; none when it had its time, so that
    /// people must be told.
    pub(super) fn note(&mut self, now: Moment) -> Option<Moment> {
        let told_at = *self.since.get_or_insert(now) + UDEV_WITHIN;
        (now < told_at).then_some(told_at)
    }

    /// Whether it could not be opened when it was looked at last.
    pub(super) fn is_closed(self) -> bool {
        self.since.is_some()
    }

    /// Notes that permission stands in nobody's way any more.
    pub(super) fn end(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_that_a_port_closes_udev_has_its_time() {
        let mut closed = Closed::default();
        let plugged = Moment::ORIGIN + Duration::from_secs(60);
        let told_at = plugged + UDEV_WITHIN;
        assert_eq!(closed.note(plugged), Some(told_at));
        assert_eq!(closed.note(plugged + UDEV_WITHIN / 2), Some(told_at));
        assert_eq!(closed.note(told_at), None);
        closed.end();
        assert_eq!(closed.note(told_at), Some(told_at + UDEV_WITHIN));
    }
}
