//! A PN532 as its host sees it on the serial line, with virtual cards in its field: bytes in, bytes out.
//!
//! It reads commands on its own and shares only the frames with the driver, so that the two cannot agree on a wrong
//! reading. What it is faithful in, and where it had to choose, is listed in the folder's README.

mod chip;
mod exchange;
mod fault;
mod field;
mod pace;
mod target;

use std::time::Duration;

use super::frame::{ACK, Direction, Frame, FrameDecoder, SYNTAX_ERROR, encode_information};
use crate::{card::virtual_card::VirtualCard, emulated_line::Line, moment::Moment};
use chip::{Chip, Done};
use fault::{Faults, Heard, ResponsePart};

pub use fault::{Fault, UnknownFault};
pub use pace::Pace;

/// The rate after power-up (UM0701-02, section 6.2.1).
const POWER_UP_BAUD: u32 = 115_200;
/// A frame whose rest stays out for so long is given up (our choice: the chip's own limit is not published).
const PARTIAL_FRAME_PATIENCE: Duration = Duration::from_millis(50);
/// The bytes that are lost while the chip wakes up (UM0701-02, section 7.2.11: the host sends a long preamble).
const BYTES_LOST_AT_WAKE_UP: u8 = 3;

/// The chip, its serial line and its field.
///
/// Call [`Emulator::handle_input`] with what the host wrote and [`Emulator::handle_timeout`] at or after
/// [`Emulator::poll_timeout`]; after each of them, and after cards were moved, drain [`Emulator::poll_transmit`].
/// Moments must not go backwards, but input may be dated back to when the last output reached the host.
#[derive(Clone, Debug)]
pub struct Emulator {
    line: Line,
    decoder: FrameDecoder,
    partial_since: Option<Moment>,
    chip: Chip,
    work: Option<Work>,
    /// The frame of the last response, for a host that asks for it again.
    last_response: Vec<u8>,
    /// The rate that holds once the host has acknowledged the response.
    next_baud: Option<u32>,
    faults: Faults,
    waking: u8,
    stats: Stats,
    pace: Pace,
}

/// A command under way.
#[derive(Clone, Debug)]
struct Work {
    payload: Vec<u8>,
    /// When it is carried out.
    ready: Moment,
    /// How long it looks for a card: `None` for ever.
    give_up: Option<Moment>,
    /// The status with which it ends instead of its own.
    status: Option<u8>,
    /// Whether it is carried out at all.
    carried_out: bool,
}

/// What went over the line and the air so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Bytes from the host.
    pub bytes_in: u64,
    /// Bytes to the host.
    pub bytes_out: u64,
    /// Commands heard.
    pub commands: u64,
    /// Commands that the host gave up, by an acknowledge frame or by a new command.
    pub aborted: u64,
}

impl Emulator {
    /// A chip right after power-up: 115200 baud, asleep until the host's preamble wakes it, no card.
    pub fn new(pace: Pace) -> Self {
        Self {
            line: Line::new(pace.wire, POWER_UP_BAUD),
            decoder: FrameDecoder::new(),
            partial_since: None,
            chip: Chip::new(),
            work: None,
            last_response: Vec::new(),
            next_baud: None,
            faults: Faults::default(),
            waking: BYTES_LOST_AT_WAKE_UP,
            stats: Stats::default(),
            pace,
        }
    }

    /// Takes the supply away and gives it back: everything but cards, faults and statistics is as after power-up.
    pub fn power_cycle(&mut self) {
        let mut fresh = Self::new(self.pace);
        self.chip.field_mut().switch_off();
        fresh.chip = Chip::with_field(std::mem::take(self.chip.field_mut()));
        fresh.faults = std::mem::take(&mut self.faults);
        fresh.stats = self.stats;
        *self = fresh;
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
            let ready = self.next_step().filter(|due| *due <= now);
            match (arrival, ready) {
                (None, None) => break,
                (Some(at), Some(ready)) if ready <= at => self.advance(ready),
                (None, Some(ready)) => self.advance(ready),
                (Some(at), _) => self.take_arrived(at),
            }
        }
        if self
            .partial_since
            .is_some_and(|since| now.since(since) >= PARTIAL_FRAME_PATIENCE)
        {
            self.decoder.abandon_partial();
            self.partial_since = None;
            self.hear(now);
        }
    }

    /// The bytes that have reached the host by `now`.
    pub fn poll_transmit(&mut self, now: Moment) -> Option<Vec<u8>> {
        let bytes = self.line.take_due(now)?;
        self.hand_over(now, bytes)
    }

    /// The frames that have reached the host as a whole by `now`, and when the last byte did: for callers that wait for
    /// [`Emulator::poll_timeout`] and want to know how late they are.
    pub fn poll_frames(&mut self, now: Moment) -> Option<(Moment, Vec<u8>)> {
        let (through, bytes) = self.line.take_whole(now)?;
        Some((through, self.hand_over(now, bytes)?))
    }

    /// When something becomes due: input processed, a command carried out, a whole frame out. Bytes of a frame may be
    /// polled before.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let partial = self
            .partial_since
            .map(|since| since + PARTIAL_FRAME_PATIENCE);
        [
            self.line.next_arrival(),
            self.line.next_departure(),
            self.next_step(),
            partial,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Tells the rate that the host's end of the line is set to. While the wire is paced, it sets the byte time.
    pub fn set_line_baud(&mut self, baud: u32) {
        self.line.set_host_baud(baud);
    }

    /// The rate that the chip is set to.
    pub fn baud(&self) -> u32 {
        self.line.chip_baud()
    }

    /// Lays a card into the field.
    pub fn place(&mut self, now: Moment, name: &str, card: VirtualCard) {
        self.handle_timeout(now);
        self.chip.field_mut().place(name, card);
        let select = self.pace.select();
        if let Some(work) = &mut self.work
            && Chip::looks_for_cards(&work.payload)
        {
            work.ready = now + select;
            work.give_up = work.give_up.map(|limit| limit.max(work.ready));
        }
        self.handle_timeout(now);
    }

    /// Takes the card of this name out of the field.
    pub fn remove(&mut self, now: Moment, name: &str) -> Option<VirtualCard> {
        self.handle_timeout(now);
        self.chip.field_mut().remove(name)
    }

    /// Takes all cards out of the field, in the order in which they were placed.
    pub fn remove_all(&mut self, now: Moment) -> Vec<(String, VirtualCard)> {
        self.handle_timeout(now);
        self.chip.field_mut().remove_all()
    }

    /// The cards that a fault took out of the field since this was last asked.
    pub fn take_lifted(&mut self) -> Vec<(String, VirtualCard)> {
        self.chip.field_mut().take_lifted()
    }

    /// The cards in the field, in the order in which they were placed.
    pub fn cards(&self) -> impl Iterator<Item = (&str, &VirtualCard)> {
        self.chip.field().cards()
    }

    /// The card of this name, if it is in the field.
    pub fn card_mut(&mut self, name: &str) -> Option<&mut VirtualCard> {
        self.chip.field_mut().card_mut(name)
    }

    /// Lets something go wrong. Counts begin now.
    pub fn inject(&mut self, fault: Fault) {
        if let Fault::Tear { nth, state, .. } = fault {
            self.chip.field_mut().tear(nth.into(), state);
        }
        self.faults.add(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&mut self) {
        self.chip.field_mut().cancel_tears();
        self.faults = Faults::default();
    }

    /// The bytes that have gone over the line in either direction since the faults were last cleared; what
    /// [`Fault::RemoveCardAtByte`] and [`Fault::SilentFromByte`] count.
    pub fn exchanged(&self) -> u64 {
        self.faults.exchanged()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn hand_over(&mut self, now: Moment, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let count = bytes.len();
        bytes.truncate(self.count_exchanged(now, count));
        self.stats.bytes_out += bytes.len() as u64;
        (!bytes.is_empty()).then_some(bytes)
    }

    fn next_step(&self) -> Option<Moment> {
        let work = self.work.as_ref()?;
        if self.waits_for_a_card(work) {
            return work.give_up;
        }
        Some(work.ready)
    }

    fn waits_for_a_card(&self, work: &Work) -> bool {
        Chip::looks_for_cards(&work.payload)
            && work.status.is_none()
            && !self.chip.would_find(&work.payload)
    }

    fn take_arrived(&mut self, at: Moment) {
        for byte in self.line.take_arrived(at) {
            self.stats.bytes_in += 1;
            let heard = self.count_exchanged(at, 1) == 1;
            if !heard {
                continue;
            }
            if self.waking > 0 {
                self.waking -= 1;
                continue;
            }
            self.decoder.push(&[byte]);
            self.hear(at);
            while self.next_step().is_some_and(|due| due <= at) {
                self.advance(at);
            }
        }
    }

    fn hear(&mut self, at: Moment) {
        while let Some(found) = self.decoder.poll() {
            match found {
                Ok(Frame::Information {
                    direction: Direction::HostToChip,
                    payload,
                }) => self.begin(at, payload),
                Ok(Frame::Ack) => self.heard_ack(),
                Ok(Frame::Nack) => self.send(at, self.last_response.clone()),
                // The host never sends these, and the chip stays silent to what is broken (UM0701-02, 6.2.1).
                Ok(Frame::Information { .. } | Frame::SyntaxError) | Err(_) => {}
            }
        }
        self.partial_since = self.decoder.is_partial().then_some(at);
    }

    /// An acknowledge frame ends a command under way; after a response it confirms it.
    fn heard_ack(&mut self) {
        if self.work.take().is_some() {
            self.stats.aborted += 1;
        }
        if let Some(baud) = self.next_baud.take() {
            self.line.set_chip_baud(baud);
        }
    }

    fn begin(&mut self, at: Moment, payload: Vec<u8>) {
        if self.work.take().is_some() {
            self.stats.aborted += 1;
        }
        self.next_baud = None;
        self.stats.commands += 1;
        let heard = self.faults.command(&payload);
        if heard.remove_card {
            self.chip.field_mut().lift_all();
        }
        match heard.heard {
            Heard::Lost => return,
            Heard::Nacked(frame) => return self.send(at, frame),
            Heard::WithoutAck => {}
            Heard::Well => self.send(at, ACK.to_vec()),
        }
        let give_up = match self.chip.patience(&payload) {
            Some(tries) => Some(at + self.pace.search(tries)),
            None => None,
        };
        self.work = Some(Work {
            ready: at + self.pace.rf_time(&payload),
            payload,
            give_up,
            status: heard.status,
            carried_out: heard.carried_out,
        });
    }

    /// Carries out the command under way, which is due.
    fn advance(&mut self, at: Moment) {
        let Some(work) = self.work.take() else {
            return;
        };
        let done = if work.carried_out {
            self.chip.execute(&work.payload)
        } else {
            Done::Nothing
        };
        if self.chip.field_mut().was_torn() && self.faults.lifts_torn_card() {
            self.chip.field_mut().lift_all();
        }
        let done = match (work.status, work.payload.first()) {
            (Some(status), Some(code)) => Done::Response(vec![code.wrapping_add(1), status]),
            _ => done,
        };
        match done {
            Done::Nothing => {}
            Done::SyntaxError => self.respond(at, SYNTAX_ERROR.to_vec()),
            Done::Response(payload) => self.respond_with(at, &payload),
            Done::ResponseThenBaud(payload, baud) => {
                self.respond_with(at, &payload);
                self.next_baud = Some(baud);
            }
            Done::ResponseThenSleep(payload) => {
                self.respond_with(at, &payload);
                self.waking = BYTES_LOST_AT_WAKE_UP;
            }
        }
    }

    fn respond_with(&mut self, at: Moment, payload: &[u8]) {
        // The chip never makes more than a frame holds: longer answers end as a status.
        if let Ok(frame) = encode_information(Direction::ChipToHost, payload) {
            let bare = self.chip.leaves_out_preamble();
            self.respond(at, if bare { bare_frame(&frame) } else { frame });
        }
    }

    fn respond(&mut self, at: Moment, frame: Vec<u8>) {
        self.last_response.clone_from(&frame);
        for part in self.faults.response(frame) {
            match part {
                ResponsePart::Now(bytes) => self.send(at, bytes),
                ResponsePart::Late(delay, bytes) => self.send(at + delay, bytes),
            }
        }
    }

    fn send(&mut self, at: Moment, bytes: Vec<u8>) {
        if !self.faults.is_silent() {
            self.line.push_output(at, bytes);
        }
    }

    /// Counts bytes that pass the line and answers how many of them still pass.
    fn count_exchanged(&mut self, now: Moment, count: usize) -> usize {
        let passed = self.faults.exchange(count);
        if passed.remove_card {
            self.chip.field_mut().lift_all();
        }
        if passed.bytes < count {
            self.line.drop_output(now);
            self.work = None;
        }
        passed.bytes
    }
}

/// A frame without its first and its last byte (SetParameters, bit 6).
fn bare_frame(frame: &[u8]) -> Vec<u8> {
    let inner = frame.split_first().map_or(frame, |(_, rest)| rest);
    inner.split_last().map_or(inner, |(_, rest)| rest).to_vec()
}

#[cfg(test)]
mod tests;
