//! Entrances: the doors that a credential can open, each with the number that stands for it on a card.

use jiff::Timestamp;
use sqlx::{FromRow, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Page, PageRequest, StoreError, access_grants, columns, systems::SystemKind};
use crate::ids;

/// An entrance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntranceRow {
    /// Its id.
    pub acs_entrance_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// Its system.
    pub acs_system_id: Uuid,
    /// Its system's account.
    pub connected_account_id: Uuid,
    /// What stands for it on a card; unique within the system and never used again.
    pub number: u16,
    /// Its name.
    pub display_name: String,
    /// Whether it is for everybody, as a pool is, and no guest's own room.
    pub is_common: bool,
    /// What its system is.
    pub kind: SystemKind,
    /// The spaces that it belongs to.
    pub space_ids: Vec<Uuid>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl FromRow<'_, SqliteRow> for EntranceRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            acs_entrance_id: columns::id(row, "acs_entrance_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            acs_system_id: columns::id(row, "acs_system_id")?,
            connected_account_id: columns::id(row, "connected_account_id")?,
            number: columns::number(row, "number")?,
            display_name: row.try_get("display_name")?,
            is_common: row.try_get("is_common")?,
            kind: columns::from_name(row, "kind")?,
            space_ids: columns::from_json(row, "space_ids")?,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

/// Which entrances to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct EntranceFilter {
    /// Only entrances of this system.
    pub acs_system_id: Option<Uuid>,
    /// Only entrances of this account's system.
    pub connected_account_id: Option<Uuid>,
    /// Only entrances that this credential opens.
    pub acs_credential_id: Option<Uuid>,
    /// Only entrances of this space.
    pub space_id: Option<Uuid>,
    /// Only these.
    pub acs_entrance_ids: Option<Vec<Uuid>>,
    /// Only entrances whose name contains this, in any case.
    pub search: Option<String>,
}

const SELECT: &str = "SELECT e.*, s.connected_account_id, s.kind, (SELECT json_group_array(se.space_id) FROM space_entrances se \
     WHERE se.acs_entrance_id = e.acs_entrance_id) AS space_ids FROM entrances e \
     JOIN systems s ON s.acs_system_id = e.acs_system_id WHERE true";

/// Makes an entrance and gives it the system's next number.
///
/// # Errors
/// [`StoreError::EntrancesExhausted`] when all numbers are taken; [`StoreError::Query`] when a statement fails or
/// there is no such system.
pub async fn create(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    display_name: &str,
    now: Timestamp,
) -> Result<EntranceRow, StoreError> {
    let row = sqlx::query(
        "UPDATE systems SET next_entrance_number = next_entrance_number + 1 WHERE acs_system_id = ? \
         RETURNING workspace_id, connected_account_id, kind, next_entrance_number - 1 AS number",
    )
    .bind(acs_system_id.to_string())
    .fetch_one(&mut *conn)
    .await?;
    let entrance = EntranceRow {
        acs_entrance_id: ids::new_id(now),
        workspace_id: columns::id(&row, "workspace_id")?,
        acs_system_id,
        connected_account_id: columns::id(&row, "connected_account_id")?,
        number: columns::number(&row, "number").map_err(|_| StoreError::EntrancesExhausted)?,
        display_name: display_name.to_owned(),
        is_common: false,
        kind: columns::from_name(&row, "kind")?,
        space_ids: Vec::new(),
        created_at: now,
    };
    sqlx::query(
        "INSERT INTO entrances (acs_entrance_id, workspace_id, acs_system_id, number, display_name, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(entrance.acs_entrance_id.to_string())
    .bind(entrance.workspace_id.to_string())
    .bind(acs_system_id.to_string())
    .bind(entrance.number)
    .bind(&entrance.display_name)
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(entrance)
}

/// Says that an entrance is for everybody.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_common(
    conn: &mut SqliteConnection,
    acs_entrance_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE entrances SET is_common = 1 WHERE acs_entrance_id = ?")
        .bind(acs_entrance_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// The entrances of a system that these numbers stand for on a card.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_numbers(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    numbers: &[u16],
) -> Result<Vec<EntranceRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push(" AND e.acs_system_id = ")
        .push_bind(acs_system_id.to_string())
        .push(" AND e.number IN (SELECT value FROM json_each(")
        .push_bind(columns::json(&numbers)?)
        .push(")) ORDER BY e.number");
    Ok(query.build_query_as().fetch_all(conn).await?)
}

/// The entrance with this id, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    acs_entrance_id: Uuid,
) -> Result<Option<EntranceRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    columns::push_workspace(&mut query, "e.workspace_id", workspace_id, true);
    query
        .push(" AND e.acs_entrance_id = ")
        .push_bind(acs_entrance_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// One page of the entrances of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &EntranceFilter,
    page: PageRequest,
) -> Result<Page<EntranceRow>, StoreError> {
    let mut query = filtered(workspace_id, filter);
    query
        .push(" AND e.acs_entrance_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY e.acs_entrance_id LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build_query_as().fetch_all(conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// Every entrance that a credential opens.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn of_credential(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    acs_credential_id: Uuid,
) -> Result<Vec<EntranceRow>, StoreError> {
    let filter = EntranceFilter {
        acs_credential_id: Some(acs_credential_id),
        ..EntranceFilter::default()
    };
    let mut query = filtered(workspace_id, &filter);
    query.push(" ORDER BY e.acs_entrance_id");
    Ok(query.build_query_as().fetch_all(conn).await?)
}

/// Every entrance that an access grant opens, by itself or through a space.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn of_grant(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    access_grant_id: Uuid,
) -> Result<Vec<EntranceRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    columns::push_workspace(&mut query, "e.workspace_id", workspace_id, true);
    query.push(" AND e.acs_entrance_id IN (");
    let (own, through_spaces) = access_grants::ENTRANCE_IDS;
    query
        .push(own)
        .push_bind(access_grant_id.to_string())
        .push(through_spaces)
        .push_bind(access_grant_id.to_string())
        .push(") ORDER BY e.acs_entrance_id");
    Ok(query.build_query_as().fetch_all(conn).await?)
}

fn filtered(workspace_id: Uuid, filter: &EntranceFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    let few = filter.acs_credential_id.is_some()
        || filter.space_id.is_some()
        || filter.acs_entrance_ids.is_some();
    columns::push_workspace(&mut query, "e.workspace_id", workspace_id, few);
    if let Some(system) = filter.acs_system_id {
        query
            .push(if few { " AND +" } else { " AND " })
            .push("e.acs_system_id = ")
            .push_bind(system.to_string());
    }
    if let Some(account) = filter.connected_account_id {
        query
            .push(" AND e.acs_system_id IN (SELECT acs_system_id FROM systems WHERE connected_account_id = ")
            .push_bind(account.to_string())
            .push(")");
    }
    if let Some(credential) = filter.acs_credential_id {
        query
            .push(" AND e.acs_entrance_id IN (SELECT acs_entrance_id FROM credential_entrances WHERE acs_credential_id = ")
            .push_bind(credential.to_string())
            .push(")");
    }
    if let Some(space) = filter.space_id {
        query
            .push(" AND e.acs_entrance_id IN (SELECT acs_entrance_id FROM space_entrances WHERE space_id = ")
            .push_bind(space.to_string())
            .push(")");
    }
    let ids = filter.acs_entrance_ids.as_deref();
    columns::push_any(&mut query, "e.acs_entrance_id", ids);
    if let Some(search) = &filter.search {
        query
            .push(" AND instr(lower(e.display_name), ")
            .push_bind(search.to_ascii_lowercase())
            .push(") > 0");
    }
    query
}
