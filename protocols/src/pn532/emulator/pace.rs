//! How long things take, where that is wanted.

use std::time::Duration;

/// Selecting a card, NXP typical.
const SELECT: Duration = Duration::from_millis(3);
/// A MIFARE Classic authentication, NXP typical.
const AUTHENTICATE: Duration = Duration::from_millis(3);
/// Reading a block or four pages, and any other exchange, NXP typical.
const READ: Duration = Duration::from_micros(2_500);
/// Writing a block or page, NXP typical.
const WRITE: Duration = Duration::from_millis(6);
/// One unsuccessful look for a card.
const LOOK: Duration = Duration::from_millis(30);

/// Whether the emulated chip takes the time that the real one takes. Both parts are apart so that benches can leave the
/// air out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pace {
    /// Each byte takes 10 bit times on the line.
    pub wire: bool,
    /// The exchange with the card takes its typical time: select 3 ms, authenticate 3, read 2.5, write 6.
    pub rf: bool,
}

impl Pace {
    /// Everything at once.
    pub const INSTANT: Self = Self {
        wire: false,
        rf: false,
    };

    pub(super) fn select(self) -> Duration {
        self.rf_only(SELECT)
    }

    /// The time for which a search with this many tries looks in vain.
    pub(super) fn search(self, tries: u32) -> Duration {
        self.rf_only(LOOK.saturating_mul(tries))
    }

    /// The time on the air of a command.
    pub(super) fn rf_time(self, payload: &[u8]) -> Duration {
        self.rf_only(match *payload {
            [0x40, _, 0x60 | 0x61, ..] => AUTHENTICATE,
            [0x40, _, 0xA0 | 0xA2 | 0xB0, ..] | [0x42, 0xA2 | 0xB0, ..] => WRITE,
            [0x40 | 0x42, ..] => READ,
            [0x4A | 0x54 | 0x60, ..] => SELECT,
            _ => Duration::ZERO,
        })
    }

    fn rf_only(self, time: Duration) -> Duration {
        if self.rf { time } else { Duration::ZERO }
    }
}
