//! What a decision leads to: rows first, then messages.

use encoder_protocols::{
    card::Uid,
    wire::{Bye, ByeReason, JobId, JobKind, PlanPurpose, ServiceMessage},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    AgentId, AgentRecord, CredentialId, EncoderId, EncoderRecord, Hold, JobRecord, Orphan,
    SessionId, SystemId,
};

/// The effects of a decision. Every change is committed, in order and in one transaction, before the first message
/// leaves.
#[derive(Debug, Default, PartialEq)]
pub struct Decision {
    /// The rows to store, in order.
    pub changes: Vec<Change>,
    /// What to send after the commit, in order.
    pub messages: Vec<Delivery>,
}

/// A row to store.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The agent has said `hello` and delivered everything: a restored store need not wait for it any more.
    AgentHeard(AgentId),
    /// The operator retired the agent: its token opens nothing, and a restored store does not wait for it.
    AgentRetired(AgentId),
    /// The operator revoked the agent's token.
    AgentRevoked(AgentId),
    /// A line for the audit.
    Audit(AuditEntry),
    /// Nobody knows what the card of the system carries now.
    CardInDoubt(SystemId, Uid),
    /// The holds of this job end.
    DropHolds(JobId),
    /// A card carries the credential.
    Issue(Issue),
    /// A hold stands, in place of the same job's hold on the same card.
    PutHold(Hold),
    /// An agent named a job that the store does not know.
    PutOrphan(Orphan),
    /// The operator released the credential: none of its holds stands, and no card carries it.
    ReleaseCredential(CredentialId),
    /// The agent's row.
    SaveAgent(AgentRecord),
    /// The encoder's row with its places; the flag says that it is new.
    SaveEncoder(Box<EncoderRecord>, bool),
    /// The job's row with its attempt and binding.
    SaveJob(Box<JobRecord>),
}

/// A card carries a credential.
#[derive(Clone, Debug, PartialEq)]
pub struct Issue {
    /// Written by which job.
    pub job: JobId,
    /// In which access system.
    pub system: SystemId,
    /// Which credential.
    pub credential: CredentialId,
    /// Which card; none where the medium has no UID.
    pub uid: Option<Uid>,
    /// The card's number as the API prints it.
    pub card_number: Option<String>,
    /// When the write was verified.
    pub issued_at: Timestamp,
    /// The revision of the credential that is on the card; none when it is not known.
    pub revision: Option<i64>,
}

/// Which of a job's steps an audit line records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuditAction {
    /// It was bound to a card, and key data for that card left.
    Bound,
    /// Its attempt ended.
    Ended,
    /// Its outcome was taken.
    Outcome,
    /// An outcome of an unknown job was kept.
    Orphan,
    /// The operator released the card that it held.
    Released,
    /// It was asked for.
    Requested,
}

/// One line of the audit; lines are only ever added.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: AuditAction,
    /// Which job.
    pub job: JobId,
    /// Encode or scan.
    pub kind: JobKind,
    /// In which access system.
    pub system: Option<SystemId>,
    /// Who asked for it.
    pub api_key: Option<Uuid>,
    /// On which agent.
    pub agent: Option<AgentId>,
    /// On which encoder.
    pub encoder: Option<EncoderId>,
    /// Of which credential.
    pub credential: Option<CredentialId>,
    /// On which card.
    pub uid: Option<Uid>,
    /// What came of it: an outcome's name and what it did to the card, or an error's code.
    pub result: Option<String>,
}

/// Something to send. It goes into this session or nowhere.
#[derive(Debug, PartialEq)]
pub enum Delivery {
    /// A message as it stands.
    Message(SessionId, ServiceMessage),
    /// The plan of the job's binding, to be made now from the binding's content.
    Plan {
        /// Into which session.
        session: SessionId,
        /// Of which job, as it was bound.
        job: Box<JobRecord>,
        /// None to write or read, *verify* to compare.
        purpose: Option<PlanPurpose>,
    },
    /// The last message of a session, which ends then.
    End(SessionId, Bye),
}

/// The agent said something that no agent of this protocol says; its session ends.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Violation {
    /// The job belongs to another agent.
    #[error("job {0} belongs to another agent")]
    ForeignJob(JobId),
    /// The job runs on another encoder.
    #[error("job {0} was given to another encoder than the one named")]
    ForeignEncoder(JobId),
    /// The credential belongs to another access system.
    #[error("credential {0} belongs to another access system")]
    ForeignCredential(CredentialId),
    /// The encoder's key is listed twice.
    #[error("the inventory lists an encoder key twice")]
    DuplicateEncoder,
}

impl Violation {
    /// The goodbye that tells the agent.
    pub fn bye(&self) -> Bye {
        Bye {
            reason: ByeReason::ProtocolError,
            message: format!("{self}; name only what is this agent's own"),
        }
    }
}

impl Decision {
    /// Adds a row.
    pub(crate) fn store(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Adds the job's row in place of an earlier one of this decision.
    pub(crate) fn save(&mut self, job: &JobRecord) {
        self.changes
            .retain(|change| !matches!(change, Change::SaveJob(saved) if saved.id == job.id));
        self.changes.push(Change::SaveJob(Box::new(job.clone())));
    }

    /// Adds a message.
    pub(crate) fn send(&mut self, session: SessionId, message: ServiceMessage) {
        self.messages.push(Delivery::Message(session, message));
    }

    /// Adds an audit line about a known job.
    pub(crate) fn audit(
        &mut self,
        at: Timestamp,
        action: AuditAction,
        job: &JobRecord,
        uid: Option<Uid>,
        result: Option<String>,
    ) {
        self.store(Change::Audit(AuditEntry {
            at,
            action,
            job: job.id,
            kind: job.kind,
            system: Some(job.system),
            api_key: job.api_key,
            agent: job.agent,
            encoder: Some(job.encoder),
            credential: job.credential,
            uid,
            result,
        }));
    }
}
