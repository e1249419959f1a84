//! Users of an access system: the people who get cards.

use jiff::Timestamp;
use sqlx::{FromRow, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Page, PageRequest, StoreError, columns};
use crate::ids;

/// A user of an access system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserRow {
    /// Its id.
    pub acs_user_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// Its system.
    pub acs_system_id: Uuid,
    /// Its system's account.
    pub connected_account_id: Uuid,
    /// The person.
    pub details: UserDetails,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What is known of a user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UserDetails {
    /// The person's name.
    pub full_name: String,
    /// The person's e-mail address.
    pub email_address: Option<String>,
    /// The person's telephone number.
    pub phone_number: Option<String>,
    /// When the person's access begins, if there is a schedule.
    pub access_starts_at: Option<Timestamp>,
    /// When it ends, if it does.
    pub access_ends_at: Option<Timestamp>,
}

impl FromRow<'_, SqliteRow> for UserRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            acs_user_id: columns::id(row, "acs_user_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            acs_system_id: columns::id(row, "acs_system_id")?,
            connected_account_id: columns::id(row, "connected_account_id")?,
            details: UserDetails {
                full_name: row.try_get("full_name")?,
                email_address: row.try_get("email_address")?,
                phone_number: row.try_get("phone_number")?,
                access_starts_at: columns::optional_time(row, "access_starts_ms")?,
                access_ends_at: columns::optional_time(row, "access_ends_ms")?,
            },
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

/// Which users to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only users of this system.
    pub acs_system_id: Option<Uuid>,
    /// Only users made before this time.
    pub created_before: Option<Timestamp>,
    /// Only users whose name, telephone number, e-mail address or id contains this, in any case.
    pub search: Option<String>,
}

const SELECT: &str = "SELECT u.*, s.connected_account_id FROM acs_users u \
     JOIN systems s ON s.acs_system_id = u.acs_system_id WHERE u.workspace_id = ";

/// Makes a user of a system, which must belong to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    system: &super::systems::SystemRow,
    details: UserDetails,
    now: Timestamp,
) -> Result<UserRow, StoreError> {
    let user = UserRow {
        acs_user_id: ids::new_id(now),
        workspace_id: system.workspace_id,
        acs_system_id: system.acs_system_id,
        connected_account_id: system.connected_account_id,
        details,
        created_at: now,
    };
    sqlx::query(
        "INSERT INTO acs_users (acs_user_id, workspace_id, acs_system_id, full_name, email_address, phone_number, \
         access_starts_ms, access_ends_ms, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(user.acs_user_id.to_string())
    .bind(user.workspace_id.to_string())
    .bind(user.acs_system_id.to_string())
    .bind(&user.details.full_name)
    .bind(&user.details.email_address)
    .bind(&user.details.phone_number)
    .bind(columns::optional_ms(user.details.access_starts_at))
    .bind(columns::optional_ms(user.details.access_ends_at))
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(user)
}

/// The user with this id, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    acs_user_id: Uuid,
) -> Result<Option<UserRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push_bind(workspace_id.to_string())
        .push(" AND u.acs_user_id = ")
        .push_bind(acs_user_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// One page of the users of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &UserFilter,
    page: PageRequest,
) -> Result<Page<UserRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push_bind(workspace_id.to_string());
    if let Some(system) = filter.acs_system_id {
        query
            .push(" AND u.acs_system_id = ")
            .push_bind(system.to_string());
    }
    if let Some(before) = filter.created_before {
        query
            .push(" AND u.created_ms < ")
            .push_bind(before.as_millisecond());
    }
    if let Some(search) = &filter.search {
        query
            .push(" AND instr(lower(u.full_name || ' ' || coalesce(u.phone_number, '') || ' ' || coalesce(u.email_address, '') || ' ' || u.acs_user_id), ")
            .push_bind(search.to_ascii_lowercase())
            .push(") > 0");
    }
    query
        .push(" AND u.acs_user_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY u.acs_user_id LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build_query_as().fetch_all(conn).await?;
    Ok(Page::cut(rows, page.limit))
}
