//! A token that came from where it should not have: the operator is told.

use serde_json::json;

use crate::{
    state::AppState,
    store::{
        StoreError,
        agents::{self, AgentRow},
        audit::{self, AuditEntry},
        events::{self, EventSubject, EventType},
        systems,
    },
};

/// Notes what was seen with the agent, as an event, in the audit trail and in the log; within an hour only once.
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
    if let Some(system) = systems::by_id(&mut conn, agent.acs_system_id).await? {
        let subject = EventSubject {
            acs_system_id: Some(agent.acs_system_id),
            connected_account_id: Some(system.connected_account_id),
            ..EventSubject::default()
        };
        let details = json!({"agent_id": agent.agent_id, "agent_name": agent.name, "detail": seen});
        let (workspace, copied) = (system.workspace_id, EventType::AcsSystemAgentCopied);
        let details = Some(&details);
        events::record_with(&mut conn, workspace, copied, subject, details, now, now).await?;
    }
    conn.commit().await?;
    tracing::warn!(agent = %agent.name, agent_id = %agent.agent_id, seen,
        "an agent's token is on a second PC: pair that PC by itself with `encoder-coordinator pairing code`");
    Ok(())
}
