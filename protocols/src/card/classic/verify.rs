//! Comparing a card with an image.

use super::{
    check::{CheckedSector, CheckedTrailer, check, reading_slot},
    geometry::Sector,
    prepare::holds_access_bits,
    session::Session,
};
use crate::card::{
    CandidateKey, CardError, CardLink, ClassicImage, KeySlot, Place, WriteRules,
    recovery::MOST_READINGS,
};

const KEY_B: std::ops::Range<usize> = 10..16;

/// Compares the card with every byte of the image, trailers by authenticating with their keys.
pub(in crate::card) async fn verify<L: CardLink>(
    link: &mut L,
    image: &ClassicImage,
) -> Result<(), CardError> {
    // Nothing is written, so a one-way door in the image is no matter here.
    let rules = WriteRules {
        allow_irreversible: true,
    };
    let checked = check(image, link.card().technology, rules)?;
    let mut session = Session::new(link, None);
    let mut found = Vec::new();
    for sector in &checked {
        let key = match &sector.trailer {
            Some(trailer) => {
                verify_under_trailer(&mut session, sector, trailer).await?;
                trailer.key(KeySlot::A)
            }
            None => verify_with_candidates(&mut session, sector).await?,
        };
        found.push((sector, key));
    }
    verify_in_one_go(&mut session, &found).await
}

/// Where the card had to be selected again since the conversation began: compares once more, until every byte was read
/// without that in between. Sectors without a trailer are read with the given keys.
///
/// # Errors
/// [`CardError`], also where the card has to be selected again each time.
pub(super) async fn verify_in_one_go<L: CardLink>(
    session: &mut Session<'_, L>,
    sectors: &[(&CheckedSector, CandidateKey)],
) -> Result<(), CardError> {
    let mut gaps = 0;
    for _ in 0..MOST_READINGS {
        if session.gaps.count() == gaps {
            return Ok(());
        }
        gaps = session.gaps.count();
        for (checked, key) in sectors {
            match &checked.trailer {
                Some(trailer) => verify_under_trailer(session, checked, trailer).await?,
                None => verify_blocks(session, checked, key).await?,
            }
        }
    }
    if session.gaps.count() == gaps {
        return Ok(());
    }
    session.gaps.give_up()
}

async fn verify_under_trailer<L: CardLink>(
    session: &mut Session<'_, L>,
    checked: &CheckedSector,
    trailer: &CheckedTrailer,
) -> Result<(), CardError> {
    let sector = checked.sector;
    if !trailer_holds(session, sector, trailer).await? {
        return Err(CardError::Differs {
            at: Place::Trailer(sector.number()),
        });
    }
    for block in &checked.image.blocks {
        let slot = reading_slot(trailer.access, sector, block.block).unwrap_or(KeySlot::A);
        let key = trailer.key(slot);
        verify_block(session, sector, block.block, &block.data, &key).await?;
    }
    Ok(())
}

async fn verify_with_candidates<L: CardLink>(
    session: &mut Session<'_, L>,
    checked: &CheckedSector,
) -> Result<CandidateKey, CardError> {
    let keys = &checked.image.keys;
    let mut unreadable = None;
    let mut refusal = None;
    for key in keys {
        if let Err(fault) = session.try_key(checked.sector, key).await? {
            refusal = Some(fault);
            continue;
        }
        match verify_blocks(session, checked, key).await {
            Err(error @ CardError::Unreadable { .. }) => unreadable = Some(error),
            done => return done.map(|()| key.clone()),
        }
    }
    Err(unreadable.unwrap_or(CardError::NoKey {
        sector: checked.sector.number(),
        tried: keys.len(),
        fault: refusal,
    }))
}

/// Reads back every data block of the sector's image.
pub(super) async fn verify_blocks<L: CardLink>(
    session: &mut Session<'_, L>,
    checked: &CheckedSector,
    key: &CandidateKey,
) -> Result<(), CardError> {
    for block in &checked.image.blocks {
        verify_block(session, checked.sector, block.block, &block.data, key).await?;
    }
    Ok(())
}

async fn verify_block<L: CardLink>(
    session: &mut Session<'_, L>,
    sector: Sector,
    within: u8,
    data: &[u8; 16],
    key: &CandidateKey,
) -> Result<(), CardError> {
    let block = sector.first_block() + within;
    if session.read(sector, block, key).await? != *data {
        return Err(CardError::Differs {
            at: Place::Block(block),
        });
    }
    Ok(())
}

/// Whether the sector carries this trailer: both keys open it as they should, and access bits and user byte are right.
/// A key B that can be read opens nothing and is compared instead.
pub(super) async fn trailer_holds<L: CardLink>(
    session: &mut Session<'_, L>,
    sector: Sector,
    trailer: &CheckedTrailer,
) -> Result<bool, CardError> {
    let wanted = trailer.bytes();
    let key_a = trailer.key(KeySlot::A);
    if session.try_key(sector, &key_a).await?.is_err() {
        return Ok(false);
    }
    let present = session.read(sector, sector.trailer(), &key_a).await?;
    if !holds_access_bits(&present, &wanted) {
        return Ok(false);
    }
    if trailer.access.key_b_opens() {
        let key_b = trailer.key(KeySlot::B);
        return Ok(session.try_key(sector, &key_b).await?.is_ok());
    }
    Ok(present.get(KEY_B) == wanted.get(KEY_B))
}

impl CheckedTrailer {
    pub(super) fn key(&self, slot: KeySlot) -> CandidateKey {
        let key = match slot {
            KeySlot::A => &self.image.key_a,
            KeySlot::B => &self.image.key_b,
        };
        CandidateKey {
            slot,
            key: key.clone(),
        }
    }

    /// Whether `key` is one of the trailer's own.
    pub(super) fn has_key(&self, key: &CandidateKey) -> bool {
        self.key(key.slot) == *key
    }
}
