//! Workspaces: whose systems, keys and events belong together.

use jiff::Timestamp;
use sqlx::{FromRow, Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{StoreError, columns};
use crate::ids;

/// A workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkspaceRow {
    /// Its id.
    pub workspace_id: Uuid,
    /// Its name.
    pub name: String,
    /// The company it belongs to.
    pub company_name: String,
    /// Whether it is for trying things out.
    pub is_sandbox: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

impl FromRow<'_, SqliteRow> for WorkspaceRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            workspace_id: columns::id(row, "workspace_id")?,
            name: row.try_get("name")?,
            company_name: row.try_get("company_name")?,
            is_sandbox: row.try_get("is_sandbox")?,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

/// Makes a workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    name: &str,
    is_sandbox: bool,
    now: Timestamp,
) -> Result<WorkspaceRow, StoreError> {
    let workspace = WorkspaceRow {
        workspace_id: ids::new_id(now),
        name: name.to_owned(),
        company_name: name.to_owned(),
        is_sandbox,
        created_at: now,
    };
    sqlx::query(
        "INSERT INTO workspaces (workspace_id, name, company_name, is_sandbox, created_ms) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(workspace.workspace_id.to_string())
    .bind(&workspace.name)
    .bind(&workspace.company_name)
    .bind(is_sandbox)
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(workspace)
}

/// The workspace with this id.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
) -> Result<Option<WorkspaceRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM workspaces WHERE workspace_id = ?")
            .bind(workspace_id.to_string())
            .fetch_optional(conn)
            .await?,
    )
}

/// All workspaces.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(conn: &mut SqliteConnection) -> Result<Vec<WorkspaceRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM workspaces ORDER BY workspace_id")
            .fetch_all(conn)
            .await?,
    )
}
