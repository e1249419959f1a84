//! Reading sectors.

use super::{
    geometry::{Sector, sectors},
    session::Session,
};
use crate::card::{
    BlockContents, CardContents, CardError, CardLink, ClassicRead, SectorRead, UnreadSector,
};

/// Reads the data blocks of the planned sectors, as far as the keys allow.
pub(in crate::card) async fn read<L: CardLink>(
    link: &mut L,
    plan: &ClassicRead,
) -> Result<CardContents, CardError> {
    let sectors_here = sectors(link.card().technology)?;
    let mut session = Session::new(link, None);
    let mut blocks = Vec::new();
    let mut unread = Vec::new();
    for planned in &plan.sectors {
        let sector = Sector::new(planned.sector).filter(|sector| sector.number() < sectors_here);
        let reason = match sector {
            Some(sector) => read_sector(&mut session, sector, planned, &mut blocks).await?,
            None => Some(format!("the card has {sectors_here} sectors")),
        };
        unread.extend(reason.map(|reason| UnreadSector {
            sector: planned.sector,
            reason,
        }));
    }
    Ok(CardContents::MifareClassic { blocks, unread })
}

/// Reads one sector, and tells why some of it was not read.
async fn read_sector<L: CardLink>(
    session: &mut Session<'_, L>,
    sector: Sector,
    planned: &SectorRead,
    blocks: &mut Vec<BlockContents>,
) -> Result<Option<String>, CardError> {
    let mut missing: Vec<u8> = (sector.first_block()..sector.trailer()).collect();
    let mut opened = false;
    for key in &planned.keys {
        if session.try_key(sector, key).await?.is_err() {
            continue;
        }
        opened = true;
        for block in std::mem::take(&mut missing) {
            match session.read(sector, block, key).await {
                Ok(data) => blocks.push(BlockContents { block, data }),
                Err(CardError::Unreadable { .. }) => missing.push(block),
                Err(error) => return Err(error),
            }
        }
        if missing.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(if opened {
        let list: Vec<String> = missing.iter().map(u8::to_string).collect();
        format!("the card does not allow reading block {}", list.join(", "))
    } else {
        format!("none of the {} known keys opens it", planned.keys.len())
    }))
}
