//! How a device that answered is driven: its key, its name, and what is wrong with both.

use encoder_protocols::wire::EncoderKey;

use super::{Running, trial::Answered};
use crate::{
    discovery::{
        Adopt,
        identity::{Recognition, by_own_number, by_place, by_serial, display_name},
    },
    encoder::{EncoderSettings, POLL_INTERVAL},
};

/// A device that joins the fleet.
pub(super) struct Found {
    pub(super) settings: EncoderSettings,
    /// Why it is not recognised by its serial number although it has one.
    pub(super) conflict: Option<String>,
}

impl Running {
    /// What a device that answered is recognised by, and how it is driven.
    pub(super) fn recognise(&self, answered: &Answered) -> Found {
        let Answered {
            candidate,
            driver,
            encoder,
        } = answered;
        let identity = encoder.identity();
        let numbered = by_serial(candidate).or_else(|| by_own_number(driver.name(), &identity));
        let conflict = numbered
            .as_ref()
            .and_then(|numbered| self.conflict(&numbered.key, answered));
        let Recognition { key, scope } = numbered
            .filter(|_| conflict.is_none())
            .unwrap_or_else(|| by_place(candidate));
        let settings = EncoderSettings {
            key,
            key_scope: scope,
            name: display_name(&self.parts.hostname, &identity, driver.name()),
            named: false,
            adopted: self.parts.discovery.adopt == Adopt::Auto,
            driver: driver.name().to_owned(),
            port: candidate.port.clone(),
            baud: None,
            dtr: None,
            rts: None,
            lift_between_cards: true,
            allow_irreversible: false,
            poll_interval: POLL_INTERVAL,
            simulated: false,
        };
        Found { settings, conflict }
    }

    /// What is wrong with a number that another device bears too. Neither is taken for the one that bore it before; one
    /// that already works under it goes on.
    fn conflict(&self, key: &EncoderKey, answered: &Answered) -> Option<String> {
        let own = &answered.candidate;
        let listed = self.seen.iter().filter(|other| {
            by_serial(other).is_some_and(|other| other.key == *key)
                && other.instance != own.instance
        });
        let live = self.live.iter().filter(|(id, live)| {
            self.parts.keys.get(id.0) == Some(key)
                && live.instance != own.instance
                && !live.stop.is_cancelled()
        });
        let other = listed
            .map(|other| &other.port)
            .chain(live.map(|(_, live)| &live.port))
            .next()?;
        Some(format!(
            "{} and {} bear the same serial number ({key}), so that {} is told by its socket: keep it plugged in there, \
             or name its port in the configuration",
            own.port.display(),
            other.display(),
            own.port.display(),
        ))
    }
}
