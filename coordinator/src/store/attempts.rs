//! Action attempts, as the API shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use encoder_protocols::wire::{JobError, JobId, JobKind};

use super::{
    Page, PageRequest, StoreError,
    columns::{self, Columns},
    rows::{self, FromColumns, from_row},
};
use crate::{
    ids,
    jobs::{Attempt, JobRecord},
};

/// What an attempt tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ActionType {
    /// Put a credential on a card.
    EncodeCredential,
    /// Read a card.
    ScanCredential,
    /// Put an access method on a card.
    EncodeAccessMethod,
    /// Read a card and assign it to a user.
    ScanToAssignCredential,
    /// Assign a registered card to an access method.
    AssignCredential,
}

impl ActionType {
    /// The type as the API names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EncodeCredential => "ENCODE_CREDENTIAL",
            Self::ScanCredential => "SCAN_CREDENTIAL",
            Self::EncodeAccessMethod => "ENCODE_ACCESS_METHOD",
            Self::ScanToAssignCredential => "SCAN_TO_ASSIGN_CREDENTIAL",
            Self::AssignCredential => "ASSIGN_CREDENTIAL",
        }
    }
}

/// What a job's attempt is about where the job alone does not tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Aim {
    /// Encode this access method, whose credential the job carries.
    AccessMethod(Uuid),
    /// Assign the scanned card to this user.
    AssignTo(Uuid),
}

/// Which cards a scan takes where cards are registered with their system.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tags {
    /// Those that are registered. Others are ignored, and the wait goes on.
    Registered,
    /// Those that are not. The scan registers the card.
    New,
}

/// Why an attempt failed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AttemptError {
    /// As a job fails.
    Job(JobError),
    /// No registered card could be assigned.
    Assignment(AssignmentError),
}

/// Why no registered card could be assigned.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AssignmentError {
    /// The closed code.
    pub code: AssignmentErrorCode,
    /// What was expected, what came, and what to do, in lower-case words.
    pub message: String,
}

/// The errors that an assignment has beyond those of jobs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentErrorCode {
    /// No card with this number waits for its user.
    CredentialNotFound,
}

/// How an attempt stands, for the API.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptState {
    /// It waits for its outcome.
    Pending,
    /// It succeeded with this result.
    Success(Option<Value>),
    /// It failed.
    Error(AttemptError),
}

/// An action attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    /// Its id, and its job's.
    pub action_attempt_id: Uuid,
    /// What it tries.
    pub action: ActionType,
    /// How it stands.
    pub state: AttemptState,
    /// The access method that it encoded, as it stood at the success.
    pub access_method: Option<Value>,
}

impl FromColumns for AttemptRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "action_attempt_id",
            "action_type",
            "status",
            "result",
            "error",
            "access_method_id",
            "acs_user_id",
            "access_method",
        ]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        let status = columns::text(row, "status")?;
        Ok(Self {
            action_attempt_id: columns::id(row, "action_attempt_id")?,
            action: action(row)?,
            state: match status {
                "success" => AttemptState::Success(columns::optional_json(row, "result")?),
                "error" => AttemptState::Error(columns::from_json(row, "error")?),
                _ => AttemptState::Pending,
            },
            access_method: columns::optional_json(row, "access_method")?,
        })
    }
}

from_row!(AttemptRow);

/// What an attempt tries, by its own column and its aim.
fn action(row: &impl Columns) -> Result<ActionType, sqlx::Error> {
    let encodes_method = row.text("access_method_id")?;
    let assigns = row.text("acs_user_id")?;
    let stored = columns::text(row, "action_type")?;
    Ok(match stored {
        "ASSIGN_CREDENTIAL" => ActionType::AssignCredential,
        "SCAN_CREDENTIAL" if assigns.is_some() => ActionType::ScanToAssignCredential,
        "SCAN_CREDENTIAL" => ActionType::ScanCredential,
        _ if encodes_method.is_some() => ActionType::EncodeAccessMethod,
        _ => ActionType::EncodeCredential,
    })
}

const SELECT: &str = "SELECT a.*, t.access_method_id, t.acs_user_id, t.access_method FROM action_attempts a \
     LEFT JOIN attempt_aims t ON t.action_attempt_id = a.action_attempt_id WHERE a.workspace_id = ";

/// How an attempt stands, from its columns.
pub(super) fn attempt(row: &impl Columns) -> Result<Attempt, sqlx::Error> {
    let status = columns::text(row, "status")?;
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
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push_bind(workspace_id.to_string())
        .push(" AND a.action_attempt_id = ")
        .push_bind(action_attempt_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
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
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push_bind(workspace_id.to_string());
    columns::push_any(&mut query, "a.action_attempt_id", named);
    query
        .push(" AND a.action_attempt_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY a.action_attempt_id LIMIT ")
        .push_bind(page.fetch());
    let rows = rows::fetch_all(query, conn).await?;
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

/// Stores an attempt that needs no job and has ended at once. Returns its id.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn put_ended(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    action: ActionType,
    outcome: &Result<Value, AttemptError>,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let id = ids::new_id(now);
    let status = if outcome.is_ok() { "success" } else { "error" };
    sqlx::query(
        "INSERT INTO action_attempts (action_attempt_id, workspace_id, action_type, status, result, error, created_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(workspace_id.to_string())
    .bind(action.as_str())
    .bind(status)
    .bind(outcome.as_ref().ok().map(Value::to_string))
    .bind(outcome.as_ref().err().map(columns::json).transpose()?)
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(id)
}

/// Says what the attempt of a new job is about; the job must be stored before.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn put_aim(
    conn: &mut SqliteConnection,
    job: JobId,
    aim: Option<Aim>,
    tags: Option<Tags>,
) -> Result<(), StoreError> {
    let (method, user) = match aim {
        Some(Aim::AccessMethod(id)) => (Some(id), None),
        Some(Aim::AssignTo(id)) => (None, Some(id)),
        None => (None, None),
    };
    sqlx::query(
        "INSERT INTO attempt_aims (action_attempt_id, access_method_id, acs_user_id, tags) VALUES (?, ?, ?, ?)",
    )
    .bind(job.to_string())
    .bind(columns::optional_text(method))
    .bind(columns::optional_text(user))
    .bind(tags.as_ref().map(columns::name).transpose()?)
    .execute(conn)
    .await?;
    Ok(())
}

/// What a job's attempt is about, where that was said.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn aim(conn: &mut SqliteConnection, job: JobId) -> Result<Option<Aim>, StoreError> {
    let row = sqlx::query("SELECT * FROM attempt_aims WHERE action_attempt_id = ?")
        .bind(job.to_string())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let method = columns::optional_id(&row, "access_method_id")?;
    let user = columns::optional_id(&row, "acs_user_id")?;
    Ok(method.map(Aim::AccessMethod).or(user.map(Aim::AssignTo)))
}

/// Which cards a scan takes; none where it takes any.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn tags(conn: &mut SqliteConnection, job: JobId) -> Result<Option<Tags>, StoreError> {
    let row = sqlx::query("SELECT tags FROM attempt_aims WHERE action_attempt_id = ?")
        .bind(job.to_string())
        .fetch_optional(conn)
        .await?;
    let tags = row.map(|row| columns::optional_name(&row, "tags"));
    Ok(tags.transpose()?.flatten())
}

/// Keeps how the access method that was encoded stood at the success.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn keep_access_method(
    conn: &mut SqliteConnection,
    job: JobId,
    access_method: &Value,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE attempt_aims SET access_method = ? WHERE action_attempt_id = ? AND access_method IS NULL")
        .bind(access_method.to_string())
        .bind(job.to_string())
        .execute(conn)
        .await?;
    Ok(())
}
