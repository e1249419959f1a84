//! Which credentials are listed.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    super::{
        Page, PageRequest, StoreError, columns, rows,
        search::{self, Indexed},
    },
    CredentialRow, SELECT,
};

/// Which credentials to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct CredentialFilter {
    /// Only credentials of this system.
    pub acs_system_id: Option<Uuid>,
    /// Only credentials of this user.
    pub acs_user_id: Option<Uuid>,
    /// Only credentials of this person.
    pub user_identity_id: Option<Uuid>,
    /// Only these.
    pub acs_credential_ids: Option<Vec<Uuid>>,
    /// Only registered cards that wait for their user, instead of only the others.
    pub is_unmanaged: bool,
    /// Only credentials made before this time.
    pub created_before: Option<Timestamp>,
    /// Only credentials whose name, card number or id contains this, in any case.
    pub search: Option<String>,
}

/// One page of the credentials of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &CredentialFilter,
    page: PageRequest,
) -> Result<Page<CredentialRow>, StoreError> {
    let mut query = filtered(conn, workspace_id, filter).await?;
    query
        .push(" AND c.acs_credential_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY c.acs_credential_id LIMIT ")
        .push_bind(page.fetch());
    let rows = rows::fetch_all(query, conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// Every credential of a workspace that passes the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn all(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &CredentialFilter,
) -> Result<Vec<CredentialRow>, StoreError> {
    let mut query = filtered(conn, workspace_id, filter).await?;
    query.push(" ORDER BY c.acs_credential_id");
    Ok(query.build_query_as().fetch_all(conn).await?)
}

async fn filtered(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &CredentialFilter,
) -> Result<QueryBuilder<Sqlite>, StoreError> {
    let search = filter.search.as_deref();
    let indexed = Indexed::new(conn, search::CREDENTIALS, workspace_id, search).await?;
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push("c.deleted_ms IS NULL");
    let another_leads = filter.user_identity_id.is_some() || indexed.is_some();
    columns::push_workspace(&mut query, "c.workspace_id", workspace_id, another_leads);
    query.push(if filter.is_unmanaged {
        " AND c.registered_number IS NOT NULL AND c.acs_user_id IS NULL"
    } else {
        " AND (c.registered_number IS NULL OR c.acs_user_id IS NOT NULL)"
    });
    let ids = filter.acs_credential_ids.as_deref();
    columns::push_any(&mut query, "c.acs_credential_id", ids);
    if let Some(identity) = filter.user_identity_id {
        query
            .push(" AND c.acs_user_id IN (SELECT acs_user_id FROM acs_users WHERE deleted_ms IS NULL AND user_identity_id = ")
            .push_bind(identity.to_string())
            .push(")");
    }
    if let Some(system) = filter.acs_system_id {
        query
            .push(" AND c.acs_system_id = ")
            .push_bind(system.to_string());
    }
    if let Some(user) = filter.acs_user_id {
        query
            .push(" AND c.acs_user_id = ")
            .push_bind(user.to_string());
    }
    if let Some(before) = filter.created_before {
        query
            .push(" AND c.created_ms < ")
            .push_bind(before.as_millisecond());
    }
    if let Some(indexed) = indexed {
        query.push(" AND c.acs_credential_id IN (");
        indexed.push_ids(&mut query);
        query.push(")");
    }
    if let Some(search) = search {
        query
            .push(" AND instr(lower(c.display_name || ' ' || coalesce(c.card_number, c.registered_number, '') || ' ' || c.acs_credential_id), ")
            .push_bind(search.to_ascii_lowercase())
            .push(") > 0");
    }
    Ok(query)
}
