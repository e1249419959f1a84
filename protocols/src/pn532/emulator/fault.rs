//! What can be made to go wrong.

use std::{str::FromStr, time::Duration};

use super::super::frame::{ACK, NACK};
use crate::card::virtual_card::TornState;

/// How many NACK frames answer a command during a storm.
const STORM_FRAMES: usize = 3;

/// Something that goes wrong. Each counts from the moment at which it is injected; 1 is the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The nth response is not sent.
    DropResponse(u32),
    /// One bit of the nth response's last data byte is flipped.
    CorruptResponse(u32),
    /// Of the nth response only the first bytes are sent.
    TruncateResponse(u32, usize),
    /// The nth response comes late.
    DelayResponse(u32, Duration),
    /// The nth response comes twice.
    RepeatResponse(u32),
    /// An acknowledge frame stands in the middle of the nth response.
    InterleaveResponse(u32),
    /// The next so many responses have so many bytes of noise in front.
    Babble(u32, usize),
    /// The nth command is carried out and answered but not acknowledged.
    DropAck(u32),
    /// The nth command is not heard at all.
    LoseCommand(u32),
    /// The next so many commands are answered by NACK frames alone, which no sound chip sends.
    NackStorm(u32),
    /// The nth exchange with a card ends with this status instead of being carried out.
    Status(u32, u8),
    /// The nth exchange with a card is carried out, but its answer is this status.
    StatusAfter(u32, u8),
    /// All cards are lifted when the nth command has been heard, before it is carried out.
    RemoveCard(u32),
    /// All cards are lifted when so many bytes have passed the line, both directions together.
    RemoveCardAtByte(u64),
    /// When so many bytes have passed the line, both directions together, nothing passes any more.
    SilentFromByte(u64),
    /// The power of the cards fails during their nth write.
    Tear {
        /// Which write.
        nth: u32,
        /// What the write leaves behind.
        state: TornState,
        /// Whether the card is lifted at that moment; otherwise it lies there, idle.
        lift: bool,
    },
}

/// The text names no fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown fault {0:?}; known:\n{help}", help = Fault::HELP)]
pub struct UnknownFault(pub String);

impl Fault {
    /// The spellings that [`Fault::from_str`] reads, a line each.
    pub const HELP: &'static str = "\
  drop-response N              the Nth response from now on is not sent (1 is the next one)
  corrupt-response N           one bit of it is flipped
  truncate-response N BYTES    only its first BYTES are sent
  delay-response N MS          it comes MS milliseconds late
  repeat-response N            it comes twice
  interleave-response N        an acknowledge frame stands in its middle
  babble N BYTES               the next N responses have BYTES of noise in front
  drop-ack N                   the Nth command is carried out but not acknowledged
  lose-command N               the Nth command is not heard
  nack-storm N                 the next N commands are answered by NACK frames alone
  status N CODE                the Nth card exchange ends with status CODE (hex), not carried out
  status-after N CODE          the same, but carried out
  remove-card N                the cards are lifted when the Nth command was heard
  remove-card-at-byte N        the cards are lifted after N bytes on the line, both directions
  silent-from-byte N           nothing passes after N bytes on the line; 0 is at once
  tear N old|new|mixed [lift]  the power fails during the Nth write (lift: the card is gone, too)";

    /// What the fault counts, and the count.
    fn trigger(self) -> (Trigger, u64) {
        match self {
            Self::DropResponse(nth)
            | Self::CorruptResponse(nth)
            | Self::TruncateResponse(nth, _)
            | Self::DelayResponse(nth, _)
            | Self::RepeatResponse(nth)
            | Self::InterleaveResponse(nth)
            | Self::Babble(nth, _) => (Trigger::Response, nth.into()),
            Self::DropAck(nth)
            | Self::LoseCommand(nth)
            | Self::NackStorm(nth)
            | Self::RemoveCard(nth) => (Trigger::Command, nth.into()),
            Self::Status(nth, _) | Self::StatusAfter(nth, _) => (Trigger::CardCommand, nth.into()),
            Self::RemoveCardAtByte(byte) | Self::SilentFromByte(byte) => (Trigger::Byte, byte),
            Self::Tear { nth, .. } => (Trigger::Write, nth.into()),
        }
    }

    /// Whether it happens each time until its count is used up, not only the last time.
    fn happens_each_time(self) -> bool {
        matches!(self, Self::Babble(..) | Self::NackStorm(_))
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let words: Vec<&str> = text.split_whitespace().collect();
        parse(&words).ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

fn parse(words: &[&str]) -> Option<Fault> {
    let (name, arguments) = words.split_first()?;
    let (nth, rest) = arguments.split_first()?;
    let byte: u64 = nth.parse().ok()?;
    let nth = u32::try_from(byte).ok();
    let count = || nth.filter(|nth| *nth > 0);
    let code = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    Some(match (*name, rest) {
        ("drop-response", []) => Fault::DropResponse(count()?),
        ("corrupt-response", []) => Fault::CorruptResponse(count()?),
        ("truncate-response", [bytes]) => Fault::TruncateResponse(count()?, bytes.parse().ok()?),
        ("delay-response", [ms]) => {
            Fault::DelayResponse(count()?, Duration::from_millis(ms.parse().ok()?))
        }
        ("repeat-response", []) => Fault::RepeatResponse(count()?),
        ("interleave-response", []) => Fault::InterleaveResponse(count()?),
        ("babble", [bytes]) => {
            let bytes = bytes.parse().ok().filter(|bytes| *bytes <= MAX_BABBLE)?;
            Fault::Babble(count()?, bytes)
        }
        ("drop-ack", []) => Fault::DropAck(count()?),
        ("lose-command", []) => Fault::LoseCommand(count()?),
        ("nack-storm", []) => Fault::NackStorm(count()?),
        ("status", [status]) => Fault::Status(count()?, code(status)?),
        ("status-after", [status]) => Fault::StatusAfter(count()?, code(status)?),
        ("remove-card", []) => Fault::RemoveCard(count()?),
        ("remove-card-at-byte", []) => Fault::RemoveCardAtByte(byte),
        ("silent-from-byte", []) => Fault::SilentFromByte(byte),
        ("tear", [state, rest @ ..]) => Fault::Tear {
            nth: count()?,
            state: match *state {
                "old" => TornState::Old,
                "new" => TornState::New,
                "mixed" => TornState::Mixed,
                _ => return None,
            },
            lift: match rest {
                [] => false,
                ["lift"] => true,
                _ => return None,
            },
        },
        _ => return None,
    })
}

/// The most noise in front of one response.
const MAX_BABBLE: usize = 65_536;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trigger {
    Response,
    Command,
    CardCommand,
    Byte,
    /// Counted by the cards themselves.
    Write,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    fault: Fault,
    trigger: Trigger,
    left: u64,
}

/// The faults that are still to come, and what they have left behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
    silent: bool,
    lifts_torn_card: bool,
    exchanged: u64,
    /// State of the generator of noise.
    noise: u32,
}

/// How a command came through.
pub(super) struct CommandFaults {
    pub(super) heard: Heard,
    pub(super) remove_card: bool,
    pub(super) status: Option<u8>,
    pub(super) carried_out: bool,
}

pub(super) enum Heard {
    Well,
    WithoutAck,
    Lost,
    /// Answered by these bytes and forgotten.
    Nacked(Vec<u8>),
}

/// A part of a response as it goes out.
pub(super) enum ResponsePart {
    Now(Vec<u8>),
    Late(Duration, Vec<u8>),
}

/// What came of bytes that pass the line.
pub(super) struct Passed {
    pub(super) bytes: usize,
    pub(super) remove_card: bool,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        if let Fault::Tear { lift, .. } = fault {
            self.lifts_torn_card = lift;
        }
        match fault.trigger() {
            (Trigger::Byte, 0) => self.silent |= matches!(fault, Fault::SilentFromByte(_)),
            (Trigger::Write, _) => {}
            (trigger, left) => self.armed.push(Armed {
                fault,
                trigger,
                left,
            }),
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    pub(super) fn lifts_torn_card(&self) -> bool {
        self.lifts_torn_card
    }

    pub(super) fn exchanged(&self) -> u64 {
        self.exchanged
    }

    pub(super) fn command(&mut self, payload: &[u8]) -> CommandFaults {
        let mut faults = CommandFaults {
            heard: Heard::Well,
            remove_card: false,
            status: None,
            carried_out: true,
        };
        let mut fired = self.fire(Trigger::Command);
        if matches!(payload.first(), Some(0x40 | 0x42 | 0x44 | 0x52 | 0x54)) {
            fired.extend(self.fire(Trigger::CardCommand));
        }
        for fault in fired {
            if let Fault::DropAck(_) = fault {
                faults.heard = Heard::WithoutAck;
            } else if let Fault::LoseCommand(_) = fault {
                faults.heard = Heard::Lost;
            } else if let Fault::NackStorm(_) = fault {
                faults.heard = Heard::Nacked(NACK.repeat(STORM_FRAMES));
            } else if let Fault::RemoveCard(_) = fault {
                faults.remove_card = true;
            } else if let Fault::Status(_, status) = fault {
                faults.status = Some(status);
                faults.carried_out = false;
            } else if let Fault::StatusAfter(_, status) = fault {
                faults.status = Some(status);
            }
        }
        faults
    }

    pub(super) fn response(&mut self, frame: Vec<u8>) -> Vec<ResponsePart> {
        let mut bytes = frame;
        let mut late = None;
        let mut repeated = false;
        for fault in self.fire(Trigger::Response) {
            if let Fault::DropResponse(_) = fault {
                bytes.clear();
            } else if let Fault::CorruptResponse(_) = fault {
                flip_last_data_bit(&mut bytes);
            } else if let Fault::TruncateResponse(_, count) = fault {
                bytes.truncate(count);
            } else if let Fault::DelayResponse(_, by) = fault {
                late = Some(by);
            } else if let Fault::RepeatResponse(_) = fault {
                repeated = true;
            } else if let Fault::InterleaveResponse(_) = fault {
                let middle = bytes.len() / 2;
                bytes.splice(middle..middle, ACK);
            } else if let Fault::Babble(_, count) = fault {
                let noise = self.babble(count);
                bytes.splice(0..0, noise);
            }
        }
        let copies = if repeated { 2 } else { 1 };
        std::iter::repeat_n(bytes, copies)
            .map(|bytes| match late {
                Some(by) => ResponsePart::Late(by, bytes),
                None => ResponsePart::Now(bytes),
            })
            .collect()
    }

    /// Lets `count` bytes pass the line, one after the other.
    pub(super) fn exchange(&mut self, count: usize) -> Passed {
        let mut passed = Passed {
            bytes: 0,
            remove_card: false,
        };
        while passed.bytes < count && !self.silent {
            passed.bytes += 1;
            self.exchanged += 1;
            for fault in self.fire(Trigger::Byte) {
                if let Fault::RemoveCardAtByte(_) = fault {
                    passed.remove_card = true;
                } else {
                    self.silent = true;
                }
            }
        }
        passed
    }

    /// Counts one event and answers the faults that happen with it.
    fn fire(&mut self, trigger: Trigger) -> Vec<Fault> {
        if self.armed.is_empty() {
            return Vec::new();
        }
        let mut fired = Vec::new();
        for armed in self
            .armed
            .iter_mut()
            .filter(|armed| armed.trigger == trigger)
        {
            armed.left = armed.left.saturating_sub(1);
            if armed.left == 0 || armed.fault.happens_each_time() {
                fired.push(armed.fault);
            }
        }
        self.armed.retain(|armed| armed.left > 0);
        fired
    }

    /// Bytes of a linear congruential generator (constants of Numerical Recipes).
    fn babble(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| {
                self.noise = self
                    .noise
                    .wrapping_mul(1_664_525)
                    .wrapping_add(1_013_904_223);
                let [byte, ..] = self.noise.to_be_bytes();
                byte
            })
            .collect()
    }
}

/// Flips a bit of the last byte before data checksum and postamble.
fn flip_last_data_bit(frame: &mut [u8]) {
    if let Some(byte) = frame.iter_mut().rev().nth(2) {
        *byte ^= 0x10;
    }
}
