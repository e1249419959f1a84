//! When a failed exchange with a card is tried again.

use super::{CardError, CardLink, CardLinkError};
use crate::fault::HardwareFault;

/// How often one exchange may be disturbed.
const MOST_DISTURBANCES: u8 = 3;
/// How often the card may fall silent in one exchange and yet be there.
const MOST_SILENCES: u8 = 2;

/// The failed attempts at one exchange.
#[derive(Default)]
pub(super) struct Attempts {
    disturbances: u8,
    silences: u8,
}

/// The times at which the card had to be selected again. It may have left the reader meanwhile, if only for a moment, and been
/// somewhere else: what was read before says nothing of what it carries now.
#[derive(Default)]
pub(super) struct Gaps {
    count: u32,
    last: Option<CardLinkError>,
}

impl Gaps {
    /// How many there were until now.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The card cannot be read from its first byte to its last without one.
    pub(super) fn give_up(&self) -> Result<(), CardError> {
        let source = self.last.clone();
        source.map_or(Ok(()), |source| Err(CardError::Link { at: None, source }))
    }
}

/// How often a card is read anew because it had to be selected again in the middle.
pub(super) const MOST_READINGS: u8 = 3;

/// Why an exchange is not tried again.
#[derive(Debug)]
pub(super) enum GivenUp {
    /// The card lies there and does not do it.
    Refused(HardwareFault),
    /// The exchange itself failed.
    Failed(CardLinkError),
}

impl Attempts {
    /// After the exchange failed with `error`: selects the card again, and returns where it is to be tried again.
    ///
    /// A card that does not answer may only have fallen back to idle, as after a command that it refuses: if it can be
    /// selected each time and each time falls silent, it refuses.
    pub(super) async fn again<L: CardLink>(
        &mut self,
        link: &mut L,
        gaps: &mut Gaps,
        error: CardLinkError,
    ) -> Result<(), GivenUp> {
        gaps.count += 1;
        gaps.last = Some(error.clone());
        match error {
            CardLinkError::AuthenticationRefused(fault) | CardLinkError::Refused(fault) => {
                select(link).await?;
                Err(GivenUp::Refused(fault))
            }
            CardLinkError::CardGone(fault) => {
                select(link).await?;
                self.silences += 1;
                let is_left = self.silences < MOST_SILENCES;
                is_left.then_some(()).ok_or(GivenUp::Refused(fault))
            }
            CardLinkError::Disturbed(_) => {
                select(link).await?;
                self.disturbances += 1;
                let is_left = self.disturbances < MOST_DISTURBANCES;
                is_left.then_some(()).ok_or(GivenUp::Failed(error))
            }
            CardLinkError::CardSwapped
            | CardLinkError::SeveralCards
            | CardLinkError::BadSwipe(_)
            | CardLinkError::Faulty(_)
            | CardLinkError::Silent(_)
            | CardLinkError::PortGone(_)
            | CardLinkError::Cancelled => Err(GivenUp::Failed(error)),
        }
    }
}

/// Selects the card again, also where the selection itself is disturbed.
async fn select<L: CardLink>(link: &mut L) -> Result<(), GivenUp> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match link.reselect().await {
            Ok(()) => return Ok(()),
            Err(CardLinkError::Disturbed(_)) if attempts < MOST_DISTURBANCES => {}
            Err(error) => return Err(GivenUp::Failed(error)),
        }
    }
}
