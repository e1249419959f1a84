//! Encoders that are attached and not configured, as the commands open them.

use crate::{
    config::Settings,
    discovery::{
        Candidate, Lister, Match,
        identity::{Recognition, by_place, by_serial},
    },
    drivers::{DRIVERS, Driver},
    encoder::EncoderSettings,
};

/// The drivers that the agent would try on a device.
pub(super) fn allowed(
    candidate: &Candidate,
    matched: &Match,
    settings: &Settings,
) -> Vec<&'static dyn Driver> {
    settings.discovery.allowed(DRIVERS, candidate, matched)
}

/// How a device is opened in a driver's way: as it is listed, else under its port's name until it has said what it is.
pub(super) fn opened_by(
    candidate: &Candidate,
    driver: &dyn Driver,
    settings: &Settings,
) -> EncoderSettings {
    let listed = settings.discovery.listed_as(candidate);
    if let Some(listed) = listed.filter(|listed| listed.driver == driver.name()) {
        return EncoderSettings {
            port: candidate.port.clone(),
            ..listed.clone()
        };
    }
    let Recognition { key, scope } = by_serial(candidate).unwrap_or_else(|| by_place(candidate));
    EncoderSettings::unlisted(key, scope, driver.name(), candidate.port.clone())
}

/// Every device that the agent would open, in each of the ways that it would try.
pub(super) fn openable(settings: &Settings) -> Vec<EncoderSettings> {
    if !settings.discovery.enabled {
        return Vec::new();
    }
    let candidates = Lister::system(&settings.discovery).list();
    let candidates = candidates.unwrap_or_default();
    let ways = candidates.iter().flat_map(|candidate| {
        let drivers = allowed(candidate, &Match::of(candidate), settings);
        drivers
            .into_iter()
            .map(|driver| opened_by(candidate, driver, settings))
    });
    ways.collect()
}
