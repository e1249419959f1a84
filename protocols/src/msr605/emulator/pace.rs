//! How long things take, where that is wanted.

use std::time::Duration;

/// A card's way through the slot at 15 inches a second, and the hand's before it.
const SWIPE: Duration = Duration::from_millis(400);

/// Whether the emulated encoder takes the time that a real one and a person take.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pace {
    /// Each byte takes 10 bit times on the line.
    pub wire: bool,
    /// A swipe of the card that is at hand takes 0.4 s.
    pub swipe: bool,
}

impl Pace {
    /// Everything at once.
    pub const INSTANT: Self = Self {
        wire: false,
        swipe: false,
    };

    pub(super) fn swipe_time(self) -> Duration {
        if self.swipe { SWIPE } else { Duration::ZERO }
    }
}
