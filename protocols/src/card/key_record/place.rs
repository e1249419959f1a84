//! Which sectors and pages belong to a record (README, "On the card").

use super::{LayoutError, extension::entrances_within};
use crate::card::{Technology, classic, classic::Sector, type2};

pub(super) const FIRST_PAGE: u8 = 4;
/// The page behind the record's own twelve.
pub(super) const FIRST_EXTENSION_PAGE: u8 = 16;
const PAGE_LENGTH: usize = 4;
const BLOCK_LENGTH: usize = 16;
/// Sector 0 holds the manufacturer's block, sectors from 32 on have another shape.
const RECORD_SECTORS: std::ops::RangeInclusive<u8> = 1..=31;

/// Where a record and its extension stand on one card.
#[derive(Debug)]
pub(super) enum Place {
    /// On a MIFARE Classic: in a sector, and the extension in those that follow it.
    Sectors {
        /// The record's.
        own: Sector,
        /// All others behind it.
        following: Vec<Sector>,
    },
    /// On an Ultralight or NTAG: in the first user pages.
    Pages {
        /// Whether the card knows passwords.
        passwords: bool,
        /// The last user page.
        last: u8,
    },
}

impl Place {
    /// The place on a card of `technology`, of the record in `classic_sector` if it is a MIFARE Classic.
    pub(super) fn on(technology: Technology, classic_sector: u8) -> Result<Self, LayoutError> {
        if let Ok(sectors) = classic::sectors(technology) {
            let following = (classic_sector.saturating_add(1)..sectors).filter_map(Sector::new);
            return Sector::new(classic_sector)
                .filter(|own| own.number() < sectors && RECORD_SECTORS.contains(&own.number()))
                .map(|own| Self::Sectors {
                    own,
                    following: following.collect(),
                })
                .ok_or(LayoutError::NoSuchSector {
                    sector: classic_sector,
                    technology,
                });
        }
        let geometry = type2::Geometry::of(technology)
            .map_err(|_| LayoutError::IncompatibleTechnology(technology))?;
        Ok(Self::Pages {
            passwords: geometry.password_configuration().is_some(),
            last: geometry.last_user_page,
        })
    }

    /// How many entrances a record at this place may have.
    pub(super) fn most_entrances(&self) -> usize {
        entrances_within(match self {
            Self::Sectors { following, .. } => following
                .iter()
                .map(|sector| usize::from(sector.data_blocks()) * BLOCK_LENGTH)
                .sum(),
            Self::Pages { last, .. } => {
                usize::from((last + 1).saturating_sub(FIRST_EXTENSION_PAGE)) * PAGE_LENGTH
            }
        })
    }
}
