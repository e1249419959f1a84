//! Which agents a restored store waits for.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::super::{StoreError, columns};
use crate::jobs::{AgentId, Restored};

/// Makes this a restored store if it is a backup's copy, or if the operator says that it was restored: every agent
/// whose token is not revoked must be heard before a credential of the copy is bound. Returns whether it did.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn note_restored(
    conn: &mut SqliteConnection,
    said_so: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let stamped = sqlx::query("DELETE FROM copy_stamp")
        .execute(&mut *conn)
        .await?;
    if stamped.rows_affected() == 0 && !said_so {
        return Ok(false);
    }
    // A credential or job of the copy may be newer than `now` if the clock was set back meanwhile.
    sqlx::query(
        "INSERT INTO restored (only_row, until_ms) SELECT 1, max(?1, coalesce(max(made), ?1)) FROM \
         (SELECT max(created_ms) AS made FROM credentials UNION ALL SELECT max(created_ms) FROM jobs) \
         WHERE true ON CONFLICT (only_row) DO UPDATE SET until_ms = excluded.until_ms",
    )
    .bind(now.as_millisecond())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT OR IGNORE INTO awaited_agents (agent_id) SELECT agent_id FROM agents WHERE revoked_ms IS NULL",
    )
    .execute(conn)
    .await?;
    Ok(true)
}

/// Stamps a copy of the store, so that whoever starts from it goes on as a restored store.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn stamp_copy(conn: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO copy_stamp (only_row, taken_ms) VALUES (1, ?)")
        .bind(now.as_millisecond())
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether the store was restored, and which agents it has not heard since.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn restored(conn: &mut SqliteConnection) -> Result<Restored, StoreError> {
    let Some(row) = sqlx::query("SELECT until_ms FROM restored")
        .fetch_optional(&mut *conn)
        .await?
    else {
        return Ok(Restored::default());
    };
    let awaited = sqlx::query("SELECT agent_id FROM awaited_agents ORDER BY agent_id")
        .fetch_all(conn)
        .await?;
    Ok(Restored {
        until: columns::time(&row, "until_ms")?,
        awaited: awaited
            .iter()
            .map(|row| columns::id(row, "agent_id").map(AgentId))
            .collect::<Result<_, _>>()?,
    })
}

/// The agent was heard: a restored store need not wait for it any more.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn heard(conn: &mut SqliteConnection, agent: AgentId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM awaited_agents WHERE agent_id = ?")
        .bind(agent.to_string())
        .execute(conn)
        .await?;
    Ok(())
}
