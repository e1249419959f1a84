//! Site keys: random, versioned per system, sealed under the master key. Card keys are made from them.

use std::fmt;

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{StoreError, columns};
use crate::{
    secrets::{KEY_BYTES, MasterKey, SecretsError},
    tokens::NoRandomness,
};

const TABLE: &str = "site_keys";

/// One version of a system's site key. Never shows itself when it is formatted.
#[derive(Clone)]
pub struct SiteKey {
    /// Counts from 1; the highest is the one to write with.
    pub version: u8,
    /// The key.
    pub key: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteKey({}, …)", self.version)
    }
}

/// Makes the next version of a system's site key.
///
/// # Errors
/// [`StoreError`] when the statement, the random source or the sealing fails; a system has at most 255 versions.
pub async fn create(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    acs_system_id: Uuid,
    now: Timestamp,
) -> Result<u8, StoreError> {
    let row = sqlx::query(
        "SELECT coalesce(max(version), 0) + 1 AS next FROM site_keys WHERE acs_system_id = ?",
    )
    .bind(acs_system_id.to_string())
    .fetch_one(&mut *conn)
    .await?;
    let version: u8 = columns::number(&row, "next")?;
    let mut key = Zeroizing::new([0u8; KEY_BYTES]);
    getrandom::fill(key.as_mut_slice()).map_err(NoRandomness)?;
    let sealed = master_key.seal(TABLE, &place(acs_system_id, version), key.as_slice())?;
    sqlx::query(
        "INSERT INTO site_keys (acs_system_id, version, sealed, created_ms) VALUES (?, ?, ?, ?)",
    )
    .bind(acs_system_id.to_string())
    .bind(version)
    .bind(sealed)
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(version)
}

/// All versions of a system's site key, the newest first.
///
/// # Errors
/// [`StoreError`] when the statement fails or a sealed key does not open.
pub async fn list(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    acs_system_id: Uuid,
) -> Result<Vec<SiteKey>, StoreError> {
    sqlx::query(
        "SELECT version, sealed FROM site_keys WHERE acs_system_id = ? ORDER BY version DESC",
    )
    .bind(acs_system_id.to_string())
    .fetch_all(conn)
    .await?
    .iter()
    .map(|row| {
        let version = columns::number(row, "version")?;
        let place = place(acs_system_id, version);
        let opened = master_key.open(TABLE, &place, row.try_get("sealed")?)?;
        let key = <[u8; KEY_BYTES]>::try_from(opened.as_slice())
            .map_err(|_| SecretsError::DoesNotOpen(place))?;
        Ok(SiteKey {
            version,
            key: Zeroizing::new(key),
        })
    })
    .collect()
}

fn place(acs_system_id: Uuid, version: u8) -> String {
    format!("{acs_system_id}/{version}")
}
