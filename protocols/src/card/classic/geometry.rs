//! Sectors and blocks (MF1S70YYX_V1, section 8.6).

use crate::card::{CardError, Technology};

/// Sectors from here on have 16 blocks.
const FIRST_LARGE_SECTOR: u8 = 32;
const FIRST_LARGE_BLOCK: u8 = 128;
const SMALL_SECTOR: u8 = 4;
const LARGE_SECTOR: u8 = 16;
/// The sectors of the largest card.
pub(super) const MOST_SECTORS: u8 = 40;

/// How many sectors a card has.
pub(in crate::card) fn sectors(technology: Technology) -> Result<u8, CardError> {
    match technology {
        Technology::MifareClassicMini => Ok(5),
        Technology::MifareClassic1k => Ok(16),
        Technology::MifareClassic4k => Ok(MOST_SECTORS),
        Technology::Ultralight
        | Technology::UltralightC
        | Technology::UltralightEv1Ul11
        | Technology::UltralightEv1Ul21
        | Technology::Ntag213
        | Technology::Ntag215
        | Technology::Ntag216
        | Technology::Desfire
        | Technology::IsoDep
        | Technology::Magstripe
        | Technology::Unknown => Err(CardError::WrongTechnology {
            expected: "a MIFARE Classic",
            got: technology,
        }),
    }
}

/// One of a card's sectors: below [`MOST_SECTORS`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::card) struct Sector(u8);

impl Sector {
    /// The sector with this number; none where no card has it.
    pub(in crate::card) fn new(number: u8) -> Option<Self> {
        (number < MOST_SECTORS).then_some(Self(number))
    }

    pub(in crate::card) const fn number(self) -> u8 {
        self.0
    }

    /// The first block, counted over the card.
    pub(super) const fn first_block(self) -> u8 {
        if self.0 < FIRST_LARGE_SECTOR {
            self.0 * SMALL_SECTOR
        } else {
            FIRST_LARGE_BLOCK + (self.0 - FIRST_LARGE_SECTOR) * LARGE_SECTOR
        }
    }

    /// How many data blocks there are before the trailer.
    pub(in crate::card) const fn data_blocks(self) -> u8 {
        if self.0 < FIRST_LARGE_SECTOR {
            SMALL_SECTOR - 1
        } else {
            LARGE_SECTOR - 1
        }
    }

    /// The block of the trailer, counted over the card.
    pub(super) const fn trailer(self) -> u8 {
        self.first_block() + self.data_blocks()
    }

    /// The data blocks, counted over the card.
    pub(in crate::card) const fn data(self) -> std::ops::Range<u8> {
        self.first_block()..self.trailer()
    }

    /// The data block with this number within the sector, counted over the card.
    pub(super) fn block(self, within: u8) -> Option<u8> {
        (within < self.data_blocks()).then(|| self.first_block() + within)
    }

    /// The group of access bits that rules a data block, given within the sector.
    pub(super) const fn group(self, within: u8) -> u8 {
        if self.0 < FIRST_LARGE_SECTOR {
            within
        } else {
            within / 5
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_fill_the_card_without_gaps() {
        let mut next = 0u16;
        for number in 0..MOST_SECTORS {
            let sector = Sector::new(number).unwrap();
            assert_eq!(u16::from(sector.first_block()), next);
            next = u16::from(sector.trailer()) + 1;
            assert_eq!(sector.block(sector.data_blocks()), None);
        }
        assert_eq!(next, 256);
        assert_eq!(Sector::new(MOST_SECTORS), None);
    }

    #[test]
    fn large_sectors_have_groups_of_five() {
        let sector = Sector::new(39).unwrap();
        let groups: Vec<u8> = (0..15).map(|block| sector.group(block)).collect();
        assert_eq!(groups, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
        assert_eq!(sector.trailer(), 255);
    }
}
