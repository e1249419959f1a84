//! What is wrong with an image, found out before anything is sent.

use super::geometry::{MOST_SECTORS, Sector, sectors};
use crate::card::{
    AccessBits, CardError, ClassicImage, ImageFlaw, KeySlot, Place, SectorImage, Technology,
    TrailerImage, WriteRules,
};

/// A sector of an image that passed.
#[derive(Clone, Debug)]
pub(in crate::card) struct CheckedSector {
    pub(super) sector: Sector,
    pub(super) image: SectorImage,
    pub(super) trailer: Option<CheckedTrailer>,
}

/// A trailer whose access bits are consistent.
#[derive(Clone, Debug)]
pub(super) struct CheckedTrailer {
    pub(super) image: TrailerImage,
    pub(super) access: AccessBits,
}

impl CheckedTrailer {
    /// The trailer's 16 bytes.
    pub(super) fn bytes(&self) -> [u8; 16] {
        let image = &self.image;
        let mut bytes = [0; 16];
        let parts = image
            .key_a
            .0
            .iter()
            .chain(&image.access_bits)
            .chain([&image.user_byte])
            .chain(&image.key_b.0);
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = *from;
        }
        bytes
    }
}

/// Checks a whole image against a card.
pub(in crate::card) fn check(
    image: &ClassicImage,
    technology: Technology,
    rules: WriteRules,
) -> Result<Vec<CheckedSector>, CardError> {
    let sectors_here = sectors(technology)?;
    if image.sectors.is_empty() {
        return Err(ImageFlaw::Empty.into());
    }
    let mut seen = [false; MOST_SECTORS as usize];
    let mut checked = Vec::with_capacity(image.sectors.len());
    for sector_image in &image.sectors {
        let place = Place::Sector(sector_image.sector);
        let (Some(sector), Some(seen)) = (
            Sector::new(sector_image.sector),
            seen.get_mut(usize::from(sector_image.sector)),
        ) else {
            return Err(ImageFlaw::NeverWritten(place).into());
        };
        if std::mem::replace(seen, true) {
            return Err(ImageFlaw::Twice(place).into());
        }
        if sector.number() >= sectors_here {
            return Err(CardError::TooSmall {
                needed: place,
                got: technology,
            });
        }
        checked.push(check_sector(sector, sector_image, rules)?);
    }
    Ok(checked)
}

fn check_sector(
    sector: Sector,
    image: &SectorImage,
    rules: WriteRules,
) -> Result<CheckedSector, ImageFlaw> {
    if image.keys.is_empty() {
        return Err(ImageFlaw::NoKeys(sector.number()));
    }
    if image.blocks.is_empty() && image.trailer.is_none() {
        return Err(ImageFlaw::Empty);
    }
    check_blocks(sector, image)?;
    let trailer = image
        .trailer
        .as_ref()
        .map(|trailer| check_trailer(sector, image, trailer, rules))
        .transpose()?;
    Ok(CheckedSector {
        sector,
        image: image.clone(),
        trailer,
    })
}

fn check_blocks(sector: Sector, image: &SectorImage) -> Result<(), ImageFlaw> {
    let mut seen = 0u16;
    for block in &image.blocks {
        let Some(absolute) = sector.block(block.block) else {
            let beyond = sector.first_block().saturating_add(block.block);
            return Err(ImageFlaw::NeverWritten(Place::Block(beyond)));
        };
        // The manufacturer's block.
        if absolute == 0 {
            return Err(ImageFlaw::NeverWritten(Place::Block(0)));
        }
        let bit = 1 << block.block;
        if seen & bit != 0 {
            return Err(ImageFlaw::Twice(Place::Block(absolute)));
        }
        seen |= bit;
    }
    Ok(())
}

fn check_trailer(
    sector: Sector,
    image: &SectorImage,
    trailer: &TrailerImage,
    rules: WriteRules,
) -> Result<CheckedTrailer, ImageFlaw> {
    let access =
        AccessBits::decode(trailer.access_bits).map_err(|source| ImageFlaw::AccessBits {
            sector: sector.number(),
            source,
        })?;
    let unreadable = image
        .blocks
        .iter()
        .find(|block| reading_slot(access, sector, block.block).is_none());
    if let Some(block) = unreadable {
        return Err(ImageFlaw::Unverifiable {
            sector: sector.number(),
            block: Place::Block(sector.first_block() + block.block),
        });
    }
    if access.are_final() && !rules.allow_irreversible {
        return Err(ImageFlaw::Irreversible(Place::Trailer(sector.number())));
    }
    Ok(CheckedTrailer {
        image: trailer.clone(),
        access,
    })
}

/// The key that may read a data block under `access`. B first: a trailer's check ends with B authenticated.
pub(super) fn reading_slot(access: AccessBits, sector: Sector, within: u8) -> Option<KeySlot> {
    let read = access.data(sector.group(within)).read;
    [KeySlot::B, KeySlot::A]
        .into_iter()
        .find(|slot| access.allows(read, *slot))
}
