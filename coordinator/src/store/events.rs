//! Events: what happened to resources, as the API lists it.

mod list;

pub use list::{EventFilter, list};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    StoreError,
    columns::{self, Columns},
    deliveries,
    rows::{FromColumns, from_row},
};
use crate::ids;

/// Every event that this service reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventType {
    /// The card of an access grant opens an entrance.
    AccessGrantAccessGrantedToDoor,
    /// The cards of an access grant open every entrance that it asks for.
    AccessGrantAccessGrantedToAllDoors,
    /// No card of an access grant opens an entrance any more.
    AccessGrantAccessToDoorLost,
    /// The times of an access grant were changed.
    AccessGrantAccessTimesChanged,
    /// An access grant was made.
    AccessGrantCreated,
    /// An access grant was deleted.
    AccessGrantDeleted,
    /// An access method is to be put on its card, for the first time or anew.
    AccessMethodCardEncodingRequired,
    /// An access method was made.
    AccessMethodCreated,
    /// An access method was deleted.
    AccessMethodDeleted,
    /// An access method was put on a card that held none of ours, or a registered card was assigned to it.
    AccessMethodIssued,
    /// An access method was put on a card that held another credential of ours.
    AccessMethodReissued,
    /// An access method is on no card any more, or its card is not to open anything any more.
    AccessMethodRevoked,
    /// A credential was deleted.
    AcsCredentialDeleted,
    /// A credential is on no card any more: its card was written with another one.
    AcsCredentialInvalidated,
    /// A credential was put on a card that held none of ours.
    AcsCredentialIssued,
    /// A credential was put on a card that held another of ours.
    AcsCredentialReissued,
    /// An encoder takes jobs from now on: it was seen for the first time, or adopted.
    AcsEncoderAdded,
    /// An encoder takes no jobs any more: it was disowned.
    AcsEncoderRemoved,
    /// The token or the disk of an agent is on a second PC. No event of the published API: the document that is served names
    /// it.
    AcsSystemAgentCopied,
    /// A user was made.
    AcsUserCreated,
    /// A user was deleted.
    AcsUserDeleted,
}

impl EventType {
    /// The type as the API names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessGrantAccessGrantedToDoor => "access_grant.access_granted_to_door",
            Self::AccessGrantAccessGrantedToAllDoors => "access_grant.access_granted_to_all_doors",
            Self::AccessGrantAccessToDoorLost => "access_grant.access_to_door_lost",
            Self::AccessGrantAccessTimesChanged => "access_grant.access_times_changed",
            Self::AccessGrantCreated => "access_grant.created",
            Self::AccessGrantDeleted => "access_grant.deleted",
            Self::AccessMethodCardEncodingRequired => "access_method.card_encoding_required",
            Self::AccessMethodCreated => "access_method.created",
            Self::AccessMethodDeleted => "access_method.deleted",
            Self::AccessMethodIssued => "access_method.issued",
            Self::AccessMethodReissued => "access_method.reissued",
            Self::AccessMethodRevoked => "access_method.revoked",
            Self::AcsCredentialDeleted => "acs_credential.deleted",
            Self::AcsCredentialInvalidated => "acs_credential.invalidated",
            Self::AcsCredentialIssued => "acs_credential.issued",
            Self::AcsCredentialReissued => "acs_credential.reissued",
            Self::AcsEncoderAdded => "acs_encoder.added",
            Self::AcsEncoderRemoved => "acs_encoder.removed",
            Self::AcsSystemAgentCopied => "acs_system.agent_copied",
            Self::AcsUserCreated => "acs_user.created",
            Self::AcsUserDeleted => "acs_user.deleted",
        }
    }

    /// The event in words.
    const fn description(self) -> &'static str {
        match self {
            Self::AccessGrantAccessGrantedToDoor => "Access to a door was granted.",
            Self::AccessGrantAccessGrantedToAllDoors => "Access to all doors was granted.",
            Self::AccessGrantAccessToDoorLost => "Access to a door was lost.",
            Self::AccessGrantAccessTimesChanged => "The times of an access grant were changed.",
            Self::AccessGrantCreated => "An access grant was created.",
            Self::AccessGrantDeleted => "An access grant was deleted.",
            Self::AccessMethodCardEncodingRequired => {
                "An access method requires a card to be encoded."
            }
            Self::AccessMethodCreated => "An access method was created.",
            Self::AccessMethodDeleted => "An access method was deleted.",
            Self::AccessMethodIssued => "An access method was issued.",
            Self::AccessMethodReissued => "An access method was reissued.",
            Self::AccessMethodRevoked => "An access method was revoked.",
            Self::AcsCredentialDeleted => "An ACS credential was deleted.",
            Self::AcsCredentialInvalidated => "An ACS credential was invalidated.",
            Self::AcsCredentialIssued => "An ACS credential was issued.",
            Self::AcsCredentialReissued => "An ACS credential was reissued.",
            Self::AcsEncoderAdded => "An ACS encoder was added.",
            Self::AcsEncoderRemoved => "An ACS encoder was removed.",
            Self::AcsSystemAgentCopied => "An agent's token or disk is on a second PC.",
            Self::AcsUserCreated => "An ACS user was created.",
            Self::AcsUserDeleted => "An ACS user was deleted.",
        }
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Its id.
    pub event_id: Uuid,
    /// The workspace in which it happened.
    pub workspace_id: Uuid,
    /// Its type, as the API names it.
    pub event_type: String,
    /// It in words.
    pub description: String,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What it happened to.
    pub subject: EventSubject,
    /// What else it says: fields as the API names them.
    pub details: Option<Value>,
}

/// The resources that an event names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EventSubject {
    /// The system.
    pub acs_system_id: Option<Uuid>,
    /// The system's account.
    pub connected_account_id: Option<Uuid>,
    /// The credential.
    pub acs_credential_id: Option<Uuid>,
    /// The encoder.
    pub acs_encoder_id: Option<Uuid>,
    /// The user.
    pub acs_user_id: Option<Uuid>,
    /// The entrance.
    pub acs_entrance_id: Option<Uuid>,
    /// The access grant.
    pub access_grant_id: Option<Uuid>,
    /// The access method.
    pub access_method_id: Option<Uuid>,
}

impl EventSubject {
    /// What an event of this type is about, as a text that is the same for all events about it. Its deliveries to a
    /// webhook go in order.
    fn object(&self, event_type: &str) -> String {
        let Self {
            acs_system_id,
            connected_account_id,
            acs_credential_id,
            acs_encoder_id,
            acs_user_id,
            acs_entrance_id: _,
            access_grant_id,
            access_method_id,
        } = *self;
        let kind = event_type
            .split_once('.')
            .map_or(event_type, |(kind, _)| kind);
        let id = match kind {
            "access_grant" => access_grant_id,
            "access_method" => access_method_id,
            "acs_credential" => acs_credential_id,
            "acs_encoder" => acs_encoder_id,
            "acs_system" => acs_system_id,
            "acs_user" => acs_user_id,
            "connected_account" => connected_account_id,
            _ => None,
        };
        match id {
            Some(id) => format!("{kind}/{id}"),
            None => kind.to_owned(),
        }
    }
}

impl EventSubject {
    /// Whether it names something of which there are few events: more than a system.
    fn names_object(&self) -> bool {
        let Self {
            acs_system_id: _,
            connected_account_id: _,
            acs_credential_id,
            acs_encoder_id,
            acs_user_id,
            acs_entrance_id,
            access_grant_id,
            access_method_id,
        } = self;
        [
            acs_credential_id,
            acs_encoder_id,
            acs_user_id,
            acs_entrance_id,
            access_grant_id,
            access_method_id,
        ]
        .iter()
        .any(|id| id.is_some())
    }
}

impl EventRow {
    /// What it is about: deliveries of events about the same go in order.
    pub(super) fn object(&self) -> String {
        self.subject.object(&self.event_type)
    }
}

impl FromColumns for EventRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "event_id",
            "workspace_id",
            "event_type",
            "description",
            "created_ms",
            "occurred_ms",
            "acs_system_id",
            "connected_account_id",
            "acs_credential_id",
            "acs_encoder_id",
            "acs_user_id",
            "acs_entrance_id",
            "access_grant_id",
            "access_method_id",
            "details",
        ]
    }

    fn from_columns(row: &impl Columns) -> Result<Self, sqlx::Error> {
        Ok(Self {
            event_id: columns::id(row, "event_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            event_type: columns::string(row, "event_type")?,
            description: columns::string(row, "description")?,
            created_at: columns::time(row, "created_ms")?,
            occurred_at: columns::time(row, "occurred_ms")?,
            subject: EventSubject {
                acs_system_id: columns::optional_id(row, "acs_system_id")?,
                connected_account_id: columns::optional_id(row, "connected_account_id")?,
                acs_credential_id: columns::optional_id(row, "acs_credential_id")?,
                acs_encoder_id: columns::optional_id(row, "acs_encoder_id")?,
                acs_user_id: columns::optional_id(row, "acs_user_id")?,
                acs_entrance_id: columns::optional_id(row, "acs_entrance_id")?,
                access_grant_id: columns::optional_id(row, "access_grant_id")?,
                access_method_id: columns::optional_id(row, "access_method_id")?,
            },
            details: columns::optional_json(row, "details")?,
        })
    }
}

from_row!(EventRow);

/// Records an event and puts it into the outbox of every webhook that takes its type.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn record(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    event_type: EventType,
    subject: EventSubject,
    occurred_at: Timestamp,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    record_with(
        conn,
        workspace_id,
        event_type,
        subject,
        None,
        occurred_at,
        now,
    )
    .await
}

/// Records an event that says more than what it happened to.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn record_with(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    event_type: EventType,
    subject: EventSubject,
    details: Option<&Value>,
    occurred_at: Timestamp,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let event_id = ids::new_id(now);
    sqlx::query(
        "INSERT INTO events (event_id, workspace_id, event_type, description, created_ms, occurred_ms, acs_system_id, \
         connected_account_id, acs_credential_id, acs_encoder_id, acs_user_id, acs_entrance_id, access_grant_id, \
         access_method_id, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event_id.to_string())
    .bind(workspace_id.to_string())
    .bind(event_type.as_str())
    .bind(event_type.description())
    .bind(now.as_millisecond())
    .bind(occurred_at.as_millisecond())
    .bind(columns::optional_text(subject.acs_system_id))
    .bind(columns::optional_text(subject.connected_account_id))
    .bind(columns::optional_text(subject.acs_credential_id))
    .bind(columns::optional_text(subject.acs_encoder_id))
    .bind(columns::optional_text(subject.acs_user_id))
    .bind(columns::optional_text(subject.acs_entrance_id))
    .bind(columns::optional_text(subject.access_grant_id))
    .bind(columns::optional_text(subject.access_method_id))
    .bind(details.map(Value::to_string))
    .execute(&mut *conn)
    .await?;
    let event_type = event_type.as_str();
    let object = subject.object(event_type);
    deliveries::enqueue(conn, workspace_id, event_id, event_type, &object, now).await?;
    Ok(event_id)
}

/// The event with this id, if it happened in the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    event_id: Uuid,
) -> Result<Option<EventRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM events WHERE event_id = ? AND workspace_id = ?")
            .bind(event_id.to_string())
            .bind(workspace_id.to_string())
            .fetch_optional(conn)
            .await?,
    )
}

/// The event with this id, in whichever workspace it happened.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_id(
    conn: &mut SqliteConnection,
    event_id: Uuid,
) -> Result<Option<EventRow>, StoreError> {
    Ok(sqlx::query_as("SELECT * FROM events WHERE event_id = ?")
        .bind(event_id.to_string())
        .fetch_optional(conn)
        .await?)
}
