//! What is judged when everything has come to rest.

use encoder_protocols::{
    card::Uid,
    wire::{JobId, Touched},
};

use super::{Invariant, Job, Ledger, Memory, Shown, Stored, Told, Violation};

impl Ledger {
    /// Judges what can only be judged at rest, and returns everything that was found.
    pub fn settle(mut self) -> Vec<Violation> {
        for what in std::mem::take(&mut self.waits) {
            self.violate(Invariant::NothingWaits, what);
        }
        let jobs: Vec<(JobId, Job)> = self
            .jobs
            .iter()
            .filter(|(_, job)| !job.excused)
            .map(|(id, job)| (*id, job.clone()))
            .collect();
        for (id, job) in jobs {
            self.settle_job(id, &job);
        }
        self.violations
    }

    fn settle_job(&mut self, id: JobId, job: &Job) {
        if job.shown == Some(Shown::Pending) {
            let words = format!("the attempt of job {id} is pending");
            self.violate(Invariant::NothingWaits, words);
        }
        if !job.accepted || job.forgotten.contains(&Memory::Journal) {
            return;
        }
        let [told] = job.finished.as_slice() else {
            let count = job.finished.len();
            if count == 0 {
                let words = format!("job {id} was accepted and its agent holds no outcome");
                self.violate(Invariant::OneOutcome, words);
            }
            return;
        };
        match job.stored {
            None => {
                let words = format!("the outcome of job {id} never reached the coordinator");
                self.violate(Invariant::OneOutcome, words);
            }
            Some(stored) => {
                // A release ends what was open as unknown: nothing that the agent says later counts.
                if !job.released {
                    self.compare(id, job, told, stored);
                }
                self.settle_ties(id, job, told, stored);
            }
        }
    }

    /// Both sides say the same. The coordinator alone may count an `untouched` as `unknown`.
    fn compare(&mut self, id: JobId, job: &Job, told: &Told, stored: Stored) {
        let doubted = stored.pinned
            && told.touched == Touched::Untouched
            && stored.touched == Touched::Unknown;
        if told.touched != stored.touched && !doubted {
            let words = format!(
                "job {id}: the agent says {:?}, the coordinator {:?}",
                told.touched, stored.touched
            );
            self.violate(Invariant::OneOutcome, words);
        }
        if job.shown == Some(Shown::Success) && !told.success {
            let words = format!("job {id} failed and its attempt is a success");
            self.violate(Invariant::OneOutcome, words);
        }
    }

    /// The credential shows the outcome: it is tied to the card that may have changed, and to none otherwise.
    fn settle_ties(&mut self, id: JobId, job: &Job, told: &Told, stored: Stored) {
        let Some(credential) = job.credential.filter(|_| !job.released) else {
            return;
        };
        let ties = self
            .ties
            .get(&(credential, id))
            .cloned()
            .unwrap_or_default();
        // A card without a UID cannot be named, so the credential is tied to an unknown one.
        let is_nameless = job.assigned.is_some();
        let is_tied = |card: &Uid| ties.contains(&Some(*card)) || is_nameless;
        let right = match stored.touched {
            Touched::Untouched => ties.is_empty(),
            Touched::Unknown => job.changed.iter().all(is_tied) && !ties.is_empty(),
            Touched::Written if is_nameless => ties.contains(&None),
            Touched::Written => ties
                .iter()
                .any(|card| card.map(|uid| uid.to_string()) == told.card_number),
        };
        if !right {
            let words = format!(
                "job {id} ended as {:?} on card {:?}, and credential {credential} is tied to {ties:?}",
                stored.touched, told.card_number
            );
            self.violate(Invariant::OneOutcome, words);
        }
    }
}
