//! Virtual ISO/IEC 14443-A cards, seen from the air: commands without CRC go in, answers without CRC come out.
//!
//! They hold the state and refuse what the real cards refuse (NXP MF1S50YYX, MF1S70YYX, MF0ICU1, MF0ICU2, MF0ULX1,
//! NTAG213/215/216 data sheets), so that drivers can be tried without hardware. They read the data sheets on their
//! own: nothing here uses the card logic that they test.

mod access;
mod classic;
mod eeprom;
mod iso_dep;
mod kind;
mod type2;

use super::{KeySlot, Uid};
use classic::Classic;
use eeprom::Eeprom;
use iso_dep::IsoDep;
use type2::Type2;

pub use eeprom::TornState;
pub use kind::{CardKind, UnknownCardKind};

/// HLTA: the card falls silent until it is selected again (ISO/IEC 14443-3, 6.5.3).
const HALT: [u8; 2] = [0x50, 0x00];
/// MIFARE commands whose operand travels in a second frame, after an acknowledgement of the first: write,
/// decrement, increment, restore (MF1S50YYX, section 9).
const TWO_FRAME_COMMANDS: [u8; 4] = [0xA0, 0xC0, 0xC1, 0xC2];

/// What a card answers to one frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CardAnswer {
    /// A frame of bytes, without its CRC.
    Data(Vec<u8>),
    /// The 4-bit acknowledgement A.
    Ack,
    /// A 4-bit negative acknowledgement, 0 to 9. The card has fallen back to idle.
    Nak(u8),
    /// Nothing.
    Silent,
}

/// The bytes cannot be this card's memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected {expected} bytes of card memory, got {got}")]
pub struct WrongMemorySize {
    /// What this card holds.
    pub expected: usize,
    /// What was given.
    pub got: usize,
}

/// This kind of card cannot have a UID of this length.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a {kind} has no uid of {got} bytes; give {expected}")]
pub struct WrongUidLength {
    /// The kind of card.
    pub kind: CardKind,
    /// The lengths that this kind has, in words.
    pub expected: &'static str,
    /// The length given.
    pub got: usize,
}

/// One card with its memory.
#[derive(Clone, Debug)]
pub struct VirtualCard {
    kind: CardKind,
    uid: Uid,
    eeprom: Eeprom,
    chip: Chip,
    powered: bool,
    selected: bool,
    halted: bool,
}

#[derive(Clone, Debug)]
enum Chip {
    Classic(Classic),
    Type2(Type2),
    IsoDep(IsoDep),
}

/// An answer, and whether the card still listens afterwards.
enum Step {
    Stay(CardAnswer),
    Drop(CardAnswer),
}

impl VirtualCard {
    /// A card as the factory delivers it. Without `uid` it gets one that is fixed for its kind.
    ///
    /// # Errors
    /// [`WrongUidLength`] when cards of this kind have no UID of that length.
    pub fn new(kind: CardKind, uid: Option<Uid>) -> Result<Self, WrongUidLength> {
        let uid = uid.unwrap_or_else(|| kind.default_uid());
        let got = uid.as_bytes().len();
        if !kind.uid_lengths().contains(&got) {
            let expected = match kind.uid_lengths() {
                [4] => "4 bytes",
                [7] => "7 bytes",
                _ => "4 or 7 bytes",
            };
            return Err(WrongUidLength {
                kind,
                expected,
                got,
            });
        }
        let (chip, memory) = Chip::new(kind, &uid);
        Ok(Self {
            kind,
            uid,
            eeprom: Eeprom::new(memory),
            chip,
            powered: false,
            selected: false,
            halted: false,
        })
    }

    /// What kind of card this is.
    pub fn kind(&self) -> CardKind {
        self.kind
    }

    /// The UID that it showed at its last selection.
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// ATQA, high byte first, as readers print it.
    pub fn atqa(&self) -> [u8; 2] {
        self.kind.atqa(self.uid.as_bytes().len())
    }

    /// SAK after the complete UID.
    pub fn sak(&self) -> u8 {
        self.kind.sak()
    }

    /// The answer to RATS, its length byte first; empty for a card that is no ISO/IEC 14443-4 card.
    pub fn ats(&self) -> &'static [u8] {
        self.kind.ats()
    }

    /// Anticollision and selection: the card forgets authentications and listens. A card with a random UID draws a
    /// new one.
    pub fn select(&mut self) -> Uid {
        self.chip.reset();
        self.halted = false;
        if !std::mem::replace(&mut self.powered, true)
            && let Chip::Type2(chip) = &mut self.chip
        {
            chip.power_on(&self.eeprom);
        }
        if let Chip::IsoDep(chip) = &mut self.chip
            && let Some(uid) = chip.draw_uid()
        {
            self.uid = uid;
        }
        self.selected = true;
        self.uid
    }

    /// Whether the card listens to commands.
    pub fn is_selected(&self) -> bool {
        self.selected
    }

    /// Whether the card was put to sleep, so that it answers a wake-up but no request (ISO/IEC 14443-3, 6.3.5).
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// The field is gone: everything but the memory is forgotten.
    pub fn power_off(&mut self) {
        self.drop_to_idle();
        self.powered = false;
        self.halted = false;
    }

    /// Answers one frame. Where a data sheet lets a command travel in two frames (write, decrement, increment,
    /// restore), each is one call.
    pub fn transceive(&mut self, frame: &[u8]) -> CardAnswer {
        if !self.selected {
            return CardAnswer::Silent;
        }
        if frame == HALT {
            self.drop_to_idle();
            self.halted = true;
            return CardAnswer::Silent;
        }
        self.halted = frame == [iso_dep::S_DESELECT] && matches!(self.chip, Chip::IsoDep(_));
        let step = match &mut self.chip {
            Chip::Classic(chip) => chip.answer(&mut self.eeprom, frame),
            Chip::Type2(chip) => chip.answer(&mut self.eeprom, frame),
            Chip::IsoDep(chip) => chip.answer(self.kind, &self.uid, frame),
        };
        match step {
            Step::Stay(answer) => answer,
            Step::Drop(answer) => {
                self.drop_to_idle();
                answer
            }
        }
    }

    /// Runs one command as readers offer it: command, address and operand together. Commands of two frames are sent
    /// in two, and the silence with which a MIFARE Classic confirms an operand is an acknowledgement here.
    pub fn exchange(&mut self, command: &[u8]) -> CardAnswer {
        let two_frames = command
            .first()
            .is_some_and(|code| TWO_FRAME_COMMANDS.contains(code))
            && !matches!(self.chip, Chip::IsoDep(_));
        let Some((head, operand)) = command.split_at_checked(2).filter(|_| two_frames) else {
            return self.transceive(command);
        };
        let accepted = self.transceive(head);
        if accepted != CardAnswer::Ack {
            return accepted;
        }
        let answer = self.transceive(operand);
        if answer == CardAnswer::Silent && self.selected {
            return CardAnswer::Ack;
        }
        answer
    }

    /// MIFARE Classic authentication (commands 60 and 61); `uid` are the UID's last 4 bytes. The cipher is left out:
    /// the reader knows the key in clear. A refused card falls back to idle.
    pub fn authenticate(&mut self, slot: KeySlot, block: u8, key: &[u8; 6], uid: &[u8; 4]) -> bool {
        let right_uid = self.uid.as_bytes().ends_with(uid);
        let accepted = match &mut self.chip {
            Chip::Classic(chip) if self.selected && right_uid => {
                chip.authenticate(&self.eeprom, slot, block, key)
            }
            Chip::Classic(_) | Chip::Type2(_) | Chip::IsoDep(_) => false,
        };
        if !accepted {
            self.drop_to_idle();
        }
        accepted
    }

    /// The whole memory with keys and passwords in clear, as the chip holds it; empty for an ISO/IEC 14443-4 card.
    pub fn memory(&self) -> &[u8] {
        self.eeprom.bytes()
    }

    /// Replaces the whole memory, whatever locks say; a configuration in it is in force at once. The UID stays the one
    /// that the card shows at selection.
    ///
    /// # Errors
    /// [`WrongMemorySize`] unless there are exactly as many bytes as [`VirtualCard::memory`] has.
    pub fn load(&mut self, memory: &[u8]) -> Result<(), WrongMemorySize> {
        self.eeprom.load(memory)?;
        if let Chip::Type2(chip) = &mut self.chip {
            chip.power_on(&self.eeprom);
        }
        Ok(())
    }

    /// How many blocks or pages were written since the card was made, torn writes included.
    pub fn writes(&self) -> u64 {
        self.eeprom.writes()
    }

    /// The power fails during the `nth` write from now on (1 is the next one), which leaves `state` behind.
    pub fn tear_at_write(&mut self, nth: u64, state: TornState) {
        self.eeprom.tear_at_write(nth, state);
    }

    /// No write is torn any more.
    pub fn cancel_tear(&mut self) {
        self.eeprom.cancel_tear();
    }

    /// Whether a write was torn since this was last asked.
    pub fn take_torn(&mut self) -> bool {
        self.eeprom.take_torn()
    }

    fn drop_to_idle(&mut self) {
        self.selected = false;
        self.chip.reset();
    }
}

impl Chip {
    fn new(kind: CardKind, uid: &Uid) -> (Self, Vec<u8>) {
        if let Some(layout) = type2::Layout::of(kind) {
            return (
                Self::Type2(Type2::new(layout)),
                layout.factory_memory(uid.as_bytes()),
            );
        }
        if let Some(blocks) = classic::blocks(kind) {
            let memory = classic::factory_memory(kind, uid.as_bytes(), blocks);
            return (Self::Classic(Classic::new()), memory);
        }
        (Self::IsoDep(IsoDep::new(kind, uid)), Vec::new())
    }

    /// What a new selection, or falling back to idle, makes the chip forget.
    fn reset(&mut self) {
        match self {
            Self::Classic(chip) => chip.reset(),
            Self::Type2(chip) => chip.reset(),
            Self::IsoDep(chip) => chip.reset(),
        }
    }
}

#[cfg(test)]
mod tests;
