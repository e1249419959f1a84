//! Where the record stands on each card technology, and with which keys (README, "On the card").

use super::{KeyRecord, RECORD_LENGTH, RecordContentError, VersionedSiteKey};
use crate::card::{
    BlockImage, CandidateKey, CardContents, CardDescription, CardImage, ClassicImage, ClassicKey,
    ClassicRead, KeySlot, PageImage, Password, ReadPlan, SectorImage, SectorRead, Technology,
    TrailerImage, Type2Image, Type2Protection, Type2Read, Uid,
};

/// The key of both slots as a card leaves the factory.
const TRANSPORT_KEY: [u8; 6] = [0xFF; 6];
/// Data blocks 100 (read with either key, written with B), trailer 011 (changed with B).
const ACCESS_BITS: [u8; 3] = [0x78, 0x77, 0x88];
/// The factory's value of a trailer's free byte.
const USER_BYTE: u8 = 0x69;
const FIRST_PAGE: u8 = 4;
const LAST_PAGE: u8 = 15;
const BLOCKS_PER_SMALL_SECTOR: u8 = 4;
/// Sector 0 holds the manufacturer's block, sectors from 32 on have another shape.
const SECTORS_WITH_ROOM: std::ops::RangeInclusive<u8> = 1..=31;

/// Choices that an access system makes once for all its cards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    /// The MIFARE Classic sector of the record: 1 to 31, as far as the card has it; 1 unless chosen.
    pub classic_sector: u8,
    /// Whether an encode sets a password on cards that know passwords; not unless chosen.
    pub type2_password: Type2Password,
}

/// Whether Ultralight EV1 and NTAG21x cards are protected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Type2Password {
    /// A card's protection is left as it is: anybody can overwrite an unprotected card.
    #[default]
    Leave,
    /// Writing the record's pages needs the card's own password from then on; reading stays free.
    ProtectWriting,
}

/// No record can be laid out on the card.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LayoutError {
    /// A technology that a record is not laid out for.
    #[error("expected a mifare classic, ultralight or ntag21x card, got {0}; use another card")]
    IncompatibleTechnology(Technology),
    /// A random UID, or none: the record could not be bound to the card.
    #[error("the card has no uid of its own, so no key can be bound to it; use another card")]
    NoUid,
    /// The chosen sector is not on this card.
    #[error("expected a record sector between 1 and 31 that a {technology} has, got {sector}")]
    NoSuchSector {
        /// The chosen sector.
        sector: u8,
        /// The card.
        technology: Technology,
    },
    /// The access system has no site key.
    #[error("the access system has no site key; create one")]
    NoSiteKey,
    /// The credential does not fit a record.
    #[error(transparent)]
    Content(#[from] RecordContentError),
}

/// Where the record stands on one card.
enum Place {
    Sector(u8),
    Pages { passwords: bool },
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            classic_sector: 1,
            type2_password: Type2Password::Leave,
        }
    }
}

impl Layout {
    /// The image that puts `record` on `card`, under the newest of `keys`, which stand newest first.
    ///
    /// # Errors
    /// [`LayoutError`]: nothing may be written then.
    pub fn image_for(
        &self,
        card: &CardDescription,
        record: &KeyRecord,
        keys: &[VersionedSiteKey],
    ) -> Result<CardImage, LayoutError> {
        let (place, uid) = self.place(card)?;
        let newest = keys.first().ok_or(LayoutError::NoSiteKey)?;
        let bytes = record.encode(&uid, newest)?;
        Ok(match place {
            Place::Sector(sector) => {
                CardImage::MifareClassic(classic_image(sector, &uid, &bytes, newest, keys))
            }
            Place::Pages { passwords } => CardImage::Type2(Type2Image {
                passwords: derived_passwords(passwords, &uid, keys),
                pages: pages(&bytes),
                protection: self.protects(passwords).then(|| protection(&uid, newest)),
            }),
        })
    }

    /// What to read from `card` to find its record, with keys from `keys`, which stand newest first.
    ///
    /// A card that cannot carry a record gets [`ReadPlan::UidOnly`]: scanning it is no error.
    pub fn read_plan_for(&self, card: &CardDescription, keys: &[VersionedSiteKey]) -> ReadPlan {
        match self.place(card) {
            Ok((Place::Sector(sector), uid)) => ReadPlan::MifareClassic(ClassicRead {
                sectors: vec![SectorRead {
                    sector,
                    keys: candidates(KeySlot::A, sector, &uid, keys),
                }],
            }),
            Ok((Place::Pages { passwords }, uid)) => ReadPlan::Type2(Type2Read {
                first_page: FIRST_PAGE,
                last_page: LAST_PAGE,
                passwords: derived_passwords(passwords, &uid, keys),
            }),
            Err(_) => ReadPlan::UidOnly,
        }
    }

    /// The bytes at the record's place in what was read from `card`, for [`super::decode`]; none where they were not
    /// all read.
    pub fn record_bytes_from(
        &self,
        contents: &CardContents,
        card: &CardDescription,
    ) -> Option<[u8; RECORD_LENGTH]> {
        let (place, _) = self.place(card).ok()?;
        match (place, contents) {
            (Place::Sector(sector), CardContents::MifareClassic { blocks, .. }) => {
                let bytes: Vec<u8> = (0..BLOCKS_PER_SMALL_SECTOR - 1)
                    .map(|block| sector * BLOCKS_PER_SMALL_SECTOR + block)
                    .filter_map(|block| blocks.iter().find(|read| read.block == block))
                    .flat_map(|read| read.data)
                    .collect();
                bytes.try_into().ok()
            }
            (Place::Pages { .. }, CardContents::Type2 { first_page, data }) => {
                let skipped = usize::from(FIRST_PAGE.checked_sub(*first_page)?) * 4;
                data.get(skipped..)?.first_chunk().copied()
            }
            _ => None,
        }
    }

    fn place(&self, card: &CardDescription) -> Result<(Place, Uid), LayoutError> {
        let technology = card.technology;
        let place = match technology {
            Technology::MifareClassicMini => self.sector_of(technology, 5)?,
            Technology::MifareClassic1k => self.sector_of(technology, 16)?,
            Technology::MifareClassic4k => self.sector_of(technology, 40)?,
            Technology::Ultralight | Technology::UltralightC => Place::Pages { passwords: false },
            Technology::UltralightEv1Ul11
            | Technology::UltralightEv1Ul21
            | Technology::Ntag213
            | Technology::Ntag215
            | Technology::Ntag216 => Place::Pages { passwords: true },
            Technology::Desfire | Technology::IsoDep | Technology::Unknown => {
                return Err(LayoutError::IncompatibleTechnology(technology));
            }
        };
        let uid = card
            .uid
            .filter(|uid| !uid.is_random())
            .ok_or(LayoutError::NoUid)?;
        Ok((place, uid))
    }

    fn sector_of(&self, technology: Technology, sectors: u8) -> Result<Place, LayoutError> {
        let sector = self.classic_sector;
        if !SECTORS_WITH_ROOM.contains(&sector) || sector >= sectors {
            return Err(LayoutError::NoSuchSector { sector, technology });
        }
        Ok(Place::Sector(sector))
    }

    fn protects(&self, passwords: bool) -> bool {
        passwords && self.type2_password == Type2Password::ProtectWriting
    }
}

fn classic_image(
    sector: u8,
    uid: &Uid,
    bytes: &[u8; RECORD_LENGTH],
    newest: &VersionedSiteKey,
    keys: &[VersionedSiteKey],
) -> ClassicImage {
    let blocks = (0u8..)
        .zip(bytes.as_chunks().0)
        .map(|(block, data)| BlockImage { block, data: *data })
        .collect();
    let trailer = TrailerImage {
        key_a: newest.key.classic_key(KeySlot::A, sector, uid),
        access_bits: ACCESS_BITS,
        user_byte: USER_BYTE,
        key_b: newest.key.classic_key(KeySlot::B, sector, uid),
    };
    ClassicImage {
        sectors: vec![SectorImage {
            sector,
            keys: candidates(KeySlot::B, sector, uid, keys),
            blocks,
            trailer: Some(trailer),
        }],
    }
}

/// The site keys' own keys of one slot, newest first, then the transport key. The access bits of a card in transport
/// state let key B be read, so such a key B opens nothing: the transport key counts as key A.
fn candidates(
    slot: KeySlot,
    sector: u8,
    uid: &Uid,
    keys: &[VersionedSiteKey],
) -> Vec<CandidateKey> {
    keys.iter()
        .map(|site_key| CandidateKey {
            slot,
            key: site_key.key.classic_key(slot, sector, uid),
        })
        .chain([CandidateKey {
            slot: KeySlot::A,
            key: ClassicKey(TRANSPORT_KEY),
        }])
        .collect()
}

fn pages(bytes: &[u8; RECORD_LENGTH]) -> Vec<PageImage> {
    (FIRST_PAGE..=LAST_PAGE)
        .zip(bytes.as_chunks().0)
        .map(|(page, data)| PageImage { page, data: *data })
        .collect()
}

fn derived_passwords(wanted: bool, uid: &Uid, keys: &[VersionedSiteKey]) -> Vec<Password> {
    keys.iter()
        .filter(|_| wanted)
        .map(|site_key| site_key.key.type2_password(uid).password)
        .collect()
}

fn protection(uid: &Uid, newest: &VersionedSiteKey) -> Type2Protection {
    let derived = newest.key.type2_password(uid);
    Type2Protection {
        password: derived.password,
        acknowledge: derived.acknowledge,
        first_protected_page: FIRST_PAGE,
        protect_reading: false,
    }
}
