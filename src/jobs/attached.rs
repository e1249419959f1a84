//! One encoder as the jobs see it.

use std::time::Duration;

use encoder_protocols::{
    moment::Moment,
    wire::{EncoderDescription, EncoderState, JobId},
};

use super::presence::Field;
use crate::{
    encoder::{EncoderIdentity, EncoderSettings},
    journal::Guard,
};

/// How long an encoder must have been gone for its waiting jobs to end (promise, rule 10).
pub(super) const GONE_AFTER: Duration = Duration::from_secs(3);

/// An encoder, its queue and its field.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) settings: EncoderSettings,
    pub(super) identity: Option<EncoderIdentity>,
    pub(super) link: Link,
    /// Whether the coordinator lets it take jobs.
    pub(super) adopted: bool,
    /// The name that the coordinator gave it.
    pub(super) display_name: Option<String>,
    /// Its jobs without an outcome: a started one first, then in the order of their acceptance.
    pub(super) queue: Vec<JobId>,
    /// The job whose operation the encoder has not ended yet, which may have ended itself.
    pub(super) operating: Option<JobId>,
    /// The encoder was told to look for cards.
    pub(super) watching: bool,
    pub(super) field: Field,
}

/// Whether the encoder answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Link {
    /// It is being opened.
    Starting { since: Moment },
    /// It answers.
    Up,
    /// It is gone.
    Gone { since: Moment, problem: String },
}

impl Attached {
    pub(super) fn new(settings: EncoderSettings, guards: Vec<Guard>, now: Moment) -> Self {
        let field = Field::new(guards, settings.poll_interval);
        Self {
            settings,
            identity: None,
            link: Link::Starting { since: now },
            adopted: true,
            display_name: None,
            queue: Vec::new(),
            operating: None,
            watching: false,
            field,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// When its waiting jobs end because it is gone.
    pub(super) fn gives_up_at(&self) -> Option<Moment> {
        match self.link {
            Link::Up => None,
            Link::Starting { since } | Link::Gone { since, .. } => Some(since + GONE_AFTER),
        }
    }

    /// The name to show to people.
    pub(super) fn name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.settings.name)
    }

    /// The encoder as the inventory lists it.
    pub(super) fn description(&self) -> EncoderDescription {
        let settings = &self.settings;
        let identity = self.identity.as_ref();
        let (state, problem) = match &self.link {
            Link::Starting { .. } => (EncoderState::Starting, None),
            Link::Up if self.queue.is_empty() => (EncoderState::Ready, None),
            Link::Up => (EncoderState::Busy, None),
            Link::Gone { problem, .. } => (EncoderState::Fault, Some(problem.clone())),
        };
        EncoderDescription {
            key: settings.key.clone(),
            key_scope: settings.key_scope,
            name: settings.name.clone(),
            driver: settings.driver.clone(),
            model: identity.and_then(|identity| identity.model.clone()),
            serial: identity.and_then(|identity| identity.serial.clone()),
            firmware: identity.and_then(|identity| identity.firmware.clone()),
            abilities: identity
                .map(|identity| identity.abilities.clone())
                .unwrap_or_default(),
            state,
            problem,
            simulated: settings.simulated,
        }
    }
}
