//! Comparing a card with an image.

use super::{
    check::check,
    geometry::{Geometry, Role},
    guard::{Guard, PasswordConfiguration},
    prepare::last_page,
    session::{Opening, Session},
};
use crate::card::{
    CardError, CardLink, PageImage, Password, Place, Type2Image, Type2Protection, WriteRules,
    recovery::MOST_READINGS,
};

/// Compares the card with every byte of the image, its password by giving it.
pub(in crate::card) async fn verify<L: CardLink>(
    link: &mut L,
    image: &Type2Image,
) -> Result<(), CardError> {
    // Nothing is written, so a one-way door in the image is no matter here.
    let rules = WriteRules {
        allow_irreversible: true,
    };
    let geometry = check(image, link.card().technology, rules)?;
    let mut session = Session::new(link, geometry, None);
    let pages: Vec<&PageImage> = image.pages.iter().collect();
    if let (Some(protection), Some(page)) = (&image.protection, geometry.password_configuration()) {
        return verify_protected(&mut session, &pages, protection, page).await;
    }
    session
        .unlock(&Opening {
            reads: last_page(image, &geometry),
            writes: None,
            passwords: &image.passwords,
            allow_irreversible: false,
        })
        .await?;
    verify_pages(&mut session, &pages).await?;
    verify_in_one_go(&mut session, &pages, None).await
}

/// Where the card had to be selected again since the conversation began: compares once more, until every byte was read
/// without that in between.
///
/// # Errors
/// [`CardError`], also where the card has to be selected again each time.
pub(super) async fn verify_in_one_go<L: CardLink>(
    session: &mut Session<'_, L>,
    pages: &[&PageImage],
    protection: Option<Protected<'_>>,
) -> Result<(), CardError> {
    let mut gaps = 0;
    for _ in 0..MOST_READINGS {
        if session.gaps.count() == gaps {
            return Ok(());
        }
        gaps = session.gaps.count();
        verify_pages(session, pages).await?;
        if let Some(protected) = protection {
            verify_protection(session, protected).await?;
        }
    }
    if session.gaps.count() == gaps {
        return Ok(());
    }
    session.gaps.give_up()
}

/// The protection that a card should have.
#[derive(Clone, Copy)]
pub(super) struct Protected<'a> {
    pub(super) protection: &'a Type2Protection,
    /// The page of CFG0.
    pub(super) page: u8,
    pub(super) expected: PasswordConfiguration,
}

/// Compares the card with an image that sets its protection: the only password tried is the image's own, and only where
/// nothing differs that can be seen without it.
async fn verify_protected<L: CardLink>(
    session: &mut Session<'_, L>,
    pages: &[&PageImage],
    protection: &Type2Protection,
    page: u8,
) -> Result<(), CardError> {
    let differs = |present: PasswordConfiguration| present != present.protected(protection);
    let at = Place::Page(page);
    if let Guard::Password(present) = session.guard().await?
        && differs(present)
    {
        return Err(CardError::Differs { at });
    }
    let own = std::slice::from_ref(&protection.password);
    let last_image_page = pages.iter().map(|page| page.page).max();
    let guard = session
        .unlock(&Opening {
            // The configuration is compared too.
            reads: last_image_page.unwrap_or(0).max(page + 1),
            writes: None,
            passwords: own,
            allow_irreversible: false,
        })
        .await?;
    verify_pages(session, pages).await?;
    match guard {
        Guard::Password(present) if !differs(present) => {
            spare_tries(guard, own)?;
            let protected = Protected {
                protection,
                page,
                expected: present,
            };
            verify_protection(session, protected).await?;
            verify_in_one_go(session, pages, Some(protected)).await
        }
        Guard::Password(_) | Guard::Absent | Guard::TripleDes { .. } | Guard::Hidden => {
            Err(CardError::Differs { at })
        }
    }
}

/// Refuses to try even the expected password where a single wrong one would lock the card.
fn spare_tries(guard: Guard, own: &[Password]) -> Result<(), CardError> {
    if guard.tries(own, false) == 0 {
        return Err(CardError::TriesLimited { tried: 0, known: 1 });
    }
    Ok(())
}

/// Compares pages; neighbours in the image are read together.
pub(super) async fn verify_pages<L: CardLink>(
    session: &mut Session<'_, L>,
    pages: &[&PageImage],
) -> Result<(), CardError> {
    for run in pages.chunk_by(|one, next| one.page.checked_add(1) == Some(next.page)) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        let read = session.read_pages(first.page, last.page).await?;
        let (present, _) = read.as_chunks::<4>();
        for (page, present) in run.iter().zip(present) {
            if !holds(&session.geometry, page, *present) {
                return Err(CardError::Differs {
                    at: Place::Page(page.page),
                });
            }
        }
    }
    Ok(())
}

/// Whether a page holds what it should. Of the lock bytes the three that lock must be set as asked, and may have other bits
/// set: bits that were set before cannot be cleared.
fn holds(geometry: &Geometry, page: &PageImage, present: [u8; 4]) -> bool {
    let is_lock = geometry
        .dynamic_lock
        .is_some_and(|lock| lock.page == page.page);
    if !is_lock || geometry.role(page.page) != Role::OneWay {
        return present == page.data;
    }
    let mut bits = page.data.iter().zip(present).take(3);
    bits.all(|(wanted, present)| present & wanted == *wanted)
}

/// Gives the password, compares PACK, then compares the configuration.
pub(super) async fn verify_protection<L: CardLink>(
    session: &mut Session<'_, L>,
    Protected {
        protection,
        page,
        expected,
    }: Protected<'_>,
) -> Result<(), CardError> {
    let differs = |at| Err(CardError::Differs { at });
    match session.try_password(&protection.password).await? {
        Ok(pack) if pack == protection.acknowledge => {}
        Ok(_) | Err(_) => return differs(Place::Password),
    }
    if session.password_configuration(page).await? != expected {
        return differs(Place::Page(page));
    }
    Ok(())
}
