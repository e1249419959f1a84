//! Opening a card and finding out that it may be written.

use super::{
    check::check,
    geometry::{Geometry, OTP_PAGE, Role, STATIC_LOCK_PAGE},
    guard::{Guard, PasswordConfiguration},
    session::{Opening, Session},
};
use crate::card::{CardError, CardLink, Password, Place, Type2Image, Type2Protection, WriteRules};

/// How many pages a card's configuration takes: CFG0, CFG1, PWD, PACK.
const CONFIGURATION_PAGES: u8 = 4;

/// An image, and what opens the card.
#[derive(Clone, Debug)]
pub(in crate::card) struct PreparedType2 {
    pub(super) image: Type2Image,
    pub(super) geometry: Geometry,
    /// The password that opened the card; none where it is not protected.
    pub(super) password: Option<Password>,
    /// The card counts wrong passwords.
    pub(super) counts_tries: bool,
    pub(super) protecting: Option<Protecting>,
}

/// How the card's protection is to change.
#[derive(Clone, Debug)]
pub(super) struct Protecting {
    pub(super) protection: Type2Protection,
    /// The page of CFG0.
    pub(super) page: u8,
    pub(super) before: PasswordConfiguration,
    pub(super) after: PasswordConfiguration,
}

/// Checks the image, opens the card, and looks at its lock bits.
pub(in crate::card) async fn prepare<L: CardLink>(
    link: &mut L,
    image: &Type2Image,
    rules: WriteRules,
) -> Result<PreparedType2, CardError> {
    let geometry = check(image, link.card().technology, rules)?;
    let mut session = Session::new(link, geometry, None);
    let opening = Opening {
        reads: ruling_lock(image, &geometry).unwrap_or(OTP_PAGE),
        writes: Some(last_page(image, &geometry)),
        passwords: &candidates(image),
        allow_irreversible: rules.allow_irreversible,
    };
    let guard = session.unlock(&opening).await?;
    check_locks(&mut session, image).await?;
    prove_password(&mut session, image, guard, &opening).await?;
    let protecting = protecting(image, &geometry, guard, rules)?;
    Ok(PreparedType2 {
        image: image.clone(),
        geometry,
        password: session.password,
        counts_tries: guard.counts_tries(),
        protecting,
    })
}

/// The passwords to try: the image's candidates, then the new one, which a torn encode may have left.
pub(super) fn candidates(image: &Type2Image) -> Vec<Password> {
    let new = image
        .protection
        .iter()
        .map(|protection| &protection.password)
        .filter(|new| !image.passwords.contains(new));
    image.passwords.iter().chain(new).cloned().collect()
}

/// The last page that the image touches.
pub(super) fn last_page(image: &Type2Image, geometry: &Geometry) -> u8 {
    let protection = geometry
        .password_configuration()
        .filter(|_| image.protection.is_some())
        .map(|page| page + (CONFIGURATION_PAGES - 1));
    let pages = image.pages.iter().map(|page| page.page);
    pages.chain(protection).max().unwrap_or(0)
}

/// Refuses an image that writes locked pages, or that would clear bits which can only be set.
async fn check_locks<L: CardLink>(
    session: &mut Session<'_, L>,
    image: &Type2Image,
) -> Result<(), CardError> {
    let [_, _, l0, l1, o0, o1, o2, o3, ..] = session.read(STATIC_LOCK_PAGE).await?;
    let dynamic = match ruling_lock(image, &session.geometry) {
        Some(lock) => {
            let [d0, d1, d2, ..] = session.read(lock).await?;
            [d0, d1, d2]
        }
        None => [0; 3],
    };
    for page in &image.pages {
        let is_otp = page.page == OTP_PAGE;
        let role = session.geometry.role(page.page);
        let is_locked = (is_otp || role == Role::User)
            && session.geometry.is_locked(page.page, [l0, l1], dynamic);
        if is_locked || (is_otp && !is_within([o0, o1, o2, o3], page.data)) {
            return Err(CardError::ReadOnly {
                at: Place::Page(page.page),
                fault: None,
            });
        }
    }
    Ok(())
}

/// The page of the dynamic lock bytes, if the image writes pages that they rule.
fn ruling_lock(image: &Type2Image, geometry: &Geometry) -> Option<u8> {
    const FIRST_RULED: u8 = 16;
    let rules_some = image.pages.iter().any(|page| page.page >= FIRST_RULED);
    let lock = geometry.dynamic_lock.filter(|_| rules_some);
    lock.map(|lock| lock.page)
}

/// An image that protects the card by pages of configuration does not set the password: that one of its candidates is the
/// card's must be known before, or nobody might open the card again. Where the card will hide its configuration, only
/// the first candidate will be tried.
async fn prove_password<L: CardLink>(
    session: &mut Session<'_, L>,
    image: &Type2Image,
    guard: Guard,
    opening: &Opening<'_>,
) -> Result<(), CardError> {
    let (Guard::Password(before), Some(page)) = (guard, session.geometry.password_configuration())
    else {
        return Ok(());
    };
    let written = |at| image.pages.iter().find(|page| page.page == at);
    let after = PasswordConfiguration {
        cfg0: written(page).map_or(before.cfg0, |page| page.data),
        cfg1: written(page + 1).map_or(before.cfg1, |page| page.data),
    };
    if after == before || after.first_page() >= session.geometry.pages {
        return Ok(());
    }
    let hides = after.protects_reading() && after.first_page() <= page + 1;
    let usable = if hides { 1 } else { opening.passwords.len() };
    let passwords = opening.passwords.get(..usable).unwrap_or_default();
    if session
        .password
        .as_ref()
        .is_some_and(|known| passwords.contains(known))
    {
        return Ok(());
    }
    let opening = Opening {
        passwords,
        ..*opening
    };
    session.try_passwords(guard, &opening).await
}

/// Whether every bit set in `present` is set in `wanted`.
fn is_within(present: [u8; 4], wanted: [u8; 4]) -> bool {
    u32::from_be_bytes(present) & !u32::from_be_bytes(wanted) == 0
}

fn protecting(
    image: &Type2Image,
    geometry: &Geometry,
    guard: Guard,
    rules: WriteRules,
) -> Result<Option<Protecting>, CardError> {
    let (Some(protection), Some(page)) = (&image.protection, geometry.password_configuration())
    else {
        return Ok(None);
    };
    let Guard::Password(before) = guard else {
        return Err(CardError::Unreadable {
            at: Place::Page(page),
            fault: None,
        });
    };
    let after = before.protected(protection);
    if before.is_final() && before != after {
        return Err(CardError::ReadOnly {
            at: Place::Page(page),
            fault: None,
        });
    }
    // What is written is verified by giving the new password, where a wrong one might lock the card.
    let new = std::slice::from_ref(&protection.password);
    if guard.tries(new, rules.allow_irreversible) == 0 {
        return Err(CardError::TriesLimited { tried: 0, known: 1 });
    }
    Ok(Some(Protecting {
        protection: protection.clone(),
        page,
        before,
        after,
    }))
}
