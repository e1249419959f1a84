//! The coordinator's store without a database: the rows, and what a start reads of them.

use std::{collections::BTreeMap, rc::Rc};

use encoder_coordinator::{
    jobs::{
        AgentId, AgentRecord, Attempt, Book, Change, CredentialId, EncoderId, EncoderRecord, Hold,
        JobRecord, Orphan, Restored,
    },
    store::{
        credentials::{CredentialRow, Issued, UNKNOWN_VERSION},
        systems::SystemKind,
    },
};
use encoder_protocols::wire::JobId;
use jiff::Timestamp;
use uuid::Uuid;

use super::common::Common;
use crate::invariants::{Memory, Shown, Stored};

/// Every row. Cloning it is taking a copy.
#[derive(Clone, Default)]
pub(super) struct Store {
    pub(super) jobs: BTreeMap<JobId, Rc<JobRecord>>,
    pub(super) orphans: BTreeMap<JobId, Rc<Orphan>>,
    pub(super) holds: BTreeMap<CredentialId, Vec<Hold>>,
    pub(super) agents: BTreeMap<AgentId, Rc<AgentRecord>>,
    pub(super) encoders: BTreeMap<EncoderId, Rc<EncoderRecord>>,
    pub(super) credentials: BTreeMap<CredentialId, Rc<CredentialRow>>,
    pub(super) restored: Restored,
}

impl Store {
    /// What a starting desk has at hand.
    pub(super) fn load(&self, now: Timestamp) -> Book {
        let mut book = Book::new(self.restored.clone());
        for agent in self.agents.values() {
            book.admit_agent(AgentRecord {
                session: None,
                away_since: now,
                ..AgentRecord::clone(agent)
            });
        }
        for encoder in self.encoders.values() {
            book.admit_encoder(EncoderRecord::clone(encoder));
        }
        for orphan in self
            .orphans
            .values()
            .filter(|orphan| orphan.outcome.is_none())
        {
            if let Some(credential) = orphan.credential {
                self.need_holds(&mut book, credential);
            }
            book.admit_orphan(Orphan::clone(orphan));
        }
        for job in self.jobs.values().filter(|job| !job.is_settled()) {
            if let Some(credential) = job.credential {
                self.need_holds(&mut book, credential);
            }
            book.admit_job(JobRecord::clone(job));
        }
        book.bound_deadlines(now);
        book
    }

    /// Brings a job to hand, with its credential's holds.
    pub(super) fn need_job(&self, book: &mut Book, job: JobId) {
        if !book.knows_job(job) {
            if let Some(job) = self.jobs.get(&job) {
                book.admit_job(JobRecord::clone(job));
            } else if let Some(orphan) = self.orphans.get(&job) {
                book.admit_orphan(Orphan::clone(orphan));
            }
        }
        let known = book.job(job).and_then(|job| job.credential);
        let orphan = book.orphan(job).and_then(|orphan| orphan.credential);
        if let Some(credential) = known.or(orphan) {
            self.need_holds(book, credential);
        }
    }

    /// Brings a credential's holds to hand.
    pub(super) fn need_holds(&self, book: &mut Book, credential: CredentialId) {
        if !book.knows_credential(credential) {
            let holds = self.holds.get(&credential).cloned().unwrap_or_default();
            book.admit_holds(credential, holds);
        }
    }

    /// A start from a copy: nothing of it is bound before every agent was heard.
    pub(super) fn note_restored(&mut self, now: Timestamp) {
        let made = self.credentials.values().map(|row| row.created_at);
        let made = made.chain(self.jobs.values().map(|job| job.created_at));
        self.restored = Restored {
            until: made.max().map_or(now, |last| last.max(now)),
            awaited: {
                let serving = self.agents.values().filter(|agent| !agent.retired);
                serving.map(|agent| agent.id).collect()
            },
        };
    }

    /// Writes one row.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::AgentHeard(agent) => self.restored.awaited.retain(|other| other != agent),
            Change::AgentRetired(agent) => {
                self.restored.awaited.retain(|other| other != agent);
                if let Some(row) = self.agents.get_mut(agent) {
                    Rc::make_mut(row).retired = true;
                }
            }
            Change::ReleaseCredential(credential) => {
                self.holds.remove(credential);
                if let Some(row) = self.credentials.get_mut(credential) {
                    Rc::make_mut(row).issued = None;
                }
            }
            Change::Audit(_) | Change::AgentRevoked(_) => {}
            Change::CardInDoubt(_, uid) => {
                let uid = Some(uid.to_string());
                for row in self.credentials.values_mut() {
                    let on_it = row.issued.as_ref().is_some_and(|at| at.card_uid == uid);
                    if on_it && let Some(issued) = &mut Rc::make_mut(row).issued {
                        issued.version = UNKNOWN_VERSION;
                    }
                }
            }
            Change::DropHolds(job) => {
                for holds in self.holds.values_mut() {
                    holds.retain(|hold| hold.job != *job);
                }
            }
            Change::Issue(issue) => {
                if let Some(row) = self.credentials.get_mut(&issue.credential) {
                    Rc::make_mut(row).issued = Some(Issued {
                        version: issue.revision.unwrap_or(UNKNOWN_VERSION),
                        at: issue.issued_at,
                        card_uid: issue.uid.map(|uid| uid.to_string()),
                        card_number: issue.card_number.clone(),
                    });
                }
            }
            Change::PutHold(hold) => {
                let holds = self.holds.entry(hold.credential).or_default();
                holds.retain(|other| other.job != hold.job || other.uid != hold.uid);
                holds.push(hold.clone());
            }
            Change::PutOrphan(orphan) => {
                let known = self.orphans.get(&orphan.job).and_then(|known| known.uid);
                let uid = orphan.uid.or(known);
                let row = Orphan {
                    uid,
                    ..orphan.clone()
                };
                self.orphans.insert(orphan.job, Rc::new(row));
            }
            Change::SaveAgent(agent) => {
                self.agents.insert(agent.id, Rc::new(agent.clone()));
            }
            Change::SaveEncoder(encoder, _) => {
                let row = EncoderRecord::clone(encoder);
                self.encoders.insert(encoder.id, Rc::new(row));
            }
            Change::SaveJob(job) => {
                self.jobs.insert(job.id, Rc::new(JobRecord::clone(job)));
            }
        }
    }

    /// A new credential.
    pub(super) fn add_credential(&mut self, id: Uuid, now: Timestamp) -> CredentialId {
        let row = CredentialRow {
            acs_credential_id: id,
            workspace_id: Uuid::nil(),
            acs_system_id: Uuid::nil(),
            connected_account_id: Uuid::nil(),
            acs_user_id: None,
            display_name: "key".to_owned(),
            starts_at: None,
            ends_at: None,
            created_at: now,
            content_version: 1,
            changed_at: now,
            issued: None,
            deleted_at: None,
            registered_number: None,
            kind: SystemKind::Embedded,
            provider: None,
            doors: Vec::new(),
            user_identity_id: None,
        };
        self.credentials.insert(CredentialId(id), Rc::new(row));
        CredentialId(id)
    }

    /// Tells the ledger what a committed row says.
    pub(super) fn observe(&self, common: &mut Common, change: &Change) {
        match change {
            Change::SaveJob(job) => {
                common.ledger.shows(job.id, shown(&job.attempt));
                if let Some(touched) = job.outcome {
                    let pinned = job.pinned;
                    common.ledger.stored(job.id, Stored { touched, pinned });
                }
            }
            Change::PutOrphan(orphan) => {
                if let Some((_, touched)) = orphan.outcome {
                    common.count("orphan kept");
                    // A second machine with the same token, which did not know of it, may have cast doubt on it.
                    let pinned = common.forked;
                    common.ledger.stored(orphan.job, Stored { touched, pinned });
                }
            }
            Change::AgentHeard(_)
            | Change::AgentRetired(_)
            | Change::AgentRevoked(_)
            | Change::CardInDoubt(..)
            | Change::ReleaseCredential(_)
            | Change::Audit(_)
            | Change::DropHolds(_)
            | Change::Issue(_)
            | Change::PutHold(_)
            | Change::SaveAgent(_)
            | Change::SaveEncoder(..) => {}
        }
    }

    /// Goes back to an older copy. What the copy does not know of a job is forgotten.
    pub(super) fn go_back(&mut self, common: &mut Common, copy: Self) {
        let mut forgotten: Vec<JobId> = Vec::new();
        forgotten.extend(
            self.jobs
                .iter()
                .filter(|(id, job)| copy.jobs.get(id) != Some(job))
                .map(|(id, _)| *id),
        );
        forgotten.extend(
            self.orphans
                .iter()
                .filter(|(id, job)| copy.orphans.get(id) != Some(job))
                .map(|(id, _)| *id),
        );
        for id in forgotten {
            common.note(|| format!("store: forgets about job {id}"));
            common.ledger.forgot(Memory::Store, id);
            if common.is_forked(id) {
                common.ledger.forgot(Memory::Journal, id);
            }
        }
        *self = copy;
        for job in self.jobs.values() {
            common.ledger.copy_shows(job.id, shown(&job.attempt));
            if let Some(touched) = job.outcome {
                let pinned = job.pinned;
                common.ledger.copy_holds(job.id, Stored { touched, pinned });
            }
        }
        for orphan in self.orphans.values() {
            if let Some((_, touched)) = orphan.outcome {
                let pinned = common.forked;
                common
                    .ledger
                    .copy_holds(orphan.job, Stored { touched, pinned });
            }
        }
    }
}

fn shown(attempt: &Attempt) -> Shown {
    match attempt {
        Attempt::Pending => Shown::Pending,
        Attempt::Success { .. } => Shown::Success,
        Attempt::Error(error) => Shown::Failed(error.touched),
    }
}
