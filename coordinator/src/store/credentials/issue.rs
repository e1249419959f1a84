//! Credentials on cards: which card carries which version of which credential.

use encoder_protocols::card::Uid;
use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{CredentialRow, UNKNOWN_VERSION, by_id};
use crate::store::{
    StoreError, access_methods, columns,
    events::{self, EventType},
};

/// What a successful encode put where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issue {
    /// Which credential.
    pub acs_credential_id: Uuid,
    /// The content version from which the card's image was made; none where nobody knows.
    pub version: Option<i64>,
    /// The card; none where the medium has no UID.
    pub card_uid: Option<Uid>,
    /// The number to show for the card.
    pub card_number: Option<String>,
    /// When it was written.
    pub at: Timestamp,
    /// The job that wrote it.
    pub job_id: Option<Uuid>,
}

/// Records that a card carries a credential: on the credential, on the card, and as an event, which is *reissued*
/// where the card held another credential of the same system, else *issued*. The other credential is then on no card
/// any more, which is an event too. Returns which; nothing for a credential that the store does not know. A deleted
/// credential is updated without an event.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn record_issued(
    conn: &mut SqliteConnection,
    issue: &Issue,
    now: Timestamp,
) -> Result<Option<EventType>, StoreError> {
    let Some(credential) = by_id(conn, issue.acs_credential_id).await? else {
        return Ok(None);
    };
    let uid = issue.card_uid.as_ref().map(ToString::to_string);
    sqlx::query(
        "UPDATE credentials SET issued_version = ?, issued_ms = ?, card_uid = ?, card_number = ?, issued_job_id = ? \
         WHERE acs_credential_id = ?",
    )
    .bind(issue.version.unwrap_or(UNKNOWN_VERSION))
    .bind(issue.at.as_millisecond())
    .bind(&uid)
    .bind(&issue.card_number)
    .bind(columns::optional_text(issue.job_id))
    .bind(issue.acs_credential_id.to_string())
    .execute(&mut *conn)
    .await?;
    let earlier = match &uid {
        Some(uid) => replace_on_card(conn, &credential, uid, issue.at).await?,
        None => None,
    };
    let (event_type, of_method) = match earlier {
        Some(earlier) if earlier != issue.acs_credential_id => {
            record_overwritten(conn, earlier, uid.as_deref(), issue.at, now).await?;
            (
                EventType::AcsCredentialReissued,
                EventType::AccessMethodReissued,
            )
        }
        Some(_) | None => (
            EventType::AcsCredentialIssued,
            EventType::AccessMethodIssued,
        ),
    };
    if credential.deleted_at.is_none() {
        let subject = credential.event_subject();
        let workspace = credential.workspace_id;
        events::record(conn, workspace, event_type, subject, issue.at, now).await?;
        record_of_method(conn, issue.acs_credential_id, &[of_method], issue.at, now).await?;
    }
    Ok(Some(event_type))
}

/// Records that a write to a card was interrupted: whether the credential that it carried is still on it nobody knows, so
/// that one counts as changed since, and may be encoded onto that card again.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn record_doubt(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    uid: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE credentials SET issued_version = ?1, issued_job_id = NULL WHERE issued_version IS NOT NULL \
         AND card_uid = ?2 \
         AND acs_credential_id = (SELECT acs_credential_id FROM cards WHERE acs_system_id = ?3 AND uid = ?2)",
    )
    .bind(UNKNOWN_VERSION)
    .bind(uid)
    .bind(acs_system_id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that no card carries a credential any more, which is an event if one did.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn record_lost(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM cards WHERE acs_credential_id = ?")
        .bind(acs_credential_id.to_string())
        .execute(&mut *conn)
        .await?;
    let credential = by_id(conn, acs_credential_id).await?;
    let Some(issued) = credential.and_then(|credential| credential.issued) else {
        return Ok(());
    };
    record_overwritten(
        conn,
        acs_credential_id,
        issued.card_uid.as_deref(),
        now,
        now,
    )
    .await
}

/// The credential that a card of a system was last written with, as far as the store knows.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn on_card(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    uid: &str,
) -> Result<Option<Uuid>, StoreError> {
    let row =
        sqlx::query("SELECT acs_credential_id FROM cards WHERE acs_system_id = ? AND uid = ?")
            .bind(acs_system_id.to_string())
            .bind(uid)
            .fetch_optional(conn)
            .await?;
    Ok(row
        .map(|row| columns::id(&row, "acs_credential_id"))
        .transpose()?)
}

/// Records that a credential lost its card to another one.
async fn record_overwritten(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    uid: Option<&str>,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let lost = sqlx::query(
        "UPDATE credentials SET issued_version = NULL, issued_ms = NULL, card_uid = NULL, card_number = NULL, \
         issued_job_id = NULL \
         WHERE acs_credential_id = ? AND card_uid IS ?",
    )
    .bind(acs_credential_id.to_string())
    .bind(uid)
    .execute(&mut *conn)
    .await?;
    let overwritten = by_id(conn, acs_credential_id).await?;
    if let Some(overwritten) = overwritten.filter(|row| row.deleted_at.is_none())
        && lost.rows_affected() > 0
    {
        let subject = overwritten.event_subject();
        let event = EventType::AcsCredentialInvalidated;
        events::record(conn, overwritten.workspace_id, event, subject, at, now).await?;
        let of_method = [
            EventType::AccessMethodRevoked,
            EventType::AccessMethodCardEncodingRequired,
        ];
        record_of_method(conn, acs_credential_id, &of_method, at, now).await?;
    }
    Ok(())
}

/// Records events of the access method that a credential is for, if there is one.
async fn record_of_method(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    event_types: &[EventType],
    at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    if let Some(method) = access_methods::of_credential(conn, acs_credential_id).await? {
        for event_type in event_types {
            access_methods::record(conn, &method, *event_type, at, now).await?;
        }
    }
    Ok(())
}

/// Notes the card's new credential and returns the one it held before.
async fn replace_on_card(
    conn: &mut SqliteConnection,
    credential: &CredentialRow,
    uid: &str,
    at: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    let earlier = on_card(conn, credential.acs_system_id, uid).await?;
    sqlx::query(
        "INSERT INTO cards (acs_system_id, uid, acs_credential_id, written_ms) VALUES (?, ?, ?, ?) \
         ON CONFLICT (acs_system_id, uid) DO UPDATE SET acs_credential_id = excluded.acs_credential_id, \
         written_ms = excluded.written_ms",
    )
    .bind(credential.acs_system_id.to_string())
    .bind(uid)
    .bind(credential.acs_credential_id.to_string())
    .bind(at.as_millisecond())
    .execute(conn)
    .await?;
    Ok(earlier)
}
