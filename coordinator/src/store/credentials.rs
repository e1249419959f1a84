//! Credentials: what the access system wants on cards, and which card carries which version of it.

mod content;
mod issue;
mod list;
mod registered;

pub use content::{entrance_numbers, set_content, set_ends_at};
pub use issue::{Issue, on_card, record_doubt, record_issued, record_lost};
pub use list::{CredentialFilter, all, list};
pub use registered::{assign, by_registered_number, register, release};

use jiff::Timestamp;
use serde::Deserialize;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    StoreError, access_methods,
    columns::{self, Columns},
    entrances::EntranceRow,
    events::{self, EventSubject, EventType},
    rows::{FromColumns, from_row},
    systems::SystemKind,
    users::UserRow,
};
use crate::{ids, provider::ProviderMetadata};

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
    /// Whose it is; none while it is unassigned.
    pub acs_user_id: Option<Uuid>,
    /// The person behind that user, if it is known.
    pub user_identity_id: Option<Uuid>,
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
    /// The number of the registered card that it is; none for one that is encoded.
    pub registered_number: Option<String>,
    /// What its system is.
    pub kind: SystemKind,
    /// The options of its system's maker.
    pub provider: Option<ProviderMetadata>,
    /// The entrances that it opens, in the kinds of system that show them with it.
    pub doors: Vec<Door>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// An entrance that a credential opens.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Door {
    /// Its id.
    pub acs_entrance_id: Uuid,
    /// Its name.
    pub display_name: String,
    /// Whether it is for everybody.
    pub is_common: bool,
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

    /// Whether it is a registered card that waits for its user.
    pub fn is_unmanaged(&self) -> bool {
        self.registered_number.is_some() && self.acs_user_id.is_none()
    }

    /// The number of its card, as far as it has one.
    pub fn card_number(&self) -> Option<&str> {
        let issued = self.issued.as_ref();
        issued
            .and_then(|issued| issued.card_number.as_deref())
            .or(self.registered_number.as_deref())
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

impl FromColumns for CredentialRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "acs_credential_id",
            "workspace_id",
            "acs_system_id",
            "connected_account_id",
            "acs_user_id",
            "user_identity_id",
            "display_name",
            "starts_ms",
            "ends_ms",
            "created_ms",
            "content_version",
            "changed_ms",
            "issued_version",
            "issued_ms",
            "card_uid",
            "card_number",
            "registered_number",
            "system_kind",
            "provider_metadata",
            "doors",
            "deleted_ms",
        ]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        let version = row.integer("issued_version")?;
        let issued = version.zip(columns::optional_time(row, "issued_ms")?);
        Ok(Self {
            acs_credential_id: columns::id(row, "acs_credential_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            acs_system_id: columns::id(row, "acs_system_id")?,
            connected_account_id: columns::id(row, "connected_account_id")?,
            acs_user_id: columns::optional_id(row, "acs_user_id")?,
            user_identity_id: columns::optional_id(row, "user_identity_id")?,
            display_name: columns::string(row, "display_name")?,
            starts_at: columns::optional_time(row, "starts_ms")?,
            ends_at: columns::optional_time(row, "ends_ms")?,
            created_at: columns::time(row, "created_ms")?,
            content_version: columns::integer(row, "content_version")?,
            changed_at: columns::time(row, "changed_ms")?,
            issued: match issued {
                Some((version, at)) => Some(Issued {
                    version,
                    at,
                    card_uid: columns::optional_string(row, "card_uid")?,
                    card_number: columns::optional_string(row, "card_number")?,
                }),
                None => None,
            },
            registered_number: columns::optional_string(row, "registered_number")?,
            kind: columns::from_name(row, "system_kind")?,
            provider: columns::optional_json(row, "provider_metadata")?,
            doors: columns::optional_json(row, "doors")?.unwrap_or_default(),
            deleted_at: columns::optional_time(row, "deleted_ms")?,
        })
    }
}

from_row!(CredentialRow);

/// What a query of credentials `c` in systems `s` selects besides their columns. What is appended to the list of doors makes
/// it text for whoever selects from here.
macro_rules! beside {
    () => {
        "s.connected_account_id, s.kind AS system_kind, CASE WHEN s.kind IN ('visionline', 'vostio') THEN \
         (SELECT json_group_array(json_object('acs_entrance_id', e.acs_entrance_id, 'display_name', e.display_name, \
         'is_common', json(iif(e.is_common, 'true', 'false'))) ORDER BY e.number) FROM credential_entrances ce \
         JOIN entrances e ON e.acs_entrance_id = ce.acs_entrance_id \
         WHERE ce.acs_credential_id = c.acs_credential_id) || '' END AS doors"
    };
}
pub(super) use beside;

const SELECT: &str = concat!(
    "SELECT c.*, u.user_identity_id, ",
    beside!(),
    " FROM credentials c JOIN systems s ON s.acs_system_id = c.acs_system_id \
     LEFT JOIN acs_users u ON u.acs_user_id = c.acs_user_id WHERE "
);

/// From when to when a credential opens; none for ever.
pub type Validity = (Option<Timestamp>, Option<Timestamp>);

/// Makes a credential of a user for entrances of the user's system; the caller has checked that they are.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn create(
    conn: &mut SqliteConnection,
    user: &UserRow,
    provider: Option<ProviderMetadata>,
    validity: Validity,
    entrances: &[EntranceRow],
    now: Timestamp,
) -> Result<CredentialRow, StoreError> {
    let credential = CredentialRow {
        acs_credential_id: ids::new_id(now),
        workspace_id: user.workspace_id,
        acs_system_id: user.acs_system_id,
        connected_account_id: user.connected_account_id,
        acs_user_id: Some(user.acs_user_id),
        user_identity_id: user.identity.as_ref().map(|person| person.user_identity_id),
        display_name: format!("Card of {}", user.details.full_name),
        starts_at: validity.0,
        ends_at: validity.1,
        created_at: now,
        content_version: 1,
        changed_at: now,
        issued: None,
        registered_number: None,
        kind: SystemKind::default(),
        provider,
        doors: Vec::new(),
        deleted_at: None,
    };
    insert(conn, &credential).await?;
    let entrances: Vec<_> = entrances.iter().map(|row| row.acs_entrance_id).collect();
    let id = credential.acs_credential_id;
    content::put_entrances(conn, id, &entrances).await?;
    Ok(by_id(conn, id).await?.unwrap_or(credential))
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

/// The newest credential of a system that a card carries.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn newest_issued(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
) -> Result<Option<CredentialRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push("c.deleted_ms IS NULL AND c.issued_version IS NOT NULL AND c.workspace_id = s.workspace_id AND c.acs_system_id = ")
        .push_bind(acs_system_id.to_string())
        .push(" ORDER BY c.acs_credential_id DESC LIMIT 1");
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// Says whose a credential is. What is on its card does not change by that.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_user(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    acs_user_id: Option<Uuid>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE credentials SET acs_user_id = ? WHERE acs_credential_id = ?")
        .bind(columns::optional_text(acs_user_id))
        .bind(acs_credential_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes a credential, with the access method that it is for, and records the events. Its row stays for late outcomes
/// and scanned cards.
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
    access_methods::end_of_credential(conn, credential, now).await?;
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

/// Takes a credential away from whoever has it: it is deleted, while a registered card waits for another user then. The
/// access method that it is for ends. Returns the credential if it was deleted.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn withdraw(
    conn: &mut SqliteConnection,
    credential: &CredentialRow,
    now: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    if credential.registered_number.is_none() {
        delete(conn, credential, now).await?;
        return Ok(Some(credential.acs_credential_id));
    }
    access_methods::end_of_credential(conn, credential, now).await?;
    release(conn, credential, now).await?;
    Ok(None)
}

async fn insert(conn: &mut SqliteConnection, credential: &CredentialRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO credentials (acs_credential_id, workspace_id, acs_system_id, acs_user_id, display_name, starts_ms, \
         ends_ms, created_ms, content_version, changed_ms, registered_number, provider_metadata) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(credential.acs_credential_id.to_string())
    .bind(credential.workspace_id.to_string())
    .bind(credential.acs_system_id.to_string())
    .bind(columns::optional_text(credential.acs_user_id))
    .bind(&credential.display_name)
    .bind(columns::optional_ms(credential.starts_at))
    .bind(columns::optional_ms(credential.ends_at))
    .bind(credential.created_at.as_millisecond())
    .bind(credential.content_version)
    .bind(credential.changed_at.as_millisecond())
    .bind(&credential.registered_number)
    .bind(credential.provider.as_ref().map(columns::json).transpose()?)
    .execute(conn)
    .await?;
    Ok(())
}
