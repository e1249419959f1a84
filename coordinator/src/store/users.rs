//! Users of an access system: the people who get cards.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    Page, PageRequest, StoreError,
    columns::{self, Columns},
    credentials::{self, CredentialFilter},
    events::{self, EventSubject, EventType},
    rows::{self, FromColumns, from_row},
    search::{self, Indexed},
    systems::SystemRow,
    user_identities::IdentityRow,
};
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
    /// What the system knows of the person.
    pub details: UserDetails,
    /// The person in the workspace, if it is known who that is.
    pub identity: Option<LinkedIdentity>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The user identity behind a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkedIdentity {
    /// Its id.
    pub user_identity_id: Uuid,
    /// The person's name.
    pub full_name: Option<String>,
    /// The person's e-mail address.
    pub email_address: Option<String>,
    /// The person's telephone number.
    pub phone_number: Option<String>,
}

impl UserRow {
    /// The user as an event names it.
    pub fn event_subject(&self) -> EventSubject {
        EventSubject {
            acs_system_id: Some(self.acs_system_id),
            connected_account_id: Some(self.connected_account_id),
            acs_user_id: Some(self.acs_user_id),
            ..EventSubject::default()
        }
    }
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

impl FromColumns for UserRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "acs_user_id",
            "workspace_id",
            "acs_system_id",
            "connected_account_id",
            "full_name",
            "email_address",
            "phone_number",
            "access_starts_ms",
            "access_ends_ms",
            "created_ms",
            "user_identity_id",
            "identity_full_name",
            "identity_email_address",
            "identity_phone_number",
        ]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        let identity = match columns::optional_id(row, "user_identity_id")? {
            None => None,
            Some(user_identity_id) => Some(LinkedIdentity {
                user_identity_id,
                full_name: columns::optional_string(row, "identity_full_name")?,
                email_address: columns::optional_string(row, "identity_email_address")?,
                phone_number: columns::optional_string(row, "identity_phone_number")?,
            }),
        };
        Ok(Self {
            acs_user_id: columns::id(row, "acs_user_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            acs_system_id: columns::id(row, "acs_system_id")?,
            connected_account_id: columns::id(row, "connected_account_id")?,
            details: UserDetails {
                full_name: columns::string(row, "full_name")?,
                email_address: columns::optional_string(row, "email_address")?,
                phone_number: columns::optional_string(row, "phone_number")?,
                access_starts_at: columns::optional_time(row, "access_starts_ms")?,
                access_ends_at: columns::optional_time(row, "access_ends_ms")?,
            },
            identity,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

from_row!(UserRow);

/// Which users to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only users of this system.
    pub acs_system_id: Option<Uuid>,
    /// Only users of this person.
    pub user_identity_id: Option<Uuid>,
    /// Only users of the person with this e-mail address.
    pub identity_email_address: Option<String>,
    /// Only users of the person with this telephone number.
    pub identity_phone_number: Option<String>,
    /// Only users made before this time.
    pub created_before: Option<Timestamp>,
    /// Only users with this in their name, telephone number, e-mail address, ids or their person's name or number, in any
    /// case.
    pub search: Option<String>,
}

const SELECT: &str = "SELECT u.*, s.connected_account_id, i.full_name AS identity_full_name, \
     i.email_address AS identity_email_address, i.phone_number AS identity_phone_number FROM acs_users u \
     JOIN systems s ON s.acs_system_id = u.acs_system_id \
     LEFT JOIN user_identities i ON i.user_identity_id = u.user_identity_id \
     WHERE u.deleted_ms IS NULL";

/// Makes a user of a system and records the event. An identity must be of the same workspace and have no other user in
/// that system.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    details: UserDetails,
    identity: Option<&IdentityRow>,
    now: Timestamp,
) -> Result<UserRow, StoreError> {
    let user = UserRow {
        acs_user_id: ids::new_id(now),
        workspace_id: system.workspace_id,
        acs_system_id: system.acs_system_id,
        connected_account_id: system.connected_account_id,
        details,
        identity: identity.map(linked),
        created_at: now,
    };
    sqlx::query(
        "INSERT INTO acs_users (acs_user_id, workspace_id, acs_system_id, full_name, email_address, phone_number, \
         access_starts_ms, access_ends_ms, created_ms, user_identity_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    .bind(identity.map(|identity| identity.user_identity_id.to_string()))
    .execute(&mut *conn)
    .await?;
    let created = EventType::AcsUserCreated;
    let subject = user.event_subject();
    events::record(conn, user.workspace_id, created, subject, now, now).await?;
    Ok(user)
}

/// The user of a person in a system: the one that is theirs, else the one with their e-mail address or telephone number,
/// which becomes theirs, else a new one.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn of_identity(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    identity: &IdentityRow,
    now: Timestamp,
) -> Result<UserRow, StoreError> {
    let id = identity.user_identity_id;
    if let Some(user) = linked_to(conn, system, id).await? {
        return Ok(user);
    }
    if let Some(user) = alike(conn, system, identity).await? {
        sqlx::query("UPDATE acs_users SET user_identity_id = ? WHERE acs_user_id = ?")
            .bind(id.to_string())
            .bind(user.acs_user_id.to_string())
            .execute(conn)
            .await?;
        let identity = Some(linked(identity));
        return Ok(UserRow { identity, ..user });
    }
    let details = UserDetails {
        full_name: identity.display_name().to_owned(),
        email_address: identity.details.email_address.clone(),
        phone_number: identity.details.phone_number.clone(),
        ..UserDetails::default()
    };
    create(conn, system, details, Some(identity), now).await
}

/// Changes what the system knows of a person.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn update(
    conn: &mut SqliteConnection,
    acs_user_id: Uuid,
    details: &UserDetails,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE acs_users SET full_name = ?, email_address = ?, phone_number = ?, access_starts_ms = ?, \
         access_ends_ms = ? WHERE acs_user_id = ?",
    )
    .bind(&details.full_name)
    .bind(&details.email_address)
    .bind(&details.phone_number)
    .bind(columns::optional_ms(details.access_starts_at))
    .bind(columns::optional_ms(details.access_ends_at))
    .bind(acs_user_id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a user with all credentials, and records the events; registered cards wait for another user then. Returns the
/// credentials that were deleted.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn delete(
    conn: &mut SqliteConnection,
    user: &UserRow,
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let filter = CredentialFilter {
        acs_user_id: Some(user.acs_user_id),
        ..CredentialFilter::default()
    };
    let mut deleted = Vec::new();
    for credential in credentials::all(conn, user.workspace_id, &filter).await? {
        deleted.extend(credentials::withdraw(conn, &credential, now).await?);
    }
    sqlx::query("UPDATE acs_users SET deleted_ms = ? WHERE acs_user_id = ?")
        .bind(now.as_millisecond())
        .bind(user.acs_user_id.to_string())
        .execute(&mut *conn)
        .await?;
    let event = EventType::AcsUserDeleted;
    let subject = user.event_subject();
    events::record(conn, user.workspace_id, event, subject, now, now).await?;
    Ok(deleted)
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
    columns::push_workspace(&mut query, "u.workspace_id", workspace_id, true);
    query
        .push(" AND u.acs_user_id = ")
        .push_bind(acs_user_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// The user of a person in a system.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn linked_to(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    user_identity_id: Uuid,
) -> Result<Option<UserRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    columns::push_workspace(&mut query, "u.workspace_id", system.workspace_id, true);
    query
        .push(" AND u.acs_system_id = ")
        .push_bind(system.acs_system_id.to_string())
        .push(" AND u.user_identity_id = ")
        .push_bind(user_identity_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// A user and whose it is.
struct OfIdentity {
    user_identity_id: Uuid,
    acs_user_id: Uuid,
}

impl FromColumns for OfIdentity {
    fn columns() -> Vec<&'static str> {
        vec!["user_identity_id", "acs_user_id"]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user_identity_id: columns::id(row, "user_identity_id")?,
            acs_user_id: columns::id(row, "acs_user_id")?,
        })
    }
}

/// Which users these people have: pairs of person and user.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn of_identities(
    conn: &mut SqliteConnection,
    user_identity_ids: &[Uuid],
) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT user_identity_id, acs_user_id FROM acs_users WHERE user_identity_id IS NOT NULL AND deleted_ms IS NULL",
    );
    columns::push_any_of_page(&mut query, "user_identity_id", user_identity_ids)?;
    query.push(" ORDER BY acs_user_id");
    let found: Vec<OfIdentity> = rows::fetch_all(query, conn).await?;
    let pairs = found.into_iter();
    Ok(pairs
        .map(|user| (user.user_identity_id, user.acs_user_id))
        .collect())
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
    let mut query = filtered(conn, workspace_id, filter).await?;
    query
        .push(" AND u.acs_user_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY u.acs_user_id LIMIT ")
        .push_bind(page.fetch());
    let rows = rows::fetch_all(query, conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// Every user of a workspace that passes the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn all(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &UserFilter,
) -> Result<Vec<UserRow>, StoreError> {
    let mut query = filtered(conn, workspace_id, filter).await?;
    query.push(" ORDER BY u.acs_user_id");
    Ok(query.build_query_as().fetch_all(conn).await?)
}

async fn filtered(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &UserFilter,
) -> Result<QueryBuilder<Sqlite>, StoreError> {
    let search = filter.search.as_deref();
    let indexed = Indexed::new(conn, search::USERS_AND_IDENTITIES, workspace_id, search).await?;
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    let another_leads = indexed.is_some()
        || filter.user_identity_id.is_some()
        || filter.identity_email_address.is_some()
        || filter.identity_phone_number.is_some();
    columns::push_workspace(&mut query, "u.workspace_id", workspace_id, another_leads);
    if let Some(system) = filter.acs_system_id {
        query
            .push(if another_leads { " AND +" } else { " AND " })
            .push("u.acs_system_id = ")
            .push_bind(system.to_string());
    }
    if let Some(identity) = filter.user_identity_id {
        query
            .push(" AND u.user_identity_id = ")
            .push_bind(identity.to_string());
    }
    if let Some(address) = &filter.identity_email_address {
        query
            .push(" AND u.user_identity_id IN (SELECT user_identity_id FROM user_identities WHERE workspace_id = ")
            .push_bind(workspace_id.to_string())
            .push(" AND lower(email_address) = ")
            .push_bind(address.to_ascii_lowercase())
            .push(")");
    }
    if let Some(number) = &filter.identity_phone_number {
        query
            .push(" AND u.user_identity_id IN (SELECT user_identity_id FROM user_identities WHERE workspace_id = ")
            .push_bind(workspace_id.to_string())
            .push(" AND phone_number = ")
            .push_bind(number.clone())
            .push(")");
    }
    if let Some(before) = filter.created_before {
        query
            .push(" AND u.created_ms < ")
            .push_bind(before.as_millisecond());
    }
    if let Some(indexed) = indexed {
        query.push(" AND u.acs_user_id IN (WITH found AS (");
        indexed.push_ids(&mut query);
        query.push(
            ") SELECT object_id FROM found UNION SELECT acs_user_id FROM acs_users \
             WHERE deleted_ms IS NULL AND user_identity_id IN (SELECT object_id FROM found))",
        );
    }
    if let Some(search) = search {
        query
            .push(" AND instr(lower(u.full_name || ' ' || coalesce(u.phone_number, '') || ' ' || coalesce(u.email_address, '') || ' ' || u.acs_user_id || ' ' || coalesce(u.user_identity_id, '') || ' ' || coalesce(i.full_name, '') || ' ' || coalesce(i.phone_number, '')), ")
            .push_bind(search.to_ascii_lowercase())
            .push(") > 0");
    }
    Ok(query)
}

/// The users of a system who have no identity: to be completed with the system's id.
const WITHOUT_IDENTITY: &str = "SELECT acs_user_id FROM acs_users WHERE user_identity_id IS NULL AND deleted_ms IS NULL \
     AND acs_system_id = ";

/// The system's user without an identity who has the person's e-mail address or telephone number.
async fn alike(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    identity: &IdentityRow,
) -> Result<Option<UserRow>, StoreError> {
    let email = identity.details.email_address.as_deref();
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    columns::push_workspace(&mut query, "u.workspace_id", system.workspace_id, true);
    query
        .push(" AND u.acs_user_id IN (")
        .push(WITHOUT_IDENTITY)
        .push_bind(system.acs_system_id.to_string())
        .push(" AND lower(email_address) = ")
        .push_bind(email.map(str::to_ascii_lowercase))
        .push(" UNION ")
        .push(WITHOUT_IDENTITY)
        .push_bind(system.acs_system_id.to_string())
        .push(" AND phone_number = ")
        .push_bind(identity.details.phone_number.clone())
        .push(") ORDER BY u.acs_user_id LIMIT 1");
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

fn linked(identity: &IdentityRow) -> LinkedIdentity {
    LinkedIdentity {
        user_identity_id: identity.user_identity_id,
        full_name: identity.details.full_name.clone(),
        email_address: identity.details.email_address.clone(),
        phone_number: identity.details.phone_number.clone(),
    }
}
