//! Reading sectors, and as many more as a key record says that it takes.

use super::{
    geometry::{Sector, sectors},
    session::Session,
};
use crate::card::{
    BlockContents, CardContents, CardError, CardLink, ClassicRead, SectorRead, UnreadSector,
    key_record,
};

const BLOCK_LENGTH: usize = 16;

/// Reads the data blocks of the planned sectors, as far as the keys allow.
pub(in crate::card) async fn read<L: CardLink>(
    link: &mut L,
    plan: &ClassicRead,
) -> Result<CardContents, CardError> {
    let mut reading = Reading {
        sectors_here: sectors(link.card().technology)?,
        session: Session::new(link, None),
        blocks: Vec::new(),
        unread: Vec::new(),
    };
    for planned in &plan.sectors {
        reading.sector(planned, usize::MAX).await?;
    }
    reading.extension(plan).await?;
    Ok(CardContents::MifareClassic {
        blocks: reading.blocks,
        unread: reading.unread,
    })
}

/// What was read so far.
struct Reading<'l, L> {
    session: Session<'l, L>,
    sectors_here: u8,
    blocks: Vec<BlockContents>,
    unread: Vec<UnreadSector>,
}

impl<L: CardLink> Reading<'_, L> {
    /// Reads the extension of the record in the first sector, if it has one and the planned sectors hold it.
    async fn extension(&mut self, plan: &ClassicRead) -> Result<(), CardError> {
        let mut left = self.extension_blocks(plan);
        let room = |planned: &SectorRead| {
            Sector::new(planned.sector).map_or(0, |sector| sector.data().len())
        };
        if left > plan.extension.iter().map(room).sum() {
            return Ok(());
        }
        for planned in &plan.extension {
            // Without one of its sectors the record says nothing.
            if left == 0 || !self.sector(planned, left).await? {
                break;
            }
            left = left.saturating_sub(room(planned));
        }
        Ok(())
    }

    fn extension_blocks(&self, plan: &ClassicRead) -> usize {
        let first = plan.sectors.first();
        let record: Vec<u8> = first
            .and_then(|planned| Sector::new(planned.sector))
            .into_iter()
            .flat_map(Sector::data)
            .filter_map(|block| self.blocks.iter().find(|read| read.block == block))
            .flat_map(|read| read.data)
            .collect();
        key_record::extension_length(&record) / BLOCK_LENGTH
    }

    /// Reads the first data blocks of one sector, `most` of them, and notes why where not all are read. Returns whether they are.
    async fn sector(&mut self, planned: &SectorRead, most: usize) -> Result<bool, CardError> {
        let sectors_here = self.sectors_here;
        let sector = Sector::new(planned.sector).filter(|sector| sector.number() < sectors_here);
        let reason = match sector {
            Some(sector) => {
                let wanted = sector.data().take(most).collect();
                read_sector(&mut self.session, sector, planned, wanted, &mut self.blocks).await?
            }
            None => Some(format!("the card has {sectors_here} sectors")),
        };
        let is_read = reason.is_none();
        self.unread.extend(reason.map(|reason| UnreadSector {
            sector: planned.sector,
            reason,
        }));
        Ok(is_read)
    }
}

/// Reads the blocks that are missing of one sector, and tells why some were not read.
async fn read_sector<L: CardLink>(
    session: &mut Session<'_, L>,
    sector: Sector,
    planned: &SectorRead,
    mut missing: Vec<u8>,
    blocks: &mut Vec<BlockContents>,
) -> Result<Option<String>, CardError> {
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
