//! What follows when credentials are taken away: a line in the audit trail for each, and word to the desk, which ends
//! encodes that wait for a card.

use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{ApiError, Caller};
use crate::{
    jobs::CredentialId,
    state::AppState,
    store::audit::{self, AuditEntry},
};

/// Notes which key took the credentials of a system away.
pub(super) async fn note(
    conn: &mut SqliteConnection,
    caller: &Caller,
    acs_system_id: Uuid,
    credentials: &[Uuid],
    now: Timestamp,
) -> Result<(), ApiError> {
    for credential in credentials {
        let entry = AuditEntry {
            action: "credential.delete".into(),
            workspace_id: Some(caller.workspace_id),
            acs_system_id: Some(acs_system_id),
            api_key_id: Some(caller.api_key_id),
            acs_credential_id: Some(*credential),
            ..AuditEntry::default()
        };
        audit::record(conn, &entry, now).await?;
    }
    Ok(())
}

/// Tells the desk, after the commit.
pub(super) async fn tell(state: &AppState, credentials: &[Uuid]) -> Result<(), ApiError> {
    for credential in credentials {
        state
            .desk
            .credential_deleted(CredentialId(*credential))
            .await?;
    }
    Ok(())
}
