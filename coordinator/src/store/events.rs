//! Events: what happened to resources, as the API lists it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    StoreError,
    columns::{self, Columns},
    deliveries,
    rows::{self, FromColumns, from_row},
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

/// Which events to list; every condition that is given must hold. The interval excludes both its ends.
#[derive(Clone, Debug)]
pub struct EventFilter {
    /// Only events recorded after this time.
    pub after: Timestamp,
    /// Only events recorded before this time.
    pub before: Option<Timestamp>,
    /// Only events of one of these types.
    pub event_types: Option<Vec<String>>,
    /// Only these events.
    pub event_ids: Option<Vec<Uuid>>,
    /// Only events of one of these systems.
    pub acs_system_ids: Option<Vec<Uuid>>,
    /// Only events of one of these access grants.
    pub access_grant_ids: Option<Vec<Uuid>>,
    /// Only events of one of these access methods.
    pub access_method_ids: Option<Vec<Uuid>>,
    /// Only events that name these resources.
    pub subject: EventSubject,
    /// How many to skip.
    pub offset: u32,
    /// The most to return.
    pub limit: u32,
}

impl EventFilter {
    /// Whether it names things of which each has few events.
    fn names_few(&self) -> bool {
        self.event_ids.is_some()
            || self.access_grant_ids.is_some()
            || self.access_method_ids.is_some()
    }
}

/// How many types' walks are merged at most; SQLite takes 500 terms of a compound query. With more types there are
/// hardly events of others.
const MOST_WALKS: usize = 40;

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

/// The events of a workspace that pass the filter, the oldest first.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &EventFilter,
) -> Result<Vec<EventRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("");
    if filter.names_few() {
        push_conditions(
            &mut query,
            workspace_id,
            filter,
            filter.event_types.as_deref(),
            "+",
        );
        query.push(" ORDER BY +created_ms, +event_id");
    } else {
        push_walks(&mut query, workspace_id, filter);
        query.push(" ORDER BY created_ms, event_id");
    }
    query
        .push(" LIMIT ")
        .push_bind(filter.limit)
        .push(" OFFSET ")
        .push_bind(filter.offset);
    Ok(rows::fetch_all(query, conn).await?)
}

/// The events of a workspace in order of time: where several types are asked for, each type's walk through its own index,
/// merged; a rare type would else be looked for among all events.
fn push_walks(query: &mut QueryBuilder<Sqlite>, workspace_id: Uuid, filter: &EventFilter) {
    // A type that is named twice is walked once.
    let types: Option<BTreeSet<&String>> =
        filter.event_types.as_ref().map(|it| it.iter().collect());
    let types: Option<Vec<String>> = types.map(|it| it.into_iter().cloned().collect());
    let each: Vec<_> = match types.as_deref() {
        Some(several @ [_, _, ..])
            if several.len() <= MOST_WALKS && !filter.subject.names_object() =>
        {
            several.chunks(1).map(Some).collect()
        }
        all => vec![all],
    };
    let walks = each.len();
    for (index, types) in each.into_iter().enumerate() {
        if walks == 1 {
            push_conditions(query, workspace_id, filter, types, "");
            return;
        }
        let joined = if index == 0 { "" } else { " UNION ALL " };
        query.push(joined).push("SELECT * FROM (");
        push_conditions(query, workspace_id, filter, types, "");
        let enough = i64::from(filter.offset) + i64::from(filter.limit);
        query
            .push(" ORDER BY created_ms, event_id LIMIT ")
            .push_bind(enough)
            .push(")");
    }
}

/// Every condition but the order. The `plus` sign keeps SQLite from an index for workspace and time, where another
/// condition leads to few events.
fn push_conditions(
    query: &mut QueryBuilder<Sqlite>,
    workspace_id: Uuid,
    filter: &EventFilter,
    types: Option<&[String]>,
    plus: &'static str,
) {
    query
        .push("SELECT * FROM events WHERE ")
        .push(if filter.event_ids.is_some() { plus } else { "" })
        .push("workspace_id = ")
        .push_bind(workspace_id.to_string())
        .push(" AND ")
        .push(plus)
        .push("created_ms > ")
        .push_bind(filter.after.as_millisecond());
    if let Some(before) = filter.before {
        query
            .push(" AND ")
            .push(plus)
            .push("created_ms < ")
            .push_bind(before.as_millisecond());
    }
    for (column, values) in [
        ("event_id", &filter.event_ids),
        ("access_method_id", &filter.access_method_ids),
        ("access_grant_id", &filter.access_grant_ids),
    ] {
        columns::push_any(query, column, values.as_deref());
    }
    let of_few = filter.names_few() || filter.subject.names_object();
    let (by_type, by_system) = match types {
        Some(_) if of_few => ("+event_type", "acs_system_id"),
        Some(_) => ("event_type", "+acs_system_id"),
        None => ("event_type", "acs_system_id"),
    };
    columns::push_any(query, by_type, types);
    columns::push_any(query, by_system, filter.acs_system_ids.as_deref());
    push_subject(query, &filter.subject, by_system);
}

fn push_subject(query: &mut QueryBuilder<Sqlite>, subject: &EventSubject, by_system: &'static str) {
    if let Some(system) = subject.acs_system_id {
        query
            .push(" AND ")
            .push(by_system)
            .push(" = ")
            .push_bind(system.to_string());
    }
    if let Some(account) = subject.connected_account_id {
        query
            .push(" AND ")
            .push(by_system)
            .push(" = (SELECT acs_system_id FROM systems WHERE connected_account_id = ")
            .push_bind(account.to_string())
            .push(")");
    }
    let columns = [
        (" AND acs_credential_id = ", subject.acs_credential_id),
        (" AND acs_encoder_id = ", subject.acs_encoder_id),
        (" AND acs_user_id = ", subject.acs_user_id),
        (" AND acs_entrance_id = ", subject.acs_entrance_id),
        (" AND access_grant_id = ", subject.access_grant_id),
        (" AND access_method_id = ", subject.access_method_id),
    ];
    for (condition, id) in columns {
        if let Some(id) = id {
            query.push(condition).push_bind(id.to_string());
        }
    }
}
