//! What agents pair with, kept as hashes: codes for one agent and fleet tokens for many; and which agent used which.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{StoreError, columns};
use crate::ids;

/// How long what can no longer be used is remembered, so that whoever comes with it is told why it is refused.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// How an agent comes by its token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// A short code that a person types, for one agent.
    Code,
    /// A long text that scripts hand out, for as many agents as it says.
    FleetToken,
}

/// A code or fleet token, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrantRow {
    /// Its id.
    pub pairing_grant_id: Uuid,
    /// The access system that agents get into with it.
    pub acs_system_id: Uuid,
    /// Which of the two it is.
    pub kind: GrantKind,
    /// The agent that gets a new token; none where a new agent is made.
    pub agent_id: Option<Uuid>,
    /// What people call it.
    pub label: String,
    /// How many agents it may pair.
    pub uses: u32,
    /// How many it has paired.
    pub used: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Since when it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl FromRow<'_, SqliteRow> for GrantRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            pairing_grant_id: columns::id(row, "pairing_grant_id")?,
            acs_system_id: columns::id(row, "acs_system_id")?,
            kind: columns::from_name(row, "kind")?,
            agent_id: columns::optional_id(row, "agent_id")?,
            label: row.try_get("label")?,
            uses: columns::number(row, "uses")?,
            used: columns::number(row, "used")?,
            created_at: columns::time(row, "created_ms")?,
            expires_at: columns::time(row, "expires_ms")?,
            revoked_at: columns::optional_time(row, "revoked_ms")?,
        })
    }
}

/// What a new code or fleet token is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewGrant {
    /// The access system.
    pub acs_system_id: Uuid,
    /// Which of the two it is.
    pub kind: GrantKind,
    /// The agent that gets a new token; none to make a new agent.
    pub agent_id: Option<Uuid>,
    /// What people call it.
    pub label: String,
    /// How many agents it may pair.
    pub uses: u32,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// Makes a code or fleet token, and forgets those whose time was over a day ago. `hash` is of its secret, by
/// [`crate::secrets::MasterKey::digest`].
///
/// # Errors
/// [`StoreError::Query`] when a statement fails, also where the hash is there already.
pub async fn create(
    conn: &mut SqliteConnection,
    new: &NewGrant,
    hash: &[u8; 32],
    now: Timestamp,
) -> Result<GrantRow, StoreError> {
    let forgotten = now.as_millisecond() - REMEMBERED.as_millis() as i64;
    sqlx::query("DELETE FROM pairing_grants WHERE expires_ms < ?")
        .bind(forgotten)
        .execute(&mut *conn)
        .await?;
    let grant = GrantRow {
        pairing_grant_id: ids::new_id(now),
        acs_system_id: new.acs_system_id,
        kind: new.kind,
        agent_id: new.agent_id,
        label: new.label.clone(),
        uses: new.uses,
        used: 0,
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
    };
    sqlx::query(
        "INSERT INTO pairing_grants (pairing_grant_id, acs_system_id, kind, agent_id, label, secret_hash, uses, created_ms, \
         expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(grant.pairing_grant_id.to_string())
    .bind(grant.acs_system_id.to_string())
    .bind(columns::name(&grant.kind)?)
    .bind(columns::optional_text(grant.agent_id))
    .bind(&grant.label)
    .bind(hash.as_slice())
    .bind(i64::from(grant.uses))
    .bind(now.as_millisecond())
    .bind(grant.expires_at.as_millisecond())
    .execute(conn)
    .await?;
    Ok(grant)
}

/// The code or fleet token whose secret has this hash, whether it can still be used or not.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    hash: &[u8; 32],
) -> Result<Option<GrantRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM pairing_grants WHERE secret_hash = ?")
            .bind(hash.as_slice())
            .fetch_optional(conn)
            .await?,
    )
}

/// Every code or every fleet token that is not forgotten yet, the oldest first.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn all(
    conn: &mut SqliteConnection,
    kind: GrantKind,
) -> Result<Vec<GrantRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM pairing_grants WHERE kind = ? ORDER BY pairing_grant_id")
            .bind(columns::name(&kind)?)
            .fetch_all(conn)
            .await?,
    )
}

/// Takes a fleet token back: it pairs no agent any more, and those that it has paired stay. Returns its access system; none
/// where there is no such fleet token that was not revoked before.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn revoke(
    conn: &mut SqliteConnection,
    pairing_grant_id: Uuid,
    now: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    let row = sqlx::query(
        "UPDATE pairing_grants SET revoked_ms = ? WHERE pairing_grant_id = ? AND kind = 'fleet_token' AND revoked_ms IS NULL \
         RETURNING acs_system_id",
    )
    .bind(now.as_millisecond())
    .bind(pairing_grant_id.to_string())
    .fetch_optional(conn)
    .await?;
    let system = row.map(|row| columns::id(&row, "acs_system_id"));
    Ok(system.transpose()?)
}

/// The agent that this attempt was given before.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn agent_of_attempt(
    conn: &mut SqliteConnection,
    pairing_grant_id: Uuid,
    attempt: &[u8; 32],
) -> Result<Option<Uuid>, StoreError> {
    let row = sqlx::query(
        "SELECT agent_id FROM pairings WHERE pairing_grant_id = ? AND attempt_hash = ?",
    )
    .bind(pairing_grant_id.to_string())
    .bind(attempt.as_slice())
    .fetch_optional(conn)
    .await?;
    let agent = row.map(|row| columns::id(&row, "agent_id"));
    Ok(agent.transpose()?)
}

/// Notes that this attempt was given the agent, which uses up one of the grant's uses.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn note(
    conn: &mut SqliteConnection,
    pairing_grant_id: Uuid,
    attempt: &[u8; 32],
    agent_id: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE pairing_grants SET used = used + 1 WHERE pairing_grant_id = ?")
        .bind(pairing_grant_id.to_string())
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO pairings (pairing_grant_id, attempt_hash, agent_id, paired_ms) VALUES (?, ?, ?, ?)",
    )
    .bind(pairing_grant_id.to_string())
    .bind(attempt.as_slice())
    .bind(agent_id.to_string())
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(())
}
