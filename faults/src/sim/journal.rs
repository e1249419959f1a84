//! A PC's disk with its journal, and what the ledger is told of it.

use std::collections::BTreeSet;

use encoder_agent::journal::{JournaledState, MemoryJournal, Recall, Record};
use encoder_protocols::wire::{JobFinished, JobId, Outcome};

use super::{common::Common, pc::brief};
use crate::invariants::{Memory, Told};

/// A journal on a disk.
pub(super) struct Disk {
    /// In which PC.
    pub(super) pc: usize,
    pub(super) journal: MemoryJournal,
    /// Said at the next start.
    pub(super) problem: Option<String>,
    pub(super) full: bool,
    /// What the disk held at earlier times.
    pub(super) images: Vec<MemoryJournal>,
    /// Every job that a journal of this disk ever held.
    pub(super) jobs: BTreeSet<JobId>,
}

impl Disk {
    /// Makes records durable, and tells the ledger what the journal holds now.
    pub(super) fn append(&mut self, common: &mut Common, records: &[Record]) {
        self.journal.append(records);
        for record in records {
            common.note(|| format!("journal: {}", brief(record)));
            match record {
                Record::Accepted(facts) => {
                    self.jobs.insert(facts.job_id);
                    common.accepted(facts.job_id, self.pc);
                }
                Record::Finished(finished) => {
                    self.jobs.insert(finished.job_id);
                    common.finished(finished.job_id, self.pc);
                    common.ledger.finished(finished.job_id, told(finished));
                }
                Record::Started { .. } => common.count("job started"),
                Record::Presented { .. }
                | Record::Acknowledged { .. }
                | Record::SequenceFloor(_)
                | Record::Guarded { .. }
                | Record::Store(_) => {}
            }
        }
    }

    /// Puts another journal in place of this one. What it does not know of a job is forgotten.
    pub(super) fn replace(&mut self, common: &mut Common, journal: MemoryJournal) {
        for job in &self.jobs {
            if standing(&self.journal, *job) != standing(&journal, *job) {
                common.note(|| format!("journal: forgets about job {job}"));
                common.ledger.forgot(Memory::Journal, *job);
            }
        }
        self.journal = journal;
    }
}

pub(super) fn standing(journal: &MemoryJournal, job: JobId) -> (Option<bool>, Option<Told>) {
    let open = journal.contents().open_jobs;
    let open = open.iter().find(|open| open.facts.job_id == job);
    let started = open.map(|open| matches!(open.state, JournaledState::Started { .. }));
    let finished = journal.recall(Recall::Job(job));
    (started, finished.first().map(told))
}

pub(super) fn told(finished: &JobFinished) -> Told {
    Told {
        success: finished.outcome == Outcome::Success,
        touched: finished.touched,
        card_number: finished.card_number.clone(),
    }
}
