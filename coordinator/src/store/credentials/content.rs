//! What belongs on a credential's card: its times and entrances.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{CredentialRow, Validity};
use crate::store::{StoreError, columns};

/// The numbers of the entrances that a credential opens, in order: what goes onto its card.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn entrance_numbers(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
) -> Result<Vec<u16>, StoreError> {
    let rows = sqlx::query(
        "SELECT e.number FROM credential_entrances ce JOIN entrances e ON e.acs_entrance_id = ce.acs_entrance_id \
         WHERE ce.acs_credential_id = ? ORDER BY e.number",
    )
    .bind(acs_credential_id.to_string())
    .fetch_all(conn)
    .await?;
    Ok(rows
        .iter()
        .map(|row| columns::number(row, "number"))
        .collect::<Result<_, _>>()?)
}

/// Changes when a credential ends. The same end again is no change.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_ends_at(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    ends_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE credentials SET ends_ms = ?1, content_version = content_version + 1, changed_ms = ?2, \
         issued_version = CASE WHEN registered_number IS NULL THEN issued_version ELSE content_version + 1 END \
         WHERE acs_credential_id = ?3 AND ends_ms IS NOT ?1",
    )
    .bind(ends_at.as_millisecond())
    .bind(now.as_millisecond())
    .bind(acs_credential_id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes when a credential opens which entrances. Returns whether that is a change of what belongs on its card. A
/// registered card has nothing on it: there the access system alone knows, so that it stays as issued as it was.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn set_content(
    conn: &mut SqliteConnection,
    credential: &CredentialRow,
    (starts_at, ends_at): Validity,
    entrances: &[Uuid],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let id = credential.acs_credential_id.to_string();
    let wanted: BTreeSet<_> = entrances.iter().copied().collect();
    let rows =
        sqlx::query("SELECT acs_entrance_id FROM credential_entrances WHERE acs_credential_id = ?")
            .bind(&id)
            .fetch_all(&mut *conn)
            .await?;
    let present: BTreeSet<Uuid> = rows
        .iter()
        .map(|row| columns::id(row, "acs_entrance_id"))
        .collect::<Result<_, _>>()?;
    if wanted == present && (starts_at, ends_at) == (credential.starts_at, credential.ends_at) {
        return Ok(false);
    }
    sqlx::query("DELETE FROM credential_entrances WHERE acs_credential_id = ?")
        .bind(&id)
        .execute(&mut *conn)
        .await?;
    put_entrances(conn, credential.acs_credential_id, entrances).await?;
    sqlx::query(
        "UPDATE credentials SET starts_ms = ?, ends_ms = ?, content_version = content_version + 1, changed_ms = ?, \
         issued_version = CASE WHEN registered_number IS NULL THEN issued_version ELSE content_version + 1 END \
         WHERE acs_credential_id = ?",
    )
    .bind(columns::optional_ms(starts_at))
    .bind(columns::optional_ms(ends_at))
    .bind(now.as_millisecond())
    .bind(&id)
    .execute(conn)
    .await?;
    Ok(true)
}

/// Adds entrances to those that a credential opens.
pub(super) async fn put_entrances(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    entrances: &[Uuid],
) -> Result<(), StoreError> {
    for entrance in entrances {
        sqlx::query("INSERT OR IGNORE INTO credential_entrances (acs_credential_id, acs_entrance_id) VALUES (?, ?)")
            .bind(acs_credential_id.to_string())
            .bind(entrance.to_string())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
