//! When a failed exchange with a card is tried again.

use super::{CardLink, CardLinkError};
use crate::fault::HardwareFault;

/// How often one exchange is tried in all.
const MOST_ATTEMPTS: u8 = 3;

/// The attempts at one exchange.
#[derive(Default)]
pub(super) struct Attempts(u8);

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
        error: CardLinkError,
    ) -> Result<(), GivenUp> {
        self.0 += 1;
        match error {
            CardLinkError::AuthenticationRefused(fault) | CardLinkError::Refused(fault) => {
                select(link).await?;
                Err(GivenUp::Refused(fault))
            }
            CardLinkError::CardGone(fault) => {
                select(link).await?;
                self.left().then_some(()).ok_or(GivenUp::Refused(fault))
            }
            CardLinkError::Disturbed(_) => {
                select(link).await?;
                self.left().then_some(()).ok_or(GivenUp::Failed(error))
            }
            CardLinkError::CardSwapped
            | CardLinkError::SeveralCards
            | CardLinkError::Faulty(_)
            | CardLinkError::Silent(_)
            | CardLinkError::PortGone(_)
            | CardLinkError::Cancelled => Err(GivenUp::Failed(error)),
        }
    }

    const fn left(&self) -> bool {
        self.0 < MOST_ATTEMPTS
    }
}

/// Selects the card again, also where the selection itself is disturbed.
async fn select<L: CardLink>(link: &mut L) -> Result<(), GivenUp> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match link.reselect().await {
            Ok(()) => return Ok(()),
            Err(CardLinkError::Disturbed(_)) if attempts < MOST_ATTEMPTS => {}
            Err(error) => return Err(GivenUp::Failed(error)),
        }
    }
}
