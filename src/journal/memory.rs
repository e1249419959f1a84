//! The journal's meaning without a file, for tests and simulations.

use std::collections::BTreeMap;

use encoder_protocols::wire::{EncoderKey, JobFinished, JobId};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Guard, JournalContents, JournaledJob, JournaledState, Owed, RETENTION, Recall, Record,
};

/// What the file would hold. Cloning it is taking a disk image.
#[derive(Clone, Debug)]
pub struct MemoryJournal {
    agent_id: Uuid,
    last_sequence: u64,
    store_id: Option<Uuid>,
    open_jobs: Vec<JournaledJob>,
    outcomes: BTreeMap<u64, Kept>,
    guards: BTreeMap<EncoderKey, Vec<Guard>>,
}

#[derive(Clone, Debug)]
struct Kept {
    finished: JobFinished,
    encoder_key: Option<EncoderKey>,
    acknowledged_at: Option<Timestamp>,
}

impl MemoryJournal {
    /// An empty journal of the agent with this id.
    pub fn new(agent_id: Uuid) -> Self {
        Self {
            agent_id,
            last_sequence: 0,
            store_id: None,
            open_jobs: Vec::new(),
            outcomes: BTreeMap::new(),
            guards: BTreeMap::new(),
        }
    }

    /// Makes `records` durable, in order.
    pub fn append(&mut self, records: &[Record]) {
        for record in records {
            self.apply(record);
        }
    }

    /// What an agent that starts now would find.
    pub fn contents(&self) -> JournalContents {
        JournalContents {
            agent_id: self.agent_id,
            last_sequence: self.last_sequence,
            last_outcome: self.outcomes.last_key_value().map_or(0, |(last, _)| *last),
            store_id: self.store_id,
            open_jobs: self.open_jobs.clone(),
            unacknowledged: self
                .outcomes
                .values()
                .filter(|kept| kept.acknowledged_at.is_none())
                .map(|kept| Owed {
                    finished: kept.finished.clone(),
                    encoder_key: kept.encoder_key.clone(),
                })
                .collect(),
            guards: self.guards.clone(),
            problems: Vec::new(),
        }
    }

    /// Outcomes, acknowledged ones included.
    pub fn recall(&self, recall: Recall) -> Vec<JobFinished> {
        match recall {
            Recall::Job(job_id) => self
                .outcomes
                .values()
                .filter(|kept| kept.finished.job_id == job_id)
                .map(|kept| kept.finished.clone())
                .take(1)
                .collect(),
            Recall::After { sequence, limit } => self
                .outcomes
                .range(sequence.saturating_add(1)..)
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .map(|(_, kept)| kept.finished.clone())
                .collect(),
        }
    }

    /// Forgets outcomes that were acknowledged longer than [`RETENTION`] before `now`.
    pub fn compact(&mut self, now: Timestamp) {
        self.outcomes.retain(|_, kept| {
            kept.acknowledged_at
                .is_none_or(|at| now.duration_since(at).unsigned_abs() <= RETENTION || at > now)
        });
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Accepted(facts) => self.open_jobs.push(JournaledJob {
                facts: facts.clone(),
                n: 1,
                cards: Vec::new(),
                state: JournaledState::Accepted,
            }),
            Record::Presented { job_id, n, uid } => {
                if let Some(job) = self.open_job(*job_id) {
                    job.n = job.n.max(*n);
                    if let Some(uid) = uid.filter(|uid| !job.cards.contains(uid)) {
                        job.cards.push(uid);
                    }
                }
            }
            Record::Started { job_id, n, card } => {
                if let Some(job) = self.open_job(*job_id) {
                    job.n = job.n.max(*n);
                    job.state = JournaledState::Started { n: *n, card: *card };
                }
            }
            Record::Finished(finished) => self.finish(finished),
            Record::Acknowledged { sequence, at } => {
                if let Some(kept) = self.outcomes.get_mut(sequence) {
                    kept.acknowledged_at = Some(*at);
                    kept.finished.contents = None;
                }
            }
            Record::SequenceFloor(sequence) => {
                self.last_sequence = self.last_sequence.max(*sequence);
            }
            Record::Guarded {
                encoder_key,
                guards,
            } => {
                if guards.is_empty() {
                    self.guards.remove(encoder_key);
                } else {
                    self.guards.insert(encoder_key.clone(), guards.clone());
                }
            }
            Record::Store(store_id) => self.store_id = Some(*store_id),
        }
    }

    fn finish(&mut self, finished: &JobFinished) {
        let job = self.open_job(finished.job_id);
        let encoder_key = job.map(|job| job.facts.encoder_key.clone());
        self.open_jobs
            .retain(|job| job.facts.job_id != finished.job_id);
        self.last_sequence = self.last_sequence.max(finished.sequence);
        self.outcomes.insert(
            finished.sequence,
            Kept {
                finished: finished.clone(),
                encoder_key,
                acknowledged_at: None,
            },
        );
    }

    fn open_job(&mut self, job_id: JobId) -> Option<&mut JournaledJob> {
        self.open_jobs
            .iter_mut()
            .find(|job| job.facts.job_id == job_id)
    }
}
