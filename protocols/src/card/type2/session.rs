//! Exchanges with one card, with its password and bounded repetition.

use super::{
    geometry::{Configuration, Geometry},
    guard::{Guard, PasswordConfiguration},
};
use crate::{
    card::{
        CardError, CardLink, CardLinkError, Password, Place,
        recovery::{Attempts, Gaps, GivenUp},
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
    pub(super) gaps: Gaps,
}

/// What is to be opened, and how.
pub(super) struct Opening<'a> {
    /// The last page that is to be read.
    pub(super) reads: u8,
    /// The last page that is to be written.
    pub(super) writes: Option<u8>,
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
            gaps: Gaps::default(),
        }
    }

    /// The protection that the card has now.
    pub(super) async fn guard(&mut self) -> Result<Guard, CardError> {
        let guard = match self.geometry.configuration {
            None => return Ok(Guard::Absent),
            Some(Configuration::Password(page)) => {
                let present = self.password_configuration(page).await;
                present.map(Guard::Password)
            }
            Some(Configuration::TripleDes(page)) => self.triple_des(page).await,
        };
        match guard {
            Err(CardError::Unreadable { .. }) => Ok(Guard::Hidden),
            guard => guard,
        }
    }

    /// CFG0, on this page, and CFG1. Never by `READ`, which brings the first pages of the card in the place of a CFG1 that
    /// is protected while CFG0 is not; `FAST_READ` is refused then (NTAG213_215_216, sections 10.2 and 10.3).
    pub(super) async fn password_configuration(
        &mut self,
        page: u8,
    ) -> Result<PasswordConfiguration, CardError> {
        let pages = self.fast_read(page, page + 1).await?;
        sized(Place::Page(page), &pages).map(PasswordConfiguration::from_pages)
    }

    /// AUTH0, on this page, and AUTH1, which is read by itself where the protection begins with it.
    async fn triple_des(&mut self, page: u8) -> Result<Guard, CardError> {
        let [first_page, _, _, _, auth1, ..] = self.read(page).await?;
        if first_page != page + 1 {
            return Ok(Guard::triple_des(first_page, Some(auth1)));
        }
        match self.read(first_page).await {
            Ok([auth1, ..]) => Ok(Guard::triple_des(first_page, Some(auth1))),
            Err(CardError::Unreadable { .. }) => Ok(Guard::triple_des(first_page, None)),
            Err(error) => Err(error),
        }
    }

    /// Opens the card with the first password that does it, if it is protected where it is to be opened. Returns the
    /// protection it has.
    pub(super) async fn unlock(&mut self, opening: &Opening<'_>) -> Result<Guard, CardError> {
        let guard = self.guard().await?;
        self.counts_tries = guard.counts_tries();
        if !self.forbids(guard, opening).await? {
            return Ok(guard);
        }
        self.try_passwords(guard, opening).await?;
        if guard != Guard::Hidden {
            return Ok(guard);
        }
        let shown = self.guard().await?;
        self.counts_tries = shown.counts_tries();
        Ok(shown)
    }

    /// Whether the card must be opened first. Where it hides its configuration, a look at the last page tells: what can be
    /// read lies before the protection.
    async fn forbids(&mut self, guard: Guard, opening: &Opening<'_>) -> Result<bool, CardError> {
        let last = opening.reads.max(opening.writes.unwrap_or(0));
        let hidden_from = self.geometry.last_configuration_page();
        if guard != Guard::Hidden || hidden_from.is_none_or(|hidden| last >= hidden) {
            return Ok(guard.forbids(opening.reads, opening.writes));
        }
        match self.read(last).await {
            Ok(_) => Ok(false),
            Err(CardError::Unreadable { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Opens the card with the first password that does it, as far as its count of wrong ones allows to try them.
    pub(super) async fn try_passwords(
        &mut self,
        guard: Guard,
        opening: &Opening<'_>,
    ) -> Result<(), CardError> {
        let passwords = match self.geometry.password_configuration() {
            Some(_) => opening.passwords,
            None => &[],
        };
        let (tries, known) = (
            guard.tries(passwords, opening.allow_irreversible),
            passwords.len(),
        );
        let mut refusal = None;
        for password in passwords.iter().take(tries) {
            match self.try_password(password).await? {
                Ok(_) => return Ok(()),
                Err(fault) => refusal = Some(fault),
            }
        }
        Err(if tries < known {
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
            let again = attempts.again(self.link, &mut self.gaps, error.clone());
            match again.await {
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
            // A `READ` that runs into protected pages brings the first ones of the card in their place.
            let taken = if self.geometry.fast_read && left > 1 {
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
        match attempts.again(self.link, &mut self.gaps, error).await {
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
        match attempts.again(self.link, &mut self.gaps, error).await {
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
