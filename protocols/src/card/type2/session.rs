//! Exchanges with one card, with its password and bounded repetition.

use super::{
    geometry::{Configuration, Geometry},
    guard::{Guard, Intent, PasswordConfiguration},
};
use crate::{
    card::{
        CardError, CardLink, CardLinkError, Password, Place,
        recovery::{Attempts, GivenUp},
    },
    fault::HardwareFault,
};

const FAST_READ: u8 = 0x3A;
const PWD_AUTH: u8 = 0x1B;
/// What a PN532 takes in one answer: 240 bytes.
const MOST_PAGES: u8 = 60;
const PAGES_PER_READ: u8 = 4;
const PAGE: usize = 4;

/// The conversation of one procedure with one card.
pub(super) struct Session<'l, L> {
    link: &'l mut L,
    pub(super) geometry: Geometry,
    /// The password that opened the card; it must be given again after each selection.
    pub(super) password: Option<Password>,
    /// The card was selected again since, so that the password is to be given again.
    shut: bool,
    /// The card counts wrong passwords, or may do so.
    pub(super) counts_tries: bool,
    /// The first write command was sent.
    pub(super) changed: bool,
}

/// What is to be opened, and how.
pub(super) struct Opening<'a> {
    pub(super) intent: Intent,
    pub(super) last_page: u8,
    pub(super) passwords: &'a [Password],
    pub(super) allow_irreversible: bool,
}

impl<'l, L: CardLink> Session<'l, L> {
    /// A conversation with a freshly selected card, or one that `password` has opened.
    pub(super) fn new(link: &'l mut L, geometry: Geometry, password: Option<Password>) -> Self {
        Self {
            link,
            geometry,
            password,
            shut: false,
            counts_tries: true,
            changed: false,
        }
    }

    /// The protection that the card has now.
    pub(super) async fn guard(&mut self) -> Result<Guard, CardError> {
        let Some(configuration) = self.geometry.configuration else {
            return Ok(Guard::Absent);
        };
        let (Configuration::Password(page) | Configuration::TripleDes(page)) = configuration;
        match (self.read(page).await, configuration) {
            (Ok(read), Configuration::Password(_)) => {
                Ok(Guard::Password(PasswordConfiguration::from_read(read)))
            }
            (Ok(read), Configuration::TripleDes(_)) => Ok(Guard::triple_des(read)),
            (Err(CardError::Unreadable { .. }), _) => Ok(Guard::Hidden),
            (Err(error), _) => Err(error),
        }
    }

    /// Opens the card with the first password that does it, if it is protected where it is to be opened. Returns the
    /// protection it has.
    pub(super) async fn unlock(&mut self, opening: &Opening<'_>) -> Result<Guard, CardError> {
        let guard = self.guard().await?;
        self.counts_tries = guard.counts_tries();
        if !guard.forbids(opening.intent, opening.last_page) {
            return Ok(guard);
        }
        let tries = guard.tries(opening.passwords, opening.allow_irreversible);
        let mut refusal = None;
        for password in opening.passwords.iter().take(tries) {
            match self.try_password(password).await? {
                Ok(_) if guard == Guard::Hidden => return self.guard().await,
                Ok(_) => return Ok(guard),
                Err(fault) => refusal = Some(fault),
            }
        }
        let known = opening.passwords.len();
        Err(if tries < known && guard.counts_tries() {
            CardError::TriesLimited {
                tried: tries,
                known,
            }
        } else {
            CardError::NoPassword {
                tried: tries,
                fault: refusal,
            }
        })
    }

    /// Gives a password that may be wrong. The answer is PACK, or the refusal, after which the card is selected again.
    pub(super) async fn try_password(
        &mut self,
        password: &Password,
    ) -> Result<Result<[u8; 2], HardwareFault>, CardError> {
        let Password([p0, p1, p2, p3]) = *password;
        let mut attempts = Attempts::default();
        loop {
            let sent = self.link.transceive(&[PWD_AUTH, p0, p1, p2, p3]).await;
            let error = match sent {
                Ok(answer) => {
                    let pack = sized(Place::Password, &answer)?;
                    self.password = Some(password.clone());
                    self.shut = false;
                    return Ok(Ok(pack));
                }
                Err(error) => error,
            };
            self.shut = true;
            match attempts.again(self.link, error.clone()).await {
                // A card that refuses and falls back to idle may be reported as gone, and a disturbed answer may have
                // been a refusal: asking again would count as a second wrong password.
                Ok(()) => {
                    if let CardLinkError::CardGone(fault) = error {
                        return Ok(Err(fault));
                    }
                    if self.counts_tries {
                        return Err(CardError::link(Place::Password, error));
                    }
                }
                Err(GivenUp::Refused(fault)) => return Ok(Err(fault)),
                Err(GivenUp::Failed(error)) => {
                    return Err(CardError::link(Place::Password, error));
                }
            }
        }
    }

    /// Reads four pages; those behind the last one are the first ones again.
    pub(super) async fn read(&mut self, page: u8) -> Result<[u8; 16], CardError> {
        let mut attempts = Attempts::default();
        loop {
            self.reopen().await?;
            match self.link.read(page).await {
                Ok(data) => return Ok(data),
                Err(error) => {
                    self.recover(&mut attempts, Place::Page(page), error)
                        .await?
                }
            }
        }
    }

    /// Reads the pages from `first` to `last`, both included.
    pub(super) async fn read_pages(&mut self, first: u8, last: u8) -> Result<Vec<u8>, CardError> {
        let mut data = Vec::new();
        let mut next = Some(first).filter(|first| *first <= last);
        while let Some(page) = next {
            let left = last - page + 1;
            let taken = if self.geometry.fast_read && left > PAGES_PER_READ {
                let taken = left.min(MOST_PAGES);
                data.extend(self.fast_read(page, page + (taken - 1)).await?);
                taken
            } else {
                let taken = left.min(PAGES_PER_READ);
                let read = self.read(page).await?;
                data.extend(read.iter().take(usize::from(taken) * PAGE));
                taken
            };
            next = page.checked_add(taken).filter(|next| *next <= last);
        }
        Ok(data)
    }

    /// Writes a page. The same bytes again change nothing more, so a disturbed write is repeated.
    pub(super) async fn write(&mut self, page: u8, data: &[u8; 4]) -> Result<(), CardError> {
        let mut attempts = Attempts::default();
        loop {
            self.reopen().await?;
            if self.write_once(page, data, &mut attempts).await? {
                return Ok(());
            }
        }
    }

    /// Sends one write. `false` means that its end is unknown and that the card is selected again.
    pub(super) async fn write_once(
        &mut self,
        page: u8,
        data: &[u8; 4],
        attempts: &mut Attempts,
    ) -> Result<bool, CardError> {
        self.changed = true;
        let Err(error) = self.link.write_page(page, data).await else {
            return Ok(true);
        };
        self.shut = true;
        let at = Place::Page(page);
        match attempts.again(self.link, error).await {
            Ok(()) => Ok(false),
            Err(GivenUp::Refused(fault)) => Err(CardError::ReadOnly {
                at,
                fault: Some(fault),
            }),
            Err(GivenUp::Failed(error)) => Err(CardError::link(at, error)),
        }
    }

    async fn fast_read(&mut self, first: u8, last: u8) -> Result<Vec<u8>, CardError> {
        let at = Place::Page(first);
        let expected = (usize::from(last - first) + 1) * PAGE;
        let mut attempts = Attempts::default();
        loop {
            self.reopen().await?;
            match self.link.transceive(&[FAST_READ, first, last]).await {
                Ok(data) if data.len() == expected => return Ok(data),
                Ok(data) => {
                    return Err(CardError::BadAnswer {
                        at,
                        expected,
                        got: data.len(),
                    });
                }
                Err(error) => self.recover(&mut attempts, at, error).await?,
            }
        }
    }

    async fn recover(
        &mut self,
        attempts: &mut Attempts,
        at: Place,
        error: CardLinkError,
    ) -> Result<(), CardError> {
        self.shut = true;
        match attempts.again(self.link, error).await {
            Ok(()) => Ok(()),
            Err(GivenUp::Refused(fault)) => Err(CardError::Unreadable {
                at,
                fault: Some(fault),
            }),
            Err(GivenUp::Failed(error)) => Err(CardError::link(at, error)),
        }
    }

    /// Gives the password again that opened the card before it was selected again.
    async fn reopen(&mut self) -> Result<(), CardError> {
        let Some(password) = self.password.clone().filter(|_| self.shut) else {
            return Ok(());
        };
        let answer = self.try_password(&password).await?;
        answer.map(drop).map_err(|fault| CardError::NoPassword {
            tried: 1,
            fault: Some(fault),
        })
    }
}

fn sized<const N: usize>(at: Place, answer: &[u8]) -> Result<[u8; N], CardError> {
    answer.try_into().map_err(|_| CardError::BadAnswer {
        at,
        expected: N,
        got: answer.len(),
    })
}
