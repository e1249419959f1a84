//! Encoders that are attached and not configured, as the commands open them.

use crate::{
    config::Settings,
    discovery::{
        Candidate, Lister, Match, Verdict,
        identity::{Recognition, by_place, by_serial},
    },
    drivers::{Driver, Probing},
    encoder::{EncoderSettings, POLL_INTERVAL},
};

/// The drivers that the agent would try on a device.
pub(super) fn allowed(matched: &Match, settings: &Settings) -> Vec<&'static dyn Driver> {
    match &matched.verdict {
        Verdict::Exact(driver) => vec![*driver],
        Verdict::Possible(drivers) => {
            let may_ask = |driver: &&'static dyn Driver| {
                settings.discovery.probe || driver.probing() == Probing::Passive
            };
            drivers.iter().copied().filter(may_ask).collect()
        }
        Verdict::Foreign => Vec::new(),
    }
}

/// How a device that was found is opened in a driver's way; its port is its name until it has said what it is.
pub(super) fn opened_by(candidate: &Candidate, driver: &dyn Driver) -> EncoderSettings {
    let Recognition { key, scope } = by_serial(candidate).unwrap_or_else(|| by_place(candidate));
    EncoderSettings {
        key,
        key_scope: scope,
        name: candidate.port.display().to_string(),
        named: false,
        adopted: true,
        driver: driver.name().to_owned(),
        port: candidate.port.clone(),
        baud: None,
        dtr: None,
        rts: None,
        lift_between_cards: true,
        allow_irreversible: false,
        poll_interval: POLL_INTERVAL,
        simulated: false,
    }
}

/// Every device that the agent would open, in each of the ways that it would try.
pub(super) fn openable(settings: &Settings) -> Vec<EncoderSettings> {
    if !settings.discovery.enabled {
        return Vec::new();
    }
    let candidates = Lister::system(&settings.discovery).list();
    let candidates = candidates.unwrap_or_default();
    let ways = candidates.iter().flat_map(|candidate| {
        let drivers = allowed(&Match::of(candidate), settings);
        drivers
            .into_iter()
            .map(|driver| opened_by(candidate, driver))
    });
    ways.collect()
}
