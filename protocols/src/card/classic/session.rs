//! Exchanges with one card, with authentication and bounded repetition.

use super::geometry::Sector;
use crate::{
    card::{
        CandidateKey, CardError, CardLink, CardLinkError, Place,
        recovery::{Attempts, Gaps, GivenUp},
    },
    fault::HardwareFault,
};

/// The conversation of one procedure with one card.
pub(super) struct Session<'l, L> {
    link: &'l mut L,
    /// The sector that is authenticated, and with which key.
    open: Option<(Sector, CandidateKey)>,
    /// A write command was sent that may have changed a byte.
    pub(super) changed: bool,
    pub(super) gaps: Gaps,
}

impl<'l, L: CardLink> Session<'l, L> {
    /// A conversation with a freshly selected card, or one on which `open` is still authenticated.
    pub(super) fn new(link: &'l mut L, open: Option<(Sector, CandidateKey)>) -> Self {
        Self {
            link,
            open,
            changed: false,
            gaps: Gaps::default(),
        }
    }

    /// Opens the sector with a key that may be wrong: the inner error is the refusal, after which the card is selected
    /// again.
    pub(super) async fn try_key(
        &mut self,
        sector: Sector,
        key: &CandidateKey,
    ) -> Result<Result<(), HardwareFault>, CardError> {
        if self.is_open(sector, key) {
            return Ok(Ok(()));
        }
        let mut attempts = Attempts::default();
        loop {
            self.open = None;
            let Err(error) = self.link.authenticate(sector.first_block(), key).await else {
                self.open = Some((sector, key.clone()));
                return Ok(Ok(()));
            };
            match attempts.again(self.link, &mut self.gaps, error).await {
                Ok(()) => {}
                Err(GivenUp::Refused(fault)) => return Ok(Err(fault)),
                Err(GivenUp::Failed(error)) => {
                    return Err(CardError::link(Place::Sector(sector.number()), error));
                }
            }
        }
    }

    /// Opens the sector with a key that opened it before, so that a refusal speaks of the air and not of the key.
    pub(super) async fn open(
        &mut self,
        sector: Sector,
        key: &CandidateKey,
    ) -> Result<(), CardError> {
        self.try_key(sector, key).await?.map_err(|fault| {
            let disturbed = CardLinkError::Disturbed(fault);
            CardError::link(Place::Sector(sector.number()), disturbed)
        })
    }

    /// Reads a block of the sector.
    pub(super) async fn read(
        &mut self,
        sector: Sector,
        block: u8,
        key: &CandidateKey,
    ) -> Result<[u8; 16], CardError> {
        let mut attempts = Attempts::default();
        loop {
            self.open(sector, key).await?;
            match self.link.read(block).await {
                Ok(data) => return Ok(data),
                Err(error) => {
                    self.open = None;
                    let again = attempts.again(self.link, &mut self.gaps, error).await;
                    again.map_err(|given_up| unreadable(place(sector, block), given_up))?;
                }
            }
        }
    }

    /// Writes a data block of the sector. The same bytes again change nothing more, so a disturbed write is repeated.
    pub(super) async fn write(
        &mut self,
        sector: Sector,
        block: u8,
        data: &[u8; 16],
        key: &CandidateKey,
    ) -> Result<(), CardError> {
        let mut attempts = Attempts::default();
        loop {
            self.open(sector, key).await?;
            let Err(given_up) = self.write_once(block, data, &mut attempts).await else {
                return Ok(());
            };
            if let Some(given_up) = given_up {
                return Err(read_only(place(sector, block), given_up));
            }
        }
    }

    /// Sends one write. An error of `None` means that its end is unknown and that the card is selected again.
    pub(super) async fn write_once(
        &mut self,
        block: u8,
        data: &[u8; 16],
        attempts: &mut Attempts,
    ) -> Result<(), Option<GivenUp>> {
        self.changed = true;
        let Err(error) = self.link.write_block(block, data).await else {
            return Ok(());
        };
        self.open = None;
        let again = attempts.again(self.link, &mut self.gaps, error).await;
        Err(again.err())
    }

    fn is_open(&self, sector: Sector, key: &CandidateKey) -> bool {
        matches!(&self.open, Some((open, with)) if *open == sector && with == key)
    }
}

/// What the reader of a procedure's error is told about a failed write.
pub(super) fn read_only(at: Place, given_up: GivenUp) -> CardError {
    match given_up {
        GivenUp::Refused(fault) => CardError::ReadOnly {
            at,
            fault: Some(fault),
        },
        GivenUp::Failed(error) => CardError::link(at, error),
    }
}

fn unreadable(at: Place, given_up: GivenUp) -> CardError {
    match given_up {
        GivenUp::Refused(fault) => CardError::Unreadable {
            at,
            fault: Some(fault),
        },
        GivenUp::Failed(error) => CardError::link(at, error),
    }
}

const fn place(sector: Sector, block: u8) -> Place {
    if block == sector.trailer() {
        Place::Trailer(sector.number())
    } else {
        Place::Block(block)
    }
}
