//! The encoders' tasks, whatever their encoders read.

use encoder_agent::encoder::{EncoderCommand, EncoderEvent, EncoderSettings};

use super::{
    common::{Common, Micros},
    encoder::Task,
    stripe_task::StripeTask,
    world::STRIPES,
};

/// The task of one encoder.
pub(super) enum EncoderTask {
    /// Cards lie on it.
    Field(Task),
    /// Cards are drawn through it.
    Stripe(StripeTask),
}

impl EncoderTask {
    pub(super) fn new(settings: EncoderSettings, hardware: usize, pc: usize, now: Micros) -> Self {
        if hardware == STRIPES {
            Self::Stripe(StripeTask::new(settings, hardware, pc, now))
        } else {
            Self::Field(Task::new(settings, hardware, pc, now))
        }
    }

    pub(super) fn command(&mut self, command: EncoderCommand) {
        match self {
            Self::Field(task) => task.commands.push_back(command),
            Self::Stripe(task) => task.commands.push_back(command),
        }
    }

    /// Does what is due and what was commanded; returns what it reports.
    pub(super) fn advance(&mut self, common: &mut Common) -> Vec<EncoderEvent> {
        match self {
            Self::Field(task) => task.advance(common),
            Self::Stripe(task) => task.advance(common),
        }
    }

    /// Whether a write was committed and has not ended.
    pub(super) fn is_writing(&self) -> bool {
        match self {
            Self::Field(task) => task.is_writing(),
            Self::Stripe(task) => task.is_writing(),
        }
    }

    /// Whether a write has begun that an agent which leaves must see to its end.
    pub(super) fn must_end(&self) -> bool {
        match self {
            Self::Field(task) => task.is_writing(),
            // It gives up the wait for a swipe.
            Self::Stripe(_) => false,
        }
    }

    /// When it wants to be advanced without a command.
    pub(super) fn wakes_at(&self) -> Micros {
        match self {
            Self::Field(task) => task.wakes_at(),
            Self::Stripe(task) => task.wakes_at(),
        }
    }
}
