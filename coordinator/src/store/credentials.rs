//! Credentials: what the access system wants on cards, and which card carries which version of it.

use encoder_protocols::card::Uid;
use jiff::Timestamp;
use sqlx::{FromRow, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Page, PageRequest, StoreError, columns,
    entrances::EntranceRow,
    events::{self, EventSubject, EventType},
    users::UserRow,
};
use crate::ids;

/// A credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialRow {
    /// Its id.
    pub acs_credential_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// Its system.
    pub acs_system_id: Uuid,
    /// Its system's account.
    pub connected_account_id: Uuid,
    /// Whose it is.
    pub acs_user_id: Uuid,
    /// Its name.
    pub display_name: String,
    /// From when it opens; none for since ever.
    pub starts_at: Option<Timestamp>,
    /// Until when it opens; none for good.
    pub ends_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts from 1; every change of what belongs on the card counts one up.
    pub content_version: i64,
    /// When its content changed last.
    pub changed_at: Timestamp,
    /// The card that carries it, if one does.
    pub issued: Option<Issued>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// How a credential is on a card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// The content version that the card carries; [`UNKNOWN_VERSION`] where nobody knows.
    pub version: i64,
    /// When it was written.
    pub at: Timestamp,
    /// The card's UID in lower-case hex; none where the medium has no UID.
    pub card_uid: Option<String>,
    /// The number that the API shows for the card.
    pub card_number: Option<String>,
}

/// Stands for the content version of a card that was written while this store did not look, or whose last write was
/// interrupted. It equals no version, so the credential counts as changed since.
pub const UNKNOWN_VERSION: i64 = 0;

/// Where a credential stands between the access system and the card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IssueState {
    /// On no card yet.
    Waiting,
    /// On a card, and unchanged since.
    Issued,
    /// On a card, and changed since.
    ChangedSince,
    /// On a card, and nobody knows in which version, or whether it still is.
    Doubtful,
}

impl CredentialRow {
    /// Where the credential stands between the access system and the card.
    pub fn issue_state(&self) -> IssueState {
        match &self.issued {
            None => IssueState::Waiting,
            Some(issued) if issued.version == self.content_version => IssueState::Issued,
            Some(issued) if issued.version == UNKNOWN_VERSION => IssueState::Doubtful,
            Some(_) => IssueState::ChangedSince,
        }
    }

    /// The credential as an event names it.
    pub fn event_subject(&self) -> EventSubject {
        EventSubject {
            acs_system_id: Some(self.acs_system_id),
            connected_account_id: Some(self.connected_account_id),
            acs_credential_id: Some(self.acs_credential_id),
            ..EventSubject::default()
        }
    }
}

impl FromRow<'_, SqliteRow> for CredentialRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let version: Option<i64> = row.try_get("issued_version")?;
        let issued = version.zip(columns::optional_time(row, "issued_ms")?);
        Ok(Self {
            acs_credential_id: columns::id(row, "acs_credential_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            acs_system_id: columns::id(row, "acs_system_id")?,
            connected_account_id: columns::id(row, "connected_account_id")?,
            acs_user_id: columns::id(row, "acs_user_id")?,
            display_name: row.try_get("display_name")?,
            starts_at: columns::optional_time(row, "starts_ms")?,
            ends_at: columns::optional_time(row, "ends_ms")?,
            created_at: columns::time(row, "created_ms")?,
            content_version: row.try_get("content_version")?,
            changed_at: columns::time(row, "changed_ms")?,
            issued: match issued {
                Some((version, at)) => Some(Issued {
                    version,
                    at,
                    card_uid: row.try_get("card_uid")?,
                    card_number: row.try_get("card_number")?,
                }),
                None => None,
            },
            deleted_at: columns::optional_time(row, "deleted_ms")?,
        })
    }
}

/// Which credentials to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct CredentialFilter {
    /// Only credentials of this system.
    pub acs_system_id: Option<Uuid>,
    /// Only credentials of this user.
    pub acs_user_id: Option<Uuid>,
    /// Only credentials made before this time.
    pub created_before: Option<Timestamp>,
    /// Only credentials whose name, card number or id contains this, in any case.
    pub search: Option<String>,
}

/// What a successful encode put where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issue {
    /// Which credential.
    pub acs_credential_id: Uuid,
    /// The content version from which the card's image was made; none where nobody knows.
    pub version: Option<i64>,
    /// The card; none where the medium has no UID.
    pub card_uid: Option<Uid>,
    /// The number to show for the card.
    pub card_number: Option<String>,
    /// When it was written.
    pub at: Timestamp,
}

const SELECT: &str = "SELECT c.*, s.connected_account_id FROM credentials c \
     JOIN systems s ON s.acs_system_id = c.acs_system_id WHERE ";

/// Makes a credential of a user for entrances of the user's system; the caller has checked that they are.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    user: &UserRow,
    validity: (Option<Timestamp>, Option<Timestamp>),
    entrances: &[EntranceRow],
    now: Timestamp,
) -> Result<CredentialRow, StoreError> {
    let credential = CredentialRow {
        acs_credential_id: ids::new_id(now),
        workspace_id: user.workspace_id,
        acs_system_id: user.acs_system_id,
        connected_account_id: user.connected_account_id,
        acs_user_id: user.acs_user_id,
        display_name: format!("Card of {}", user.details.full_name),
        starts_at: validity.0,
        ends_at: validity.1,
        created_at: now,
        content_version: 1,
        changed_at: now,
        issued: None,
        deleted_at: None,
    };
    insert(conn, &credential).await?;
    for entrance in entrances {
        sqlx::query("INSERT OR IGNORE INTO credential_entrances (acs_credential_id, acs_entrance_id) VALUES (?, ?)")
            .bind(credential.acs_credential_id.to_string())
            .bind(entrance.acs_entrance_id.to_string())
            .execute(&mut *conn)
            .await?;
    }
    Ok(credential)
}

/// The credential with this id, if it belongs to the workspace and was not deleted.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    acs_credential_id: Uuid,
) -> Result<Option<CredentialRow>, StoreError> {
    let found = by_id(conn, acs_credential_id).await?;
    Ok(found.filter(|row| row.workspace_id == workspace_id && row.deleted_at.is_none()))
}

/// The credential with this id, in whatever workspace, deleted or not.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_id(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
) -> Result<Option<CredentialRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push("c.acs_credential_id = ")
        .push_bind(acs_credential_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
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
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push("c.deleted_ms IS NULL AND c.workspace_id = ")
        .push_bind(workspace_id.to_string());
    push_filter(&mut query, filter);
    query
        .push(" AND c.acs_credential_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY c.acs_credential_id LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build_query_as().fetch_all(conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// The numbers of the entrances that a credential opens, in order: what goes onto its card.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn entrance_numbers(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
) -> Result<Vec<u16>, StoreError> {
    let rows = sqlx::query(
        "SELECT e.number FROM credential_entrances ce JOIN entrances e ON e.acs_entrance_id = ce.acs_entrance_id \
         WHERE ce.acs_credential_id = ? ORDER BY e.number",
    )
    .bind(acs_credential_id.to_string())
    .fetch_all(conn)
    .await?;
    Ok(rows
        .iter()
        .map(|row| columns::number(row, "number"))
        .collect::<Result<_, _>>()?)
}

/// Changes when a credential ends. The same end again is no change.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_ends_at(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    ends_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE credentials SET ends_ms = ?1, content_version = content_version + 1, changed_ms = ?2 \
         WHERE acs_credential_id = ?3 AND ends_ms IS NOT ?1",
    )
    .bind(ends_at.as_millisecond())
    .bind(now.as_millisecond())
    .bind(acs_credential_id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a credential and records the event. Its row stays for late outcomes and scanned cards.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn delete(
    conn: &mut SqliteConnection,
    credential: &CredentialRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE credentials SET deleted_ms = ? WHERE acs_credential_id = ? AND deleted_ms IS NULL",
    )
    .bind(now.as_millisecond())
    .bind(credential.acs_credential_id.to_string())
    .execute(&mut *conn)
    .await?;
    events::record(
        conn,
        credential.workspace_id,
        EventType::AcsCredentialDeleted,
        credential.event_subject(),
        now,
        now,
    )
    .await?;
    Ok(())
}

/// Records that a card carries a credential: on the credential, on the card, and as an event, which is *reissued*
/// where the card held another credential of the same system, else *issued*. The other credential is then on no card
/// any more, which is an event too. Returns which; nothing for a credential that the store does not know. A deleted
/// credential is updated without an event.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn record_issued(
    conn: &mut SqliteConnection,
    issue: &Issue,
    now: Timestamp,
) -> Result<Option<EventType>, StoreError> {
    let Some(credential) = by_id(conn, issue.acs_credential_id).await? else {
        return Ok(None);
    };
    let uid = issue.card_uid.as_ref().map(ToString::to_string);
    sqlx::query(
        "UPDATE credentials SET issued_version = ?, issued_ms = ?, card_uid = ?, card_number = ? WHERE acs_credential_id = ?",
    )
    .bind(issue.version.unwrap_or(UNKNOWN_VERSION))
    .bind(issue.at.as_millisecond())
    .bind(&uid)
    .bind(&issue.card_number)
    .bind(issue.acs_credential_id.to_string())
    .execute(&mut *conn)
    .await?;
    let earlier = match &uid {
        Some(uid) => replace_on_card(conn, &credential, uid, issue.at).await?,
        None => None,
    };
    let event_type = match earlier {
        Some(earlier) if earlier != issue.acs_credential_id => {
            record_overwritten(conn, earlier, uid.as_deref(), issue.at, now).await?;
            EventType::AcsCredentialReissued
        }
        Some(_) | None => EventType::AcsCredentialIssued,
    };
    if credential.deleted_at.is_none() {
        let subject = credential.event_subject();
        events::record(
            conn,
            credential.workspace_id,
            event_type,
            subject,
            issue.at,
            now,
        )
        .await?;
    }
    Ok(Some(event_type))
}

/// Records that a write to a card was interrupted: whether the credential that it carried is still on it nobody knows, so
/// that one counts as changed since, and may be encoded onto that card again.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn record_doubt(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    uid: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE credentials SET issued_version = ?1 WHERE issued_version IS NOT NULL AND card_uid = ?2 \
         AND acs_credential_id = (SELECT acs_credential_id FROM cards WHERE acs_system_id = ?3 AND uid = ?2)",
    )
    .bind(UNKNOWN_VERSION)
    .bind(uid)
    .bind(acs_system_id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that no card carries a credential any more, which is an event if one did.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn record_lost(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM cards WHERE acs_credential_id = ?")
        .bind(acs_credential_id.to_string())
        .execute(&mut *conn)
        .await?;
    let credential = by_id(conn, acs_credential_id).await?;
    let Some(issued) = credential.and_then(|credential| credential.issued) else {
        return Ok(());
    };
    record_overwritten(
        conn,
        acs_credential_id,
        issued.card_uid.as_deref(),
        now,
        now,
    )
    .await
}

/// The credential that a card of a system was last written with, as far as the store knows.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn on_card(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    uid: &str,
) -> Result<Option<Uuid>, StoreError> {
    let row =
        sqlx::query("SELECT acs_credential_id FROM cards WHERE acs_system_id = ? AND uid = ?")
            .bind(acs_system_id.to_string())
            .bind(uid)
            .fetch_optional(conn)
            .await?;
    Ok(row
        .map(|row| columns::id(&row, "acs_credential_id"))
        .transpose()?)
}

/// Records that a credential lost its card to another one.
async fn record_overwritten(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    uid: Option<&str>,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let lost = sqlx::query(
        "UPDATE credentials SET issued_version = NULL, issued_ms = NULL, card_uid = NULL, card_number = NULL \
         WHERE acs_credential_id = ? AND card_uid IS ?",
    )
    .bind(acs_credential_id.to_string())
    .bind(uid)
    .execute(&mut *conn)
    .await?;
    let overwritten = by_id(conn, acs_credential_id).await?;
    if let Some(overwritten) = overwritten.filter(|row| row.deleted_at.is_none())
        && lost.rows_affected() > 0
    {
        let subject = overwritten.event_subject();
        let event = EventType::AcsCredentialInvalidated;
        events::record(conn, overwritten.workspace_id, event, subject, at, now).await?;
    }
    Ok(())
}

/// Notes the card's new credential and returns the one it held before.
async fn replace_on_card(
    conn: &mut SqliteConnection,
    credential: &CredentialRow,
    uid: &str,
    at: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    let earlier = on_card(conn, credential.acs_system_id, uid).await?;
    sqlx::query(
        "INSERT INTO cards (acs_system_id, uid, acs_credential_id, written_ms) VALUES (?, ?, ?, ?) \
         ON CONFLICT (acs_system_id, uid) DO UPDATE SET acs_credential_id = excluded.acs_credential_id, \
         written_ms = excluded.written_ms",
    )
    .bind(credential.acs_system_id.to_string())
    .bind(uid)
    .bind(credential.acs_credential_id.to_string())
    .bind(at.as_millisecond())
    .execute(conn)
    .await?;
    Ok(earlier)
}

async fn insert(conn: &mut SqliteConnection, credential: &CredentialRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO credentials (acs_credential_id, workspace_id, acs_system_id, acs_user_id, display_name, starts_ms, \
         ends_ms, created_ms, content_version, changed_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(credential.acs_credential_id.to_string())
    .bind(credential.workspace_id.to_string())
    .bind(credential.acs_system_id.to_string())
    .bind(credential.acs_user_id.to_string())
    .bind(&credential.display_name)
    .bind(columns::optional_ms(credential.starts_at))
    .bind(columns::optional_ms(credential.ends_at))
    .bind(credential.created_at.as_millisecond())
    .bind(credential.content_version)
    .bind(credential.changed_at.as_millisecond())
    .execute(conn)
    .await?;
    Ok(())
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &CredentialFilter) {
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
    if let Some(search) = &filter.search {
        query
            .push(" AND instr(lower(c.display_name || ' ' || coalesce(c.card_number, '') || ' ' || c.acs_credential_id), ")
            .push_bind(search.to_ascii_lowercase())
            .push(") > 0");
    }
}
