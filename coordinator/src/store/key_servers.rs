//! Key servers: who makes the images of a system's cards, where the system does not do so itself.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{StoreError, columns};
use crate::{
    secrets::{MasterKey, SecretsError},
    webhooks::SigningKey,
};

const TABLE: &str = "key_servers";

/// A key server.
#[derive(Clone, Debug)]
pub struct KeyServerRow {
    /// The system whose cards it makes.
    pub acs_system_id: Uuid,
    /// Where it is asked.
    pub url: String,
    /// What questions are signed with.
    pub key: SigningKey,
    /// What they are signed with besides, until the key server knows the new key.
    pub earlier_key: Option<SigningKey>,
}

impl KeyServerRow {
    /// Every key that questions are signed with, the newest first.
    pub fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.key).chain(&self.earlier_key)
    }
}

/// Gives a system a key server, with a new signing key.
///
/// # Errors
/// [`StoreError`] when the statement, the random source or the sealing fails.
pub async fn create(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    acs_system_id: Uuid,
    url: &str,
    now: Timestamp,
) -> Result<KeyServerRow, StoreError> {
    let server = KeyServerRow {
        acs_system_id,
        url: url.to_owned(),
        key: SigningKey::random()?,
        earlier_key: None,
    };
    let id = acs_system_id.to_string();
    sqlx::query(
        "INSERT INTO key_servers (acs_system_id, url, sealed, created_ms) VALUES (?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(url)
    .bind(master_key.seal(TABLE, &id, server.key.as_bytes())?)
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(server)
}

/// Says where a system's key server is asked from now on; its signing key stays. Returns whether there is one.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_url(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    url: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE key_servers SET url = ? WHERE acs_system_id = ?")
        .bind(url)
        .bind(acs_system_id.to_string())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Signs the questions to a system's key server with a new key; with the present one too, if it is kept.
///
/// # Errors
/// [`StoreError`] when the statement, the random source or the sealing fails.
pub async fn renew_key(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    server: KeyServerRow,
    keep: bool,
) -> Result<KeyServerRow, StoreError> {
    let key = SigningKey::random()?;
    let id = server.acs_system_id.to_string();
    sqlx::query(
        "UPDATE key_servers SET earlier_sealed = iif(?, sealed, NULL), sealed = ? WHERE acs_system_id = ?",
    )
    .bind(keep)
    .bind(master_key.seal(TABLE, &id, key.as_bytes())?)
    .bind(&id)
    .execute(conn)
    .await?;
    Ok(KeyServerRow {
        earlier_key: keep.then_some(server.key),
        key,
        ..server
    })
}

/// Signs the questions to a system's key server with the newest key alone.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn end_earlier_key(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE key_servers SET earlier_sealed = NULL WHERE acs_system_id = ?")
        .bind(acs_system_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// The key server of a system, if it has one.
///
/// # Errors
/// [`StoreError`] when the statement fails or the key does not open.
pub async fn of_system(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    acs_system_id: Uuid,
) -> Result<Option<KeyServerRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM key_servers WHERE acs_system_id = ?")
        .bind(acs_system_id.to_string())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let place = columns::id(&row, "acs_system_id")?.to_string();
    let open = |sealed: &[u8]| {
        let opened = master_key.open(TABLE, &place, sealed)?;
        SigningKey::from_bytes(&opened).ok_or_else(|| SecretsError::DoesNotOpen(place.clone()))
    };
    let earlier: Option<&[u8]> = row.try_get("earlier_sealed")?;
    Ok(Some(KeyServerRow {
        acs_system_id,
        url: row.try_get("url")?,
        key: open(row.try_get("sealed")?)?,
        earlier_key: earlier.map(open).transpose()?,
    }))
}

/// Where the key server of a system is asked, if it has one.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn url(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT url FROM key_servers WHERE acs_system_id = ?")
        .bind(acs_system_id.to_string())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.try_get("url")).transpose()?)
}
