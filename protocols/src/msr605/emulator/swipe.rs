//! What a swipe does to a card and says to the host.

use super::{
    super::status::Status,
    Habits, Settings,
    fault::SwipeFaults,
    stripe::{Code, Reading, StripeCard, StripeTrack},
};

/// The most characters of tracks 1, 2 and 3, sentinels and check character included (ISO/IEC 7811-2 and 4909).
const MOST_CHARACTERS: [usize; 3] = [79, 40, 107];

/// What a card that was drawn through met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Swiped {
    /// The encoder did not wait for a card.
    Ignored,
    /// It was seen by the sensor.
    Sensed,
    /// It was read.
    Read,
    /// It was written or erased, well or not.
    Written,
}

impl Swiped {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Sensed => "sensed",
            Self::Read => "read",
            Self::Written => "written",
        }
    }
}

/// What the encoder waits for a card for.
#[derive(Clone, Debug)]
pub(super) enum Task {
    Sense,
    Erase(u8),
    ReadIso,
    ReadRaw,
    /// The bits of each track, without leading zeros.
    Write([Vec<bool>; 3]),
}

impl Task {
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Erase(_) | Self::Write(_))
    }
}

impl Settings {
    fn code(&self, track: usize) -> Option<Code> {
        let bits = self.bits.unwrap_or([7, 5, 5]);
        Code::of(*bits.get(track)?)
    }

    /// The bits of the characters that a host wants on the tracks, with sentinels and check characters; none where the code does
    /// not have them or they are too many.
    pub(super) fn characters(&self, tracks: &[Vec<u8>; 3]) -> Option<[Vec<bool>; 3]> {
        let mut bits: [Vec<bool>; 3] = Default::default();
        for ((number, text), bits) in tracks.iter().enumerate().zip(&mut bits) {
            if text.is_empty() {
                continue;
            }
            let code = self.code(number)?;
            // The check character is one more.
            let characters = [&[code.start()], text.as_slice(), b"?"].concat();
            let fits = characters.len() < *MOST_CHARACTERS.get(number)?;
            if !fits || !text.iter().all(|character| code.has(*character)) {
                return None;
            }
            *bits = code.encode(&characters);
        }
        Some(bits)
    }

    /// The bits that a host wants on the tracks: the first is the lowest of the first byte.
    pub(super) fn plain_bits(&self, tracks: &[Vec<u8>; 3]) -> [Vec<bool>; 3] {
        let per_byte = self.bits.unwrap_or([8; 3]);
        let mut bits: [Vec<bool>; 3] = Default::default();
        for ((bytes, per_byte), bits) in tracks.iter().zip(per_byte).zip(&mut bits) {
            let ordered = bytes
                .iter()
                .flat_map(|byte| (0..per_byte).map(move |bit| byte >> bit & 1 == 1));
            bits.extend(ordered);
        }
        bits
    }

    /// The command's argument names track and density.
    pub(super) fn set_density(&mut self, code: u8) -> bool {
        let (track, density) = match code {
            0xA0 => (0, 75),
            0xA1 => (0, 210),
            0x4B => (1, 75),
            0xD2 => (1, 210),
            0xC0 => (2, 75),
            0xC1 => (2, 210),
            _ => return false,
        };
        self.bpi.get_mut(track).map(|bpi| *bpi = density).is_some()
    }
}

/// A card on its way through.
pub(super) struct Through<'a> {
    pub(super) settings: &'a Settings,
    pub(super) habits: Habits,
    pub(super) faults: SwipeFaults,
}

impl Through<'_> {
    /// What the host is told, and what became of the card.
    pub(super) fn draw(&self, task: &Task, card: &mut StripeCard) -> (Vec<u8>, Swiped) {
        let alone = |status: Status| vec![0x1B, self.faults.status.unwrap_or(status).byte()];
        let swiped = match task {
            Task::Sense => Swiped::Sensed,
            Task::ReadIso | Task::ReadRaw => Swiped::Read,
            Task::Erase(_) | Task::Write(_) => Swiped::Written,
        };
        if self.faults.skipped {
            return (alone(Status::Failed), swiped);
        }
        let reply = match task {
            Task::Sense => alone(Status::Ok),
            Task::Erase(mask) => alone(self.erase(*mask, card)),
            Task::ReadIso => self.read_characters(card),
            Task::ReadRaw => self.read_bits(card),
            Task::Write(tracks) => alone(self.write(tracks, card)),
        };
        (reply, swiped)
    }

    fn erase(&self, mask: u8, card: &mut StripeCard) -> Status {
        // A mask of nothing means track 1 (manual).
        let mask = if mask & 0b111 == 0 { 0b001 } else { mask };
        let takes = card.takes(self.settings.high_coercivity);
        for (number, track) in card.tracks_mut().iter_mut().enumerate() {
            if mask >> number & 1 == 0 {
                continue;
            }
            if takes && !self.faults.jerky {
                *track = StripeTrack::default();
            } else {
                track.spoil();
            }
        }
        if takes && !self.faults.jerky {
            Status::Ok
        } else {
            Status::Failed
        }
    }

    fn write(&self, tracks: &[Vec<bool>; 3], card: &mut StripeCard) -> Status {
        let takes = card.takes(self.settings.high_coercivity);
        let settings = self.settings.zeros.into_iter().zip(self.settings.bpi);
        let wanted = tracks.iter().zip(settings);
        for (track, (bits, (zeros, bpi))) in card.tracks_mut().iter_mut().zip(wanted) {
            if bits.is_empty() {
                if self.habits.empty_track_blanks && takes {
                    *track = StripeTrack::default();
                }
                continue;
            }
            let mut all = vec![false; zeros.into()];
            all.extend(bits);
            if !takes {
                track.spoil();
            } else if self.faults.jerky {
                track.tear(&all, bpi);
            } else {
                track.put(all, bpi);
                if self.faults.weak {
                    track.spoil();
                }
            }
        }
        match (takes, self.faults.jerky) {
            (false, _) => Status::ReadWrite,
            (true, true) => Status::Swipe,
            (true, false) => Status::Ok,
        }
    }

    fn read_characters(&self, card: &StripeCard) -> Vec<u8> {
        let mut reply = vec![0x1B, b's'];
        let mut status = Status::Ok;
        for (number, track) in card.tracks().iter().enumerate() {
            reply.extend([0x1B, MARKS.get(number).copied().unwrap_or_default()]);
            let read = match self.settings.code(number) {
                Some(code) => track.characters(code),
                None => Err(Reading::Unreadable),
            };
            match read {
                Err(Reading::Blank) if self.habits.marks_blank_tracks => reply.extend([0x1B, b'+']),
                Err(Reading::Blank) => {}
                Ok(characters) if !self.faults.jerky => reply.extend(characters),
                Ok(_) | Err(Reading::Unreadable) => {
                    reply.extend([0x1B, b'*']);
                    status = Status::ReadWrite;
                }
            }
        }
        self.end_block(reply, status)
    }

    fn read_bits(&self, card: &StripeCard) -> Vec<u8> {
        let mut reply = vec![0x1B, b's'];
        let per_byte = self.settings.bits.unwrap_or([8; 3]);
        for ((track, mark), per_byte) in card.tracks().iter().zip(MARKS).zip(per_byte) {
            let seen = track.seen();
            let seen = if self.faults.jerky {
                seen.get(..seen.len() / 2)
            } else {
                Some(seen)
            };
            let groups = seen.unwrap_or_default().chunks(per_byte.into());
            let bytes: Vec<u8> = groups
                .take(u8::MAX.into())
                .map(|bits| packed(bits, per_byte))
                .collect();
            reply.extend([0x1B, mark, u8::try_from(bytes.len()).unwrap_or(u8::MAX)]);
            reply.extend(bytes);
        }
        let status = if self.faults.jerky {
            Status::ReadWrite
        } else {
            Status::Ok
        };
        self.end_block(reply, status)
    }

    fn end_block(&self, mut reply: Vec<u8>, status: Status) -> Vec<u8> {
        let status = self.faults.status.unwrap_or(status);
        reply.extend([b'?', 0x1C, 0x1B, status.byte()]);
        reply
    }
}

/// What stands behind ESC before a track's contents.
const MARKS: [u8; 3] = [1, 2, 3];

/// A byte as it is read: plain bits come highest first, characters lie as they are written.
fn packed(bits: &[bool], per_byte: u8) -> u8 {
    let set = |at: u8| if per_byte == 8 { 0x80 >> at } else { 1 << at };
    (0..8)
        .zip(bits)
        .filter(|(_, bit)| **bit)
        .fold(0, |byte, (at, _)| byte | set(at))
}
