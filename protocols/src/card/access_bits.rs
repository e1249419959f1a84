//! The access bits of a MIFARE Classic sector trailer.
//!
//! Source: NXP MF1S50YYX_V1 data sheet, section 8.7 (tables "Access conditions for the sector trailer" and "for data
//! blocks"). Each of the four groups has three bits C1 C2 C3, stored plain and inverted in bytes 6 to 8.

use super::KeySlot;

/// The group of the trailer itself; groups 0 to 2 are the data blocks, in large sectors five blocks each.
const TRAILER_GROUP: u8 = 3;

/// Consistent access bits: the only ones that may be sent, for a card locks a sector with inconsistent ones for ever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AccessBits {
    /// C1, C2 and C3 as nibbles; bit n is group n.
    c1: u8,
    c2: u8,
    c3: u8,
}

/// The plain bits are not the inverse of the inverted ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "inconsistent access bits {:02x} {:02x} {:02x}: bytes 6 and 7 must hold the inverse of bytes 7 and 8",
    .0[0], .0[1], .0[2]
)]
pub struct InconsistentAccessBits(pub [u8; 3]);

/// Who may do something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Permission {
    /// Nobody.
    Never,
    /// Whoever knows key A.
    KeyA,
    /// Whoever knows key B.
    KeyB,
    /// Whoever knows either key.
    Either,
}

/// What may be done with a data block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BlockPermissions {
    /// Reading it.
    pub read: Permission,
    /// Writing it.
    pub write: Permission,
    /// Incrementing its value.
    pub increment: Permission,
    /// Decrementing, transferring and restoring its value.
    pub decrement: Permission,
}

/// What may be done with the trailer. Key A can never be read; the access bits can always be read with key A, and with
/// key B wherever key B is a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TrailerPermissions {
    /// Writing key A.
    pub write_key_a: Permission,
    /// Writing the access bits and the user byte.
    pub write_access_bits: Permission,
    /// Reading key B: where this is allowed, key B is mere data and opens nothing.
    pub read_key_b: Permission,
    /// Writing key B.
    pub write_key_b: Permission,
}

impl AccessBits {
    /// The bits in bytes 6 to 8 of a trailer.
    ///
    /// # Errors
    /// [`InconsistentAccessBits`].
    pub fn decode(bytes: [u8; 3]) -> Result<Self, InconsistentAccessBits> {
        let [b6, b7, b8] = bytes;
        let bits = Self {
            c1: b7 >> 4,
            c2: b8 & 0x0F,
            c3: b8 >> 4,
        };
        if bits.encode() == [b6, b7, b8] {
            Ok(bits)
        } else {
            Err(InconsistentAccessBits(bytes))
        }
    }

    /// Bytes 6 to 8 of a trailer.
    pub const fn encode(self) -> [u8; 3] {
        let Self { c1, c2, c3 } = self;
        [
            (!c2 & 0x0F) << 4 | (!c1 & 0x0F),
            c1 << 4 | (!c3 & 0x0F),
            c3 << 4 | c2,
        ]
    }

    /// Bits from the condition C1 C2 C3 of each group, as a number from 0 to 7: data groups 0 to 2, then the trailer.
    pub fn from_conditions(conditions: [u8; 4]) -> Self {
        let collect = |bit: u8| {
            (0u8..)
                .zip(conditions)
                .fold(0, |nibble, (group, condition)| {
                    nibble | ((condition >> bit) & 1) << group
                })
        };
        Self {
            c1: collect(2),
            c2: collect(1),
            c3: collect(0),
        }
    }

    /// What may be done with the data blocks of `group`, 0 to 2.
    pub fn data(self, group: u8) -> BlockPermissions {
        use Permission::{Either, KeyB, Never};
        let [read, write, increment, decrement] = match self.condition(group) {
            0b000 => [Either; 4],
            0b010 => [Either, Never, Never, Never],
            0b100 => [Either, KeyB, Never, Never],
            0b110 => [Either, KeyB, KeyB, Either],
            0b001 => [Either, Never, Never, Either],
            0b011 => [KeyB, KeyB, Never, Never],
            0b101 => [KeyB, Never, Never, Never],
            _ => [Never; 4],
        };
        BlockPermissions {
            read,
            write,
            increment,
            decrement,
        }
    }

    /// What may be done with the trailer.
    pub fn trailer(self) -> TrailerPermissions {
        use Permission::{KeyA, KeyB, Never};
        let [write_key_a, write_access_bits, read_key_b, write_key_b] =
            match self.condition(TRAILER_GROUP) {
                0b000 => [KeyA, Never, KeyA, KeyA],
                0b010 => [Never, Never, KeyA, Never],
                0b100 => [KeyB, Never, Never, KeyB],
                0b001 => [KeyA, KeyA, KeyA, KeyA],
                0b011 => [KeyB, KeyB, Never, KeyB],
                0b101 => [Never, KeyB, Never, Never],
                // 110 and 111
                _ => [Never; 4],
            };
        TrailerPermissions {
            write_key_a,
            write_access_bits,
            read_key_b,
            write_key_b,
        }
    }

    /// Whether key B is a key: where it can be read it opens nothing.
    pub fn key_b_opens(self) -> bool {
        self.trailer().read_key_b == Permission::Never
    }

    /// Whether whoever opened the sector with the key in `slot` has `permission` under these bits.
    pub fn allows(self, permission: Permission, slot: KeySlot) -> bool {
        match slot {
            KeySlot::A => matches!(permission, Permission::KeyA | Permission::Either),
            KeySlot::B => {
                self.key_b_opens() && matches!(permission, Permission::KeyB | Permission::Either)
            }
        }
    }

    /// Whether nobody could ever change these bits again.
    pub fn are_final(self) -> bool {
        self.trailer().write_access_bits == Permission::Never
    }

    fn condition(self, group: u8) -> u8 {
        let bit = |nibble: u8| (nibble >> group) & 1;
        bit(self.c1) << 2 | bit(self.c2) << 1 | bit(self.c3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_data_sheets_examples() {
        for (bytes, conditions) in [
            // As a card leaves the factory.
            ([0xFF, 0x07, 0x80], [0b000, 0b000, 0b000, 0b001]),
            ([0x78, 0x77, 0x88], [0b100, 0b100, 0b100, 0b011]),
            ([0x0F, 0x07, 0x8F], [0b010, 0b010, 0b010, 0b011]),
        ] {
            let bits = AccessBits::decode(bytes).unwrap();
            assert_eq!(bits, AccessBits::from_conditions(conditions));
            assert_eq!(bits.encode(), bytes);
        }
    }

    #[test]
    fn accepts_exactly_the_consistent_ones() {
        let consistent = (0u32..1 << 24)
            .filter(|bits| {
                let [_, b6, b7, b8] = bits.to_be_bytes();
                AccessBits::decode([b6, b7, b8]).is_ok()
            })
            .count();
        assert_eq!(consistent, 1 << 12);
        let error = AccessBits::decode([0xFF, 0x07, 0x81]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "inconsistent access bits ff 07 81: bytes 6 and 7 must hold the inverse of bytes 7 and 8"
        );
    }

    #[test]
    fn evaluates_transport_bits() {
        let bits = AccessBits::decode([0xFF, 0x07, 0x80]).unwrap();
        assert!(!bits.key_b_opens());
        assert!(!bits.are_final());
        for group in 0..3 {
            assert!(bits.allows(bits.data(group).write, KeySlot::A));
            assert!(!bits.allows(bits.data(group).write, KeySlot::B));
        }
        assert!(bits.allows(bits.trailer().write_access_bits, KeySlot::A));
    }

    #[test]
    fn evaluates_the_key_records_bits() {
        let bits = AccessBits::decode([0x78, 0x77, 0x88]).unwrap();
        assert!(bits.key_b_opens());
        assert!(!bits.are_final());
        for group in 0..3 {
            let data = bits.data(group);
            assert!(bits.allows(data.read, KeySlot::A));
            assert!(!bits.allows(data.write, KeySlot::A));
            assert!(bits.allows(data.write, KeySlot::B));
            assert_eq!(data.increment, Permission::Never);
        }
        assert!(!bits.allows(bits.trailer().write_key_a, KeySlot::A));
        assert!(bits.allows(bits.trailer().write_key_a, KeySlot::B));
    }

    #[test]
    fn knows_which_trailers_are_final() {
        let finals: Vec<u8> = (0..8)
            .filter(|trailer| AccessBits::from_conditions([0, 0, 0, *trailer]).are_final())
            .collect();
        assert_eq!(finals, [0b000, 0b010, 0b100, 0b110, 0b111]);
    }
}
