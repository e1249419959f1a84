//! An encoder's task in virtual time: it obeys the commands as `encoder_agent::encoder` documents them and works on
//! cards with the real procedures, exchange by exchange.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the commands and errors that are not named here are all treated alike"
)]

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use encoder_agent::encoder::{
    EncoderCommand, EncoderEvent, EncoderIdentity, EncoderSettings, OperationError,
    OperationResult, Poll,
};
use encoder_protocols::{
    card::{
        CardContents, CardDescription, CardError, CardImage, CardLinkError, Prepared, Technology,
        Uid, WriteError, job_error,
    },
    wire::{Abilities, ErrorCode, JobError, JobId, Touched},
};

use super::{
    common::{Common, Micros, SECOND},
    table::{Link, Shared, lock},
};

pub(super) const HOLD: Micros = 10 * SECOND;
pub(super) const HEALTH: Micros = 5 * SECOND;

/// How an operation's procedure ended.
pub(super) enum Done {
    Prepared(Result<(Prepared, CardDescription), CardError>),
    Verified(Result<(), CardError>),
    Read(Result<CardContents, CardError>),
}

pub(super) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) enum State {
    Opening {
        until: Micros,
    },
    Pausing {
        until: Micros,
    },
    Idle {
        due: Micros,
    },
    Working {
        job: JobId,
        uid: Uid,
        work: Work<Done>,
        image: Option<CardImage>,
        cancel: Arc<AtomicBool>,
        next: Micros,
    },
    Holding {
        job: JobId,
        image: Option<CardImage>,
        prepared: Box<Prepared>,
        card: CardDescription,
        uid: Uid,
        until: Micros,
    },
    Writing {
        job: JobId,
        work: Work<Result<(), WriteError>>,
        verifying: Arc<AtomicBool>,
        told: bool,
        next: Micros,
    },
}

/// The task of one encoder.
pub(super) struct Task {
    /// Which encoder stands behind the port.
    pub(super) hardware: usize,
    pub(super) commands: VecDeque<EncoderCommand>,
    pub(super) settings: EncoderSettings,
    pub(super) pc: usize,
    pub(super) state: State,
    pub(super) watching: bool,
    pub(super) deferred: VecDeque<EncoderCommand>,
    pub(super) problem: bool,
    pub(super) failures: u32,
    pub(super) generation: u64,
    /// The last look missed a card that lay there: the next one does not.
    pub(super) blinked: bool,
}

impl Task {
    pub(super) fn new(settings: EncoderSettings, hardware: usize, pc: usize, now: Micros) -> Self {
        Self {
            hardware,
            commands: VecDeque::new(),
            settings,
            pc,
            state: State::Opening { until: now + 3_000 },
            watching: false,
            deferred: VecDeque::new(),
            problem: false,
            failures: 0,
            generation: 0,
            blinked: false,
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        matches!(self.state, State::Writing { .. })
    }

    /// When it wants to be advanced without a command.
    pub(super) fn wakes_at(&self) -> Micros {
        match &self.state {
            State::Opening { until } | State::Pausing { until } => *until,
            State::Idle { due } => *due,
            State::Working { next, .. } | State::Writing { next, .. } => *next,
            State::Holding { until, .. } => *until,
        }
    }

    /// Does what is due and what was commanded; returns what it reports.
    pub(super) fn advance(&mut self, common: &mut Common) -> Vec<EncoderEvent> {
        let mut events = Vec::new();
        while self.step(common, &mut events) {}
        events
    }

    pub(super) fn step(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) -> bool {
        let now = common.now;
        match &mut self.state {
            State::Opening { until } | State::Pausing { until } => {
                let until = *until;
                if let Some(command) = self.next_command() {
                    self.decline(command, events);
                    return true;
                }
                if now < until {
                    return false;
                }
                self.open_or_pause(common, events);
                true
            }
            State::Idle { due } => {
                let due = *due;
                if let Some(command) = self.next_command() {
                    self.obey(common, command, events);
                    return true;
                }
                if !self.is_connected(&common.table) {
                    self.fail(now, events);
                    return true;
                }
                if now < due {
                    return false;
                }
                self.look(common, events);
                true
            }
            State::Working { job, cancel, .. } => {
                let (job, cancel) = (*job, cancel.clone());
                if let Some(command) = self.commands.pop_front() {
                    match command {
                        EncoderCommand::Abort { job_id } if job_id == job => {
                            cancel.store(true, Ordering::Relaxed);
                        }
                        other => self.deferred.push_back(other),
                    }
                    return true;
                }
                self.work(common, events)
            }
            State::Holding { .. } => self.hold(common, events),
            State::Writing { .. } => self.write(common, events),
        }
    }

    pub(super) fn next_command(&mut self) -> Option<EncoderCommand> {
        self.deferred
            .pop_front()
            .or_else(|| self.commands.pop_front())
    }

    pub(super) fn is_connected(&self, table: &Shared) -> bool {
        lock(table)
            .encoders
            .get(self.hardware)
            .is_some_and(|at| at.pc == Some(self.pc) && at.generation == self.generation)
    }

    pub(super) fn decline(&mut self, command: EncoderCommand, events: &mut Vec<EncoderEvent>) {
        match command {
            EncoderCommand::Watch => self.watching = true,
            EncoderCommand::Rest => self.watching = false,
            EncoderCommand::Operate { job_id, .. } | EncoderCommand::Commit { job_id } => {
                let error = untouched(ErrorCode::EncoderNotOnline, "the encoder is not open");
                finish(events, job_id, Err(error));
            }
            EncoderCommand::Abort { .. }
            | EncoderCommand::StopVerifying { .. }
            | EncoderCommand::Signal(_) => {}
        }
    }

    pub(super) fn open_or_pause(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) {
        let now = common.now;
        if matches!(self.state, State::Pausing { .. }) {
            self.state = State::Opening {
                until: now + common.dice.between(1_000, 50_000),
            };
            return;
        }
        let found = lock(&common.table).encoders.get(self.hardware).copied();
        match found.filter(|hardware| hardware.pc == Some(self.pc)) {
            Some(hardware) => {
                self.generation = hardware.generation;
                self.failures = 0;
                self.problem = false;
                let due = if self.watching { now } else { now + HEALTH };
                self.state = State::Idle { due };
                events.push(EncoderEvent::Ready(identity()));
            }
            None => self.fail(now, events),
        }
    }

    /// The device cannot be used: says so once, and tries again after a pause.
    pub(super) fn fail(&mut self, now: Micros, events: &mut Vec<EncoderEvent>) {
        if !std::mem::replace(&mut self.problem, true) {
            events.push(EncoderEvent::Fault {
                code: ErrorCode::EncoderNotOnline,
                problem: "the port is gone".to_owned(),
            });
        }
        let pause = SECOND << self.failures.min(4);
        self.failures += 1;
        self.state = State::Pausing {
            until: now + pause.min(10 * SECOND),
        };
    }

    pub(super) fn look(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) {
        let now = common.now;
        if !self.watching {
            self.state = State::Idle { due: now + HEALTH };
            return;
        }
        let interval = Micros::try_from(self.settings.poll_interval.as_micros()).unwrap_or(SECOND);
        self.state = State::Idle {
            due: now + interval.max(1_000),
        };
        let mut poll = lock(&common.table).poll(self.hardware);
        let blinks =
            poll != Poll::Empty && !self.blinked && common.dice.chance(common.weather.blinks);
        self.blinked = blinks;
        if blinks {
            poll = Poll::Empty;
        }
        events.push(EncoderEvent::Polled(poll));
    }

    pub(super) fn obey(
        &mut self,
        common: &mut Common,
        command: EncoderCommand,
        events: &mut Vec<EncoderEvent>,
    ) {
        let now = common.now;
        match command {
            EncoderCommand::Watch => {
                if !std::mem::replace(&mut self.watching, true) {
                    self.state = State::Idle { due: now };
                }
            }
            EncoderCommand::Rest => {
                if std::mem::replace(&mut self.watching, false) {
                    self.state = State::Idle { due: now + HEALTH };
                }
            }
            EncoderCommand::Operate {
                job_id,
                uid,
                operation,
            } => {
                // No encoder of the run swipes, so each card has a UID.
                if let Some(uid) = uid {
                    self.operate(common, job_id, uid, operation);
                }
            }
            EncoderCommand::Commit { job_id } => {
                let error = untouched(
                    ErrorCode::UncategorizedError,
                    "the card is no longer prepared",
                );
                finish(events, job_id, Err(error));
            }
            EncoderCommand::Abort { .. }
            | EncoderCommand::StopVerifying { .. }
            | EncoderCommand::Signal(_) => {}
        }
    }

    pub(super) fn link(
        &self,
        table: &Shared,
        job: JobId,
        uid: Uid,
        cancel: &Arc<AtomicBool>,
    ) -> Link {
        Link {
            table: table.clone(),
            encoder: self.hardware,
            generation: self.generation,
            uid,
            card: CardDescription::new(Technology::Unknown, uid),
            job,
            image: None,
            cancel: cancel.clone(),
        }
    }

    /// An operation failed; where the port is gone with it, so is the device.
    pub(super) fn conclude(
        &mut self,
        now: Micros,
        job: JobId,
        error: &CardError,
        changed: bool,
        events: &mut Vec<EncoderEvent>,
    ) {
        let source = match error {
            CardError::Link { source, .. } => Some(source),
            _ => None,
        };
        let several = source == Some(&CardLinkError::SeveralCards);
        let port_gone = matches!(source, Some(CardLinkError::PortGone(_)));
        let failed = OperationError {
            error: job_error(error, changed),
            card_left: !changed && (several || error.card_left()),
        };
        finish(events, job, Err(failed));
        if port_gone {
            self.fail(now, events);
        } else {
            self.state = State::Idle { due: now };
        }
    }
}

pub(super) fn finish(
    events: &mut Vec<EncoderEvent>,
    job_id: JobId,
    result: Result<OperationResult, OperationError>,
) {
    events.push(EncoderEvent::Operation { job_id, result });
}

pub(super) fn unplaced(source: CardLinkError) -> CardError {
    CardError::Link { at: None, source }
}

pub(super) fn untouched(code: ErrorCode, message: &str) -> OperationError {
    OperationError {
        error: JobError {
            code,
            message: message.to_owned(),
            touched: Touched::Untouched,
            hardware: None,
        },
        card_left: false,
    }
}

pub(super) fn identity() -> EncoderIdentity {
    EncoderIdentity {
        model: Some("virtual".to_owned()),
        serial: None,
        firmware: None,
        abilities: Abilities {
            encode: true,
            scan: true,
            ..Abilities::default()
        },
    }
}
