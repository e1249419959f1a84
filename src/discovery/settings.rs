//! How this PC's devices are looked for.

use std::path::Path;

use encoder_protocols::wire::EncoderKey;

#[cfg(target_os = "linux")]
use super::Sysfs;
use super::{
    Candidate, Match, Verdict,
    identity::{OWN_NUMBER, Recognition, by_own_number, by_place, by_serial},
};
use crate::{
    drivers::{Driver, Probing},
    encoder::{EncoderIdentity, EncoderSettings},
};

/// `[discovery]`: how this PC's devices are looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DiscoverySettings {
    /// `enabled`: whether encoders are found by themselves, besides those that the configuration lists.
    pub enabled: bool,
    /// `probe`: whether devices that only might be encoders are asked, which writes bytes to them.
    pub probe: bool,
    /// `adopt`: which encoders take jobs.
    pub adopt: Adopt,
    /// Every `[[encoder]]` with a `key`: encoders that are found and have a name and settings of their own. The port of each
    /// is empty until it is found.
    pub listed: Vec<EncoderSettings>,
    /// `sys` and `dev`: where the system tells of its devices.
    #[cfg(target_os = "linux")]
    pub sysfs: Sysfs,
}

/// Which of the encoders that were found take jobs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Adopt {
    /// Every one.
    #[default]
    Auto,
    /// Those that the configuration lists, or the coordinator adopts.
    Listed,
}

impl Default for DiscoverySettings {
    fn default() -> Self {
        Self {
            enabled: true,
            probe: false,
            adopt: Adopt::default(),
            listed: Vec::new(),
            #[cfg(target_os = "linux")]
            sysfs: Sysfs::default(),
        }
    }
}

impl DiscoverySettings {
    /// The directory in which a node appears for everything that is plugged in.
    pub fn nodes(&self) -> Option<&Path> {
        #[cfg(target_os = "linux")]
        let nodes = Some(self.sysfs.dev.as_path());
        #[cfg(not(target_os = "linux"))]
        let nodes = None;
        nodes
    }

    /// The encoder that the configuration lists by this key.
    pub fn listed(&self, key: &EncoderKey) -> Option<&EncoderSettings> {
        self.listed.iter().find(|listed| listed.key == *key)
    }

    /// The listed encoder that a device is, as far as that can be told without opening it.
    pub fn listed_as(&self, candidate: &Candidate) -> Option<&EncoderSettings> {
        self.listed(&by_place(candidate).key)
            .or_else(|| self.listed(&by_serial(candidate)?.key))
    }

    /// The listed encoders that none of these devices is. A number that a device tells only once it is open is not looked
    /// for.
    pub fn missing<'a>(
        &'a self,
        attached: &'a [Candidate],
    ) -> impl Iterator<Item = &'a EncoderSettings> {
        self.listed.iter().filter(|listed| {
            let is_it = |candidate: &Candidate| {
                let is_listed = |as_what: &EncoderSettings| as_what.key == listed.key;
                self.listed_as(candidate).is_some_and(is_listed)
            };
            !listed.key.0.starts_with(OWN_NUMBER) && !attached.iter().any(is_it)
        })
    }

    /// What a device that answered `driver` is recognised by: a listed socket or its number, where it has one. None of these
    /// leaves its place.
    pub fn number_of(
        &self,
        candidate: &Candidate,
        driver: &str,
        identity: &EncoderIdentity,
    ) -> Option<Recognition> {
        match self.listed(&by_place(candidate).key) {
            Some(_) => None,
            None => by_serial(candidate).or_else(|| by_own_number(driver, identity)),
        }
    }

    /// The drivers of `drivers` that may be tried on a device, which writes to it: the one that it is listed with; else what is
    /// sure, and what may be asked.
    pub fn allowed(
        &self,
        drivers: &[&'static dyn Driver],
        candidate: &Candidate,
        matched: &Match,
    ) -> Vec<&'static dyn Driver> {
        if let Some(listed) = self.listed_as(candidate) {
            let mut drivers = drivers.iter().copied();
            return drivers
                .find(|driver| driver.name() == listed.driver)
                .into_iter()
                .collect();
        }
        match &matched.verdict {
            Verdict::Exact(driver) => vec![*driver],
            Verdict::Possible(drivers) => {
                let may_ask = |driver: &&'static dyn Driver| {
                    self.probe || driver.probing() == Probing::Passive
                };
                drivers.iter().copied().filter(may_ask).collect()
            }
            Verdict::Foreign => Vec::new(),
        }
    }
}
