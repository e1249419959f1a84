//! The exchange with a card: InDataExchange and InCommunicateThru (UM0701-02, sections 7.3.8 and 7.3.9).

use super::chip::{
    AUTHENTICATION_FAILED, BUFFER_OVERFLOW, CRC_ENABLED, CRC_ERROR, Chip, OK, RX_MODE, TIMEOUT,
    TX_MODE, WRONG_CONTEXT, WRONG_FORMAT,
};
use crate::card::{KeySlot, virtual_card::CardAnswer};

/// Tg bit 6 of the host: more data follows.
const MORE: u8 = 0x40;
/// Tg bits 5 to 0: the target's number.
const TARGET_NUMBER: u8 = 0x3F;
/// The most data that the chip hands to the host in one response.
const MAX_DATA: usize = 262;
/// I-block without chaining; bit 0 is the block number (ISO/IEC 14443-4, 7.1.1.1).
const I_BLOCK: u8 = 0x02;

impl Chip {
    /// Status, then the card's data.
    pub(super) fn data_exchange(&mut self, tg: u8, data: &[u8]) -> Vec<u8> {
        let number = tg & TARGET_NUMBER;
        if self.target(number).is_none() {
            return self.end(WRONG_CONTEXT, &[]);
        }
        // A target that was deselected is selected first; one that fell silent by itself is not.
        if self.current != Some(number) {
            let status = self.select(number);
            if status != OK {
                return self.end(status, &[]);
            }
        }
        self.chained.extend_from_slice(data);
        if self.chained.len() > 4 * MAX_DATA {
            self.chained.clear();
            return self.end(BUFFER_OVERFLOW, &[]);
        }
        if tg & MORE != 0 {
            return self.end(OK, &[]);
        }
        let command = std::mem::take(&mut self.chained);
        let iso_dep = self
            .target(number)
            .is_some_and(|target| target.speaks_iso_dep());
        if iso_dep {
            self.exchange_apdu(number, &command)
        } else {
            self.exchange_mifare(number, &command)
        }
    }

    fn exchange_mifare(&mut self, number: u8, command: &[u8]) -> Vec<u8> {
        let id = self.target(number).map(|target| target.card);
        let Some(card) = id.and_then(|id| self.field_mut().by_id(id)) else {
            return self.end(TIMEOUT, &[]);
        };
        if !card.is_selected() {
            return self.end(TIMEOUT, &[]);
        }
        if let [code @ (0x60 | 0x61), block, operands @ ..] = command
            && let Some((key, uid)) = operands.split_first_chunk::<6>()
            && let Ok(uid) = <&[u8; 4]>::try_from(uid)
        {
            let slot = if *code == 0x60 {
                KeySlot::A
            } else {
                KeySlot::B
            };
            let accepted = card.authenticate(slot, *block, key, uid);
            return self.end(if accepted { OK } else { AUTHENTICATION_FAILED }, &[]);
        }
        match card.exchange(command) {
            CardAnswer::Data(data) => self.end(OK, &data),
            // The 4 bits of the acknowledgement are not shown.
            CardAnswer::Ack => self.end(OK, &[]),
            CardAnswer::Nak(_) => self.end(WRONG_FORMAT, &[]),
            CardAnswer::Silent => self.end(TIMEOUT, &[]),
        }
    }

    fn exchange_apdu(&mut self, number: u8, apdu: &[u8]) -> Vec<u8> {
        let index = usize::from(number).saturating_sub(1);
        let Some(target) = self.targets.get_mut(index) else {
            return self.end(WRONG_CONTEXT, &[]);
        };
        let header = I_BLOCK | target.block_number;
        target.block_number ^= 1;
        let id = target.card;
        let block = [&[header], apdu].concat();
        let answer = self
            .field_mut()
            .by_id(id)
            .map(|card| card.transceive(&block));
        match answer {
            Some(CardAnswer::Data(block)) => match block.split_first() {
                Some((pcb, data)) if *pcb == header => self.end(OK, data),
                _ => self.end(WRONG_FORMAT, &[]),
            },
            Some(CardAnswer::Ack | CardAnswer::Nak(_) | CardAnswer::Silent) | None => {
                self.end(TIMEOUT, &[])
            }
        }
    }

    /// Sends the bytes as they are to whatever card listens. Whether the CRC belongs to them, or to the answer, the
    /// CIU's registers say.
    pub(super) fn communicate_thru(&mut self, data: &[u8]) -> Vec<u8> {
        let frame = if self.register(TX_MODE) & CRC_ENABLED != 0 {
            Some(data)
        } else {
            without_crc(data)
        };
        let id = self
            .current
            .and_then(|number| self.target(number))
            .map(|target| target.card);
        let card = id.and_then(|id| self.field_mut().by_id(id));
        let (Some(frame), Some(card)) = (frame, card) else {
            return self.end(TIMEOUT, &[]);
        };
        let answer = card.transceive(frame);
        let checks_crc = self.register(RX_MODE) & CRC_ENABLED != 0;
        match answer {
            CardAnswer::Data(data) if checks_crc => self.end(OK, &data),
            CardAnswer::Data(mut data) => {
                data.extend(crc_a(&data));
                self.end(OK, &data)
            }
            // Four bits have no CRC, so that checking it fails.
            CardAnswer::Ack if checks_crc => self.end(CRC_ERROR, &[0x0A]),
            CardAnswer::Nak(code) if checks_crc => self.end(CRC_ERROR, &[code]),
            CardAnswer::Ack => self.end(OK, &[0x0A]),
            CardAnswer::Nak(code) => self.end(OK, &[code]),
            CardAnswer::Silent => self.end(TIMEOUT, &[]),
        }
    }

    fn end(&mut self, status: u8, data: &[u8]) -> Vec<u8> {
        let (status, data) = if data.len() > MAX_DATA {
            (BUFFER_OVERFLOW, &[][..])
        } else {
            (status, data)
        };
        self.last_error = status;
        [&[status], data].concat()
    }
}

/// CRC_A (ISO/IEC 14443-3, annex B), low byte first.
pub(super) fn crc_a(data: &[u8]) -> [u8; 2] {
    let crc = data.iter().fold(0x6363_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0x8408
            } else {
                crc >> 1
            }
        })
    });
    crc.to_le_bytes()
}

/// The frame before a right CRC; a card does not hear a frame with a wrong one.
fn without_crc(data: &[u8]) -> Option<&[u8]> {
    let (frame, crc) = data.split_last_chunk::<2>()?;
    (crc_a(frame) == *crc && !frame.is_empty()).then_some(frame)
}
