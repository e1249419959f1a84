//! What the desk counts for monitors: sessions that are open, and how jobs ended since the service started.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use encoder_protocols::wire::JobKind;

/// How jobs of a kind ended: `success`, or the code of the error.
pub type Ending = (&'static str, String);

/// The counts. They begin anew with the service.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    sessions: usize,
    ended: BTreeMap<Ending, u64>,
}

impl Tally {
    /// How many agents' sessions are open.
    pub fn sessions(&self) -> usize {
        self.counts().sessions
    }

    /// How many jobs ended in each way.
    pub fn ended(&self) -> BTreeMap<Ending, u64> {
        self.counts().ended.clone()
    }

    pub(super) fn set_sessions(&self, sessions: usize) {
        self.counts().sessions = sessions;
    }

    pub(super) fn count(&self, kind: JobKind, ending: String) {
        let kind = match kind {
            JobKind::Encode => "encode",
            JobKind::Scan => "scan",
        };
        *self.counts().ended.entry((kind, ending)).or_default() += 1;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
