//! What can be made to go wrong.

use std::{str::FromStr, time::Duration};

use super::super::status::Status;

/// Something that goes wrong. Each counts from the moment at which it is injected; 1 is the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The nth swipe that the encoder waits for ends with this status; the card stays as it is.
    Status(u32, Status),
    /// The nth swipe is carried out, but ends with this status.
    StatusAfter(u32, Status),
    /// The nth swipe is jerky: what was to be written is half there, with status 39; what was to be read is unreadable.
    Jerk(u32),
    /// The nth swipe that writes leaves nothing readable and ends as if it had.
    Weak(u32),
    /// The nth reply is not sent.
    DropReply(u32),
    /// One bit of its last byte but one is flipped.
    CorruptReply(u32),
    /// Of the nth reply only the first bytes are sent.
    TruncateReply(u32, usize),
    /// The nth reply comes late.
    DelayReply(u32, Duration),
    /// The nth reply comes twice.
    RepeatReply(u32),
    /// The next so many replies have so many bytes of noise in front.
    Babble(u32, usize),
    /// The nth command is not heard.
    LoseCommand(u32),
    /// What comes for so long after a reset is not heard, from now on.
    DeafAfterReset(Duration),
    /// When so many bytes have passed the line, both directions together, nothing passes any more.
    SilentFromByte(u64),
}

/// The text names no fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown fault {0:?}; known:\n{help}", help = Fault::HELP)]
pub struct UnknownFault(pub String);

/// The most noise in front of one reply.
const MOST_BABBLE: usize = 65_536;

impl Fault {
    /// The spellings that [`Fault::from_str`] reads, a line each.
    pub const HELP: &'static str = "\
  status N CODE                the Nth swipe from now on ends with status CODE (31, 39, …), the card unchanged (1 is the next)
  status-after N CODE          the same, but carried out
  jerk N                       the Nth swipe is jerky: half written and status 39, or unreadable
  weak N                       the Nth swipe that writes leaves nothing readable and says nothing of it
  drop-reply N                 the Nth reply is not sent
  corrupt-reply N              one bit of it is flipped
  truncate-reply N BYTES       only its first BYTES are sent
  delay-reply N MS             it comes MS milliseconds late
  repeat-reply N               it comes twice
  babble N BYTES               the next N replies have BYTES of noise in front
  lose-command N               the Nth command is not heard
  deaf-after-reset MS          from now on nothing is heard for MS milliseconds after a reset
  silent-from-byte N           nothing passes after N bytes on the line; 0 is at once";

    fn trigger(self) -> Option<(Trigger, u64)> {
        Some(match self {
            Self::Status(nth, _) | Self::StatusAfter(nth, _) | Self::Jerk(nth) => {
                (Trigger::Swipe, nth.into())
            }
            Self::Weak(nth) => (Trigger::Write, nth.into()),
            Self::DropReply(nth)
            | Self::CorruptReply(nth)
            | Self::TruncateReply(nth, _)
            | Self::DelayReply(nth, _)
            | Self::RepeatReply(nth)
            | Self::Babble(nth, _) => (Trigger::Reply, nth.into()),
            Self::LoseCommand(nth) => (Trigger::Command, nth.into()),
            Self::SilentFromByte(byte) => (Trigger::Byte, byte),
            Self::DeafAfterReset(_) => return None,
        })
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
    let [name, number, rest @ ..] = words else {
        return None;
    };
    let number: u64 = number.parse().ok()?;
    let nth = || u32::try_from(number).ok().filter(|nth| *nth > 0);
    let status = |text: &str| Status::from_byte(u8::from_str_radix(text, 16).ok()?);
    Some(match (*name, rest) {
        ("status", [code]) => Fault::Status(nth()?, status(code)?),
        ("status-after", [code]) => Fault::StatusAfter(nth()?, status(code)?),
        ("jerk", []) => Fault::Jerk(nth()?),
        ("weak", []) => Fault::Weak(nth()?),
        ("drop-reply", []) => Fault::DropReply(nth()?),
        ("corrupt-reply", []) => Fault::CorruptReply(nth()?),
        ("truncate-reply", [bytes]) => Fault::TruncateReply(nth()?, bytes.parse().ok()?),
        ("delay-reply", [ms]) => Fault::DelayReply(nth()?, Duration::from_millis(ms.parse().ok()?)),
        ("repeat-reply", []) => Fault::RepeatReply(nth()?),
        ("babble", [bytes]) => {
            let bytes = bytes.parse().ok().filter(|bytes| *bytes <= MOST_BABBLE)?;
            Fault::Babble(nth()?, bytes)
        }
        ("lose-command", []) => Fault::LoseCommand(nth()?),
        ("deaf-after-reset", []) => Fault::DeafAfterReset(Duration::from_millis(number)),
        ("silent-from-byte", []) => Fault::SilentFromByte(number),
        _ => return None,
    })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trigger {
    Swipe,
    Write,
    Reply,
    Command,
    Byte,
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
    deaf_after_reset: Duration,
    exchanged: u64,
    /// State of the generator of noise.
    noise: u32,
}

/// How a swipe goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SwipeFaults {
    /// The status with which it ends instead of its own.
    pub(super) status: Option<Status>,
    /// It does nothing to the card.
    pub(super) skipped: bool,
    pub(super) jerky: bool,
    pub(super) weak: bool,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        if let Fault::DeafAfterReset(time) = fault {
            self.deaf_after_reset = time;
        }
        match fault.trigger() {
            None => {}
            Some((Trigger::Byte, 0)) => self.silent = true,
            Some((trigger, left)) => self.armed.push(Armed {
                fault,
                trigger,
                left,
            }),
        }
    }

    pub(super) fn deaf_after_reset(&self) -> Duration {
        self.deaf_after_reset
    }

    pub(super) fn exchanged(&self) -> u64 {
        self.exchanged
    }

    pub(super) fn loses_command(&mut self) -> bool {
        !self.fire(Trigger::Command).is_empty()
    }

    pub(super) fn swipe(&mut self, writes: bool) -> SwipeFaults {
        let mut faults = SwipeFaults::default();
        for fault in self.fire(Trigger::Swipe) {
            if let Fault::Status(_, status) = fault {
                faults.status = Some(status);
                faults.skipped = true;
            } else if let Fault::StatusAfter(_, status) = fault {
                faults.status = Some(status);
            } else {
                faults.jerky = true;
            }
        }
        faults.weak = writes && !self.fire(Trigger::Write).is_empty();
        faults
    }

    /// A reply as it goes out: its parts, each with its delay.
    pub(super) fn reply(&mut self, reply: Vec<u8>) -> Vec<(Duration, Vec<u8>)> {
        let mut bytes = reply;
        let mut delay = Duration::ZERO;
        let mut copies = 1;
        for fault in self.fire(Trigger::Reply) {
            if let Fault::DropReply(_) = fault {
                bytes.clear();
            } else if let Fault::CorruptReply(_) = fault {
                if let Some(byte) = bytes.iter_mut().rev().nth(1) {
                    *byte ^= 0x10;
                }
            } else if let Fault::TruncateReply(_, count) = fault {
                bytes.truncate(count);
            } else if let Fault::DelayReply(_, by) = fault {
                delay = by;
            } else if let Fault::RepeatReply(_) = fault {
                copies = 2;
            } else if let Fault::Babble(_, count) = fault {
                let noise = self.babble(count);
                bytes.splice(0..0, noise);
            }
        }
        std::iter::repeat_n((delay, bytes), copies).collect()
    }

    /// How many of `count` bytes pass the line.
    pub(super) fn exchange(&mut self, count: usize) -> usize {
        let mut passed = 0;
        while passed < count && !self.silent {
            passed += 1;
            self.exchanged += 1;
            self.silent = !self.fire(Trigger::Byte).is_empty();
        }
        passed
    }

    /// Counts one event and answers the faults that happen with it.
    fn fire(&mut self, trigger: Trigger) -> Vec<Fault> {
        let mut fired = Vec::new();
        for armed in self
            .armed
            .iter_mut()
            .filter(|armed| armed.trigger == trigger)
        {
            armed.left = armed.left.saturating_sub(1);
            if armed.left == 0 || matches!(armed.fault, Fault::Babble(..)) {
                fired.push(armed.fault);
            }
        }
        self.armed.retain(|armed| armed.left > 0);
        fired
    }

    /// Bytes of a linear congruential generator (constants of Numerical Recipes).
    fn babble(&mut self, count: usize) -> Vec<u8> {
        let bytes = (0..count).map(|_| {
            self.noise = self
                .noise
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            let [byte, ..] = self.noise.to_be_bytes();
            byte
        });
        bytes.collect()
    }
}
