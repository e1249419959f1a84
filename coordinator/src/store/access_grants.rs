//! Access grants: who may open which entrances from when to when, and by what.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    Page, PageRequest, StoreError,
    columns::{self, Columns},
    events::{self, EventSubject, EventType},
    rows::{self, FromColumns, from_row},
};
use crate::ids;

/// An access grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrantRow {
    /// Its id.
    pub access_grant_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// Who is granted access.
    pub user_identity_id: Uuid,
    /// The best name that is known of that person.
    pub identity_name: Option<String>,
    /// The integrator's own key, unique among the workspace's grants.
    pub access_grant_key: Option<String>,
    /// The integrator's reservation.
    pub reservation_key: Option<String>,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// From when access is granted.
    pub starts_at: Timestamp,
    /// Until when; none for good.
    pub ends_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl GrantRow {
    /// The name to show.
    pub fn display_name(&self) -> String {
        match (&self.name, &self.identity_name) {
            (Some(name), _) => name.clone(),
            (None, Some(person)) => format!("Access of {person}"),
            (None, None) => "Access".to_owned(),
        }
    }

    /// The grant as an event names it.
    pub fn event_subject(&self) -> EventSubject {
        EventSubject {
            access_grant_id: Some(self.access_grant_id),
            ..EventSubject::default()
        }
    }
}

impl FromColumns for GrantRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "access_grant_id",
            "workspace_id",
            "user_identity_id",
            "identity_name",
            "access_grant_key",
            "reservation_key",
            "name",
            "starts_ms",
            "ends_ms",
            "created_ms",
        ]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        Ok(Self {
            access_grant_id: columns::id(row, "access_grant_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            user_identity_id: columns::id(row, "user_identity_id")?,
            identity_name: columns::optional_string(row, "identity_name")?,
            access_grant_key: columns::optional_string(row, "access_grant_key")?,
            reservation_key: columns::optional_string(row, "reservation_key")?,
            name: columns::optional_string(row, "name")?,
            starts_at: columns::time(row, "starts_ms")?,
            ends_at: columns::optional_time(row, "ends_ms")?,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

from_row!(GrantRow);

impl FromColumns for RequestRow {
    fn columns() -> Vec<&'static str> {
        vec!["access_grant_id", "position", "created_ms"]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        Ok(Self {
            access_grant_id: columns::id(row, "access_grant_id")?,
            position: columns::integer(row, "position")?,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

/// A space that a grant names.
struct NamedSpace {
    access_grant_id: Uuid,
    space_id: Uuid,
}

impl FromColumns for NamedSpace {
    fn columns() -> Vec<&'static str> {
        vec!["access_grant_id", "space_id"]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        Ok(Self {
            access_grant_id: columns::id(row, "access_grant_id")?,
            space_id: columns::id(row, "space_id")?,
        })
    }
}

/// What a new grant is made of.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Who is granted access.
    pub user_identity_id: Uuid,
    /// The integrator's own key.
    pub access_grant_key: Option<String>,
    /// The integrator's reservation.
    pub reservation_key: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// From when access is granted.
    pub starts_at: Timestamp,
    /// Until when; none for good.
    pub ends_at: Option<Timestamp>,
    /// The entrances that it names itself.
    pub acs_entrance_ids: Vec<Uuid>,
    /// The spaces whose entrances it gives, as they are at any time.
    pub space_ids: Vec<Uuid>,
}

/// Which grants to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct GrantFilter {
    /// Only these.
    pub access_grant_ids: Option<Vec<Uuid>>,
    /// Only the grants with these keys.
    pub access_grant_keys: Option<Vec<String>>,
    /// Only grants of this reservation.
    pub reservation_key: Option<String>,
    /// Only grants to this person.
    pub user_identity_id: Option<Uuid>,
    /// Only grants that name this space.
    pub space_id: Option<Uuid>,
    /// Only grants that open this entrance.
    pub acs_entrance_id: Option<Uuid>,
    /// Only grants with an access method of this system.
    pub acs_system_id: Option<Uuid>,
}

/// An access method that a grant asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestRow {
    /// Of which grant.
    pub access_grant_id: Uuid,
    /// Its place among the grant's requests, from 0.
    pub position: i64,
    /// When it was asked for.
    pub created_at: Timestamp,
}

const SELECT: &str = "SELECT g.*, coalesce(i.full_name, i.email_address, i.phone_number, i.user_identity_key) AS identity_name \
     FROM access_grants g JOIN user_identities i ON i.user_identity_id = g.user_identity_id \
     WHERE g.deleted_ms IS NULL";

/// The entrances of a grant, by itself or through a space: to be completed with the grant's id, twice.
pub(super) const ENTRANCE_IDS: (&str, &str) = (
    "SELECT acs_entrance_id FROM grant_entrances WHERE access_grant_id = ",
    " UNION SELECT se.acs_entrance_id FROM grant_spaces gs JOIN space_entrances se ON se.space_id = gs.space_id \
     WHERE gs.access_grant_id = ",
);

/// Makes a grant that asks for no access method yet, and records the event. The caller has checked that its key is free
/// and that person, entrances and spaces belong to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    grant: &NewGrant,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let id = ids::new_id(now);
    sqlx::query(
        "INSERT INTO access_grants (access_grant_id, workspace_id, user_identity_id, access_grant_key, reservation_key, \
         name, starts_ms, ends_ms, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(workspace_id.to_string())
    .bind(grant.user_identity_id.to_string())
    .bind(&grant.access_grant_key)
    .bind(&grant.reservation_key)
    .bind(&grant.name)
    .bind(grant.starts_at.as_millisecond())
    .bind(columns::optional_ms(grant.ends_at))
    .bind(now.as_millisecond())
    .execute(&mut *conn)
    .await?;
    for entrance in &grant.acs_entrance_ids {
        sqlx::query("INSERT OR IGNORE INTO grant_entrances (access_grant_id, acs_entrance_id) VALUES (?, ?)")
            .bind(id.to_string())
            .bind(entrance.to_string())
            .execute(&mut *conn)
            .await?;
    }
    for space in &grant.space_ids {
        sqlx::query("INSERT OR IGNORE INTO grant_spaces (access_grant_id, space_id) VALUES (?, ?)")
            .bind(id.to_string())
            .bind(space.to_string())
            .execute(&mut *conn)
            .await?;
    }
    let subject = EventSubject {
        access_grant_id: Some(id),
        ..EventSubject::default()
    };
    let created = EventType::AccessGrantCreated;
    events::record(conn, workspace_id, created, subject, now, now).await?;
    Ok(id)
}

/// Asks for further access methods of a grant.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn add_requests(
    conn: &mut SqliteConnection,
    access_grant_id: Uuid,
    count: usize,
    now: Timestamp,
) -> Result<(), StoreError> {
    for _ in 0..count {
        sqlx::query(
            "INSERT INTO requested_access_methods (access_grant_id, position, created_ms) \
             SELECT ?1, coalesce(max(position) + 1, 0), ?2 FROM requested_access_methods WHERE access_grant_id = ?1",
        )
        .bind(access_grant_id.to_string())
        .bind(now.as_millisecond())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Changes a grant's name and times.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn update(conn: &mut SqliteConnection, grant: &GrantRow) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE access_grants SET name = ?, starts_ms = ?, ends_ms = ? WHERE access_grant_id = ?",
    )
    .bind(&grant.name)
    .bind(grant.starts_at.as_millisecond())
    .bind(columns::optional_ms(grant.ends_at))
    .bind(grant.access_grant_id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a grant and records the event; its access methods are the caller's to delete.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn delete(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE access_grants SET deleted_ms = ? WHERE access_grant_id = ?")
        .bind(now.as_millisecond())
        .bind(grant.access_grant_id.to_string())
        .execute(&mut *conn)
        .await?;
    let deleted = EventType::AccessGrantDeleted;
    let subject = grant.event_subject();
    events::record(conn, grant.workspace_id, deleted, subject, now, now).await?;
    Ok(())
}

/// The grant with this id, if it belongs to the workspace and was not deleted.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    access_grant_id: Uuid,
) -> Result<Option<GrantRow>, StoreError> {
    let mut query = select(workspace_id);
    query
        .push(" AND g.access_grant_id = ")
        .push_bind(access_grant_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// The grant with this key, if it belongs to the workspace and was not deleted.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_key(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    key: &str,
) -> Result<Option<GrantRow>, StoreError> {
    let mut query = select(workspace_id);
    query
        .push(" AND g.access_grant_key = ")
        .push_bind(key.to_owned());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// One page of the grants of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &GrantFilter,
    page: PageRequest,
) -> Result<Page<GrantRow>, StoreError> {
    let mut query = filtered(workspace_id, filter);
    query
        .push(" AND g.access_grant_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY g.access_grant_id LIMIT ")
        .push_bind(page.fetch());
    let rows = rows::fetch_all(query, conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// Every grant of a workspace that passes the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn all(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &GrantFilter,
) -> Result<Vec<GrantRow>, StoreError> {
    let mut query = filtered(workspace_id, filter);
    query.push(" ORDER BY g.access_grant_id");
    Ok(query.build_query_as().fetch_all(conn).await?)
}

/// The access methods that these grants ask for, in order.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn requests(
    conn: &mut SqliteConnection,
    access_grant_ids: &[Uuid],
) -> Result<Vec<RequestRow>, StoreError> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT * FROM requested_access_methods WHERE true");
    columns::push_any_of_page(&mut query, "access_grant_id", access_grant_ids)?;
    query.push(" ORDER BY access_grant_id, position");
    Ok(rows::fetch_all(query, conn).await?)
}

/// Which spaces these grants name: pairs of grant and space.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn spaces(
    conn: &mut SqliteConnection,
    access_grant_ids: &[Uuid],
) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM grant_spaces WHERE true");
    columns::push_any_of_page(&mut query, "access_grant_id", access_grant_ids)?;
    query.push(" ORDER BY access_grant_id, space_id");
    let found: Vec<NamedSpace> = rows::fetch_all(query, conn).await?;
    let pairs = found.into_iter();
    Ok(pairs
        .map(|named| (named.access_grant_id, named.space_id))
        .collect())
}

fn select(workspace_id: Uuid) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(SELECT);
    columns::push_workspace(&mut query, "g.workspace_id", workspace_id, false);
    query
}

fn filtered(workspace_id: Uuid, filter: &GrantFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(SELECT);
    let few = filter.access_grant_ids.is_some()
        || filter.access_grant_keys.is_some()
        || filter.space_id.is_some()
        || filter.acs_entrance_id.is_some();
    columns::push_workspace(&mut query, "g.workspace_id", workspace_id, few);
    push_filter(&mut query, workspace_id, filter);
    query
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, workspace_id: Uuid, filter: &GrantFilter) {
    columns::push_any(
        query,
        "g.access_grant_id",
        filter.access_grant_ids.as_deref(),
    );
    if let Some(keys) = filter.access_grant_keys.as_deref() {
        query
            .push(
                " AND g.access_grant_id IN (SELECT access_grant_id FROM access_grants \
                 WHERE deleted_ms IS NULL AND workspace_id = ",
            )
            .push_bind(workspace_id.to_string());
        columns::push_any(query, "access_grant_key", Some(keys));
        query.push(")");
    }
    if let Some(key) = &filter.reservation_key {
        query
            .push(" AND g.reservation_key = ")
            .push_bind(key.clone());
    }
    if let Some(identity) = filter.user_identity_id {
        query
            .push(" AND g.user_identity_id = ")
            .push_bind(identity.to_string());
    }
    if let Some(space) = filter.space_id {
        query
            .push(" AND g.access_grant_id IN (SELECT access_grant_id FROM grant_spaces WHERE space_id = ")
            .push_bind(space.to_string())
            .push(")");
    }
    if let Some(entrance) = filter.acs_entrance_id {
        query.push(" AND g.access_grant_id IN (");
        push_grants_of_entrance(query, entrance);
        query.push(")");
    }
    if let Some(system) = filter.acs_system_id {
        query
            .push(
                " AND EXISTS (SELECT 1 FROM access_methods m WHERE m.access_grant_id = g.access_grant_id \
                 AND m.deleted_ms IS NULL AND m.acs_system_id = ",
            )
            .push_bind(system.to_string())
            .push(")");
    }
}

/// The ids of the grants that open an entrance.
pub(super) fn push_grants_of_entrance(query: &mut QueryBuilder<Sqlite>, entrance: Uuid) {
    query
        .push("SELECT access_grant_id FROM grant_entrances WHERE acs_entrance_id = ")
        .push_bind(entrance.to_string())
        .push(
            " UNION SELECT gs.access_grant_id FROM space_entrances se JOIN grant_spaces gs ON gs.space_id = se.space_id \
             WHERE se.acs_entrance_id = ",
        )
        .push_bind(entrance.to_string());
}
