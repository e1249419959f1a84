//! User identities: the people of a workspace, whatever access systems know them.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    Page, PageRequest, StoreError,
    columns::{self, Columns},
    rows::{self, FromColumns, from_row},
    search::{self, Indexed},
};
use crate::ids;

/// A user identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityRow {
    /// Its id.
    pub user_identity_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// The person.
    pub details: IdentityDetails,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What is known of a person. Key, e-mail address and telephone number are unique within a workspace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IdentityDetails {
    /// The integrator's own key of the person.
    pub user_identity_key: Option<String>,
    /// The person's name.
    pub full_name: Option<String>,
    /// The person's e-mail address.
    pub email_address: Option<String>,
    /// The person's telephone number.
    pub phone_number: Option<String>,
}

impl IdentityRow {
    /// The name to show: the best that is known of the person.
    pub fn display_name(&self) -> &str {
        let details = &self.details;
        [
            &details.full_name,
            &details.email_address,
            &details.phone_number,
            &details.user_identity_key,
        ]
        .into_iter()
        .find_map(Option::as_deref)
        .unwrap_or("Unnamed person")
    }
}

impl FromColumns for IdentityRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "user_identity_id",
            "workspace_id",
            "user_identity_key",
            "full_name",
            "email_address",
            "phone_number",
            "created_ms",
        ]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user_identity_id: columns::id(row, "user_identity_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            details: IdentityDetails {
                user_identity_key: columns::optional_string(row, "user_identity_key")?,
                full_name: columns::optional_string(row, "full_name")?,
                email_address: columns::optional_string(row, "email_address")?,
                phone_number: columns::optional_string(row, "phone_number")?,
            },
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

from_row!(IdentityRow);

/// Which identities to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct IdentityFilter {
    /// Only these.
    pub user_identity_ids: Option<Vec<Uuid>>,
    /// Only identities made before this time.
    pub created_before: Option<Timestamp>,
    /// Only identities whose name, telephone number, e-mail address or id contains this, in any case.
    pub search: Option<String>,
}

/// Makes an identity; the caller has checked with [`taken`] that nobody has its key, e-mail address or number.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    details: IdentityDetails,
    now: Timestamp,
) -> Result<IdentityRow, StoreError> {
    let identity = IdentityRow {
        user_identity_id: ids::new_id(now),
        workspace_id,
        details,
        created_at: now,
    };
    sqlx::query(
        "INSERT INTO user_identities (user_identity_id, workspace_id, user_identity_key, full_name, email_address, \
         phone_number, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(identity.user_identity_id.to_string())
    .bind(workspace_id.to_string())
    .bind(&identity.details.user_identity_key)
    .bind(&identity.details.full_name)
    .bind(&identity.details.email_address)
    .bind(&identity.details.phone_number)
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(identity)
}

/// The first of the details that another identity of the workspace has already, by its name in the API, and that
/// identity.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn taken(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    details: &IdentityDetails,
) -> Result<Option<(&'static str, Uuid)>, StoreError> {
    for (field, condition, value) in [
        (
            "user_identity_key",
            "user_identity_key = ",
            &details.user_identity_key,
        ),
        (
            "email_address",
            "lower(email_address) = ",
            &details
                .email_address
                .as_ref()
                .map(|address| address.to_ascii_lowercase()),
        ),
        ("phone_number", "phone_number = ", &details.phone_number),
    ] {
        let Some(value) = value else { continue };
        let mut query = select(workspace_id);
        query.push(" AND ").push(condition).push_bind(value.clone());
        let found: Option<IdentityRow> = query.build_query_as().fetch_optional(&mut *conn).await?;
        if let Some(found) = found {
            return Ok(Some((field, found.user_identity_id)));
        }
    }
    Ok(None)
}

/// The identity with this id, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    user_identity_id: Uuid,
) -> Result<Option<IdentityRow>, StoreError> {
    let mut query = select(workspace_id);
    query
        .push(" AND user_identity_id = ")
        .push_bind(user_identity_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// The identity with this key, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_key(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    key: &str,
) -> Result<Option<IdentityRow>, StoreError> {
    let mut query = select(workspace_id);
    query
        .push(" AND user_identity_key = ")
        .push_bind(key.to_owned());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// One page of the identities of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &IdentityFilter,
    page: PageRequest,
) -> Result<Page<IdentityRow>, StoreError> {
    let search = filter.search.as_deref();
    let indexed = Indexed::new(conn, search::IDENTITIES, workspace_id, search).await?;
    let mut query = QueryBuilder::new("SELECT * FROM user_identities WHERE true");
    columns::push_workspace(&mut query, "workspace_id", workspace_id, indexed.is_some());
    columns::push_any(
        &mut query,
        "user_identity_id",
        filter.user_identity_ids.as_deref(),
    );
    if let Some(before) = filter.created_before {
        query
            .push(" AND created_ms < ")
            .push_bind(before.as_millisecond());
    }
    if let Some(indexed) = indexed {
        query.push(" AND user_identity_id IN (");
        indexed.push_ids(&mut query);
        query.push(")");
    }
    if let Some(search) = search {
        query
            .push(" AND instr(lower(coalesce(full_name, '') || ' ' || coalesce(phone_number, '') || ' ' || coalesce(email_address, '') || ' ' || user_identity_id), ")
            .push_bind(search.to_ascii_lowercase())
            .push(") > 0");
    }
    query
        .push(" AND user_identity_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY user_identity_id LIMIT ")
        .push_bind(page.fetch());
    let rows = rows::fetch_all(query, conn).await?;
    Ok(Page::cut(rows, page.limit))
}

fn select(workspace_id: Uuid) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM user_identities WHERE workspace_id = ");
    query.push_bind(workspace_id.to_string());
    query
}
