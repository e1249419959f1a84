//! Which bytes and keys put a record on a card and find it again (README, "On the card").

use super::{
    KeyRecord, RECORD_LENGTH, RecordContentError, VersionedSiteKey,
    extension::extension_length,
    magstripe::{self, ENTRANCES},
    place::{FIRST_EXTENSION_PAGE, FIRST_PAGE, Place},
};
use crate::card::{
    BlockImage, CandidateKey, CardContents, CardDescription, CardImage, ClassicImage, ClassicKey,
    ClassicRead, KeySlot, PageImage, Password, ReadPlan, SectorImage, SectorRead, Technology,
    TrailerImage, Type2Image, Type2Protection, Type2Read, Uid, classic::Sector,
    magstripe::Coercivity,
};

/// The key of both slots as a card leaves the factory.
const TRANSPORT_KEY: [u8; 6] = [0xFF; 6];
/// Data blocks 100 (read with either key, written with B), trailer 011 (changed with B).
const ACCESS_BITS: [u8; 3] = [0x78, 0x77, 0x88];
/// The factory's value of a trailer's free byte.
const USER_BYTE: u8 = 0x69;

/// Choices that an access system makes once for all its cards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    /// The MIFARE Classic sector of the record: 1 to 31, as far as the card has it; 1 unless chosen.
    pub classic_sector: u8,
    /// Whether an encode sets a password on cards that know passwords; not unless chosen.
    pub type2_password: Type2Password,
    /// How strongly magnetic stripes are written: high unless chosen, which writes stripes of low coercivity as well.
    pub coercivity: Coercivity,
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
    #[error(
        "expected a mifare classic, ultralight, ntag21x or magnetic stripe card, got {0}; use another card"
    )]
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
    /// More entrances than this card has room for.
    #[error(
        "a {technology} has room for {fit} entrances, the credential has {asked}; use a larger card, or give the credential fewer entrances"
    )]
    TooManyEntrances {
        /// The card.
        technology: Technology,
        /// How many fit.
        fit: usize,
        /// How many the credential has.
        asked: usize,
    },
    /// The access system has no site key.
    #[error("the access system has no site key; create one")]
    NoSiteKey,
    /// The credential does not fit a record.
    #[error(transparent)]
    Content(#[from] RecordContentError),
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            classic_sector: 1,
            type2_password: Type2Password::Leave,
            coercivity: Coercivity::High,
        }
    }
}

impl Layout {
    /// How many entrances a record on a card of `technology` may have.
    ///
    /// # Errors
    /// [`LayoutError`] where it can carry no record.
    pub fn most_entrances(&self, technology: Technology) -> Result<usize, LayoutError> {
        if technology.is_swiped() {
            return Ok(ENTRANCES);
        }
        Ok(Place::on(technology, self.classic_sector)?.most_entrances())
    }

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
        let newest = || keys.first().ok_or(LayoutError::NoSiteKey);
        if card.technology.is_swiped() {
            record.check()?;
            let newest = newest()?;
            fits(card.technology, ENTRANCES, record)?;
            let image = magstripe::image(record, newest, self.coercivity)?;
            return Ok(CardImage::Magstripe(image));
        }
        let (place, uid) = self.place(card)?;
        let newest = newest()?;
        let bytes = record.encode(&uid, newest)?;
        fits(card.technology, place.most_entrances(), record)?;
        Ok(match place {
            Place::Sectors { own, following } => {
                CardImage::MifareClassic(classic_image(own, &following, &uid, &bytes, newest, keys))
            }
            Place::Pages { passwords, .. } => CardImage::Type2(Type2Image {
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
        if card.technology.is_swiped() {
            return ReadPlan::Magstripe(magstripe::read_plan());
        }
        let Ok((place, uid)) = self.place(card) else {
            return ReadPlan::UidOnly;
        };
        match place {
            Place::Sectors { own, following } => {
                let read = |sector: Sector| SectorRead {
                    sector: sector.number(),
                    keys: candidates(KeySlot::A, sector, &uid, keys),
                };
                ReadPlan::MifareClassic(ClassicRead {
                    sectors: vec![read(own)],
                    extension: following.into_iter().map(read).collect(),
                })
            }
            Place::Pages { passwords, last } => ReadPlan::Type2(Type2Read {
                first_page: FIRST_PAGE,
                last_page: FIRST_EXTENSION_PAGE - 1,
                last_extension_page: (last >= FIRST_EXTENSION_PAGE).then_some(last),
                passwords: derived_passwords(passwords, &uid, keys),
            }),
        }
    }

    /// The bytes at the record's place in what was read from `card`, for [`super::decode`], with those of its extension as
    /// far as they were read; none where the record's own were not all read.
    pub fn record_bytes_from(
        &self,
        contents: &CardContents,
        card: &CardDescription,
    ) -> Option<Vec<u8>> {
        let (place, _) = self.place(card).ok()?;
        let mut bytes = match (place, contents) {
            (Place::Sectors { own, following }, CardContents::MifareClassic { blocks, .. }) => {
                let wanted = std::iter::once(own).chain(following);
                wanted
                    .flat_map(Sector::data)
                    .map_while(|block| blocks.iter().find(|read| read.block == block))
                    .flat_map(|read| read.data)
                    .collect()
            }
            (Place::Pages { .. }, CardContents::Type2 { first_page, data }) => {
                let skipped = usize::from(FIRST_PAGE.checked_sub(*first_page)?) * 4;
                data.get(skipped..)?.to_vec()
            }
            _ => return None,
        };
        bytes.truncate(RECORD_LENGTH + extension_length(&bytes));
        (bytes.len() >= RECORD_LENGTH).then_some(bytes)
    }

    fn place(&self, card: &CardDescription) -> Result<(Place, Uid), LayoutError> {
        let place = Place::on(card.technology, self.classic_sector)?;
        let uid = card
            .uid
            .filter(|uid| !uid.is_random())
            .ok_or(LayoutError::NoUid)?;
        Ok((place, uid))
    }

    fn protects(&self, passwords: bool) -> bool {
        passwords && self.type2_password == Type2Password::ProtectWriting
    }
}

fn fits(technology: Technology, fit: usize, record: &KeyRecord) -> Result<(), LayoutError> {
    let asked = record.entrances.len();
    if asked <= fit {
        return Ok(());
    }
    Err(LayoutError::TooManyEntrances {
        technology,
        fit,
        asked,
    })
}

/// The extension's sectors stand first: an encode that is torn among them leaves an old record without an extension whole,
/// and one that has an extension not authentic.
fn classic_image(
    own: Sector,
    following: &[Sector],
    uid: &Uid,
    bytes: &[u8],
    newest: &VersionedSiteKey,
    keys: &[VersionedSiteKey],
) -> ClassicImage {
    let (blocks, _) = bytes.as_chunks();
    let mut left = blocks.iter();
    let mut sectors: Vec<SectorImage> = std::iter::once(&own)
        .chain(following)
        .map(|sector| sector_image(*sector, &mut left, uid, newest, keys))
        .take_while(|sector| !sector.blocks.is_empty())
        .collect();
    sectors.rotate_left(1);
    ClassicImage { sectors }
}

/// One sector with as many of the blocks that are left as it takes.
fn sector_image<'b>(
    sector: Sector,
    left: &mut impl Iterator<Item = &'b [u8; 16]>,
    uid: &Uid,
    newest: &VersionedSiteKey,
    keys: &[VersionedSiteKey],
) -> SectorImage {
    let blocks = (0..sector.data_blocks())
        .zip(left)
        .map(|(block, data)| BlockImage { block, data: *data })
        .collect();
    SectorImage {
        sector: sector.number(),
        keys: candidates(KeySlot::B, sector, uid, keys),
        blocks,
        trailer: Some(TrailerImage {
            key_a: newest.key.classic_key(KeySlot::A, sector.number(), uid),
            access_bits: ACCESS_BITS,
            user_byte: USER_BYTE,
            key_b: newest.key.classic_key(KeySlot::B, sector.number(), uid),
        }),
    }
}

/// The site keys' own keys of one slot, newest first, then the transport key. The access bits of a card in transport
/// state let key B be read, so such a key B opens nothing: the transport key counts as key A.
fn candidates(
    slot: KeySlot,
    sector: Sector,
    uid: &Uid,
    keys: &[VersionedSiteKey],
) -> Vec<CandidateKey> {
    keys.iter()
        .map(|site_key| CandidateKey {
            slot,
            key: site_key.key.classic_key(slot, sector.number(), uid),
        })
        .chain([CandidateKey {
            slot: KeySlot::A,
            key: ClassicKey(TRANSPORT_KEY),
        }])
        .collect()
}

/// The extension's pages stand first, as on a MIFARE Classic.
fn pages(bytes: &[u8]) -> Vec<PageImage> {
    let (data, _) = bytes.as_chunks();
    let mut pages: Vec<PageImage> = (FIRST_PAGE..)
        .zip(data)
        .map(|(page, data)| PageImage { page, data: *data })
        .collect();
    let extension = pages.partition_point(|page| page.page < FIRST_EXTENSION_PAGE);
    pages.rotate_left(extension);
    pages
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
