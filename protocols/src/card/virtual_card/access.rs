//! The access conditions of a MIFARE Classic sector (NXP MF1S50YYX, section 8.7).

use crate::card::KeySlot;

/// Which keys allow something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum By {
    Nobody,
    KeyA,
    KeyB,
    Either,
}

impl By {
    pub(super) fn allows(self, slot: KeySlot) -> bool {
        matches!(
            (self, slot),
            (Self::Either, _) | (Self::KeyA, KeySlot::A) | (Self::KeyB, KeySlot::B)
        )
    }
}

/// What the keys may do with a data block.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataAccess {
    pub(super) read: By,
    pub(super) write: By,
    pub(super) increment: By,
    pub(super) decrement_transfer_restore: By,
}

/// What the keys may do with the fields of a sector trailer.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrailerAccess {
    pub(super) key_a_write: By,
    pub(super) bits_read: By,
    pub(super) bits_write: By,
    pub(super) key_b_read: By,
    pub(super) key_b_write: By,
}

/// The four conditions of a sector, each as C1 C2 C3 in the bits 2 to 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Conditions {
    c1: u8,
    c2: u8,
    c3: u8,
}

impl Conditions {
    /// From the bytes 6 to 8 of a trailer; `None` where a bit and its inverted copy disagree.
    pub(super) fn parse([byte6, byte7, byte8]: [u8; 3]) -> Option<Self> {
        let read = Self {
            c1: byte7 >> 4,
            c2: byte8 & 0x0F,
            c3: byte8 >> 4,
        };
        let inverted = Self {
            c1: !byte6 & 0x0F,
            c2: !byte6 >> 4,
            c3: !byte7 & 0x0F,
        };
        (read == inverted).then_some(read)
    }

    /// The access to group 0, 1 or 2 of data blocks (table 8).
    pub(super) fn data(&self, group: u8) -> DataAccess {
        use By::{Either, KeyB, Nobody};
        let (read, write, increment, decrement_transfer_restore) = match self.condition(group) {
            0b000 => (Either, Either, Either, Either),
            0b010 => (Either, Nobody, Nobody, Nobody),
            0b100 => (Either, KeyB, Nobody, Nobody),
            0b110 => (Either, KeyB, KeyB, Either),
            0b001 => (Either, Nobody, Nobody, Either),
            0b011 => (KeyB, KeyB, Nobody, Nobody),
            0b101 => (KeyB, Nobody, Nobody, Nobody),
            _ => (Nobody, Nobody, Nobody, Nobody),
        };
        DataAccess {
            read,
            write,
            increment,
            decrement_transfer_restore,
        }
    }

    /// The access to the trailer (table 7).
    pub(super) fn trailer(&self) -> TrailerAccess {
        use By::{Either, KeyA, KeyB, Nobody};
        let (key_a_write, bits_read, bits_write, key_b_read, key_b_write) = match self.condition(3)
        {
            0b000 => (KeyA, KeyA, Nobody, KeyA, KeyA),
            0b010 => (Nobody, KeyA, Nobody, KeyA, Nobody),
            0b100 => (KeyB, Either, Nobody, Nobody, KeyB),
            0b001 => (KeyA, KeyA, KeyA, KeyA, KeyA),
            0b011 => (KeyB, Either, KeyB, Nobody, KeyB),
            0b101 => (Nobody, Either, KeyB, Nobody, Nobody),
            _ => (Nobody, Either, Nobody, Nobody, Nobody),
        };
        TrailerAccess {
            key_a_write,
            bits_read,
            bits_write,
            key_b_read,
            key_b_write,
        }
    }

    /// Whether key B can be read, so that it is data and opens nothing (section 8.7.2).
    pub(super) fn key_b_is_data(&self) -> bool {
        self.trailer().key_b_read != By::Nobody
    }

    fn condition(&self, group: u8) -> u8 {
        let bit = |bits: u8| bits >> group & 1;
        bit(self.c1) << 2 | bit(self.c2) << 1 | bit(self.c3)
    }
}
