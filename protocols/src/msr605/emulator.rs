//! An MSR encoder as its host sees it, and the cards that are drawn through it: bytes in, bytes out.
//!
//! It reads commands and makes characters on its own and shares with the driver only the names of status bytes and, behind HID
//! reports, those. What it is faithful in, and where it had to choose, is listed in the folder's README.

mod command;
mod fault;
mod pace;
mod reported;
mod stripe;
mod swipe;

use std::time::Duration;

use super::status::Status;
use crate::{emulated_line::Line, moment::Moment};
use command::{CardCommand, Command, Next, PlainCommand};
use fault::Faults;
use swipe::{Task, Through};

pub use fault::{Fault, UnknownFault};
pub use pace::Pace;
pub use reported::ReportedEmulator;
pub use stripe::{Reading, StripeCard, StripeKind, StripeTrack, UnknownStripe};
pub use swipe::Swiped;

/// The line's rate.
const BAUD: u32 = 9_600;
/// A command whose rest stays out for so long is given up (our choice).
const PARTIAL_PATIENCE: Duration = Duration::from_secs(5);
/// What it says of its model: all three tracks.
const MODEL: u8 = b'3';
/// What it says of its firmware.
const FIRMWARE: &[u8] = b"REVT3.12";

/// Where units of the family differ.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Habits {
    /// A track that a write names without contents is blanked; otherwise it stays as it is.
    pub empty_track_blanks: bool,
    /// A blank track is reported by ESC `+`; otherwise by nothing.
    pub marks_blank_tracks: bool,
}

/// What the host can set; as the device comes up after power-up and after a reset.
#[derive(Clone, Debug)]
struct Settings {
    high_coercivity: bool,
    bpi: [u16; 3],
    /// Bits per character; as the device comes up it takes characters in ISO commands and plain bits in raw ones.
    bits: Option<[u8; 3]>,
    zeros: [u8; 3],
    lights: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            high_coercivity: true,
            bpi: [210, 75, 210],
            bits: None,
            zeros: [61, 22, 61],
            lights: 0x81,
        }
    }
}

/// The encoder, its line and its slot.
///
/// Call [`Emulator::handle_input`] with what the host wrote and [`Emulator::handle_timeout`] at or after
/// [`Emulator::poll_timeout`]; after each of them, and after a swipe or a placed card, drain [`Emulator::poll_transmit`]. Moments
/// must not go backwards, but input may be dated back to when the last output reached the host.
#[derive(Clone, Debug)]
pub struct Emulator {
    line: Line,
    input: Vec<u8>,
    /// When the last byte of an unfinished command came.
    partial_since: Option<Moment>,
    /// Until when nothing is heard.
    deaf_until: Moment,
    settings: Settings,
    armed: Option<Armed>,
    /// The card that is drawn through whenever the encoder waits for one.
    at_hand: Option<(String, StripeCard)>,
    faults: Faults,
    habits: Habits,
    stats: Stats,
    pace: Pace,
}

/// The encoder waits for a card.
#[derive(Clone, Debug)]
struct Armed {
    task: Task,
    /// When the card that is at hand has been drawn through.
    ready: Moment,
}

/// What went over the line and through the slot so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Bytes from the host.
    pub bytes_in: u64,
    /// Bytes to the host.
    pub bytes_out: u64,
    /// Commands heard, resets too.
    pub commands: u64,
    /// Resets heard.
    pub resets: u64,
    /// Waits for a card that a reset ended.
    pub aborted: u64,
    /// Cards drawn through while the encoder waited for one.
    pub swipes: u64,
}

impl Emulator {
    /// An encoder right after power-up, without a card at hand.
    pub fn new(pace: Pace) -> Self {
        Self {
            line: Line::new(pace.wire, BAUD),
            input: Vec::new(),
            partial_since: None,
            deaf_until: Moment::ORIGIN,
            settings: Settings::default(),
            armed: None,
            at_hand: None,
            faults: Faults::default(),
            habits: Habits::default(),
            stats: Stats::default(),
            pace,
        }
    }

    /// Takes the supply away and gives it back: everything but the card at hand, faults, habits and statistics is as after
    /// power-up.
    pub fn power_cycle(&mut self) {
        *self = Self {
            at_hand: self.at_hand.take(),
            faults: std::mem::take(&mut self.faults),
            habits: self.habits,
            stats: self.stats,
            ..Self::new(self.pace)
        };
    }

    /// Takes bytes that the host wrote.
    pub fn handle_input(&mut self, now: Moment, input: &[u8]) {
        self.handle_timeout(now);
        self.line.push_input(now, input);
        self.handle_timeout(now);
    }

    /// Lets pass what has become due.
    pub fn handle_timeout(&mut self, now: Moment) {
        loop {
            let arrival = self.line.next_arrival().filter(|due| *due <= now);
            let swipe = self.next_swipe().filter(|due| *due <= now);
            match (arrival, swipe) {
                (None, None) => break,
                (Some(at), Some(due)) if due > at => self.take_arrived(at),
                (_, Some(due)) => self.swipe_at_hand(due),
                (Some(at), None) => self.take_arrived(at),
            }
        }
        if self
            .partial_since
            .is_some_and(|since| now.since(since) >= PARTIAL_PATIENCE)
        {
            self.partial_since = None;
            self.input.clear();
        }
    }

    /// The bytes that have reached the host by `now`.
    pub fn poll_transmit(&mut self, now: Moment) -> Option<Vec<u8>> {
        let bytes = self.line.take_due(now)?;
        self.hand_over(now, bytes)
    }

    /// The replies that have reached the host as a whole by `now`, and when the last byte did.
    pub fn poll_frames(&mut self, now: Moment) -> Option<(Moment, Vec<u8>)> {
        let (through, bytes) = self.line.take_whole(now)?;
        Some((through, self.hand_over(now, bytes)?))
    }

    /// When something becomes due: input processed, a swipe over, a reply out. Bytes of a reply may be polled before.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let partial = self.partial_since.map(|since| since + PARTIAL_PATIENCE);
        let dues = [
            self.line.next_arrival(),
            self.line.next_departure(),
            self.next_swipe(),
            partial,
        ];
        dues.into_iter().flatten().min()
    }

    /// Tells the rate that the host's end of the line is set to. While the wire is paced, it sets the byte time.
    pub fn set_line_baud(&mut self, baud: u32) {
        self.line.set_host_baud(baud);
    }

    /// Keeps a card at hand: it is drawn through each time that the encoder waits for one. Answers the one that was at hand
    /// before.
    pub fn place(
        &mut self,
        now: Moment,
        name: &str,
        card: StripeCard,
    ) -> Option<(String, StripeCard)> {
        self.handle_timeout(now);
        let before = self.at_hand.replace((name.to_owned(), card));
        if let Some(armed) = &mut self.armed {
            armed.ready = now + self.pace.swipe_time();
        }
        self.handle_timeout(now);
        before
    }

    /// Takes the card at hand away.
    pub fn remove(&mut self, now: Moment) -> Option<(String, StripeCard)> {
        self.handle_timeout(now);
        self.at_hand.take()
    }

    /// The card at hand.
    pub fn at_hand(&self) -> Option<(&str, &StripeCard)> {
        self.at_hand
            .as_ref()
            .map(|(name, card)| (name.as_str(), card))
    }

    /// The card at hand.
    pub fn at_hand_mut(&mut self) -> Option<(&str, &mut StripeCard)> {
        self.at_hand
            .as_mut()
            .map(|(name, card)| (name.as_str(), card))
    }

    /// Draws a card through once. If the encoder does not wait for one, nothing happens.
    pub fn swipe(&mut self, now: Moment, card: &mut StripeCard) -> Swiped {
        self.handle_timeout(now);
        self.draw_through(now, card)
    }

    /// Whether the encoder waits for a card.
    pub fn waits(&self) -> bool {
        self.armed.is_some()
    }

    /// The last command for the lights, 81 to 85.
    pub fn lights(&self) -> u8 {
        self.settings.lights
    }

    /// Makes it a unit with other habits.
    pub fn set_habits(&mut self, habits: Habits) {
        self.habits = habits;
    }

    /// Lets something go wrong. Counts begin now.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&mut self) {
        self.faults = Faults::default();
    }

    /// The bytes that have gone over the line in either direction since the faults were last cleared.
    pub fn exchanged(&self) -> u64 {
        self.faults.exchanged()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn hand_over(&mut self, now: Moment, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let passed = self.faults.exchange(bytes.len());
        if passed < bytes.len() {
            self.line.drop_output(now);
            bytes.truncate(passed);
        }
        self.stats.bytes_out += bytes.len() as u64;
        (!bytes.is_empty()).then_some(bytes)
    }

    fn next_swipe(&self) -> Option<Moment> {
        self.at_hand.as_ref()?;
        self.armed.as_ref().map(|armed| armed.ready)
    }

    fn swipe_at_hand(&mut self, at: Moment) {
        if let Some((name, mut card)) = self.at_hand.take() {
            self.draw_through(at, &mut card);
            self.at_hand = Some((name, card));
        }
    }

    fn draw_through(&mut self, at: Moment, card: &mut StripeCard) -> Swiped {
        let Some(armed) = self.armed.take() else {
            return Swiped::Ignored;
        };
        self.stats.swipes += 1;
        let faults = self.faults.swipe(armed.task.writes());
        let through = Through {
            settings: &self.settings,
            habits: self.habits,
            faults,
        };
        let (reply, swiped) = through.draw(&armed.task, card);
        self.reply(at, reply);
        swiped
    }

    fn take_arrived(&mut self, at: Moment) {
        for byte in self.line.take_arrived(at) {
            self.stats.bytes_in += 1;
            if self.faults.exchange(1) == 1 && at >= self.deaf_until {
                self.input.push(byte);
                self.hear(at);
            }
        }
    }

    fn hear(&mut self, at: Moment) {
        loop {
            match command::next(&self.input) {
                Next::More => break,
                Next::Noise => drop(self.input.remove(0)),
                Next::Command(command, length) => {
                    self.input.drain(..length);
                    self.stats.commands += 1;
                    if !self.faults.loses_command() {
                        self.obey(at, command);
                    }
                }
            }
        }
        self.partial_since = (!self.input.is_empty()).then_some(at);
    }

    fn obey(&mut self, at: Moment, command: Command) {
        // While it waits for a card it hears a reset and nothing else.
        let waits = self.armed.is_some();
        match command {
            Command::Reset => self.reset(at),
            Command::Card(_) | Command::Plain(_) | Command::IllFormed | Command::Unknown
                if waits => {}
            Command::Card(command) => self.arm(at, command),
            Command::Plain(command) => self.answer(at, command),
            Command::IllFormed => self.say(at, Status::Format),
            Command::Unknown => self.say(at, Status::InvalidCommand),
        }
    }

    fn reset(&mut self, at: Moment) {
        self.stats.resets += 1;
        self.stats.aborted += u64::from(self.armed.take().is_some());
        self.settings = Settings::default();
        self.deaf_until = at + self.faults.deaf_after_reset();
    }

    fn arm(&mut self, at: Moment, command: CardCommand) {
        let task = match command {
            CardCommand::SensorTest => Task::Sense,
            CardCommand::Erase(mask) => Task::Erase(mask),
            CardCommand::ReadIso => Task::ReadIso,
            CardCommand::ReadRaw => Task::ReadRaw,
            CardCommand::WriteIso(tracks) => match self.settings.characters(&tracks) {
                Some(bits) => Task::Write(bits),
                None => return self.say(at, Status::Format),
            },
            CardCommand::WriteRaw(tracks) => Task::Write(self.settings.plain_bits(&tracks)),
        };
        self.armed = Some(Armed {
            task,
            ready: at + self.pace.swipe_time(),
        });
    }

    fn answer(&mut self, at: Moment, command: PlainCommand) {
        let settings = &mut self.settings;
        let reply = match command {
            PlainCommand::CommunicationTest => vec![0x1B, b'y'],
            PlainCommand::Lights(lights) => {
                settings.lights = lights;
                return;
            }
            PlainCommand::SetZeros(tracks_1_and_3, track_2) => {
                settings.zeros = [tracks_1_and_3, track_2, tracks_1_and_3];
                vec![0x1B, 0x30]
            }
            PlainCommand::Zeros => {
                let [tracks_1_and_3, track_2, _] = settings.zeros;
                vec![0x1B, tracks_1_and_3, track_2]
            }
            PlainCommand::SetDensity(code) => {
                let set = settings.set_density(code);
                vec![0x1B, if set { 0x30 } else { 0x41 }]
            }
            PlainCommand::SetBits(bits) if bits.iter().all(|bits| (5..=8).contains(bits)) => {
                settings.bits = Some(bits);
                [&[0x1B, 0x30][..], &bits].concat()
            }
            PlainCommand::SetBits(_) => vec![0x1B, 0x41],
            PlainCommand::SetCoercivity(high) => {
                settings.high_coercivity = high;
                vec![0x1B, 0x30]
            }
            PlainCommand::Coercivity => {
                vec![0x1B, if settings.high_coercivity { b'H' } else { b'L' }]
            }
            PlainCommand::Model => vec![0x1B, MODEL, b'S'],
            PlainCommand::Firmware => [&[0x1B][..], FIRMWARE].concat(),
            PlainCommand::RamTest => vec![0x1B, 0x30],
        };
        self.reply(at, reply);
    }

    fn say(&mut self, at: Moment, status: Status) {
        self.reply(at, vec![0x1B, status.byte()]);
    }

    fn reply(&mut self, at: Moment, reply: Vec<u8>) {
        for (delay, bytes) in self.faults.reply(reply) {
            self.line.push_output(at + delay, bytes);
        }
    }
}

#[cfg(test)]
mod tests;
