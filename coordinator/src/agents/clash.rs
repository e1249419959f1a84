//! A token that came from where it should not have: the operator is told.

use crate::{
    state::AppState,
    store::{
        StoreError,
        agents::{self, AgentRow},
        audit::{self, AuditEntry},
    },
};

/// Notes what was seen with the agent, in the audit trail and in the log; within an hour only once.
pub(super) async fn note(state: &AppState, agent: &AgentRow, seen: &str) -> Result<(), StoreError> {
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    if !agents::note_clash(&mut conn, agent.agent_id, seen, now).await? {
        return Ok(());
    }
    let entry = AuditEntry {
        action: "agent.clash".into(),
        acs_system_id: Some(agent.acs_system_id),
        agent_id: Some(agent.agent_id),
        detail: Some(seen.to_owned()),
        ..AuditEntry::default()
    };
    audit::record(&mut conn, &entry, now).await?;
    conn.commit().await?;
    tracing::warn!(agent = %agent.name, agent_id = %agent.agent_id, seen,
        "an agent's token is on a second PC: pair that PC by itself with `encoder-coordinator pairing code`");
    Ok(())
}
