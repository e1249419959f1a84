//! Writing what was prepared: all data blocks first, then the trailers.

use super::{
    check::{CheckedSector, CheckedTrailer},
    prepare::{PreparedClassic, PreparedSector, access_bits},
    session::{Session, read_only},
    verify::{trailer_holds, verify_blocks, verify_in_one_go},
};
use crate::card::{
    CandidateKey, CardError, CardLink, Place, WriteError, WriteStage, recovery::Attempts,
};

/// Writes every sector's data blocks and reads them back under one authentication, then writes the trailers and
/// authenticates with their keys.
pub(in crate::card) async fn write<L: CardLink>(
    link: &mut L,
    prepared: &PreparedClassic,
    progress: &mut (impl FnMut(WriteStage) + Send),
) -> Result<(), WriteError> {
    let mut session = Session::new(link, prepared.open());
    let mut remaining = Remaining {
        writes: prepared.writes(),
        progress,
    };
    let written = write_all(&mut session, prepared, &mut remaining).await;
    written.map_err(|error| WriteError {
        error,
        changed: session.changed,
    })
}

/// The writes still to come; tells when there are none left.
struct Remaining<'p, P> {
    writes: usize,
    progress: &'p mut P,
}

impl<P: FnMut(WriteStage) + Send> Remaining<'_, P> {
    fn one_less(&mut self) {
        self.writes = self.writes.saturating_sub(1);
        if self.writes == 0 {
            (self.progress)(WriteStage::Verifying);
        }
    }
}

async fn write_all<L: CardLink>(
    session: &mut Session<'_, L>,
    prepared: &PreparedClassic,
    remaining: &mut Remaining<'_, impl FnMut(WriteStage) + Send>,
) -> Result<(), CardError> {
    for PreparedSector { checked, key } in &prepared.sectors {
        for block in &checked.image.blocks {
            let absolute = checked.sector.first_block() + block.block;
            let written = session
                .write(checked.sector, absolute, &block.data, key)
                .await;
            if let Err(error @ CardError::ReadOnly { .. }) = &written
                && remaining.writes == prepared.writes()
                && forbids(session, checked, block.block, key).await
            {
                session.changed = false;
                return Err(error.clone());
            }
            written?;
            remaining.one_less();
        }
        verify_blocks(session, checked, key).await?;
    }
    for sector in &prepared.sectors {
        if let Some(trailer) = &sector.checked.trailer {
            write_trailer(session, sector, trailer, remaining).await?;
        }
    }
    let sectors: Vec<_> = prepared
        .sectors
        .iter()
        .map(|sector| (&sector.checked, sector.key.clone()))
        .collect();
    verify_in_one_go(session, &sectors).await
}

/// Whether the card's own access conditions forbid writing the block with the key, so that no write of it can have changed
/// a byte. Asked only after the card refused: looking ahead would cost each encode a read per sector.
async fn forbids<L: CardLink>(
    session: &mut Session<'_, L>,
    checked: &CheckedSector,
    within: u8,
    key: &CandidateKey,
) -> bool {
    let sector = checked.sector;
    let present = session.read(sector, sector.trailer(), key).await;
    let access = present.ok().and_then(|present| access_bits(&present));
    access.is_some_and(|access| {
        let write = access.data(sector.group(within)).write;
        !access.allows(write, key.slot)
    })
}

/// Writes one trailer, unless the sector was opened with its key already and carries it: a trailer that is not written
/// cannot be torn.
async fn write_trailer<L: CardLink>(
    session: &mut Session<'_, L>,
    sector: &PreparedSector,
    trailer: &CheckedTrailer,
    remaining: &mut Remaining<'_, impl FnMut(WriteStage) + Send>,
) -> Result<(), CardError> {
    let number = sector.checked.sector;
    let is_in_place =
        trailer.has_key(&sector.key) && trailer_holds(session, number, trailer).await?;
    if is_in_place || send_trailer(session, sector, trailer).await? == Sent::AndFound {
        remaining.one_less();
        return Ok(());
    }
    remaining.one_less();
    if trailer_holds(session, number, trailer).await? {
        Ok(())
    } else {
        Err(CardError::Differs {
            at: Place::Trailer(number.number()),
        })
    }
}

/// What is known of a trailer that was sent.
#[derive(Eq, PartialEq)]
enum Sent {
    /// The card acknowledged it.
    Acknowledged,
    /// The acknowledgement was lost, and the new keys open the sector.
    AndFound,
}

/// Sends a trailer. After a write whose end is unknown the keys tell whether it happened: where the new ones do not
/// open the sector as they should and the old one still does, it is sent again.
async fn send_trailer<L: CardLink>(
    session: &mut Session<'_, L>,
    PreparedSector { checked, key }: &PreparedSector,
    trailer: &CheckedTrailer,
) -> Result<Sent, CardError> {
    let (sector, bytes) = (checked.sector, trailer.bytes());
    let mut attempts = Attempts::default();
    loop {
        session.open(sector, key).await?;
        let sent = session
            .write_once(sector.trailer(), &bytes, &mut attempts)
            .await;
        match sent {
            Ok(()) => return Ok(Sent::Acknowledged),
            Err(Some(given_up)) => {
                return Err(read_only(Place::Trailer(sector.number()), given_up));
            }
            Err(None) if trailer_holds(session, sector, trailer).await? => {
                return Ok(Sent::AndFound);
            }
            Err(None) => {}
        }
    }
}

impl PreparedClassic {
    /// How many blocks and trailers are to be written.
    fn writes(&self) -> usize {
        self.sectors
            .iter()
            .map(|PreparedSector { checked, .. }| {
                checked.image.blocks.len() + usize::from(checked.trailer.is_some())
            })
            .sum()
    }
}
