//! Action attempts, as the API shows them.

use serde_json::Value;
use sqlx::{FromRow, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use encoder_protocols::wire::{JobError, JobKind};

use super::{Page, PageRequest, StoreError, columns};
use crate::jobs::{Attempt, JobRecord};

/// What an attempt tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ActionType {
    /// Put a credential on a card.
    EncodeCredential,
    /// Read a card.
    ScanCredential,
}

impl ActionType {
    /// The type as the API names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EncodeCredential => "ENCODE_CREDENTIAL",
            Self::ScanCredential => "SCAN_CREDENTIAL",
        }
    }
}

/// An action attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    /// Its id, and its job's.
    pub action_attempt_id: Uuid,
    /// What it tries, as the API names it.
    pub action_type: String,
    /// How it stands.
    pub attempt: Attempt,
}

impl FromRow<'_, SqliteRow> for AttemptRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            action_attempt_id: columns::id(row, "action_attempt_id")?,
            action_type: row.try_get("action_type")?,
            attempt: attempt(row)?,
        })
    }
}

/// How an attempt stands, from its columns.
pub(super) fn attempt(row: &SqliteRow) -> Result<Attempt, sqlx::Error> {
    let status: &str = row.try_get("status")?;
    Ok(match status {
        "success" => Attempt::Success {
            result: columns::optional_json(row, "result")?,
        },
        "error" => Attempt::Error(columns::from_json(row, "error")?),
        _ => Attempt::Pending,
    })
}

/// The attempt with this id, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    action_attempt_id: Uuid,
) -> Result<Option<AttemptRow>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT * FROM action_attempts WHERE action_attempt_id = ? AND workspace_id = ?",
    )
    .bind(action_attempt_id.to_string())
    .bind(workspace_id.to_string())
    .fetch_optional(conn)
    .await?)
}

/// One page of a workspace's attempts, of these alone if any are named.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    named: Option<&[Uuid]>,
    page: PageRequest,
) -> Result<Page<AttemptRow>, StoreError> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT * FROM action_attempts WHERE workspace_id = ");
    query.push_bind(workspace_id.to_string());
    if let Some(named) = named {
        query.push(" AND action_attempt_id IN (");
        let mut list = query.separated(", ");
        for id in named {
            list.push_bind(id.to_string());
        }
        query.push(")");
    }
    query
        .push(" AND action_attempt_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY action_attempt_id LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build_query_as().fetch_all(conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// Stores how a job's attempt stands. One that has ended stays as it is. `result` is what a success prints.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn save(
    conn: &mut SqliteConnection,
    job: &JobRecord,
    result: Option<&Value>,
) -> Result<(), StoreError> {
    let action = match job.kind {
        JobKind::Encode => ActionType::EncodeCredential,
        JobKind::Scan => ActionType::ScanCredential,
    };
    let (status, error): (_, Option<&JobError>) = match &job.attempt {
        Attempt::Pending => ("pending", None),
        Attempt::Success { .. } => ("success", None),
        Attempt::Error(error) => ("error", Some(error)),
    };
    sqlx::query(
        "INSERT INTO action_attempts (action_attempt_id, workspace_id, action_type, status, result, error, created_ms) \
         SELECT ?, workspace_id, ?, ?, ?, ?, ? FROM systems WHERE acs_system_id = ? \
         ON CONFLICT (action_attempt_id) DO UPDATE SET status = excluded.status, result = excluded.result, \
         error = excluded.error WHERE status = 'pending'",
    )
    .bind(job.id.to_string())
    .bind(action.as_str())
    .bind(status)
    .bind(result.map(Value::to_string))
    .bind(error.map(columns::json).transpose()?)
    .bind(job.created_at.as_millisecond())
    .bind(job.system.to_string())
    .execute(conn)
    .await?;
    Ok(())
}
