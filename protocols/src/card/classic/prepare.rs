//! Authenticating everything that a write will need.

use super::{
    check::{CheckedSector, check},
    geometry::Sector,
    session::Session,
};
use crate::card::{
    AccessBits, CandidateKey, CardError, CardLink, ClassicImage, KeySlot, Permission, Place,
    WriteRules,
};

/// Where the access bits stand in a trailer.
pub(super) const ACCESS_BITS: std::ops::Range<usize> = 6..9;

/// An image, and the key that opens each of its sectors.
#[derive(Clone, Debug)]
pub(in crate::card) struct PreparedClassic {
    /// In the image's order.
    pub(super) sectors: Vec<PreparedSector>,
}

/// A sector, and the key that opens it.
#[derive(Clone, Debug)]
pub(super) struct PreparedSector {
    pub(super) checked: CheckedSector,
    pub(super) key: CandidateKey,
}

/// Checks the image, then opens each sector with the first candidate key that opens it and, where the sector's present
/// access bits are read because its trailer is to change, may write what the image wants.
pub(in crate::card) async fn prepare<L: CardLink>(
    link: &mut L,
    image: &ClassicImage,
    rules: WriteRules,
) -> Result<PreparedClassic, CardError> {
    let checked = check(image, link.card().technology, rules)?;
    let mut session = Session::new(link, None);
    let mut sectors = Vec::with_capacity(checked.len());
    for checked in checked {
        let key = find_key(&mut session, &checked).await?;
        sectors.push(PreparedSector { checked, key });
    }
    Ok(PreparedClassic { sectors })
}

async fn find_key<L: CardLink>(
    session: &mut Session<'_, L>,
    checked: &CheckedSector,
) -> Result<CandidateKey, CardError> {
    let keys = candidates(checked);
    let mut denied = None;
    let mut refusal = None;
    for key in &keys {
        match session.try_key(checked.sector, key).await? {
            Err(fault) => refusal = Some(fault),
            Ok(()) => match deny(session, checked, key).await? {
                None => return Ok(key.clone()),
                Some(error) => denied = Some(error),
            },
        }
    }
    Err(denied.unwrap_or(CardError::NoKey {
        sector: checked.sector.number(),
        tried: keys.len(),
        fault: refusal,
    }))
}

/// The keys to try: the image's candidates, then those of its trailer, which an encode whose end was lost may have left.
fn candidates(checked: &CheckedSector) -> Vec<CandidateKey> {
    let mut keys = checked.image.keys.clone();
    let Some(trailer) = &checked.trailer else {
        return keys;
    };
    for slot in [KeySlot::B, KeySlot::A] {
        let key = trailer.key(slot);
        let opens = slot == KeySlot::A || trailer.access.key_b_opens();
        if opens && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Why the key that opened the sector may not write what the image wants; none where it may.
///
/// Only a sector whose trailer is to change is looked at: elsewhere it would cost a read a sector, and a write that is
/// refused leaves the sector as usable as before.
async fn deny<L: CardLink>(
    session: &mut Session<'_, L>,
    checked: &CheckedSector,
    key: &CandidateKey,
) -> Result<Option<CardError>, CardError> {
    if checked.trailer.is_none() {
        return Ok(None);
    }
    let sector = checked.sector;
    match session.read(sector, sector.trailer(), key).await {
        Ok(present) => Ok(denied(&present, checked, key.slot)),
        Err(error @ CardError::Unreadable { .. }) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

fn denied(present: &[u8; 16], checked: &CheckedSector, slot: KeySlot) -> Option<CardError> {
    let sector = checked.sector;
    let trailer = Place::Trailer(sector.number());
    let Some(access) = access_bits(present) else {
        return Some(read_only(trailer));
    };
    let refused_block = checked.image.blocks.iter().find(|block| {
        let data = access.data(sector.group(block.block));
        !(access.allows(data.write, slot) && access.allows(data.read, slot))
    });
    if let Some(block) = refused_block {
        return Some(read_only(Place::Block(sector.first_block() + block.block)));
    }
    needed_for_trailer(present, checked, access)
        .into_iter()
        .any(|permission| !access.allows(permission, slot))
        .then(|| read_only(trailer))
}

/// What writing the trailer takes: both keys always, the access bits and the user byte only where they change.
fn needed_for_trailer(
    present: &[u8; 16],
    checked: &CheckedSector,
    access: AccessBits,
) -> Vec<Permission> {
    let Some(wanted) = &checked.trailer else {
        return Vec::new();
    };
    let permissions = access.trailer();
    let mut needed = vec![permissions.write_key_a, permissions.write_key_b];
    if !holds_access_bits(present, &wanted.bytes()) {
        needed.push(permissions.write_access_bits);
    }
    needed
}

/// Whether two trailers agree in access bits and user byte.
pub(super) fn holds_access_bits(present: &[u8; 16], wanted: &[u8; 16]) -> bool {
    const WITH_USER_BYTE: std::ops::Range<usize> = ACCESS_BITS.start..ACCESS_BITS.end + 1;
    present.get(WITH_USER_BYTE) == wanted.get(WITH_USER_BYTE)
}

/// A trailer's access bits; none where they contradict each other.
pub(super) fn access_bits(trailer: &[u8; 16]) -> Option<AccessBits> {
    let bytes = trailer.get(ACCESS_BITS)?.try_into().ok()?;
    AccessBits::decode(bytes).ok()
}

const fn read_only(at: Place) -> CardError {
    CardError::ReadOnly { at, fault: None }
}

impl PreparedClassic {
    /// The sector that the preparation left authenticated.
    pub(super) fn open(&self) -> Option<(Sector, CandidateKey)> {
        self.sectors
            .last()
            .map(|sector| (sector.checked.sector, sector.key.clone()))
    }
}
