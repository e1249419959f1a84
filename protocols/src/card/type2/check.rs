//! What is wrong with an image, found out before anything is sent.

use super::geometry::{Geometry, Role};
use crate::card::{CardError, ImageFlaw, Place, Technology, Type2Image, WriteRules};

/// Checks a whole image against a card.
pub(in crate::card) fn check(
    image: &Type2Image,
    technology: Technology,
    rules: WriteRules,
) -> Result<Geometry, CardError> {
    let geometry = Geometry::of(technology)?;
    if image.pages.is_empty() && image.protection.is_none() {
        return Err(ImageFlaw::Empty.into());
    }
    if image.protection.is_some() && geometry.password_configuration().is_none() {
        return Err(CardError::WrongTechnology {
            expected: "a card that knows passwords (Ultralight EV1 or NTAG21x)",
            got: technology,
        });
    }
    check_size(image, &geometry, technology, rules)?;
    for (index, page) in image.pages.iter().enumerate() {
        let earlier = image.pages.iter().take(index);
        if earlier.into_iter().any(|other| other.page == page.page) {
            return Err(ImageFlaw::Twice(Place::Page(page.page)).into());
        }
        check_role(image, &geometry, page.page, rules)?;
    }
    Ok(geometry)
}

/// An image that runs on from the last user page is too large, rather than one that means the pages behind.
fn check_size(
    image: &Type2Image,
    geometry: &Geometry,
    technology: Technology,
    rules: WriteRules,
) -> Result<(), CardError> {
    let has = |page: u8| image.pages.iter().any(|other| other.page == page);
    let runs_on = has(geometry.last_user_page) && has(geometry.last_user_page + 1);
    let beyond = image
        .pages
        .iter()
        .map(|page| page.page)
        .filter(|page| *page >= geometry.pages)
        .chain((runs_on && !rules.allow_irreversible).then_some(geometry.last_user_page + 1))
        .max();
    match beyond {
        None => Ok(()),
        Some(page) => Err(CardError::TooSmall {
            needed: Place::Page(page),
            got: technology,
        }),
    }
}

fn check_role(
    image: &Type2Image,
    geometry: &Geometry,
    page: u8,
    rules: WriteRules,
) -> Result<(), ImageFlaw> {
    let place = Place::Page(page);
    match geometry.role(page) {
        Role::User => Ok(()),
        Role::Untouchable => Err(ImageFlaw::NeverWritten(place)),
        Role::OneWay | Role::Configuration if !rules.allow_irreversible => {
            Err(ImageFlaw::Irreversible(place))
        }
        Role::Configuration if image.protection.is_some() => Err(ImageFlaw::ProtectedTwice(place)),
        Role::OneWay | Role::Configuration => Ok(()),
    }
}
