//! Encoders and the places they were seen at.

use encoder_protocols::wire::{EncoderDescription, EncoderKey, KeyScope};
use jiff::Timestamp;
use sqlx::{FromRow, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Page, PageRequest, StoreError, columns, events::EventSubject};
use crate::jobs::{AgentId, EncoderId, EncoderRecord, Place, SystemId};

/// An encoder as the API shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EncoderRow {
    /// Its id.
    pub acs_encoder_id: Uuid,
    /// Its access system.
    pub acs_system_id: Uuid,
    /// That system's account.
    pub connected_account_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// Its name.
    pub display_name: String,
    /// No agent has it: what comes of its jobs is made up.
    pub simulated: bool,
    /// When it was first seen.
    pub created_at: Timestamp,
}

impl EncoderRow {
    /// The encoder as an event names it.
    pub fn event_subject(&self) -> EventSubject {
        EventSubject {
            acs_system_id: Some(self.acs_system_id),
            connected_account_id: Some(self.connected_account_id),
            acs_encoder_id: Some(self.acs_encoder_id),
            ..EventSubject::default()
        }
    }
}

impl FromRow<'_, SqliteRow> for EncoderRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            acs_encoder_id: columns::id(row, "acs_encoder_id")?,
            acs_system_id: columns::id(row, "acs_system_id")?,
            connected_account_id: columns::id(row, "connected_account_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            display_name: row.try_get("shown_name")?,
            simulated: row.try_get("simulated")?,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

/// Which encoders to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct EncoderFilter {
    /// Only encoders of these systems.
    pub acs_system_ids: Option<Vec<Uuid>>,
    /// Only these encoders.
    pub acs_encoder_ids: Option<Vec<Uuid>>,
}

/// The name that people gave it where it was seen last counts, then the one that they gave it here, then what its agent
/// calls it; as [`EncoderRecord::name`].
const SELECT: &str = "SELECT e.*, s.connected_account_id, s.workspace_id, coalesce( \
     (SELECT CASE WHEN e.display_name IS NULL OR coalesce(p.description ->> '$.named', 1) \
     THEN p.description ->> '$.name' ELSE e.display_name END \
     FROM encoder_places p WHERE p.acs_encoder_id = e.acs_encoder_id \
     ORDER BY p.since_ms DESC LIMIT 1), e.display_name, e.encoder_key) AS shown_name \
     FROM encoders e JOIN systems s ON s.acs_system_id = e.acs_system_id WHERE ";

/// The encoder with this id, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    acs_encoder_id: Uuid,
) -> Result<Option<EncoderRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push("e.acs_encoder_id = ")
        .push_bind(acs_encoder_id.to_string())
        .push(" AND s.workspace_id = ")
        .push_bind(workspace_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// One page of the encoders of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &EncoderFilter,
    page: PageRequest,
) -> Result<Page<EncoderRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push("s.workspace_id = ")
        .push_bind(workspace_id.to_string());
    columns::push_any(
        &mut query,
        "e.acs_system_id",
        filter.acs_system_ids.as_deref(),
    );
    columns::push_any(
        &mut query,
        "e.acs_encoder_id",
        filter.acs_encoder_ids.as_deref(),
    );
    query
        .push(" AND e.acs_encoder_id > ")
        .push_bind(page.after_text())
        .push(" ORDER BY e.acs_encoder_id LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build_query_as().fetch_all(conn).await?;
    Ok(Page::cut(rows, page.limit))
}

/// Whether an encoder takes jobs, as the store has it; one that it does not have takes none.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn is_adopted(
    conn: &mut SqliteConnection,
    acs_encoder_id: Uuid,
) -> Result<bool, StoreError> {
    let adopted = sqlx::query_scalar("SELECT adopted FROM encoders WHERE acs_encoder_id = ?")
        .bind(acs_encoder_id.to_string())
        .fetch_optional(conn)
        .await?;
    Ok(adopted.unwrap_or(false))
}

/// Stores an encoder with all its places.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn save(conn: &mut SqliteConnection, encoder: &EncoderRecord) -> Result<(), StoreError> {
    let within = match encoder.scope {
        KeyScope::System => None,
        KeyScope::Agent => encoder.places.first().map(|place| place.agent.to_string()),
    };
    sqlx::query(
        "INSERT INTO encoders (acs_encoder_id, acs_system_id, encoder_key, key_scope, key_agent_id, display_name, adopted, \
         simulated, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (acs_encoder_id) DO UPDATE SET \
         display_name = excluded.display_name, adopted = excluded.adopted",
    )
    .bind(encoder.id.to_string())
    .bind(encoder.system.to_string())
    .bind(&encoder.key.0)
    .bind(scope_text(encoder.scope))
    .bind(within)
    .bind(&encoder.display_name)
    .bind(encoder.adopted)
    .bind(encoder.simulated)
    .bind(encoder.created_at.as_millisecond())
    .execute(&mut *conn)
    .await?;
    for place in &encoder.places {
        sqlx::query(
            "INSERT INTO encoder_places (acs_encoder_id, agent_id, listed, since_ms, description) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (acs_encoder_id, agent_id) DO UPDATE SET listed = excluded.listed, \
             since_ms = excluded.since_ms, description = excluded.description",
        )
        .bind(encoder.id.to_string())
        .bind(place.agent.to_string())
        .bind(place.listed)
        .bind(place.since.as_millisecond())
        .bind(columns::json(&place.description)?)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Every encoder with its places, for decisions.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn all(conn: &mut SqliteConnection) -> Result<Vec<EncoderRecord>, StoreError> {
    let rows = sqlx::query("SELECT * FROM encoders ORDER BY acs_encoder_id")
        .fetch_all(&mut *conn)
        .await?;
    let mut encoders = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let places = sqlx::query("SELECT * FROM encoder_places ORDER BY since_ms")
        .fetch_all(conn)
        .await?;
    for row in &places {
        let id = EncoderId(columns::id(row, "acs_encoder_id")?);
        let place = place(row)?;
        if let Some(encoder) = encoders.iter_mut().find(|encoder| encoder.id == id) {
            encoder.places.push(place);
        }
    }
    Ok(encoders)
}

fn record(row: &SqliteRow) -> Result<EncoderRecord, sqlx::Error> {
    let scope: &str = row.try_get("key_scope")?;
    Ok(EncoderRecord {
        id: EncoderId(columns::id(row, "acs_encoder_id")?),
        system: SystemId(columns::id(row, "acs_system_id")?),
        key: EncoderKey(row.try_get("encoder_key")?),
        scope: if scope == "system" {
            KeyScope::System
        } else {
            KeyScope::Agent
        },
        display_name: row.try_get("display_name")?,
        adopted: row.try_get("adopted")?,
        simulated: row.try_get("simulated")?,
        created_at: columns::time(row, "created_ms")?,
        places: Vec::new(),
    })
}

fn place(row: &SqliteRow) -> Result<Place, sqlx::Error> {
    let description: EncoderDescription = columns::from_json(row, "description")?;
    Ok(Place {
        agent: AgentId(columns::id(row, "agent_id")?),
        listed: row.try_get("listed")?,
        since: columns::time(row, "since_ms")?,
        description,
    })
}

const fn scope_text(scope: KeyScope) -> &'static str {
    match scope {
        KeyScope::System => "system",
        KeyScope::Agent => "agent",
    }
}
