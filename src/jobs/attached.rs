//! One encoder as the jobs see it.

use std::{path::PathBuf, time::Duration};

use encoder_protocols::{
    moment::Moment,
    wire::{EncoderDescription, EncoderKey, EncoderState, JobId, KeyScope},
};

use super::presence::Field;
use crate::{
    encoder::{EncoderIdentity, EncoderSettings},
    journal::Guard,
};

/// How long an encoder must have been gone for its waiting jobs to end (promise, rule 10).
pub(super) const GONE_AFTER: Duration = Duration::from_secs(3);

/// What is wrong with an encoder that is not there.
pub(super) const NOT_PLUGGED_IN: &str = "it is not plugged in";

/// An encoder, its queue and its field.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) settings: EncoderSettings,
    /// It is configured, or plugged in: the inventory lists it.
    pub(super) present: bool,
    pub(super) identity: Option<EncoderIdentity>,
    pub(super) link: Link,
    /// Whether the coordinator lets it take jobs, where it has said so.
    pub(super) adopted: Option<bool>,
    /// The name that the coordinator gave it.
    pub(super) display_name: Option<String>,
    /// Its jobs without an outcome: a started one first, then in the order of their acceptance.
    pub(super) queue: Vec<JobId>,
    /// The job whose operation the encoder has not ended yet, which may have ended itself.
    pub(super) operating: Option<JobId>,
    /// The encoder was told to look for cards.
    pub(super) watching: bool,
    /// A command of this PC uses it: none of its jobs begins.
    pub(super) lent: bool,
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
            adopted: None,
            settings,
            present: true,
            identity: None,
            link: Link::Starting { since: now },
            display_name: None,
            queue: Vec::new(),
            operating: None,
            watching: false,
            lent: false,
            field,
        }
    }

    /// An encoder that jobs of the journal name and that was not seen yet.
    pub(super) fn awaited(key: EncoderKey, guards: Vec<Guard>, now: Moment) -> Self {
        let settings = EncoderSettings {
            name: key.0.clone(),
            ..EncoderSettings::unlisted(key, KeyScope::Agent, "", PathBuf::new())
        };
        Self {
            present: false,
            link: Link::Gone {
                since: now,
                problem: NOT_PLUGGED_IN.to_owned(),
            },
            ..Self::new(settings, guards, now)
        }
    }

    /// Whether it takes jobs.
    pub(super) fn is_adopted(&self) -> bool {
        self.adopted.unwrap_or(self.settings.adopted)
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

    /// The name to show to people: the configuration's, else the coordinator's, else what the device is.
    pub(super) fn name(&self) -> &str {
        let given = self.display_name.as_deref();
        given
            .filter(|_| !self.settings.named)
            .unwrap_or(&self.settings.name)
    }

    /// The encoder as the inventory lists it.
    pub(super) fn description(&self) -> EncoderDescription {
        let settings = &self.settings;
        let identity = self.identity.as_ref();
        let (state, problem) = match &self.link {
            Link::Starting { .. } => (EncoderState::Starting, None),
            Link::Up if self.queue.is_empty() && !self.lent => (EncoderState::Ready, None),
            Link::Up => (EncoderState::Busy, None),
            Link::Gone { problem, .. } => (EncoderState::Fault, Some(problem.clone())),
        };
        EncoderDescription {
            key: settings.key.clone(),
            key_scope: settings.key_scope,
            name: settings.name.clone(),
            named: settings.named,
            adopted: settings.adopted,
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
