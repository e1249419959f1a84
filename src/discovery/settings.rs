//! How this PC's devices are looked for.

use std::path::Path;

#[cfg(target_os = "linux")]
use super::Sysfs;

/// `[discovery]`: how this PC's devices are looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DiscoverySettings {
    /// `enabled`: whether encoders are found by themselves, besides those that the configuration lists.
    pub enabled: bool,
    /// `probe`: whether devices that only might be encoders are asked, which writes bytes to them.
    pub probe: bool,
    /// `adopt`: which encoders take jobs.
    pub adopt: Adopt,
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
}
