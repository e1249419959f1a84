//! Whose journal an agent brings. A journal tells of one agent's jobs and cards, so whoever brings it goes on as that agent.
//!
//! A PC that was paired anew has a new token, and over it the journal of what it was before: results that are still owed, and
//! those of half a year to be told again. Under a new name it could tell none of them.

use encoder_protocols::wire::Hello;
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::DeskError;
use crate::{
    jobs::{AgentId, Book},
    store::{
        StoreError,
        agents::{self, AgentRow},
        audit::{self, AuditEntry},
    },
};

/// The agent that a session with this token and this journal is: the token's, or the one whose journal it is, which then
/// takes over the token of an agent that was never heard.
pub(super) async fn owner(
    book: &mut Book,
    conn: &mut SqliteConnection,
    agent: AgentRow,
    hello: &Hello,
    is_alive: impl Fn(AgentId) -> bool,
    now: Timestamp,
) -> Result<Result<AgentRow, DeskError>, StoreError> {
    if agent.own_id == Some(hello.agent_id) {
        return Ok(Ok(agent));
    }
    let Some(owner) = agents::of_journal(conn, hello.agent_id, agent.agent_id).await? else {
        return Ok(Ok(agent));
    };
    let machines = agent.machine.as_ref().zip(owner.machine.as_ref());
    let is_elsewhere = machines.is_some_and(|(one, other)| one != other);
    if agent.acs_system_id != owner.acs_system_id || agent.own_id.is_some() || is_elsewhere {
        tracing::warn!(agent = %agent.name, agent_id = %agent.agent_id, owner = %owner.name, owner_id = %owner.agent_id,
            "an agent brings the journal of another one");
        return Ok(Err(DeskError::AnothersJournal));
    }
    if is_alive(AgentId(owner.agent_id)) {
        return Ok(Err(DeskError::JournalInUse));
    }
    agents::take_over(conn, owner.agent_id, agent.agent_id).await?;
    book.drop_agent(AgentId(agent.agent_id));
    let entry = AuditEntry {
        action: "agent.rejoin".into(),
        acs_system_id: Some(owner.acs_system_id),
        agent_id: Some(owner.agent_id),
        detail: Some(format!("paired anew as {}", agent.agent_id)),
        ..AuditEntry::default()
    };
    audit::record(conn, &entry, now).await?;
    tracing::info!(agent = %owner.name, agent_id = %owner.agent_id, was = %agent.agent_id,
        "an agent that was paired anew brings its journal, and goes on as the agent that it was");
    Ok(Ok(owner))
}
