//! The cards that the chip has listed: finding, selecting and releasing them.

use super::{
    chip::{
        AUTOMATIC_RATS, CRC_ENABLED, Chip, IN_AUTO_POLL, IN_LIST_PASSIVE_TARGET, OK, RX_MODE,
        TIMEOUT, TX_MODE, WRONG_CONTEXT,
    },
    field::CardId,
};
use crate::card::{Uid, virtual_card::CardAnswer};

/// BrTy of InListPassiveTarget: ISO/IEC 14443 A at 106 kbit/s.
const TYPE_A: u8 = 0x00;
/// SAK bit 5: ISO/IEC 14443-4.
const SAK_ISO_DEP: u8 = 0x20;
/// The cascade tag in front of parts of a long UID.
const CASCADE_TAG: u8 = 0x88;
/// HLTA (ISO/IEC 14443-3, 6.5.3).
const HALT: [u8; 2] = [0x50, 0x00];
/// RATS with a frame size of 64 bytes.
const RATS: [u8; 2] = [0xE0, 0x50];
/// S(DESELECT) without CID (ISO/IEC 14443-4, 7.1.1.3).
const S_DESELECT: u8 = 0xC2;

/// A card that was listed.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) card: CardId,
    uid: Uid,
    /// The answer to RATS, if the chip sent it: then it speaks ISO/IEC 14443-4 with this card.
    ats: Vec<u8>,
    /// The number of the next I-block.
    pub(super) block_number: u8,
}

impl Target {
    pub(super) fn speaks_iso_dep(&self) -> bool {
        !self.ats.is_empty()
    }
}

impl Chip {
    pub(super) fn found(&self, search: &Search) -> Vec<CardId> {
        if !search.type_a {
            return Vec::new();
        }
        let mut found = self.field.matching(search.uid.as_deref());
        found.truncate(search.limit);
        found
    }

    pub(super) fn search(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let search = Search::parse(payload)?;
        self.carrier = true;
        self.targets.clear();
        self.current = None;
        self.chained.clear();
        let mut reply = vec![0];
        for card in self.found(&search) {
            self.halt_current();
            let Some(record) = self.list(card, &search) else {
                continue;
            };
            reply.extend(record);
        }
        let count = u8::try_from(self.targets.len()).ok()?;
        if let Some(first) = reply.first_mut() {
            *first = count;
        }
        if count > 0 {
            // Anticollision leaves the CIU with CRC in both directions.
            for register in [TX_MODE, RX_MODE] {
                *self.registers.entry(register).or_default() |= CRC_ENABLED;
            }
        }
        Some(reply)
    }

    /// Activates a card and makes its record (sections 7.3.5 and 7.3.13).
    fn list(&mut self, card: CardId, search: &Search) -> Option<Vec<u8>> {
        let uid = self.field.select(card)?;
        let selected = self.field.by_id(card)?;
        let (atqa, sak) = (selected.atqa(), selected.sak());
        let ats = self.activate(card)?;
        let number = u8::try_from(self.targets.len() + 1).ok()?;
        let uid_length = u8::try_from(uid.as_bytes().len()).ok()?;
        let mut record = vec![number];
        record.extend(atqa);
        record.extend([sak, uid_length]);
        record.extend(uid.as_bytes());
        record.extend(&ats);
        self.current = Some(number);
        self.targets.push(Target {
            card,
            uid,
            ats,
            block_number: 0,
        });
        if search.automatic {
            let kind = if sak & SAK_ISO_DEP != 0 { 0x20 } else { 0x10 };
            let length = u8::try_from(record.len()).ok()?;
            record.splice(0..0, [kind, length]);
        }
        Some(record)
    }

    /// Sends RATS to a selected card where that is wanted; answers the ATS, empty where it was not sent.
    fn activate(&mut self, card: CardId) -> Option<Vec<u8>> {
        let automatic = self.parameters & AUTOMATIC_RATS != 0;
        let card = self.field.by_id(card)?;
        if card.sak() & SAK_ISO_DEP == 0 || !automatic {
            return Some(Vec::new());
        }
        match card.transceive(&RATS) {
            CardAnswer::Data(ats) => Some(ats),
            CardAnswer::Ack | CardAnswer::Nak(_) | CardAnswer::Silent => None,
        }
    }

    pub(super) fn target(&self, number: u8) -> Option<&Target> {
        self.targets.get(usize::from(number).checked_sub(1)?)
    }

    pub(super) fn current_target(&self) -> Option<&Target> {
        self.target(self.current?)
    }

    fn halt_current(&mut self) {
        let Some(target) = self.current.take().and_then(|number| self.target(number)) else {
            return;
        };
        let (card, iso_dep) = (target.card, target.speaks_iso_dep());
        if let Some(card) = self.field.by_id(card) {
            if iso_dep {
                card.transceive(&[S_DESELECT]);
            } else {
                card.transceive(&HALT);
            }
        }
    }

    /// InDeselect and InRelease (sections 7.3.10 and 7.3.11); 0 stands for all targets.
    pub(super) fn deselect(&mut self, number: u8, release: bool) -> u8 {
        if number != 0 && self.target(number).is_none() {
            return WRONG_CONTEXT;
        }
        if number == 0 || self.current == Some(number) {
            self.halt_current();
        }
        if release && number == 0 {
            self.targets.clear();
        }
        OK
    }

    /// InSelect (section 7.3.12). A target that is selected and still listens is left as it is.
    pub(super) fn select(&mut self, number: u8) -> u8 {
        let Some(target) = self.target(number) else {
            return WRONG_CONTEXT;
        };
        let (card, uid, spoke_iso_dep) = (target.card, target.uid, target.speaks_iso_dep());
        let listens = self
            .field
            .by_id(card)
            .is_some_and(|card| card.is_selected());
        if self.current == Some(number) && listens {
            return OK;
        }
        self.halt_current();
        if self.field.select(card) != Some(uid) {
            return TIMEOUT;
        }
        if spoke_iso_dep && self.activate(card).is_none() {
            return TIMEOUT;
        }
        if let Some(target) = self.targets.get_mut(usize::from(number).saturating_sub(1)) {
            target.block_number = 0;
        }
        self.current = Some(number);
        self.chained.clear();
        OK
    }
}

/// What InListPassiveTarget or InAutoPoll looks for.
pub(super) struct Search {
    type_a: bool,
    uid: Option<Vec<u8>>,
    limit: usize,
    /// InAutoPoll: records carry their type and length.
    automatic: bool,
}

impl Search {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        match *payload {
            [IN_LIST_PASSIVE_TARGET, limit @ 1..=2, TYPE_A, ref uid @ ..] => Some(Self {
                type_a: true,
                uid: wanted_uid(uid)?,
                limit: usize::from(limit),
                automatic: false,
            }),
            // FeliCa at 212 and 424 kbit/s, type B, Jewel: no such card ever lies there.
            [IN_LIST_PASSIVE_TARGET, 1..=2, 0x01..=0x04, ..] => Some(Self {
                type_a: false,
                uid: None,
                limit: 0,
                automatic: false,
            }),
            [IN_AUTO_POLL, 1..=u8::MAX, 1..=15, ref types @ ..]
                if (1..=15).contains(&types.len()) =>
            {
                // Generic type A, MIFARE, ISO/IEC 14443-4 type A.
                let type_a = types.iter().any(|kind| matches!(kind, 0x00 | 0x10 | 0x20));
                Some(Self {
                    type_a,
                    uid: None,
                    limit: 2,
                    automatic: true,
                })
            }
            _ => None,
        }
    }
}

/// InitiatorData of a search for one UID: long UIDs come with their cascade tags (section 7.3.5). The outer `None` means
/// ill-formed, the inner one: any UID.
fn wanted_uid(data: &[u8]) -> Option<Option<Vec<u8>>> {
    match data {
        [] => Some(None),
        [_, _, _, _] => Some(Some(data.to_vec())),
        [CASCADE_TAG, uid @ ..] if uid.len() == 7 => Some(Some(uid.to_vec())),
        [CASCADE_TAG, a, b, c, CASCADE_TAG, rest @ ..] if rest.len() == 7 => {
            Some(Some([&[*a, *b, *c], rest].concat()))
        }
        _ => None,
    }
}
