//! What is attached to this PC, found without opening anything; what each device is recognised by; and news of
//! plugging and unplugging.

mod candidate;
pub mod identity;
mod matching;
#[cfg(not(target_os = "linux"))]
mod other;
mod settings;
#[cfg(target_os = "linux")]
mod sysfs;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../../tests/desk/tree.rs"]
pub(crate) mod tree;
mod watch;

use std::{fmt, io, sync::Arc};

pub use candidate::{Access, Candidate, UsbFacts};
pub use matching::{Match, Verdict};
pub use settings::{Adopt, DiscoverySettings};
#[cfg(target_os = "linux")]
pub use sysfs::{Around, Sysfs, TakenDevice};
pub use watch::Watcher;

type List = dyn Fn() -> io::Result<Vec<Candidate>> + Send + Sync;

/// Lists what is attached. Cheap to clone.
#[derive(Clone)]
pub struct Lister(Arc<List>);

impl Lister {
    /// The devices of this PC.
    #[cfg(target_os = "linux")]
    pub fn system(settings: &DiscoverySettings) -> Self {
        let sysfs = settings.sysfs.clone();
        Self::new(move || sysfs.list())
    }

    /// The devices of this PC.
    #[cfg(not(target_os = "linux"))]
    pub fn system(_settings: &DiscoverySettings) -> Self {
        Self::new(other::list)
    }

    /// Devices that `list` gives.
    pub fn new(list: impl Fn() -> io::Result<Vec<Candidate>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(list))
    }

    /// Every serial port and HID device; none of them is opened. Blocks.
    ///
    /// # Errors
    /// The system's error when it tells of no devices at all.
    pub fn list(&self) -> io::Result<Vec<Candidate>> {
        (self.0)()
    }
}

impl fmt::Debug for Lister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lister")
    }
}
