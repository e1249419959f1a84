//! Agents: one token of one access system each, kept as its hash.

mod restored;

pub use restored::{heard, note_restored, restored, stamp_copy};

use jiff::Timestamp;
use sqlx::{FromRow, Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{StoreError, columns};
use crate::{
    ids,
    jobs::{AgentId, AgentRecord, SystemId},
    tokens,
};

/// An agent without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentRow {
    /// Its id.
    pub agent_id: Uuid,
    /// Its access system.
    pub acs_system_id: Uuid,
    /// Its name for people.
    pub name: String,
    /// The first characters of its token.
    pub prefix: String,
    /// The id that it gave itself.
    pub own_id: Option<Uuid>,
    /// The last outcome stored.
    pub last_sequence: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when its token opens nothing.
    pub revoked_at: Option<Timestamp>,
    /// Since when it never comes back, by the operator's word.
    pub retired_at: Option<Timestamp>,
    /// What tells the PC that it was paired on from others.
    pub machine: Option<String>,
    /// Since when it is connected, as far as the running service knows.
    pub connected_at: Option<Timestamp>,
    /// When its token last came from where it should not have, and what was seen.
    pub clash: Option<(Timestamp, String)>,
}

impl AgentRow {
    /// The agent as decisions see it, away since `away_since`.
    pub fn record(&self, away_since: Timestamp) -> AgentRecord {
        AgentRecord {
            id: AgentId(self.agent_id),
            system: SystemId(self.acs_system_id),
            name: self.name.clone(),
            own_id: self.own_id,
            last_sequence: self.last_sequence,
            session: None,
            away_since,
            retired: self.retired_at.is_some(),
        }
    }
}

impl FromRow<'_, SqliteRow> for AgentRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            agent_id: columns::id(row, "agent_id")?,
            acs_system_id: columns::id(row, "acs_system_id")?,
            name: row.try_get("name")?,
            prefix: row.try_get("prefix")?,
            own_id: columns::optional_id(row, "own_id")?,
            last_sequence: columns::number(row, "last_sequence")?,
            created_at: columns::time(row, "created_ms")?,
            revoked_at: columns::optional_time(row, "revoked_ms")?,
            retired_at: columns::optional_time(row, "retired_ms")?,
            machine: row.try_get("machine")?,
            connected_at: columns::optional_time(row, "connected_ms")?,
            clash: columns::optional_time(row, "clash_ms")?.zip(row.try_get("clash")?),
        })
    }
}

/// Makes an agent; the token is returned here and nowhere else.
///
/// # Errors
/// [`StoreError`] when the statement or the random source fails.
pub async fn create(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    name: &str,
    now: Timestamp,
) -> Result<(AgentRow, Zeroizing<String>), StoreError> {
    let token = tokens::new_agent_token()?;
    let agent = AgentRow {
        agent_id: ids::new_id(now),
        acs_system_id,
        name: name.to_owned(),
        prefix: tokens::shown_prefix(&token),
        own_id: None,
        last_sequence: 0,
        created_at: now,
        revoked_at: None,
        retired_at: None,
        machine: None,
        connected_at: None,
        clash: None,
    };
    sqlx::query(
        "INSERT INTO agents (agent_id, acs_system_id, name, prefix, token_hash, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(agent.agent_id.to_string())
    .bind(acs_system_id.to_string())
    .bind(&agent.name)
    .bind(&agent.prefix)
    .bind(tokens::hash(&token).as_slice())
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok((agent, token))
}

/// The agent with this token, unless it was revoked.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find_by_token(
    conn: &mut SqliteConnection,
    token: &str,
) -> Result<Option<AgentRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM agents WHERE token_hash = ? AND revoked_ms IS NULL")
            .bind(tokens::hash(token).as_slice())
            .fetch_optional(conn)
            .await?,
    )
}

/// The agent that this token was handed to in place of its present one, unless it was revoked.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find_by_next_token(
    conn: &mut SqliteConnection,
    token: &str,
) -> Result<Option<AgentRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM agents WHERE next_token_hash = ? AND revoked_ms IS NULL")
            .bind(tokens::hash(token).as_slice())
            .fetch_optional(conn)
            .await?,
    )
}

/// Makes a token that takes the place of the agent's present one once it is used; until then both open. One that was made
/// before and not used opens nothing any more.
///
/// # Errors
/// [`StoreError`] when the statement or the random source fails.
pub async fn make_next_token(
    conn: &mut SqliteConnection,
    agent_id: Uuid,
) -> Result<Zeroizing<String>, StoreError> {
    let token = tokens::new_agent_token()?;
    sqlx::query("UPDATE agents SET next_token_hash = ?, next_prefix = ? WHERE agent_id = ?")
        .bind(tokens::hash(&token).as_slice())
        .bind(tokens::shown_prefix(&token))
        .bind(agent_id.to_string())
        .execute(conn)
        .await?;
    Ok(token)
}

/// The agent has used the token that was made for it: the one before opens nothing any more.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn use_next_token(conn: &mut SqliteConnection, token: &str) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE agents SET token_hash = next_token_hash, prefix = next_prefix, next_token_hash = NULL, next_prefix = NULL \
         WHERE next_token_hash = ?",
    )
    .bind(tokens::hash(token).as_slice())
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores what tells the agent's PC from others.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_machine(
    conn: &mut SqliteConnection,
    agent_id: Uuid,
    machine: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE agents SET machine = ?, clash_ms = NULL, clash = NULL WHERE agent_id = ?")
        .bind(machine)
        .bind(agent_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// The other agents of the system, not revoked, that were paired on the same PC or on a copy of it.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn of_machine(
    conn: &mut SqliteConnection,
    agent: &AgentRow,
    machine: &str,
) -> Result<Vec<AgentRow>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT * FROM agents WHERE acs_system_id = ? AND machine = ? AND agent_id <> ? AND revoked_ms IS NULL",
    )
    .bind(agent.acs_system_id.to_string())
    .bind(machine)
    .bind(agent.agent_id.to_string())
    .fetch_all(conn)
    .await?)
}

/// The agent other than `except`, not retired, that last brought this journal.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn of_journal(
    conn: &mut SqliteConnection,
    own_id: Uuid,
    except: Uuid,
) -> Result<Option<AgentRow>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT * FROM agents WHERE own_id = ? AND agent_id <> ? AND retired_ms IS NULL ORDER BY agent_id LIMIT 1",
    )
    .bind(own_id.to_string())
    .bind(except.to_string())
    .fetch_optional(conn)
    .await?)
}

/// Gives an agent token and machine of another one that was never heard, which is gone then.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn take_over(
    conn: &mut SqliteConnection,
    agent_id: Uuid,
    unheard: Uuid,
) -> Result<(), StoreError> {
    let (agent_id, unheard) = (agent_id.to_string(), unheard.to_string());
    let given = "SELECT token_hash, prefix, machine FROM agents WHERE agent_id = ?";
    let (hash, prefix, machine): (Vec<u8>, String, Option<String>) = sqlx::query_as(given)
        .bind(&unheard)
        .fetch_one(&mut *conn)
        .await?;
    for statement in [
        "UPDATE pairings SET agent_id = ?1 WHERE agent_id = ?2",
        "UPDATE pairing_grants SET agent_id = ?1 WHERE agent_id = ?2",
        "DELETE FROM awaited_agents WHERE agent_id = ?2 AND ?1 <> ?2",
        "DELETE FROM agents WHERE agent_id = ?2 AND ?1 <> ?2",
    ] {
        sqlx::query(statement)
            .bind(&agent_id)
            .bind(&unheard)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(
        "UPDATE agents SET token_hash = ?, prefix = ?, machine = ?, next_token_hash = NULL, next_prefix = NULL, \
         revoked_ms = NULL, clash_ms = NULL, clash = NULL WHERE agent_id = ?",
    )
    .bind(hash)
    .bind(prefix)
    .bind(machine)
    .bind(agent_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that an agent's token came from where it should not have, unless that was noted within the last hour. Returns
/// whether it was noted now.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn note_clash(
    conn: &mut SqliteConnection,
    agent_id: Uuid,
    seen: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const HOUR_MS: i64 = 3_600_000;
    let done = sqlx::query(
        "UPDATE agents SET clash_ms = ?1, clash = ?2 WHERE agent_id = ?3 AND (clash_ms IS NULL OR clash_ms < ?4 OR clash <> ?2)",
    )
    .bind(now.as_millisecond())
    .bind(seen)
    .bind(agent_id.to_string())
    .bind(now.as_millisecond() - HOUR_MS)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The agent with this id, revoked or not.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_id(
    conn: &mut SqliteConnection,
    agent_id: Uuid,
) -> Result<Option<AgentRow>, StoreError> {
    Ok(sqlx::query_as("SELECT * FROM agents WHERE agent_id = ?")
        .bind(agent_id.to_string())
        .fetch_optional(conn)
        .await?)
}

/// Every agent of every system, revoked ones too.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn all(conn: &mut SqliteConnection) -> Result<Vec<AgentRow>, StoreError> {
    Ok(sqlx::query_as("SELECT * FROM agents ORDER BY agent_id")
        .fetch_all(conn)
        .await?)
}

/// Gives an agent a new token in place of the old one, which may have been revoked. `hash` is the token's, in hex.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn renew_token(
    conn: &mut SqliteConnection,
    agent_id: Uuid,
    prefix: &str,
    hash: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE agents SET token_hash = unhex(?), prefix = ?, next_token_hash = NULL, next_prefix = NULL, revoked_ms = NULL \
         WHERE agent_id = ?",
    )
    .bind(hash)
    .bind(prefix)
    .bind(agent_id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives an agent another name.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn rename(
    conn: &mut SqliteConnection,
    agent_id: Uuid,
    name: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE agents SET name = ? WHERE agent_id = ?")
        .bind(name)
        .bind(agent_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Revokes an agent's token: it opens nothing from now on. Returns whether there was such an agent with a token that
/// opened. A live session is ended by whoever decides: see [`crate::operator::Command::RevokeAgent`].
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn revoke(
    conn: &mut SqliteConnection,
    agent_id: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE agents SET revoked_ms = ? WHERE agent_id = ? AND revoked_ms IS NULL")
            .bind(now.as_millisecond())
            .bind(agent_id.to_string())
            .execute(conn)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// Retires an agent: its token opens nothing from now on, and a restored store does not wait for it.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn retire(
    conn: &mut SqliteConnection,
    agent: AgentId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE agents SET revoked_ms = coalesce(revoked_ms, ?1), retired_ms = coalesce(retired_ms, ?1) WHERE agent_id = ?2",
    )
    .bind(now.as_millisecond())
    .bind(agent.to_string())
    .execute(&mut *conn)
    .await?;
    heard(conn, agent).await
}

/// Stores what a session has told of an agent.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn save(conn: &mut SqliteConnection, agent: &AgentRecord) -> Result<(), StoreError> {
    sqlx::query("UPDATE agents SET own_id = ?, last_sequence = ? WHERE agent_id = ?")
        .bind(columns::optional_text(agent.own_id))
        .bind(i64::try_from(agent.last_sequence).unwrap_or(i64::MAX))
        .bind(agent.id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Stores since when the agent is connected; none once it is not.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_connected(
    conn: &mut SqliteConnection,
    agent: AgentId,
    since: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE agents SET connected_ms = ? WHERE agent_id = ?")
        .bind(since.map(Timestamp::as_millisecond))
        .bind(agent.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// No agent is connected: the service starts.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn forget_connected(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE agents SET connected_ms = NULL WHERE connected_ms IS NOT NULL")
        .execute(conn)
        .await?;
    Ok(())
}
