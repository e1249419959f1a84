//! A stripe encoder's task in virtual time: it obeys the commands as `encoder_agent::encoder` documents them for cards that
//! are swiped.

mod swipes;

use std::collections::VecDeque;

use encoder_agent::encoder::{
    CardOperation, EncoderCommand, EncoderEvent, EncoderIdentity, EncoderSettings, OperationError,
    OperationResult, Poll,
};
use encoder_protocols::{
    card::{
        CardDescription, CardError, CardImage, CardLinkError, Technology, job_error_without_uid,
        magstripe::MagstripeImage,
    },
    wire::{Abilities, ErrorCode, JobId},
};

use super::{
    common::{Common, Micros, SECOND},
    encoder::{HEALTH, HOLD, finish, identity, unplaced, untouched},
    table::lock,
};

/// What it is to do with what is swiped.
enum Reading {
    /// Compare it with what was just written.
    VerifyWritten(MagstripeImage),
    /// Compare it.
    Verify(MagstripeImage),
    Read,
}

enum State {
    Opening {
        until: Micros,
    },
    Pausing {
        until: Micros,
    },
    Idle {
        due: Micros,
    },
    Preparing {
        job: JobId,
        image: MagstripeImage,
        until: Micros,
    },
    Holding {
        job: JobId,
        image: MagstripeImage,
        until: Micros,
    },
    /// Waits for the swipe that writes; once aborted, for the end of the device's reset.
    Armed {
        job: JobId,
        image: MagstripeImage,
        reset_at: Option<Micros>,
    },
    Swiping {
        job: JobId,
        reading: Reading,
        swipes: u32,
    },
}

/// The task of a stripe encoder.
pub(super) struct StripeTask {
    hardware: usize,
    pub(super) commands: VecDeque<EncoderCommand>,
    settings: EncoderSettings,
    pc: usize,
    state: State,
    watching: bool,
    problem: bool,
    generation: u64,
}

impl StripeTask {
    pub(super) fn new(settings: EncoderSettings, hardware: usize, pc: usize, now: Micros) -> Self {
        Self {
            hardware,
            commands: VecDeque::new(),
            settings,
            pc,
            state: State::Opening { until: now + 3_000 },
            watching: false,
            problem: false,
            generation: 0,
        }
    }

    /// Whether a swipe may have changed a card, or still may.
    pub(super) fn is_writing(&self) -> bool {
        let reads_back = |reading: &Reading| matches!(reading, Reading::VerifyWritten(_));
        match &self.state {
            State::Armed { .. } => true,
            State::Swiping { reading, .. } => reads_back(reading),
            State::Opening { .. }
            | State::Pausing { .. }
            | State::Idle { .. }
            | State::Preparing { .. }
            | State::Holding { .. } => false,
        }
    }

    /// When it wants to be advanced without a command or a swipe.
    pub(super) fn wakes_at(&self) -> Micros {
        match &self.state {
            State::Opening { until }
            | State::Pausing { until }
            | State::Idle { due: until }
            | State::Preparing { until, .. }
            | State::Holding { until, .. } => *until,
            State::Armed { reset_at, .. } => reset_at.unwrap_or(Micros::MAX),
            State::Swiping { .. } => Micros::MAX,
        }
    }

    /// Does what is due and what was commanded; returns what it reports.
    pub(super) fn advance(&mut self, common: &mut Common) -> Vec<EncoderEvent> {
        let mut events = Vec::new();
        while self.step(common, &mut events) {}
        events
    }

    fn step(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) -> bool {
        let is_open = !matches!(self.state, State::Opening { .. } | State::Pausing { .. });
        if is_open && !self.is_connected(common) {
            self.unplugged(common, events);
            return true;
        }
        if let Some(command) = self.commands.pop_front() {
            self.obey(common, command, events);
            return true;
        }
        let now = common.now;
        match &mut self.state {
            State::Opening { until } if *until <= now => self.open(common, events),
            State::Pausing { until } if *until <= now => {
                self.state = State::Opening {
                    until: now + common.dice.between(1_000, 50_000),
                };
            }
            State::Idle { due } if *due <= now => self.look(now, events),
            State::Preparing { job, image, until } if *until <= now => {
                let (job, image) = (*job, image.clone());
                let until = now + HOLD;
                self.state = State::Holding { job, image, until };
                finish(events, job, Ok(OperationResult::Prepared));
            }
            State::Holding { job, until, .. } if *until <= now => {
                let error = untouched(ErrorCode::UncategorizedError, "no commit came");
                let job = *job;
                self.end(now, job, Err(error), events);
            }
            State::Armed { .. } => return self.await_write(common, events),
            State::Swiping { .. } => return self.await_reading(common, events),
            State::Opening { .. }
            | State::Pausing { .. }
            | State::Idle { .. }
            | State::Preparing { .. }
            | State::Holding { .. } => return false,
        }
        true
    }

    fn is_connected(&self, common: &Common) -> bool {
        let table = lock(&common.table);
        let hardware = table.encoders.get(self.hardware);
        hardware.is_some_and(|at| at.pc == Some(self.pc) && at.generation == self.generation)
    }

    /// Opening resets the device: what a process before this one armed is armed no more.
    fn open(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) {
        let found = {
            let mut table = lock(&common.table);
            let found = table.encoders.get(self.hardware).copied();
            let found = found.filter(|hardware| hardware.pc == Some(self.pc));
            if found.is_some() {
                table.stripes.reset();
            }
            found
        };
        let Some(hardware) = found else {
            return self.pause(common.now, events);
        };
        self.generation = hardware.generation;
        self.problem = false;
        self.state = State::Idle { due: common.now };
        events.push(EncoderEvent::Ready(EncoderIdentity {
            abilities: Abilities {
                technologies: vec![Technology::Magstripe],
                ..identity().abilities
            },
            ..identity()
        }));
    }

    fn pause(&mut self, now: Micros, events: &mut Vec<EncoderEvent>) {
        if !std::mem::replace(&mut self.problem, true) {
            events.push(EncoderEvent::Fault {
                code: ErrorCode::EncoderNotOnline,
                problem: "the port is gone".to_owned(),
            });
        }
        let until = now + 2 * SECOND;
        self.state = State::Pausing { until };
    }

    fn look(&mut self, now: Micros, events: &mut Vec<EncoderEvent>) {
        if !self.watching {
            self.state = State::Idle { due: now + HEALTH };
            return;
        }
        let interval = Micros::try_from(self.settings.poll_interval.as_micros()).unwrap_or(SECOND);
        let due = now + interval.max(1_000);
        self.state = State::Idle { due };
        let ready = Poll::Card(CardDescription::to_be_swiped());
        events.push(EncoderEvent::Polled(ready));
    }

    fn obey(
        &mut self,
        common: &mut Common,
        command: EncoderCommand,
        events: &mut Vec<EncoderEvent>,
    ) {
        let now = common.now;
        match command {
            EncoderCommand::Watch => {
                self.watching = true;
                if let State::Idle { due } = &mut self.state {
                    *due = now;
                }
            }
            EncoderCommand::Rest => self.watching = false,
            EncoderCommand::Operate {
                job_id, operation, ..
            } => match self.state {
                State::Idle { .. } => self.operate(common, job_id, operation, events),
                State::Opening { .. } | State::Pausing { .. } => {
                    let error = untouched(ErrorCode::EncoderNotOnline, "the encoder is not open");
                    finish(events, job_id, Err(error));
                }
                State::Preparing { .. }
                | State::Holding { .. }
                | State::Armed { .. }
                | State::Swiping { .. } => {
                    common
                        .ledger
                        .waits("an operation was asked for while another one runs");
                }
            },
            EncoderCommand::Commit { job_id } => self.commit(common, job_id, events),
            EncoderCommand::Abort { job_id } => self.abort(common, job_id, events),
            EncoderCommand::StopVerifying { job_id } => {
                self.stop_verifying(common, job_id, events);
            }
            EncoderCommand::Signal(_) => {}
        }
    }

    fn operate(
        &mut self,
        common: &mut Common,
        job: JobId,
        operation: CardOperation,
        events: &mut Vec<EncoderEvent>,
    ) {
        let reading = match operation {
            CardOperation::Prepare(CardImage::Magstripe(image)) => {
                let until = common.now + common.exchange_time();
                self.state = State::Preparing { job, image, until };
                return;
            }
            CardOperation::Verify(CardImage::Magstripe(image)) => Reading::Verify(image),
            CardOperation::Read(_) => Reading::Read,
            CardOperation::Prepare(_) | CardOperation::Verify(_) | CardOperation::Erase(_) => {
                let error = untouched(ErrorCode::IncompatibleCardFormat, "not for a stripe");
                return self.end(common.now, job, Err(error), events);
            }
        };
        self.await_swipe(common, job, reading, 1);
    }

    fn unplugged(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) {
        let now = common.now;
        let changed = self.is_writing();
        let job = match &self.state {
            State::Preparing { job, .. }
            | State::Holding { job, .. }
            | State::Armed { job, .. }
            | State::Swiping { job, .. } => Some(*job),
            State::Opening { .. } | State::Pausing { .. } | State::Idle { .. } => None,
        };
        if let Some(job) = job {
            let error = unplaced(CardLinkError::PortGone("unplugged".into()));
            self.fail(now, job, &error, changed, events);
        }
        self.pause(now, events);
    }

    fn fail(
        &mut self,
        now: Micros,
        job: JobId,
        error: &CardError,
        changed: bool,
        events: &mut Vec<EncoderEvent>,
    ) {
        let failed = OperationError {
            error: job_error_without_uid(error, changed),
            card_left: false,
        };
        self.end(now, job, Err(failed), events);
    }

    fn end(
        &mut self,
        now: Micros,
        job: JobId,
        result: Result<OperationResult, OperationError>,
        events: &mut Vec<EncoderEvent>,
    ) {
        finish(events, job, result);
        self.state = State::Idle { due: now };
    }
}
