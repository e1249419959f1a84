//! Spaces: named groups of entrances, such as a room with the doors on the way to it.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{FromRow, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Page, PageRequest, StoreError, columns};
use crate::ids;

/// A space.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceRow {
    /// Its id.
    pub space_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// What it is.
    pub details: SpaceDetails,
    /// How many entrances it has.
    pub acs_entrance_count: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What the integrator says of a space.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpaceDetails {
    /// Its name.
    pub name: String,
    /// The integrator's own key, unique within the workspace.
    pub space_key: Option<String>,
    /// Defaults of stays in it, as the integrator gave them.
    pub customer_data: Option<Value>,
}

impl FromRow<'_, SqliteRow> for SpaceRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            space_id: columns::id(row, "space_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            details: SpaceDetails {
                name: row.try_get("name")?,
                space_key: row.try_get("space_key")?,
                customer_data: columns::optional_json(row, "customer_data")?,
            },
            acs_entrance_count: row.try_get("acs_entrance_count")?,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

/// Which spaces to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct SpaceFilter {
    /// Only these.
    pub space_ids: Option<Vec<Uuid>>,
    /// Only the space with this key.
    pub space_key: Option<String>,
    /// Only spaces with an entrance of this account's system.
    pub connected_account_id: Option<Uuid>,
    /// Only spaces whose name or key contains this, in any case.
    pub search: Option<String>,
}

const SELECT: &str = "SELECT p.*, (SELECT count(*) FROM space_entrances pe WHERE pe.space_id = p.space_id) \
     AS acs_entrance_count FROM spaces p WHERE p.workspace_id = ";

/// Makes a space without entrances; the caller has checked that its key is free.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    details: &SpaceDetails,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let space_id = ids::new_id(now);
    sqlx::query(
        "INSERT INTO spaces (space_id, workspace_id, space_key, name, customer_data, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(space_id.to_string())
    .bind(workspace_id.to_string())
    .bind(&details.space_key)
    .bind(&details.name)
    .bind(details.customer_data.as_ref().map(Value::to_string))
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(space_id)
}

/// Changes what the integrator says of a space.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn update(
    conn: &mut SqliteConnection,
    space_id: Uuid,
    details: &SpaceDetails,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE spaces SET space_key = ?, name = ?, customer_data = ? WHERE space_id = ?")
        .bind(&details.space_key)
        .bind(&details.name)
        .bind(details.customer_data.as_ref().map(Value::to_string))
        .bind(space_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes a space; grants that named it lose it.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn delete(conn: &mut SqliteConnection, space_id: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM spaces WHERE space_id = ?")
        .bind(space_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds an entrance to a space; one that is there already stays.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn add_entrance(
    conn: &mut SqliteConnection,
    space_id: Uuid,
    acs_entrance_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR IGNORE INTO space_entrances (space_id, acs_entrance_id) VALUES (?, ?)")
        .bind(space_id.to_string())
        .bind(acs_entrance_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes an entrance out of a space; one that is not there is no error.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn remove_entrance(
    conn: &mut SqliteConnection,
    space_id: Uuid,
    acs_entrance_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM space_entrances WHERE space_id = ? AND acs_entrance_id = ?")
        .bind(space_id.to_string())
        .bind(acs_entrance_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes every entrance out of a space.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn clear_entrances(
    conn: &mut SqliteConnection,
    space_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM space_entrances WHERE space_id = ?")
        .bind(space_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// The space with this id, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    space_id: Uuid,
) -> Result<Option<SpaceRow>, StoreError> {
    let mut query = select(workspace_id);
    query
        .push(" AND p.space_id = ")
        .push_bind(space_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// The space with this key, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_key(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    key: &str,
) -> Result<Option<SpaceRow>, StoreError> {
    let mut query = select(workspace_id);
    query.push(" AND p.space_key = ").push_bind(key.to_owned());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// One page of the spaces of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &SpaceFilter,
    page: PageRequest,
) -> Result<Page<SpaceRow>, StoreError> {
    let mut query = filtered(workspace_id, filter);
    query
        .push(" AND p.space_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY p.space_id LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build_query_as().fetch_all(conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// Every space of a workspace that passes the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn all(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &SpaceFilter,
) -> Result<Vec<SpaceRow>, StoreError> {
    let mut query = filtered(workspace_id, filter);
    query.push(" ORDER BY p.space_id");
    Ok(query.build_query_as().fetch_all(conn).await?)
}

fn filtered(workspace_id: Uuid, filter: &SpaceFilter) -> QueryBuilder<Sqlite> {
    let mut query = select(workspace_id);
    columns::push_any(&mut query, "p.space_id", filter.space_ids.as_deref());
    if let Some(key) = &filter.space_key {
        query.push(" AND p.space_key = ").push_bind(key.clone());
    }
    if let Some(account) = filter.connected_account_id {
        query
            .push(
                " AND p.space_id IN (SELECT pe.space_id FROM systems s \
                 JOIN entrances e ON e.workspace_id = s.workspace_id AND e.acs_system_id = s.acs_system_id \
                 JOIN space_entrances pe ON pe.acs_entrance_id = e.acs_entrance_id WHERE s.connected_account_id = ",
            )
            .push_bind(account.to_string())
            .push(")");
    }
    if let Some(search) = &filter.search {
        query
            .push(" AND instr(lower(p.name || ' ' || coalesce(p.space_key, '')), ")
            .push_bind(search.to_ascii_lowercase())
            .push(") > 0");
    }
    query
}

fn select(workspace_id: Uuid) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(SELECT);
    query.push_bind(workspace_id.to_string());
    query
}
