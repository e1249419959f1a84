//! The audit trail: who had which card written or read, and who changed what. Rows are only ever added.

use std::borrow::Cow;

use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{StoreError, columns};

/// One entry of the audit trail; what does not apply stays out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditEntry {
    /// What was done: `encode`, `scan`, `api_key.create`, …
    pub action: Cow<'static, str>,
    /// The workspace.
    pub workspace_id: Option<Uuid>,
    /// The access system.
    pub acs_system_id: Option<Uuid>,
    /// The API key that asked for it; none where the operator did it on the command line.
    pub api_key_id: Option<Uuid>,
    /// The agent that did it.
    pub agent_id: Option<Uuid>,
    /// The encoder that did it.
    pub acs_encoder_id: Option<Uuid>,
    /// The job.
    pub job_id: Option<Uuid>,
    /// The credential.
    pub acs_credential_id: Option<Uuid>,
    /// The card, in lower-case hex.
    pub card_uid: Option<String>,
    /// What came of it.
    pub outcome: Option<String>,
    /// More in words; never a secret.
    pub detail: Option<String>,
}

/// Adds an entry.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn record(
    conn: &mut SqliteConnection,
    entry: &AuditEntry,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit (at_ms, action, workspace_id, acs_system_id, api_key_id, agent_id, acs_encoder_id, job_id, \
         acs_credential_id, card_uid, outcome, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(now.as_millisecond())
    .bind(entry.action.as_ref())
    .bind(columns::optional_text(entry.workspace_id))
    .bind(columns::optional_text(entry.acs_system_id))
    .bind(columns::optional_text(entry.api_key_id))
    .bind(columns::optional_text(entry.agent_id))
    .bind(columns::optional_text(entry.acs_encoder_id))
    .bind(columns::optional_text(entry.job_id))
    .bind(columns::optional_text(entry.acs_credential_id))
    .bind(&entry.card_uid)
    .bind(&entry.outcome)
    .bind(&entry.detail)
    .execute(conn)
    .await?;
    Ok(())
}
