//! Preparing, writing, verifying and reading a card that lies on a reader, whatever its technology.
//!
//! A write is split in two, so that the caller can make *started* durable in between: [`prepare`] changes nothing and
//! ends with everything authenticated, [`write()`] begins with the first byte that changes. Between the two the link must
//! not be used for anything else: the authentication of the sector opened last is kept.

use super::{
    CardContents, CardError, CardImage, CardLink, ReadPlan, Technology, WriteError, classic,
    classic::PreparedClassic, type2, type2::PreparedType2,
};

/// What an image may do to a card.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WriteRules {
    /// One-way doors may be passed: lock bits, OTP, configuration pages, access bits that can never be changed again,
    /// and passwords tried where a single wrong one locks the card, or several where that is hidden.
    pub allow_irreversible: bool,
}

/// A card on which everything is ready for its image to be written. Holds key data; shows none.
#[derive(Clone, Debug)]
pub struct Prepared(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Classic(PreparedClassic),
    Type2(PreparedType2),
}

/// How far a write is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteStage {
    /// The last byte was sent; what remains is reading back.
    Verifying,
}

/// Checks an image against cards of a technology, before there is one: whether it fits, names nothing twice, and writes to no
/// place that `rules` forbid.
///
/// # Errors
/// [`CardError`] names what is wrong with it.
pub fn check_image(
    image: &CardImage,
    technology: Technology,
    rules: WriteRules,
) -> Result<(), CardError> {
    match image {
        CardImage::MifareClassic(image) => classic::check(image, technology, rules).map(drop),
        CardImage::Type2(image) => type2::check(image, technology, rules).map(drop),
        CardImage::Magstripe(image) if technology.is_swiped() => Ok(image.check()?),
        CardImage::Magstripe(_) => Err(CardError::WrongTechnology {
            expected: STRIPE,
            got: technology,
        }),
    }
}

/// Checks that `image` fits the selected card, authenticates everything it needs, and changes nothing.
///
/// # Errors
/// [`CardError`]; no byte of the card has changed.
pub async fn prepare<L: CardLink>(
    link: &mut L,
    image: &CardImage,
    rules: WriteRules,
) -> Result<Prepared, CardError> {
    Ok(Prepared(match image {
        CardImage::MifareClassic(image) => {
            Kind::Classic(classic::prepare(link, image, rules).await?)
        }
        CardImage::Type2(image) => Kind::Type2(type2::prepare(link, image, rules).await?),
        CardImage::Magstripe(_) => return Err(for_a_stripe(link)),
    }))
}

/// Writes what was prepared on this very card, and reads every byte of it back. `progress` is called once at most.
///
/// # Errors
/// [`WriteError`], with whether a byte may have changed.
pub async fn write<L: CardLink>(
    link: &mut L,
    prepared: &Prepared,
    progress: &mut (impl FnMut(WriteStage) + Send),
) -> Result<(), WriteError> {
    match &prepared.0 {
        Kind::Classic(prepared) => classic::write(link, prepared, progress).await,
        Kind::Type2(prepared) => type2::write(link, prepared, progress).await,
    }
}

/// Compares the selected card with every byte of `image`, and changes nothing.
///
/// # Errors
/// [`CardError`]; [`CardError::card_differs`] tells a card that does not carry the image from a look that failed.
pub async fn verify<L: CardLink>(link: &mut L, image: &CardImage) -> Result<(), CardError> {
    match image {
        CardImage::MifareClassic(image) => classic::verify(link, image).await,
        CardImage::Type2(image) => type2::verify(link, image).await,
        CardImage::Magstripe(_) => Err(for_a_stripe(link)),
    }
}

/// Reads what `plan` asks for, as far as the card allows; what it does not allow is named in the contents.
///
/// # Errors
/// [`CardError`] where the card or the reader failed, or the plan is for another technology.
pub async fn read<L: CardLink>(link: &mut L, plan: &ReadPlan) -> Result<CardContents, CardError> {
    match plan {
        ReadPlan::MifareClassic(plan) => classic::read(link, plan).await,
        ReadPlan::Type2(plan) => type2::read(link, plan).await,
        ReadPlan::Magstripe(_) => Err(for_a_stripe(link)),
        ReadPlan::UidOnly => Ok(CardContents::UidOnly),
    }
}

const STRIPE: &str = "magnetic stripe card";

/// A stripe is written and read by the encoder through which it is drawn, not through a link to a card that lies there.
fn for_a_stripe<L: CardLink>(link: &L) -> CardError {
    CardError::WrongTechnology {
        expected: STRIPE,
        got: link.card().technology,
    }
}
