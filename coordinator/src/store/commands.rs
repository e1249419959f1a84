//! The operator's commands on their way to the process that decides.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};

use super::{StoreError, columns};
use crate::operator::{Answer, Command};

/// A command that waits to be done.
#[derive(Debug)]
pub struct Waiting {
    /// Its id.
    pub id: i64,
    /// What to do; none where another version of this program asked for something unknown here.
    pub command: Option<Command>,
}

/// Puts a command in line, and forgets those that were answered before.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn ask(
    conn: &mut SqliteConnection,
    command: &Command,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let done = sqlx::query("INSERT INTO operator_commands (command, asked_ms) VALUES (?, ?)")
        .bind(columns::json(command)?)
        .bind(now.as_millisecond())
        .execute(&mut *conn)
        .await?;
    // A day is time enough for whoever asked to have read the answer.
    const DAY_MS: i64 = 24 * 3_600 * 1_000;
    sqlx::query("DELETE FROM operator_commands WHERE answer IS NOT NULL AND asked_ms < ?")
        .bind(now.as_millisecond() - DAY_MS)
        .execute(conn)
        .await?;
    Ok(done.last_insert_rowid())
}

/// The commands that wait, the oldest first.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn waiting(conn: &mut SqliteConnection) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query(
        "SELECT command_id, command FROM operator_commands WHERE answer IS NULL ORDER BY command_id",
    )
    .fetch_all(conn)
    .await?;
    let waiting = rows.iter().map(|row| {
        Ok(Waiting {
            id: row.try_get("command_id")?,
            command: columns::from_json(row, "command").ok(),
        })
    });
    Ok(waiting.collect::<Result<_, sqlx::Error>>()?)
}

/// Whether the command still waits.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn waits(conn: &mut SqliteConnection, id: i64) -> Result<bool, StoreError> {
    let row =
        sqlx::query("SELECT 1 FROM operator_commands WHERE command_id = ? AND answer IS NULL")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

/// Stores what came of a command.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn answer(
    conn: &mut SqliteConnection,
    id: i64,
    answer: &Answer,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE operator_commands SET answer = ? WHERE command_id = ?")
        .bind(columns::json(answer)?)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// What came of a command; none while it waits.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn answered(conn: &mut SqliteConnection, id: i64) -> Result<Option<Answer>, StoreError> {
    let row = sqlx::query("SELECT answer FROM operator_commands WHERE command_id = ?")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(columns::optional_json(&row, "answer")?)
}

/// Takes a command back that nobody has done. Returns whether it still waited.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn withdraw(conn: &mut SqliteConnection, id: i64) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM operator_commands WHERE command_id = ? AND answer IS NULL")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}
