//! Comparing a card with an image.

use super::{
    check::check,
    geometry::{Geometry, Role},
    guard::{Guard, Intent, PasswordConfiguration},
    prepare::{candidates, last_page},
    session::{Opening, Session},
};
use crate::card::{
    CardError, CardLink, PageImage, Password, Place, Type2Image, Type2Protection, WriteRules,
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
    let guard = session
        .unlock(&Opening {
            intent: Intent::Read,
            last_page: last_page(image, &geometry),
            passwords: &newest_first(image),
            allow_irreversible: false,
        })
        .await?;
    let pages: Vec<&PageImage> = image.pages.iter().collect();
    verify_pages(&mut session, &pages).await?;
    let (Some(protection), Some(page)) = (&image.protection, geometry.password_configuration())
    else {
        return Ok(());
    };
    let differs = Err(CardError::Differs {
        at: Place::Page(page),
    });
    match guard {
        Guard::Password(present) if present == present.protected(protection) => {
            spare_tries(guard, protection)?;
            verify_protection(&mut session, protection, page, present).await
        }
        Guard::Password(_) | Guard::Absent | Guard::TripleDes { .. } | Guard::Hidden => differs,
    }
}

/// The password that the image sets comes first: it is the one expected on the card.
fn newest_first(image: &Type2Image) -> Vec<Password> {
    let mut passwords = candidates(image);
    if let Some(protection) = &image.protection {
        passwords.retain(|password| *password != protection.password);
        passwords.insert(0, protection.password.clone());
    }
    passwords
}

/// Refuses to try even the expected password where a single wrong one would lock the card.
fn spare_tries(guard: Guard, protection: &Type2Protection) -> Result<(), CardError> {
    let tries = guard.tries(std::slice::from_ref(&protection.password), false);
    if tries == 0 {
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
    protection: &Type2Protection,
    page: u8,
    expected: PasswordConfiguration,
) -> Result<(), CardError> {
    let differs = |at| Err(CardError::Differs { at });
    match session.try_password(&protection.password).await? {
        Ok(pack) if pack == protection.acknowledge => {}
        Ok(_) | Err(_) => return differs(Place::Password),
    }
    if PasswordConfiguration::from_read(session.read(page).await?) != expected {
        return differs(Place::Page(page));
    }
    Ok(())
}
