//! Access methods: one card of one access system each, made for an access grant. What is on the card, and which card it
//! is, is the credential's matter.

use jiff::Timestamp;
use serde_json::json;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Page, PageRequest, StoreError, access_grants,
    access_grants::GrantRow,
    columns::{self, Columns},
    credentials::{self, CredentialRow, IssueState, Issued, UNKNOWN_VERSION},
    events::{self, EventSubject, EventType},
    rows::{self, FromColumns, from_row},
    systems::SystemKind,
};
use crate::{ids, jobs::PlanContent};

/// An access method.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessMethodRow {
    /// Its id.
    pub access_method_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// The grant that it was made for.
    pub access_grant_id: Uuid,
    /// That grant's key.
    pub access_grant_key: Option<String>,
    /// Which of the grant's requests it comes from.
    pub position: i64,
    /// Its system.
    pub acs_system_id: Uuid,
    /// Its system's account.
    pub connected_account_id: Uuid,
    /// How cards of its system come to be.
    pub kind: SystemKind,
    /// What belongs on its card; none until a registered card is assigned.
    pub credential: Option<CredentialRow>,
    /// What its card carries, as far as this store knows.
    pub carried: Option<PlanContent>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl AccessMethodRow {
    /// The card that carries it, if one does.
    pub fn issued(&self) -> Option<&Issued> {
        self.credential.as_ref()?.issued.as_ref()
    }

    /// Where it stands between access system and card.
    pub fn issue_state(&self) -> IssueState {
        self.credential
            .as_ref()
            .map_or(IssueState::Waiting, CredentialRow::issue_state)
    }

    /// The access method as an event names it.
    pub fn event_subject(&self) -> EventSubject {
        EventSubject {
            acs_system_id: Some(self.acs_system_id),
            connected_account_id: Some(self.connected_account_id),
            access_grant_id: Some(self.access_grant_id),
            access_method_id: Some(self.access_method_id),
            ..EventSubject::default()
        }
    }
}

impl FromColumns for AccessMethodRow {
    fn columns() -> Vec<&'static str> {
        let own = [
            "access_method_id",
            "method_workspace_id",
            "access_grant_id",
            "access_grant_key",
            "position",
            "method_system_id",
            "kind",
            "carried",
            "method_created_ms",
        ];
        [own.to_vec(), CredentialRow::columns()].concat()
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        let has_credential = row.text("acs_credential_id")?;
        Ok(Self {
            access_method_id: columns::id(row, "access_method_id")?,
            workspace_id: columns::id(row, "method_workspace_id")?,
            access_grant_id: columns::id(row, "access_grant_id")?,
            access_grant_key: columns::optional_string(row, "access_grant_key")?,
            position: columns::integer(row, "position")?,
            acs_system_id: columns::id(row, "method_system_id")?,
            connected_account_id: columns::id(row, "connected_account_id")?,
            kind: columns::from_name(row, "kind")?,
            credential: has_credential
                .map(|_| CredentialRow::from_columns(row))
                .transpose()?,
            carried: columns::optional_json(row, "carried")?,
            created_at: columns::time(row, "method_created_ms")?,
        })
    }
}

from_row!(AccessMethodRow);

/// What a grant shows of an access method.
#[derive(Clone, Copy, Debug)]
pub struct GrantedMethod {
    /// Its id.
    pub access_method_id: Uuid,
    /// The grant that it belongs to.
    pub access_grant_id: Uuid,
    /// Which of the grant's requests it answers, from 0.
    pub position: i64,
    /// Whether its credential is on a card and was changed since.
    pub is_changed: bool,
}

impl FromColumns for GrantedMethod {
    fn columns() -> Vec<&'static str> {
        vec![
            "access_method_id",
            "access_grant_id",
            "position",
            "is_changed",
        ]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        Ok(Self {
            access_method_id: columns::id(row, "access_method_id")?,
            access_grant_id: columns::id(row, "access_grant_id")?,
            position: columns::integer(row, "position")?,
            is_changed: columns::flag(row, "is_changed")?,
        })
    }
}

/// Which access methods to list; every condition that is given must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccessMethodFilter {
    /// Only these.
    pub access_method_ids: Option<Vec<Uuid>>,
    /// Only access methods of these grants.
    pub access_grant_ids: Option<Vec<Uuid>>,
    /// Only access methods that open this entrance.
    pub acs_entrance_id: Option<Uuid>,
    /// Only access methods of grants that name this space.
    pub space_id: Option<Uuid>,
}

impl AccessMethodFilter {
    /// Whether there is a condition that leads to few rows.
    fn leads(&self) -> bool {
        *self != Self::default()
    }
}

const SELECT: &str = concat!(
    "SELECT m.access_method_id, m.access_grant_id, m.position, m.workspace_id AS method_workspace_id, \
     m.acs_system_id AS method_system_id, m.created_ms AS method_created_ms, g.access_grant_key, s.kind, c.*, ",
    credentials::beside!(),
    ", u.user_identity_id, (SELECT b.content FROM bindings b \
     WHERE b.job_id = c.issued_job_id ORDER BY b.n DESC LIMIT 1) AS carried FROM access_methods m \
     JOIN access_grants g ON g.access_grant_id = m.access_grant_id JOIN systems s ON s.acs_system_id = m.acs_system_id \
     LEFT JOIN credentials c ON c.acs_credential_id = m.acs_credential_id \
     LEFT JOIN acs_users u ON u.acs_user_id = c.acs_user_id WHERE "
);

/// Makes an access method of a grant and records the event.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    position: i64,
    acs_system_id: Uuid,
    acs_credential_id: Option<Uuid>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = ids::new_id(now);
    sqlx::query(
        "INSERT INTO access_methods (access_method_id, workspace_id, access_grant_id, position, acs_system_id, \
         acs_credential_id, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(grant.workspace_id.to_string())
    .bind(grant.access_grant_id.to_string())
    .bind(position)
    .bind(acs_system_id.to_string())
    .bind(columns::optional_text(acs_credential_id))
    .bind(now.as_millisecond())
    .execute(&mut *conn)
    .await?;
    if let Some(made) = find(conn, grant.workspace_id, id).await? {
        record(conn, &made, EventType::AccessMethodCreated, now, now).await?;
        if acs_credential_id.is_some() {
            let required = EventType::AccessMethodCardEncodingRequired;
            record(conn, &made, required, now, now).await?;
        }
    }
    Ok(())
}

/// Gives the access method another credential: a registered card.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_credential(
    conn: &mut SqliteConnection,
    access_method_id: Uuid,
    acs_credential_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE access_methods SET acs_credential_id = ? WHERE access_method_id = ?")
        .bind(acs_credential_id.to_string())
        .bind(access_method_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes an access method with its credential; a registered card goes back to those that wait for a user. Returns the
/// credential that was deleted.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn delete(
    conn: &mut SqliteConnection,
    method: &AccessMethodRow,
    now: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    match &method.credential {
        Some(credential) => credentials::withdraw(conn, credential, now).await,
        None => {
            end(conn, method, now).await?;
            Ok(None)
        }
    }
}

/// Ends the access method of a credential that is deleted, if it has one.
pub(super) async fn end_of_credential(
    conn: &mut SqliteConnection,
    credential: &CredentialRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    match of_credential(conn, credential.acs_credential_id).await? {
        Some(method) => end(conn, &method, now).await,
        None => Ok(()),
    }
}

/// Records an event of an access method.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn record(
    conn: &mut SqliteConnection,
    method: &AccessMethodRow,
    event_type: EventType,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut details = json!({"access_grant_ids": [method.access_grant_id]});
    if let Some(key) = &method.access_grant_key {
        details["access_grant_keys"] = json!([key]);
    }
    events::record_with(
        conn,
        method.workspace_id,
        event_type,
        method.event_subject(),
        Some(&details),
        at,
        now,
    )
    .await?;
    Ok(())
}

/// The access method with this id, if it belongs to the workspace and was not deleted.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    access_method_id: Uuid,
) -> Result<Option<AccessMethodRow>, StoreError> {
    let filter = AccessMethodFilter {
        access_method_ids: Some(vec![access_method_id]),
        ..AccessMethodFilter::default()
    };
    Ok(list(conn, workspace_id, &filter).await?.pop())
}

/// The access method with this id, deleted or not.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_id(
    conn: &mut SqliteConnection,
    access_method_id: Uuid,
) -> Result<Option<AccessMethodRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push("m.access_method_id = ")
        .push_bind(access_method_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// The access method that this credential belongs to.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn of_credential(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
) -> Result<Option<AccessMethodRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push("m.deleted_ms IS NULL AND m.acs_credential_id = ")
        .push_bind(acs_credential_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// Every access method of a workspace that passes the filter, in the order of creation.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &AccessMethodFilter,
) -> Result<Vec<AccessMethodRow>, StoreError> {
    let mut query = filtered(workspace_id, filter);
    query.push(" ORDER BY m.access_method_id");
    Ok(query.build_query_as().fetch_all(conn).await?)
}

/// The access methods of these grants, in the order of creation, as far as their grants show them.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn of_grants(
    conn: &mut SqliteConnection,
    access_grant_ids: &[Uuid],
) -> Result<Vec<GrantedMethod>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT m.access_method_id, m.access_grant_id, m.position, coalesce(c.issued_version NOT IN (c.content_version, ",
    );
    query.push_bind(UNKNOWN_VERSION).push(
        "), false) AS is_changed FROM access_methods m \
         LEFT JOIN credentials c ON c.acs_credential_id = m.acs_credential_id WHERE m.deleted_ms IS NULL",
    );
    columns::push_any_of_page(&mut query, "m.access_grant_id", access_grant_ids)?;
    query.push(" ORDER BY m.access_method_id");
    Ok(rows::fetch_all(query, conn).await?)
}

/// One page of the access methods of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn page(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &AccessMethodFilter,
    page: PageRequest,
) -> Result<Page<AccessMethodRow>, StoreError> {
    let mut query = filtered(workspace_id, filter);
    // Where the filter leads to few rows, SQLite is kept from walking through all that come after this one instead.
    query
        .push(if filter.leads() { " AND +" } else { " AND " })
        .push("m.access_method_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY m.access_method_id LIMIT ")
        .push_bind(page.fetch());
    let rows = rows::fetch_all(query, conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// The requests and systems for which a grant ever had access methods, the deleted ones too.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn ever_made(
    conn: &mut SqliteConnection,
    access_grant_id: Uuid,
) -> Result<Vec<(i64, Uuid)>, StoreError> {
    let rows =
        sqlx::query("SELECT position, acs_system_id FROM access_methods WHERE access_grant_id = ?")
            .bind(access_grant_id.to_string())
            .fetch_all(conn)
            .await?;
    let pair = |row: &SqliteRow| {
        let position = row.try_get("position")?;
        Ok((position, columns::id(row, "acs_system_id")?))
    };
    rows.iter().map(pair).collect()
}

/// The entrances that cards of a grant open: what encoded cards carry, and what registered ones may.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn doors(
    conn: &mut SqliteConnection,
    access_grant_id: Uuid,
) -> Result<Vec<Uuid>, StoreError> {
    let rows = sqlx::query(
        "WITH carded AS (SELECT c.* FROM access_methods m \
         JOIN credentials c ON c.acs_credential_id = m.acs_credential_id \
         WHERE m.access_grant_id = ? AND m.deleted_ms IS NULL AND c.issued_version IS NOT NULL) \
         SELECT e.acs_entrance_id FROM carded c JOIN bindings b ON b.job_id = c.issued_job_id \
         AND b.n = (SELECT max(n) FROM bindings WHERE job_id = c.issued_job_id) \
         JOIN json_each(b.content, '$.entrances') number \
         JOIN entrances e ON e.acs_system_id = c.acs_system_id AND e.number = number.value \
         UNION SELECT ce.acs_entrance_id FROM carded c JOIN credential_entrances ce \
         ON ce.acs_credential_id = c.acs_credential_id WHERE c.registered_number IS NOT NULL",
    )
    .bind(access_grant_id.to_string())
    .fetch_all(conn)
    .await?;
    let door = |row: &SqliteRow| columns::id(row, "acs_entrance_id");
    Ok(rows.iter().map(door).collect::<Result<_, _>>()?)
}

/// Marks an access method as deleted and says so.
async fn end(
    conn: &mut SqliteConnection,
    method: &AccessMethodRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE access_methods SET deleted_ms = ? WHERE access_method_id = ?")
        .bind(now.as_millisecond())
        .bind(method.access_method_id.to_string())
        .execute(&mut *conn)
        .await?;
    if method.issued().is_some() {
        record(conn, method, EventType::AccessMethodRevoked, now, now).await?;
    }
    record(conn, method, EventType::AccessMethodDeleted, now, now).await
}

fn filtered(workspace_id: Uuid, filter: &AccessMethodFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push("m.deleted_ms IS NULL");
    columns::push_workspace(&mut query, "m.workspace_id", workspace_id, filter.leads());
    push_filter(&mut query, filter);
    query
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &AccessMethodFilter) {
    let ids = filter.access_method_ids.as_deref();
    columns::push_any(query, "m.access_method_id", ids);
    let grants = filter.access_grant_ids.as_deref();
    columns::push_any(query, "m.access_grant_id", grants);
    if let Some(entrance) = filter.acs_entrance_id {
        query
            .push(" AND m.acs_system_id = (SELECT acs_system_id FROM entrances WHERE acs_entrance_id = ")
            .push_bind(entrance.to_string())
            .push(") AND m.access_grant_id IN (");
        access_grants::push_grants_of_entrance(query, entrance);
        query.push(")");
    }
    if let Some(space) = filter.space_id {
        query
            .push(" AND m.access_grant_id IN (SELECT access_grant_id FROM grant_spaces WHERE space_id = ")
            .push_bind(space.to_string())
            .push(")");
    }
}
