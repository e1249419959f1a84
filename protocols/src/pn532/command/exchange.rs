//! Data between host and card: InDataExchange and InCommunicateThru (UM0701-02, 7.3.8 and 7.3.9).

use std::fmt;

use zeroize::Zeroizing;

use super::Status;
use crate::card::{CandidateKey, KeySlot, Uid};

/// The most data that one InDataExchange carries to a card; more goes in parts, all but the last with
/// [`Exchange::more`].
pub const MAX_EXCHANGE: usize = 262;

const AUTHENTICATE_A: u8 = 0x60;
const AUTHENTICATE_B: u8 = 0x61;
const READ: u8 = 0x30;
const FAST_READ: u8 = 0x3A;
const READ_COUNTER: u8 = 0x39;
const READ_SIGNATURE: u8 = 0x3C;
const WRITE_BLOCK: u8 = 0xA0;
const WRITE_PAGE: u8 = 0xA2;
/// Bit 6 of the target byte: the host has more data for the same exchange.
const MORE_INFORMATION: u8 = 0x40;
const TARGET_BITS: u8 = 0x3F;
/// A MIFARE Classic authentication takes the last 4 bytes of a longer UID.
const AUTHENTICATION_UID: usize = 4;

/// Bytes to or from a card: keys, contents. Wiped when dropped; never shown when formatted.
#[derive(Clone, Eq, PartialEq)]
pub struct CardData(Zeroizing<Vec<u8>>);

impl CardData {
    /// These bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CardData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardData({} bytes)", self.0.len())
    }
}

/// InDataExchange: data to a listed target. For MIFARE cards the chip knows the commands itself; ISO/IEC 14443-4 cards get
/// it as an APDU.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// The target's number from the list, 1 or 2.
    pub target: u8,
    /// MI: more data for the same exchange follows in the next command.
    pub more: bool,
    /// The card command.
    pub data: CardData,
    /// Whether the card may get this command twice, see [`super::Request::is_repeatable`].
    pub repeatable: bool,
}

impl Exchange {
    /// Any card command. It may be repeated if it is one of the MIFARE and NTAG commands that leave the card the same when they are done
    /// twice: authenticate 60 and 61, read 30, 3A, 39 and 3C, write A0 and A2 (the same bytes to the same place). Any other is taken
    /// for one that may not: increments, transfers, PWD_AUTH with its limit of attempts, APDUs.
    pub fn new(target: u8, data: &[u8]) -> Self {
        Self {
            target,
            more: false,
            data: CardData::new(data),
            repeatable: is_repeatable(data),
        }
    }

    /// MIFARE Classic: opens the sector of `block` of the card with this UID.
    pub fn authenticate(target: u8, block: u8, key: &CandidateKey, uid: &Uid) -> Self {
        let mut data = Zeroizing::new(vec![
            match key.slot {
                KeySlot::A => AUTHENTICATE_A,
                KeySlot::B => AUTHENTICATE_B,
            },
            block,
        ]);
        data.extend(key.key.0);
        let uid = uid.as_bytes();
        data.extend(
            uid.iter()
                .skip(uid.len().saturating_sub(AUTHENTICATION_UID)),
        );
        Self::new(target, &data)
    }

    /// Reads 16 bytes: a block of a MIFARE Classic, or four pages of an Ultralight or NTAG from `address` on.
    pub fn read(target: u8, address: u8) -> Self {
        Self::new(target, &[READ, address])
    }

    /// Writes a block of a MIFARE Classic.
    pub fn write_block(target: u8, block: u8, bytes: &[u8; 16]) -> Self {
        Self::write(target, WRITE_BLOCK, block, bytes)
    }

    /// Writes a page of an Ultralight or NTAG.
    pub fn write_page(target: u8, page: u8, bytes: &[u8; 4]) -> Self {
        Self::write(target, WRITE_PAGE, page, bytes)
    }

    fn write(target: u8, command: u8, address: u8, bytes: &[u8]) -> Self {
        let mut data = Zeroizing::new(vec![command, address]);
        data.extend(bytes);
        Self::new(target, &data)
    }

    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        let more = if self.more { MORE_INFORMATION } else { 0 };
        payload.push(self.target & TARGET_BITS | more);
        payload.extend(self.data.as_bytes());
    }
}

/// InCommunicateThru: data over the air as it is, to whichever card is selected. The chip adds and checks the CRC unless its registers
/// CIU_TxMode and CIU_RxMode say otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Communicate {
    /// The bytes, at most 263.
    pub data: CardData,
    /// Whether the card may get them twice, see [`super::Request::is_repeatable`].
    pub repeatable: bool,
}

impl Communicate {
    /// These bytes; whether they may be repeated is told as for [`Exchange::new`], and GET_VERSION (a lone 60) may too.
    pub fn new(data: &[u8]) -> Self {
        Self {
            data: CardData::new(data),
            repeatable: is_repeatable(data),
        }
    }
}

/// What came back from the card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchanged {
    /// What came of it.
    pub status: Status,
    /// The card's answer; empty for MIFARE authentications and writes, and after errors.
    pub data: CardData,
}

impl Exchanged {
    pub(super) fn new(status: Status, data: &[u8]) -> Self {
        Self {
            status,
            data: CardData::new(data),
        }
    }
}

/// CRC_A of ISO/IEC 14443-3, 6.2.4, in the order of transmission: what the chip appends on the air, and the host where the chip
/// does not.
pub fn crc_a(bytes: &[u8]) -> [u8; 2] {
    bytes
        .iter()
        .fold(0x6363_u16, |crc, byte| {
            let [low, _] = crc.to_le_bytes();
            let mixed = byte ^ low;
            let mixed = u16::from(mixed ^ (mixed << 4));
            (crc >> 8) ^ (mixed << 8) ^ (mixed << 3) ^ (mixed >> 4)
        })
        .to_le_bytes()
}

fn is_repeatable(data: &[u8]) -> bool {
    matches!(
        data.first(),
        Some(
            &(AUTHENTICATE_A
                | AUTHENTICATE_B
                | READ
                | FAST_READ
                | READ_COUNTER
                | READ_SIGNATURE
                | WRITE_BLOCK
                | WRITE_PAGE)
        )
    )
}
