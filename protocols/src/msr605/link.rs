//! The conversation with an MSR encoder: one command, one answer or none, and rest after a reset.
//!
//! Answers carry no mark of the command that they belong to, so the link takes care that none is left over: whatever ends without
//! its answer ends with a reset, after which everything that comes is thrown away until the device listens again.

mod error;
mod timing;

use std::{collections::VecDeque, fmt, time::Duration};

use zeroize::Zeroizing;

use super::{
    ESC,
    command::{Reply, Request},
    reply::{Heard, LONGEST_REPLY},
    report::{ReportDecoder, encode},
};
use crate::{link::Link, moment::Moment};
use timing::Rest;

pub use super::reply::ReplyError;
pub use error::LinkError;
pub use timing::{Counters, LinkTiming};

/// Input is taken in parts, so that no more is kept than an answer needs.
const INPUT_PART: usize = 512;

/// The id of the reports of a device that numbers none.
const REPORT_ID: u8 = 0;

/// What carries the bytes to the device and back.
#[derive(Debug)]
enum Carrier {
    Serial,
    Reports(ReportDecoder),
}

/// The link to one encoder.
pub struct Msr605Link {
    timing: LinkTiming,
    carrier: Carrier,
    received: Zeroizing<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    phase: Phase,
    reply: Option<Result<Reply, LinkError>>,
    counters: Counters,
    rest: Option<Rest>,
}

enum Phase {
    Idle,
    /// Waits for the rest to be over; then the command is sent, or it was the reset itself.
    Resting(Request),
    Awaiting(Awaited),
}

/// A command that was sent and is not answered yet.
struct Awaited {
    request: Request,
    /// The end of the wait; none while a person has to come with a card.
    until: Option<Moment>,
    /// The end of the wait for the rest of an answer that has begun.
    whole_by: Option<Moment>,
}

impl fmt::Debug for Msr605Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, request) = match &self.phase {
            Phase::Idle => ("Idle", None),
            Phase::Resting(request) => ("Resting", Some(request)),
            Phase::Awaiting(awaited) => ("Awaiting", Some(&awaited.request)),
        };
        f.debug_struct("Msr605Link")
            .field("phase", &phase)
            .field("request", &request)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Msr605Link {
    /// A link over a serial line.
    pub fn serial(timing: LinkTiming) -> Self {
        Self::new(timing, Carrier::Serial)
    }

    /// A link over HID reports. Each piece that [`Link::poll_transmit`] gives is one report of 64 bytes behind its id, which is 0
    /// as the device numbers none; each call of [`Link::handle_input`] takes one report, without an id.
    pub fn reports(timing: LinkTiming) -> Self {
        Self::new(timing, Carrier::Reports(ReportDecoder::new()))
    }

    fn new(timing: LinkTiming, carrier: Carrier) -> Self {
        Self {
            timing,
            carrier,
            received: Zeroizing::default(),
            outgoing: VecDeque::new(),
            phase: Phase::Idle,
            reply: None,
            counters: Counters::default(),
            rest: None,
        }
    }

    /// What went by that should not.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The most time from `send` to the end of `request`, whatever comes in; for a command that waits for a card, the time
    /// beyond that wait.
    pub fn longest(&self, request: &Request) -> Duration {
        let rest = self.timing.reset + self.timing.quiet + Rest::MOST;
        rest + request.reply_timeout().unwrap_or(self.timing.answer)
    }

    fn transmit(&mut self, message: &[u8]) {
        match self.carrier {
            Carrier::Serial => self.outgoing.push_back(message.to_vec()),
            Carrier::Reports(_) => {
                let reports = encode(message).into_iter();
                let numbered = reports.map(|report| [&[REPORT_ID][..], &report].concat());
                self.outgoing.extend(numbered);
            }
        }
    }

    fn transmit_command(&mut self, now: Moment, request: Request) {
        self.transmit(&request.message());
        if !request.is_answered() {
            self.reply = Some(Ok(Reply::Done));
            self.phase = Phase::Idle;
            return;
        }
        self.received.clear();
        self.phase = Phase::Awaiting(Awaited {
            until: request.reply_timeout().map(|timeout| now + timeout),
            whole_by: None,
            request,
        });
    }

    /// Resets the device and gives it, and the line, the time for it.
    fn transmit_reset(&mut self, now: Moment) {
        self.transmit(&Request::Reset.message());
        self.rest = Some(Rest::from(now, self.timing.reset));
        self.received.clear();
        if let Carrier::Reports(decoder) = &mut self.carrier {
            decoder.clear();
        }
    }

    fn reset_device(&mut self, now: Moment) {
        self.counters.resets += 1;
        self.transmit_reset(now);
    }

    fn take_part(&mut self, now: Moment, part: &[u8]) {
        match &mut self.phase {
            Phase::Idle | Phase::Resting(_) => self.counters.noise_bytes += part.len() as u64,
            Phase::Awaiting(_) => {
                self.received.extend(part);
                self.look(now);
            }
        }
    }

    fn take_report(&mut self, now: Moment, report: &[u8]) {
        let Carrier::Reports(decoder) = &mut self.carrier else {
            return;
        };
        match decoder.push(report) {
            Ok(None) => {}
            Ok(Some(message)) => self.take_part(now, &message),
            Err(error) => {
                self.counters.bad_reports += 1;
                if matches!(self.phase, Phase::Awaiting(_)) {
                    self.finish(now, Err(error.into()));
                }
            }
        }
    }

    /// Looks for the answer in what was received.
    fn look(&mut self, now: Moment) {
        let Phase::Awaiting(awaited) = &mut self.phase else {
            return;
        };
        let command = awaited.request.name();
        match awaited.request.look(&self.received) {
            Heard::Noise => {
                awaited.whole_by = None;
                self.drop_noise(self.received.len());
            }
            Heard::Partial { noise } => {
                if noise > 0 {
                    awaited.whole_by = None;
                }
                if awaited.request == Request::Firmware {
                    awaited.whole_by = Some(now + self.timing.silence);
                }
                awaited.whole_by.get_or_insert(now + self.timing.answer);
                self.drop_noise(noise);
                if self.received.len() > LONGEST_REPLY {
                    self.finish(now, Err(LinkError::Endless { command }));
                }
            }
            Heard::Whole {
                noise,
                length,
                reply,
            } => {
                let behind = self.received.len().saturating_sub(noise + length);
                self.counters.noise_bytes += (noise + behind) as u64;
                // However it was cut: of one byte at a time its end would never have been waited for.
                let reply = if length > LONGEST_REPLY {
                    Err(LinkError::Endless { command })
                } else {
                    reply.map_err(LinkError::Reply)
                };
                self.finish(now, reply);
            }
        }
    }

    fn drop_noise(&mut self, count: usize) {
        self.counters.noise_bytes += count as u64;
        self.received.drain(..count);
    }

    fn finish(&mut self, now: Moment, reply: Result<Reply, LinkError>) {
        self.phase = Phase::Idle;
        self.received.clear();
        let answered = matches!(
            reply,
            Ok(_) | Err(LinkError::Reply(ReplyError::Refused { .. }))
        );
        if !answered {
            self.reset_device(now);
        }
        self.reply = Some(reply);
    }

    /// The wait for the rest of an answer is over.
    fn rest_stays_out(&mut self, now: Moment, request: &Request) {
        let command = request.name();
        if *request == Request::Firmware {
            let reply = request.at_silence(&self.received);
            self.finish(now, reply.map_err(LinkError::Reply));
        } else if self.received.as_slice() == [ESC] {
            // It need not have been the beginning of anything.
            self.drop_noise(1);
        } else {
            self.finish(now, Err(LinkError::BreaksOff { command }));
        }
    }

    fn abandon(&mut self, now: Moment) {
        if let Phase::Awaiting(_) = std::mem::replace(&mut self.phase, Phase::Idle) {
            self.outgoing.clear();
            self.reset_device(now);
        }
        self.reply = None;
    }

    fn is_due(&self, now: Moment) -> bool {
        self.poll_timeout().is_some_and(|until| now >= until)
    }
}

impl Link for Msr605Link {
    type Request = Request;
    type Reply = Reply;
    type Error = LinkError;

    fn send(&mut self, now: Moment, request: Request) {
        self.abandon(now);
        if request == Request::Reset {
            self.transmit_reset(now);
        } else if request.awaits_swipe() {
            let quiet = Rest::from(now, self.timing.quiet);
            self.rest = Some(self.rest.map_or(quiet, |rest| rest.at_least(quiet)));
        }
        if self.rest.is_some_and(|rest| now < rest.until) {
            self.phase = Phase::Resting(request);
        } else {
            self.rest = None;
            self.transmit_command(now, request);
        }
    }

    fn handle_input(&mut self, now: Moment, input: &[u8]) {
        let quiet = self.timing.quiet;
        self.rest = self.rest.map(|rest| rest.heard(now, quiet));
        if let Carrier::Reports(_) = self.carrier {
            self.take_report(now, input);
        } else {
            for part in input.chunks(INPUT_PART) {
                self.take_part(now, part);
            }
        }
        // Endless input must not keep a wait from ending.
        self.handle_timeout(now);
    }

    fn handle_timeout(&mut self, now: Moment) {
        if !self.is_due(now) {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => {}
            Phase::Resting(Request::Reset) => {
                self.rest = None;
                self.reply = Some(Ok(Reply::Done));
            }
            Phase::Resting(request) => {
                self.rest = None;
                self.transmit_command(now, request);
            }
            Phase::Awaiting(awaited) => {
                let request = awaited.request.clone();
                let over = awaited.until.is_some_and(|until| now >= until);
                self.phase = Phase::Awaiting(Awaited {
                    whole_by: None,
                    ..awaited
                });
                if !self.received.is_empty() {
                    self.rest_stays_out(now, &request);
                }
                if over && matches!(self.phase, Phase::Awaiting(_)) {
                    let (command, waited) = (request.name(), request.reply_timeout());
                    let waited = waited.unwrap_or_default();
                    self.finish(now, Err(LinkError::Silent { command, waited }));
                }
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    fn poll_timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Resting(_) => self.rest.map(|rest| rest.until),
            Phase::Awaiting(awaited) => {
                let ends = [awaited.until, awaited.whole_by];
                ends.into_iter().flatten().min()
            }
        }
    }

    fn poll_reply(&mut self) -> Option<Result<Reply, LinkError>> {
        self.reply.take()
    }

    /// Resets the device, which ends its wait for a card, unless the command has not left yet.
    fn abort(&mut self, now: Moment) {
        self.abandon(now);
    }

    fn reset(&mut self) {
        self.received.clear();
        self.outgoing.clear();
        self.phase = Phase::Idle;
        self.reply = None;
        self.rest = None;
        if let Carrier::Reports(decoder) = &mut self.carrier {
            decoder.clear();
        }
    }
}

#[cfg(test)]
mod tests;
