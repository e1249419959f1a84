//! What the store knows of itself.

use std::path::Path;

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{StoreError, columns};
use crate::{
    ids,
    secrets::{MasterKey, SecretsError},
};

const TABLE: &str = "store_meta";
const CHECK_TEXT: &[u8] = b"encoder-coordinator master key";

/// Reads the store's id and finds its master key; a new store gets both.
pub(super) async fn identify(
    conn: &mut SqliteConnection,
    key_file: &Path,
    now: Timestamp,
) -> Result<(Uuid, MasterKey), StoreError> {
    let Some(row) = sqlx::query("SELECT store_id, key_check FROM store_meta")
        .fetch_optional(&mut *conn)
        .await?
    else {
        let key = MasterKey::load(key_file, true)?;
        return Ok((create(conn, &key, now).await?, key));
    };
    let store_id = columns::id(&row, "store_id")?;
    let key = MasterKey::load(key_file, false)?;
    key.open(TABLE, &store_id.to_string(), row.try_get("key_check")?)
        .map_err(|_| SecretsError::Mismatch(key_file.to_owned()))?;
    Ok((store_id, key))
}

/// The workspace that `serve --seed-demo` made, if it did.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn demo_workspace(conn: &mut SqliteConnection) -> Result<Option<Uuid>, StoreError> {
    let row = sqlx::query("SELECT demo_workspace_id FROM store_meta")
        .fetch_one(conn)
        .await?;
    Ok(columns::optional_id(&row, "demo_workspace_id")?)
}

/// Remembers which workspace is the demo's.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_demo_workspace(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE store_meta SET demo_workspace_id = ?")
        .bind(workspace_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// The fingerprint of the key that the service encrypts with; none where it does not encrypt itself, or never ran.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn key_fingerprint(conn: &mut SqliteConnection) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT key_fingerprint FROM store_meta")
        .fetch_one(conn)
        .await?;
    Ok(row.try_get("key_fingerprint")?)
}

/// Remembers the fingerprint of the key that the service encrypts with.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_key_fingerprint(
    conn: &mut SqliteConnection,
    fingerprint: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE store_meta SET key_fingerprint = ?")
        .bind(fingerprint)
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes what is there already: whoever can commit that can store.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn touch(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE store_meta SET created_ms = created_ms")
        .execute(conn)
        .await?;
    Ok(())
}

async fn create(
    conn: &mut SqliteConnection,
    key: &MasterKey,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let store_id = ids::new_id(now);
    sqlx::query(
        "INSERT INTO store_meta (only_row, store_id, created_ms, key_check) VALUES (1, ?, ?, ?)",
    )
    .bind(store_id.to_string())
    .bind(now.as_millisecond())
    .bind(key.seal(TABLE, &store_id.to_string(), CHECK_TEXT)?)
    .execute(conn)
    .await?;
    Ok(store_id)
}
