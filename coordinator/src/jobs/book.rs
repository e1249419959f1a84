//! What is going on: the open jobs, who holds which credential, who is connected.

use std::collections::{BTreeMap, BTreeSet};

use encoder_protocols::{card::Uid, wire::JobId};
use jiff::Timestamp;

use super::{
    AgentId, AgentRecord, BootId, CredentialId, EncoderId, EncoderRecord, Hold, JobRecord, Orphan,
    Restored, Session, SessionId, SystemId, budget::PlanBudget,
};

/// The state that decisions are made from. It is a picture of the store: whoever drives it loads what a decision needs
/// ([`Book::knows_job`], [`Book::knows_credential`]) and stores what the decision says.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub(crate) jobs: BTreeMap<JobId, JobRecord>,
    pub(crate) orphans: BTreeMap<JobId, Orphan>,
    pub(crate) holds: BTreeMap<CredentialId, Vec<Hold>>,
    pub(crate) agents: BTreeMap<AgentId, AgentRecord>,
    pub(crate) budgets: BTreeMap<AgentId, PlanBudget>,
    pub(crate) encoders: BTreeMap<EncoderId, EncoderRecord>,
    pub(crate) restored: Restored,
}

impl Book {
    /// A book of a store that was (or was not) started from a backup's copy.
    pub fn new(restored: Restored) -> Self {
        Self {
            restored,
            ..Self::default()
        }
    }

    /// Whether the job is at hand, known or orphan.
    pub fn knows_job(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job) || self.orphans.contains_key(&job)
    }

    /// Whether the credential's holds are at hand.
    pub fn knows_credential(&self, credential: CredentialId) -> bool {
        self.holds.contains_key(&credential)
    }

    /// Takes in a job of the store.
    pub fn admit_job(&mut self, job: JobRecord) {
        self.jobs.insert(job.id, job);
    }

    /// Takes in an orphan of the store.
    pub fn admit_orphan(&mut self, orphan: Orphan) {
        self.orphans.insert(orphan.job, orphan);
    }

    /// Takes in every hold of a credential.
    pub fn admit_holds(&mut self, credential: CredentialId, holds: Vec<Hold>) {
        self.holds.insert(credential, holds);
    }

    /// Takes in an agent, or what was changed about it; a live session stays.
    pub fn admit_agent(&mut self, mut agent: AgentRecord) {
        if let Some(known) = self.agents.get(&agent.id) {
            agent.session.clone_from(&known.session);
            agent.away_since = known.away_since;
            agent.last_sequence = agent.last_sequence.max(known.last_sequence);
        }
        self.agents.insert(agent.id, agent);
    }

    /// Forgets an agent that was never heard.
    pub fn drop_agent(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        self.restored.awaited.retain(|awaited| *awaited != agent);
    }

    /// Takes in an encoder of the store.
    pub fn admit_encoder(&mut self, encoder: EncoderRecord) {
        self.encoders.insert(encoder.id, encoder);
    }

    /// An agent.
    pub fn agent(&self, agent: AgentId) -> Option<&AgentRecord> {
        self.agents.get(&agent)
    }

    /// A job that is at hand.
    pub fn job(&self, job: JobId) -> Option<&JobRecord> {
        self.jobs.get(&job)
    }

    /// A job that the store does not know.
    pub fn orphan(&self, job: JobId) -> Option<&Orphan> {
        self.orphans.get(&job)
    }

    /// An encoder.
    pub fn encoder(&self, encoder: EncoderId) -> Option<&EncoderRecord> {
        self.encoders.get(&encoder)
    }

    /// The holds of a credential, as far as they are at hand.
    pub fn holds(&self, credential: CredentialId) -> &[Hold] {
        self.holds.get(&credential).map_or(&[], Vec::as_slice)
    }

    /// The agents that a restored store still waits for, each with its access system.
    pub fn awaited_agents(&self) -> impl Iterator<Item = &AgentRecord> {
        self.restored
            .awaited
            .iter()
            .filter_map(|agent| self.agents.get(agent))
    }

    /// Drops what is settled once more than `limit` jobs are at hand; it can be loaded again from the store.
    pub fn forget_settled(&mut self, limit: usize) {
        if self.jobs.len() + self.holds.len() <= limit {
            return;
        }
        self.jobs.retain(|_, job| !job.is_settled());
        self.orphans.retain(|_, orphan| orphan.outcome.is_none());
        let jobs = self.jobs.values().map(|job| job.credential);
        let orphans = self.orphans.values().map(|orphan| orphan.credential);
        let needed: BTreeSet<CredentialId> = jobs.chain(orphans).flatten().collect();
        self.holds
            .retain(|credential, _| needed.contains(credential));
    }

    /// The agent's live session.
    pub(crate) fn live(&self, agent: AgentId) -> Option<&Session> {
        self.agents.get(&agent)?.session.as_ref()
    }

    /// The session into which messages for this job's agent go now.
    pub(crate) fn session_of(&self, job: &JobRecord) -> Option<SessionId> {
        Some(self.live(job.agent?)?.id)
    }

    /// The agent's session if it is this one, with the agent's boot.
    pub(crate) fn boot_of(&self, agent: AgentId, session: SessionId) -> Option<BootId> {
        self.live(agent)
            .filter(|live| live.id == session)
            .map(|live| live.boot)
    }

    /// Whether a restored store still has to hear from the job's agent what became of it after the copy was taken.
    pub(crate) fn is_unheard(&self, job: &JobRecord) -> bool {
        let restored = &self.restored;
        let awaited = job
            .agent
            .is_some_and(|agent| restored.awaited.contains(&agent));
        awaited && job.created_at <= restored.until
    }

    /// Another job of this credential that may still write.
    pub(crate) fn open_job_of(
        &self,
        credential: CredentialId,
        except: Option<JobId>,
    ) -> Option<&JobRecord> {
        self.jobs.values().find(|job| {
            job.credential == Some(credential)
                && Some(job.id) != except
                && (job.attempt.is_pending() || job.awaited)
        })
    }

    /// A job of this credential that the store does not know and whose outcome has not come.
    pub(crate) fn open_orphan_of(&self, credential: CredentialId) -> Option<&Orphan> {
        self.orphans
            .values()
            .find(|orphan| orphan.credential == Some(credential) && orphan.outcome.is_none())
    }

    /// The names of the agents that a restored store must hear before it binds a credential made then.
    pub(crate) fn agents_to_hear(&self, system: SystemId, made_at: Timestamp) -> Vec<&str> {
        if made_at > self.restored.until {
            return Vec::new();
        }
        self.awaited_agents()
            .filter(|agent| agent.system == system)
            .map(|agent| agent.name.as_str())
            .collect()
    }

    /// Whether the credential is tied to a card other than this one: by another job, or by this job itself once it is
    /// pinned to its card (rules 2 and 6).
    pub(crate) fn held_elsewhere(
        &self,
        credential: CredentialId,
        uid: Option<Uid>,
        job: &JobRecord,
    ) -> bool {
        self.holds(credential)
            .iter()
            .filter(|hold| hold.job != job.id || job.pinned)
            .any(|hold| hold.uid.is_none() || hold.uid != uid)
    }
}
