//! MIFARE Classic Mini, 1K and 4K (NXP MF1S50YYX, MF1S70YYX).

use super::{
    CardAnswer, CardKind, Step,
    access::{Conditions, DataAccess},
    eeprom::{Eeprom, PowerLost},
};
use crate::card::KeySlot;

// Commands (MF1S50YYX, table 9).
const READ: u8 = 0x30;
const WRITE: u8 = 0xA0;
const TRANSFER: u8 = 0xB0;
const DECREMENT: u8 = 0xC0;
const INCREMENT: u8 = 0xC1;
const RESTORE: u8 = 0xC2;

/// NAK for an operation that is not allowed while the transfer buffer is valid (table 10).
const NOT_ALLOWED_BUFFER_VALID: u8 = 0x0;
/// NAK for an operation that is not allowed while the transfer buffer is invalid (table 10).
const NOT_ALLOWED: u8 = 0x4;

/// Both keys of a card as delivered (section 8.6.3).
const TRANSPORT_KEY: [u8; 6] = [0xFF; 6];
/// Access bits and user byte of a card as delivered (section 8.6.3).
const TRANSPORT_ACCESS: [u8; 4] = [0xFF, 0x07, 0x80, 0x69];
/// The first block of the 16-block sectors of a 4K.
const FIRST_LARGE_BLOCK: u8 = 128;
/// The first 16-block sector of a 4K.
const FIRST_LARGE_SECTOR: u8 = 32;

type Block = [u8; 16];

#[derive(Clone, Debug, Default)]
pub(super) struct Classic {
    opened: Option<Opened>,
    awaited: Option<Awaited>,
    buffer: Option<Value>,
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    sector: u8,
    slot: KeySlot,
}

/// The operand that the next frame brings.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    Write(u8),
    Decrement(Value),
    Increment(Value),
    Restore(Value),
}

/// A value block's content (section 8.6.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Value {
    value: i32,
    address: u8,
}

/// The number of blocks of a MIFARE Classic card; none for other kinds.
pub(super) fn blocks(kind: CardKind) -> Option<u16> {
    if kind == CardKind::ClassicMini {
        Some(20)
    } else if kind == CardKind::Classic1k {
        Some(64)
    } else if kind == CardKind::Classic4k {
        Some(256)
    } else {
        None
    }
}

/// Zeros, transport trailers, and the maker's block.
pub(super) fn factory_memory(kind: CardKind, uid: &[u8], blocks: u16) -> Vec<u8> {
    let mut memory = Vec::with_capacity(usize::from(blocks) * 16);
    let [atqa_high, atqa_low] = kind.atqa(uid.len());
    memory.extend_from_slice(uid);
    if uid.len() == 4 {
        memory.push(uid.iter().fold(0, |check, byte| check ^ byte));
    }
    memory.extend([kind.sak(), atqa_low, atqa_high]);
    memory.extend((0x62..).take(16 - memory.len()));
    for block in (1..=u8::MAX).take(usize::from(blocks) - 1) {
        if is_trailer(block) {
            memory.extend(TRANSPORT_KEY);
            memory.extend(TRANSPORT_ACCESS);
            memory.extend(TRANSPORT_KEY);
        } else {
            memory.extend([0; 16]);
        }
    }
    memory
}

impl Classic {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(super) fn authenticate(
        &mut self,
        eeprom: &Eeprom,
        slot: KeySlot,
        block: u8,
        key: &[u8; 6],
    ) -> bool {
        self.reset();
        let Some(trailer) = Trailer::of_block(eeprom, block) else {
            return false;
        };
        let wanted = match slot {
            KeySlot::A => trailer.key_a,
            KeySlot::B => trailer.key_b,
        };
        // A sector whose access bits disagree with their copies is blocked for ever (section 8.7.1).
        let right = wanted == *key && trailer.conditions.is_some();
        if right {
            self.opened = Some(Opened {
                sector: sector_of(block),
                slot,
            });
        }
        right
    }

    pub(super) fn answer(&mut self, eeprom: &mut Eeprom, frame: &[u8]) -> Step {
        if self.opened.is_none() {
            return Step::Drop(CardAnswer::Silent);
        }
        let answer = match self.awaited.take() {
            Some(awaited) => self.operand(eeprom, awaited, frame),
            None => match *frame {
                [READ, block] => self.read(eeprom, block),
                [WRITE, block] => self.begin_write(eeprom, block),
                [code @ (DECREMENT | INCREMENT | RESTORE), block] => {
                    self.begin_value(eeprom, code, block)
                }
                [TRANSFER, block] => self.transfer(eeprom, block),
                _ => None,
            },
        };
        answer.unwrap_or_else(|| self.refuse())
    }

    fn refuse(&self) -> Step {
        Step::Drop(CardAnswer::Nak(match self.buffer {
            Some(_) => NOT_ALLOWED_BUFFER_VALID,
            None => NOT_ALLOWED,
        }))
    }

    /// The key that opened the sector of `block`, with the sector's conditions; `None` where it opens nothing.
    fn access(&self, eeprom: &Eeprom, block: u8) -> Option<(KeySlot, Conditions)> {
        let opened = self
            .opened
            .filter(|opened| opened.sector == sector_of(block))?;
        let conditions = Trailer::of_block(eeprom, block)?.conditions?;
        // A readable key B authenticates, but the card refuses every access after it (section 8.7.2).
        let opens = opened.slot == KeySlot::A || !conditions.key_b_is_data();
        opens.then_some((opened.slot, conditions))
    }

    fn data_access(&self, eeprom: &Eeprom, block: u8) -> Option<(KeySlot, DataAccess)> {
        if is_trailer(block) {
            return None;
        }
        let (slot, conditions) = self.access(eeprom, block)?;
        Some((slot, conditions.data(group_of(block))))
    }

    fn read(&self, eeprom: &Eeprom, block: u8) -> Option<Step> {
        let bytes = eeprom.unit::<16>(usize::from(block))?;
        if is_trailer(block) {
            let (slot, conditions) = self.access(eeprom, block)?;
            let trailer = Trailer::parse(bytes);
            return Some(data(trailer.readable_by(slot, &conditions)));
        }
        let (slot, access) = self.data_access(eeprom, block)?;
        access.read.allows(slot).then(|| data(bytes))
    }

    fn begin_write(&mut self, eeprom: &Eeprom, block: u8) -> Option<Step> {
        let allowed = if is_trailer(block) {
            let (slot, conditions) = self.access(eeprom, block)?;
            let access = conditions.trailer();
            access.key_a_write.allows(slot)
                || access.bits_write.allows(slot)
                || access.key_b_write.allows(slot)
        } else {
            let (slot, access) = self.data_access(eeprom, block)?;
            // The maker's block is read-only on genuine cards (section 8.6.1).
            block != 0 && access.write.allows(slot)
        };
        allowed.then(|| {
            self.awaited = Some(Awaited::Write(block));
            Step::Stay(CardAnswer::Ack)
        })
    }

    fn begin_value(&mut self, eeprom: &Eeprom, code: u8, block: u8) -> Option<Step> {
        let (slot, access) = self.data_access(eeprom, block)?;
        let by = match code {
            INCREMENT => access.increment,
            _ => access.decrement_transfer_restore,
        };
        let value = Value::parse(eeprom.unit(usize::from(block))?)?;
        by.allows(slot).then(|| {
            self.awaited = Some(match code {
                INCREMENT => Awaited::Increment(value),
                DECREMENT => Awaited::Decrement(value),
                _ => Awaited::Restore(value),
            });
            Step::Stay(CardAnswer::Ack)
        })
    }

    fn transfer(&mut self, eeprom: &mut Eeprom, block: u8) -> Option<Step> {
        let (slot, access) = self.data_access(eeprom, block)?;
        if block == 0 || !access.decrement_transfer_restore.allows(slot) {
            return None;
        }
        let value = self.buffer?;
        Some(stored(eeprom.store(usize::from(block), value.bytes())))
    }

    fn operand(&mut self, eeprom: &mut Eeprom, awaited: Awaited, frame: &[u8]) -> Option<Step> {
        let operand = || frame.try_into().ok().map(i32::from_le_bytes);
        self.buffer = Some(match awaited {
            Awaited::Write(block) => return self.write(eeprom, block, frame.try_into().ok()?),
            Awaited::Decrement(value) => value.with(value.value.checked_sub(operand()?)?),
            Awaited::Increment(value) => value.with(value.value.checked_add(operand()?)?),
            // The operand of a restore counts for nothing.
            Awaited::Restore(value) => operand().map(|_| value)?,
        });
        // A value operation that succeeds is not acknowledged (section 9.6).
        Some(Step::Stay(CardAnswer::Silent))
    }

    fn write(&self, eeprom: &mut Eeprom, block: u8, new: Block) -> Option<Step> {
        let new = if is_trailer(block) {
            let (slot, conditions) = self.access(eeprom, block)?;
            Trailer::parse(eeprom.unit(usize::from(block))?).changed_by(slot, &conditions, new)
        } else {
            new
        };
        Some(stored(eeprom.store(usize::from(block), new)))
    }
}

/// A sector trailer (section 8.6.3).
struct Trailer {
    key_a: [u8; 6],
    /// The access bits and the user byte.
    access: [u8; 4],
    key_b: [u8; 6],
    conditions: Option<Conditions>,
}

impl Trailer {
    fn of_block(eeprom: &Eeprom, block: u8) -> Option<Self> {
        let trailer = if block < FIRST_LARGE_BLOCK {
            block | 0x03
        } else {
            block | 0x0F
        };
        eeprom.unit(usize::from(trailer)).map(Self::parse)
    }

    fn parse(block: Block) -> Self {
        let [
            a0,
            a1,
            a2,
            a3,
            a4,
            a5,
            c6,
            c7,
            c8,
            user,
            b0,
            b1,
            b2,
            b3,
            b4,
            b5,
        ] = block;
        Self {
            key_a: [a0, a1, a2, a3, a4, a5],
            access: [c6, c7, c8, user],
            key_b: [b0, b1, b2, b3, b4, b5],
            conditions: Conditions::parse([c6, c7, c8]),
        }
    }

    fn readable_by(&self, slot: KeySlot, conditions: &Conditions) -> Block {
        let allowed = conditions.trailer();
        let access = if allowed.bits_read.allows(slot) {
            self.access
        } else {
            [0; 4]
        };
        let key_b = if allowed.key_b_read.allows(slot) {
            self.key_b
        } else {
            [0; 6]
        };
        join([0; 6], access, key_b)
    }

    /// The trailer with those fields of `new` that this key may write.
    fn changed_by(&self, slot: KeySlot, conditions: &Conditions, new: Block) -> Block {
        let allowed = conditions.trailer();
        let new = Self::parse(new);
        join(
            if allowed.key_a_write.allows(slot) {
                new.key_a
            } else {
                self.key_a
            },
            if allowed.bits_write.allows(slot) {
                new.access
            } else {
                self.access
            },
            if allowed.key_b_write.allows(slot) {
                new.key_b
            } else {
                self.key_b
            },
        )
    }
}

impl Value {
    fn parse(block: Block) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l, address, n, o, p] = block;
        let value = i32::from_le_bytes([a, b, c, d]);
        let well_formed = value == !i32::from_le_bytes([e, f, g, h])
            && value == i32::from_le_bytes([i, j, k, l])
            && [n, o, p] == [!address, address, !address];
        well_formed.then_some(Self { value, address })
    }

    fn with(self, value: i32) -> Self {
        Self { value, ..self }
    }

    fn bytes(self) -> Block {
        let [a, b, c, d] = self.value.to_le_bytes();
        let at = self.address;
        [a, b, c, d, !a, !b, !c, !d, a, b, c, d, at, !at, at, !at]
    }
}

fn join(key_a: [u8; 6], access: [u8; 4], key_b: [u8; 6]) -> Block {
    let mut block = [0; 16];
    let bytes = key_a.into_iter().chain(access).chain(key_b);
    for (to, from) in block.iter_mut().zip(bytes) {
        *to = from;
    }
    block
}

fn is_trailer(block: u8) -> bool {
    if block < FIRST_LARGE_BLOCK {
        block % 4 == 3
    } else {
        block % 16 == 15
    }
}

fn sector_of(block: u8) -> u8 {
    if block < FIRST_LARGE_BLOCK {
        block / 4
    } else {
        FIRST_LARGE_SECTOR + (block - FIRST_LARGE_BLOCK) / 16
    }
}

/// The group of data blocks that share a condition: single blocks, in large sectors five each.
fn group_of(block: u8) -> u8 {
    if block < FIRST_LARGE_BLOCK {
        block % 4
    } else {
        block % 16 / 5
    }
}

fn data(block: Block) -> Step {
    Step::Stay(CardAnswer::Data(block.to_vec()))
}

fn stored(outcome: Result<(), PowerLost>) -> Step {
    match outcome {
        Ok(()) => Step::Stay(CardAnswer::Ack),
        Err(PowerLost) => Step::Drop(CardAnswer::Silent),
    }
}
