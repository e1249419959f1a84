//! Jobs on simulated encoders: no agent has them, so the book alone binds and ends them.

use encoder_protocols::{
    card::CardDescription,
    wire::{EncoderKey, JobFinished, JobId, KeyScope},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    AuditAction, Binding, Book, BootId, Change, Decision, EncoderId, EncoderRecord, JobRecord,
    PlanContent, SIMULATED_TIME, SessionId, SystemId, after,
};

/// Stands for the session and the start of the agent that a simulated encoder does not have.
const NOBODY: Uuid = Uuid::nil();

impl Book {
    /// Makes a simulated encoder.
    pub fn add_simulated(
        &mut self,
        now: Timestamp,
        id: EncoderId,
        system: SystemId,
        name: &str,
    ) -> Decision {
        let record = EncoderRecord {
            id,
            system,
            key: EncoderKey(format!("simulated:{id}")),
            scope: KeyScope::System,
            display_name: Some(name.to_owned()),
            adopted: true,
            simulated: true,
            created_at: now,
            places: Vec::new(),
        };
        let mut out = Decision::default();
        out.store(Change::SaveEncoder(Box::new(record.clone()), true));
        self.encoders.insert(id, record);
        out
    }

    /// The simulated jobs whose time has come.
    pub fn simulated_due(&self, now: Timestamp) -> Vec<JobId> {
        let waiting = self.jobs.values().filter(|job| job.is_simulated_and_open());
        let due = waiting.filter(|job| now >= simulated_end(job));
        due.map(|job| job.id).collect()
    }

    /// Ends a simulated job as if an agent had said so. `on` is the card that it changed, and what was put on it.
    ///
    /// The credential's holds must be at hand.
    pub fn simulated(
        &mut self,
        now: Timestamp,
        on: Option<(CardDescription, PlanContent)>,
        finished: &JobFinished,
        scanned: Option<serde_json::Value>,
    ) -> Decision {
        let mut out = Decision::default();
        let Some(job) = self
            .jobs
            .get_mut(&finished.job_id)
            .filter(|job| job.is_simulated_and_open())
        else {
            return out;
        };
        if let Some((card, content)) = on {
            job.binding = Some(Binding {
                n: 1,
                uid: card.uid,
                card,
                session: SessionId(NOBODY),
                boot: BootId(NOBODY),
                content: Some(content),
            });
            job.cards.extend(card.uid);
            let job = job.clone();
            out.save(&job);
            out.audit(now, AuditAction::Bound, &job, card.uid, None);
        }
        self.take(now, Some(BootId(NOBODY)), finished, scanned, &mut out);
        out
    }
}

impl JobRecord {
    fn is_simulated_and_open(&self) -> bool {
        self.simulated && self.attempt.is_pending()
    }
}

/// When a simulated job ends.
pub(crate) fn simulated_end(job: &JobRecord) -> Timestamp {
    after(job.created_at, SIMULATED_TIME)
}
