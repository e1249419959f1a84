//! Holds what was seen of a case, and what both sides remember of it, against the invariants.

use encoder_protocols::wire::{ErrorCode, JobId, Outcome, Touched};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    HarnessError,
    api::is_pending,
    device::Memories,
    memory::{Memory, Remembered},
    scene::{Scene, Seen, error_of},
};
use crate::invariants::{Ledger, Shown, Stored, Told};

/// What came of a case.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// How the first job ended: its error's code, or success.
    pub(super) outcome: String,
    pub(super) violations: Vec<String>,
}

/// Judges a scene whose programs were stopped.
pub(super) fn judge(scene: &Scene<'_>) -> Result<Verdict, HarnessError> {
    let memory = Memory::of(scene)?;
    let mut judge = Judge {
        ledger: Ledger::new(),
        before: scene.fresh.clone(),
        outcome: None,
        violations: memory.problems.clone(),
        memory: &memory,
    };
    for seen in &scene.seen {
        judge.take(seen);
    }
    for hold in &memory.holds {
        judge.ledger.tied(hold.credential.0, hold.job, hold.uid);
    }
    let mut violations = judge.violations;
    let broken = judge.ledger.settle();
    violations.extend(broken.iter().map(ToString::to_string));
    Ok(Verdict {
        outcome: judge.outcome.unwrap_or_default(),
        violations,
    })
}

struct Judge<'a> {
    memory: &'a Memory,
    ledger: Ledger,
    /// The cards as they were seen last.
    before: Memories,
    outcome: Option<String>,
    violations: Vec<String>,
}

impl Judge<'_> {
    fn take(&mut self, seen: &Seen) {
        match seen {
            Seen::Asked(job, credential) => {
                self.ledger.asked(*job, Some(*credential));
                if self.memory.journal.contains_key(job) {
                    self.ledger.accepted(*job);
                }
            }
            Seen::Cards(job, memories) => self.compare(*job, memories),
            Seen::Lifted(card) => self.ledger.lifted(*card),
            Seen::Attempt(job, attempt) => self.attempt(*job, attempt),
            Seen::Credential {
                id,
                credential,
                events,
            } => self.credential(*id, credential, events),
            Seen::Waits(job) => self.ledger.waits(format!("the attempt of job {job}")),
            Seen::Wrong(words) => self.violations.push(words.clone()),
        }
    }

    /// Whatever changed on a card since it was last seen was changed by this job.
    fn compare(&mut self, job: JobId, memories: &Memories) {
        for (card, bytes) in memories {
            if self.before.get(card) == Some(bytes) {
                continue;
            }
            self.ledger.changed(*card, job);
            let stored = self.memory.store.get(&job);
            if stored.is_some_and(|stored| stored.is_complete_on(bytes)) {
                self.ledger.carries(*card, job);
            }
        }
        self.before.clone_from(memories);
    }

    /// An attempt as it is shown at its end, or at the very end.
    fn attempt(&mut self, job: JobId, attempt: &Value) {
        self.outcome.get_or_insert_with(|| {
            let code = error_of(attempt).map(str::to_owned);
            code.unwrap_or_else(|| "success".to_owned())
        });
        if let Some(finished) = self.memory.journal.get(&job) {
            let told = Told {
                success: finished.outcome == Outcome::Success,
                touched: finished.touched,
                card_number: finished.card_number.clone(),
            };
            self.ledger.finished(job, told);
            let number = &attempt["result"]["card_number"];
            if !number.is_null() && *number != json!(finished.card_number) {
                self.violations
                    .push(format!("job {job} shows the card number {number}"));
            }
        }
        if let Some(shown) = shown(attempt) {
            self.ledger.shows(job, shown);
        } else {
            self.violations.push(format!(
                "an attempt that is none of the documented: {attempt}"
            ));
        }
        if let Some(Remembered { job: stored, .. }) = self.memory.store.get(&job)
            && let Some(touched) = stored.outcome
        {
            let pinned = stored.pinned;
            self.ledger.stored(job, Stored { touched, pinned });
        }
    }

    /// The credential shows every write that was read back, and says so once.
    fn credential(&mut self, id: Uuid, credential: &Value, events: &[String]) {
        let written: Vec<&Remembered> = self
            .memory
            .store
            .values()
            .filter(|stored| stored.job.credential.is_some_and(|of| of.0 == id))
            .filter(|stored| stored.job.outcome == Some(Touched::Written))
            .collect();
        let issues = events
            .iter()
            .filter(|event| event.ends_with("credential.issued") || event.ends_with("reissued"));
        let number = written.last().map(|stored| stored.bound_card());
        let shows_number = *credential.get("card_number").unwrap_or(&Value::Null) == json!(number);
        let shows_issue = credential["is_issued"] == json!(!written.is_empty());
        if issues.count() != written.len() || !shows_number || !shows_issue {
            self.violations.push(format!(
                "credential {id} was written {} times, last on {number:?}; its events are {events:?}, and it shows \
                 {credential}",
                written.len()
            ));
        }
    }
}

/// What the API says; none where it says nothing that it may say.
fn shown(attempt: &Value) -> Option<Shown> {
    if is_pending(attempt) {
        return Some(Shown::Pending);
    }
    if attempt["status"] == json!("success") {
        return Some(Shown::Success);
    }
    let error = &attempt["error"];
    serde_json::from_value::<ErrorCode>(error["type"].clone()).ok()?;
    let touched = serde_json::from_value(error["touched"].clone()).ok()?;
    Some(Shown::Failed(touched))
}
