//! The conversation with a PN532: wake-up, acknowledge, response, repetition, abort (NXP UM0701-02, section 6.2.2).
//!
//! Command, ACK within 15 ms, response. A missing ACK makes the link send a repeatable command again; once the ACK was seen, the chip
//! has the command and may have acted on it, so from then on a lost or broken response is asked for again with NACK and the
//! command never repeated. Every wait has an end that no input puts off.

mod error;
mod timing;

use std::{collections::VecDeque, fmt, time::Duration};

use zeroize::Zeroizing;

use super::{
    command::{Reply, ReplyError, Request, RfConfiguration},
    frame::{ACK, Direction, Frame, FrameDecoder, FrameError, NACK, encode_information},
};
use crate::{link::Link, moment::Moment};
use timing::Quiet;

pub use error::LinkError;
pub use timing::{Counters, LinkTiming};

/// What wakes a chip in its low-power state, as libnfc 1.8.0 sends it: the chip loses the first bytes while its clock
/// starts.
pub const WAKE_UP: [u8; 16] = [0x55, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// MxRtyPassiveActivation as the chip comes up: for ever (UM0701-02, 7.3.1).
const DEFAULT_ACTIVATION_RETRIES: u8 = 0xFF;
/// Input is searched in parts that the decoder's buffer holds whole.
const INPUT_PART: usize = 1024;

/// The link to one PN532.
pub struct Pn532Link {
    timing: LinkTiming,
    decoder: FrameDecoder,
    outgoing: VecDeque<Vec<u8>>,
    phase: Phase,
    reply: Option<Result<Reply, LinkError>>,
    counters: Counters,
    /// The chip has acknowledged something since it was last asleep or out of reach.
    awake: bool,
    /// After an abort the chip's next ACK may get lost (libnfc issue 167).
    aborted: bool,
    activation_retries: u8,
    quiet: Option<Quiet>,
}

/// A command that is not answered yet.
struct UnderWay {
    request: Request,
    frame: Zeroizing<Vec<u8>>,
    sent: u8,
    acknowledged: u8,
    attempts: u8,
    asked_again: u8,
    broken: Option<FrameError>,
    foreign: Option<u8>,
}

enum Phase {
    Idle,
    /// Waits for the line to be quiet before the command is sent.
    Settling(UnderWay),
    AwaitingAck(UnderWay, Moment),
    AwaitingResponse(UnderWay, Moment),
}

impl fmt::Debug for Pn532Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, request) = match &self.phase {
            Phase::Idle => ("Idle", None),
            Phase::Settling(under_way) => ("Settling", Some(under_way)),
            Phase::AwaitingAck(under_way, _) => ("AwaitingAck", Some(under_way)),
            Phase::AwaitingResponse(under_way, _) => ("AwaitingResponse", Some(under_way)),
        };
        f.debug_struct("Pn532Link")
            .field("phase", &phase)
            .field("request", &request.map(|under_way| &under_way.request))
            .field("awake", &self.awake)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Pn532Link {
    /// A link to a chip that may be asleep.
    pub fn new(timing: LinkTiming) -> Self {
        Self {
            timing,
            decoder: FrameDecoder::new(),
            outgoing: VecDeque::new(),
            phase: Phase::Idle,
            reply: None,
            counters: Counters::default(),
            awake: false,
            aborted: false,
            activation_retries: DEFAULT_ACTIVATION_RETRIES,
            quiet: None,
        }
    }

    /// What went by on the line that should not.
    pub fn counters(&self) -> Counters {
        Counters {
            noise_bytes: self.counters.noise_bytes + self.decoder.noise(),
            ..self.counters
        }
    }

    /// The most time from `send` to the end of `request`, whatever comes in.
    pub fn longest(&self, request: &Request) -> Duration {
        let timing = &self.timing;
        let attempts = u32::from(timing.attempts.max(1)) + 1;
        timing.settle * Quiet::MOST
            + timing.acknowledge * attempts
            + request.response_timeout(self.activation_retries)
            + timing.retransmission * u32::from(timing.retransmissions)
    }

    fn transmit_command(&mut self, now: Moment, mut under_way: UnderWay) {
        let mut bytes = Vec::new();
        if !self.awake {
            bytes.extend(WAKE_UP);
        }
        bytes.extend(under_way.frame.iter());
        self.outgoing.push_back(bytes);
        under_way.sent = under_way.sent.saturating_add(1);
        // A command that may not be sent twice gets all the time in one piece.
        let wait = if under_way.request.is_repeatable() {
            self.timing.acknowledge
        } else {
            self.timing.acknowledge * u32::from(under_way.attempts)
        };
        self.phase = Phase::AwaitingAck(under_way, now + wait);
    }

    fn take_frames(&mut self, now: Moment) {
        while let Some(found) = self.decoder.poll() {
            match found {
                Ok(frame) => self.take_frame(now, frame),
                Err(error) => self.take_broken(now, error),
            }
        }
    }

    fn take_frame(&mut self, now: Moment, frame: Frame) {
        match (std::mem::replace(&mut self.phase, Phase::Idle), frame) {
            (Phase::AwaitingAck(mut under_way, _), Frame::Ack) => {
                under_way.acknowledged += 1;
                self.awake = true;
                self.aborted = false;
                let wait = under_way.request.response_timeout(self.activation_retries);
                self.phase = Phase::AwaitingResponse(under_way, now + wait);
            }
            // The ACK of an earlier transmission of the same command.
            (Phase::AwaitingResponse(mut under_way, until), Frame::Ack) => {
                under_way.acknowledged = under_way.acknowledged.saturating_add(1);
                self.counters.skipped_frames += 1;
                self.phase = Phase::AwaitingResponse(under_way, until);
            }
            (
                Phase::AwaitingResponse(under_way, until),
                Frame::Information {
                    direction: Direction::ChipToHost,
                    payload,
                },
            ) => self.take_response(now, under_way, until, &Zeroizing::new(payload)),
            (Phase::AwaitingResponse(under_way, _), Frame::SyntaxError) => {
                self.finish(now, &under_way, Err(LinkError::SyntaxError));
            }
            (phase, Frame::Ack | Frame::Nack | Frame::SyntaxError | Frame::Information { .. }) => {
                self.counters.skipped_frames += 1;
                self.phase = phase;
            }
        }
    }

    fn take_response(
        &mut self,
        now: Moment,
        mut under_way: UnderWay,
        until: Moment,
        payload: &[u8],
    ) {
        match under_way.request.parse_reply(payload) {
            Ok(reply) => {
                self.note_effect(&under_way.request, &reply);
                self.finish(now, &under_way, Ok(reply));
            }
            // A late answer to an earlier command.
            Err(ReplyError::OtherCommand { got, .. }) => {
                under_way.foreign = Some(got);
                self.counters.skipped_frames += 1;
                self.phase = Phase::AwaitingResponse(under_way, until);
            }
            Err(error @ (ReplyError::Empty { .. } | ReplyError::Malformed { .. })) => {
                self.finish(now, &under_way, Err(LinkError::MalformedReply(error)));
            }
        }
    }

    /// What a command that was carried out changes for the link itself.
    fn note_effect(&mut self, request: &Request, reply: &Reply) {
        if let Request::RfConfiguration(RfConfiguration::MaxRetries {
            passive_activation, ..
        }) = request
        {
            self.activation_retries = *passive_activation;
        }
        if let (Request::PowerDown(_), Reply::Status(status)) = (request, reply)
            && status.is_success()
        {
            self.awake = false;
        }
        if let Request::SetSerialBaudRate(_) = request {
            self.outgoing.push_back(ACK.to_vec());
        }
    }

    fn take_broken(&mut self, now: Moment, error: FrameError) {
        self.counters.broken_frames += 1;
        let whole_length = matches!(error, FrameError::DataChecksum { .. });
        if whole_length {
            // What stands in the data of a broken frame is no frame of its own.
            self.decoder.clear();
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::AwaitingResponse(mut under_way, until) => {
                under_way.broken = Some(error);
                if whole_length {
                    self.ask_again(now, under_way);
                } else {
                    self.phase = Phase::AwaitingResponse(under_way, until);
                }
            }
            phase @ (Phase::Idle | Phase::Settling(_) | Phase::AwaitingAck(..)) => {
                self.phase = phase;
            }
        }
    }

    fn ask_again(&mut self, now: Moment, mut under_way: UnderWay) {
        if under_way.asked_again >= self.timing.retransmissions {
            let expected = under_way.request.code().wrapping_add(1);
            let error = match (under_way.broken, under_way.foreign) {
                (Some(error), _) => LinkError::Checksum(error),
                (None, Some(got)) => LinkError::UnexpectedReply { expected, got },
                (None, None) => LinkError::NoResponse(
                    under_way.request.response_timeout(self.activation_retries)
                        + self.timing.retransmission * u32::from(under_way.asked_again),
                ),
            };
            self.tell_abort();
            self.finish(now, &under_way, Err(error));
            return;
        }
        under_way.asked_again += 1;
        self.counters.retransmissions += 1;
        self.outgoing.push_back(NACK.to_vec());
        self.phase = Phase::AwaitingResponse(under_way, now + self.timing.retransmission);
    }

    fn abandon(&mut self, now: Moment) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle | Phase::Settling(_) => {}
            Phase::AwaitingAck(mut under_way, _) => {
                // A transmission that nobody has fetched is the last thing to go out.
                if self.outgoing.pop_back().is_some() {
                    under_way.sent = under_way.sent.saturating_sub(1);
                }
                if under_way.sent > 0 {
                    self.settle_after(now, &under_way);
                    self.tell_abort();
                }
            }
            Phase::AwaitingResponse(under_way, _) => {
                self.settle_after(now, &under_way);
                self.tell_abort();
            }
        }
    }

    fn tell_abort(&mut self) {
        self.outgoing.push_back(ACK.to_vec());
        self.aborted = true;
        self.counters.aborts += 1;
    }

    fn finish(&mut self, now: Moment, under_way: &UnderWay, reply: Result<Reply, LinkError>) {
        self.settle_after(now, under_way);
        self.phase = Phase::Idle;
        self.reply = Some(reply);
    }

    fn settle_after(&mut self, now: Moment, under_way: &UnderWay) {
        if under_way.sent > under_way.acknowledged {
            self.quiet = Some(Quiet::from(now, self.timing.settle));
        }
    }

    fn miss_ack(&mut self, now: Moment, under_way: UnderWay) {
        if under_way.request.is_repeatable() && under_way.sent < under_way.attempts {
            self.counters.resends += 1;
            self.transmit_command(now, under_way);
            return;
        }
        self.awake = false;
        let sent = under_way.sent;
        self.finish(now, &under_way, Err(LinkError::Silent { sent }));
    }

    /// A wait that ends searches what is left of a frame that did not become whole.
    fn search_partial(&mut self, now: Moment) {
        while self.decoder.is_partial() {
            self.decoder.abandon_partial();
            self.take_frames(now);
        }
    }

    fn is_due(&self, now: Moment) -> bool {
        self.poll_timeout().is_some_and(|until| now >= until)
    }
}

impl Link for Pn532Link {
    type Request = Request;
    type Reply = Reply;
    type Error = LinkError;

    fn send(&mut self, now: Moment, request: Request) {
        self.abandon(now);
        self.reply = None;
        let frame = match encode_information(Direction::HostToChip, &request.payload()) {
            Ok(frame) => Zeroizing::new(frame),
            Err(error) => {
                self.reply = Some(Err(LinkError::TooLong(error)));
                return;
            }
        };
        let under_way = UnderWay {
            request,
            frame,
            sent: 0,
            acknowledged: 0,
            attempts: self.timing.attempts.max(1) + u8::from(self.aborted),
            asked_again: 0,
            broken: None,
            foreign: None,
        };
        if self.quiet.is_some_and(|quiet| now < quiet.until) {
            self.phase = Phase::Settling(under_way);
        } else {
            self.quiet = None;
            self.transmit_command(now, under_way);
        }
    }

    fn handle_input(&mut self, now: Moment, input: &[u8]) {
        let settle = self.timing.settle;
        self.quiet = self.quiet.map(|quiet| quiet.heard(now, settle));
        for part in input.chunks(INPUT_PART) {
            self.decoder.push(part);
            self.take_frames(now);
        }
        // Endless input must not keep a wait from ending.
        self.handle_timeout(now);
    }

    fn handle_timeout(&mut self, now: Moment) {
        if !self.is_due(now) {
            return;
        }
        self.search_partial(now);
        if !self.is_due(now) {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => {}
            Phase::Settling(under_way) => {
                self.quiet = None;
                self.transmit_command(now, under_way);
            }
            Phase::AwaitingAck(under_way, _) => self.miss_ack(now, under_way),
            Phase::AwaitingResponse(under_way, _) => self.ask_again(now, under_way),
        }
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    fn poll_timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Settling(_) => self.quiet.map(|quiet| quiet.until),
            Phase::AwaitingAck(_, until) | Phase::AwaitingResponse(_, until) => Some(*until),
        }
    }

    fn poll_reply(&mut self) -> Option<Result<Reply, LinkError>> {
        self.reply.take()
    }

    /// Sends the host's ACK, on which the chip gives up the command under way, unless that command has not left yet.
    fn abort(&mut self, now: Moment) {
        self.abandon(now);
        self.reply = None;
    }

    fn reset(&mut self) {
        let counters = self.counters();
        let timing = self.timing;
        *self = Self {
            counters,
            ..Self::new(timing)
        };
    }
}

#[cfg(test)]
mod tests;
