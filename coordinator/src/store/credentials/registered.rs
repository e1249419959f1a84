//! Cards that were registered with their system before: they are assigned to a user, never encoded.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{CredentialRow, SELECT, Validity, by_id, insert, set_content, set_user};
use crate::{
    ids,
    store::{
        StoreError,
        events::{self, EventType},
        systems::SystemRow,
        users::UserRow,
    },
};

/// Registers a card, which then waits for its user; the caller has checked that its number is free.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn register(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    number: &str,
    now: Timestamp,
) -> Result<CredentialRow, StoreError> {
    let card = CredentialRow {
        acs_credential_id: ids::new_id(now),
        workspace_id: system.workspace_id,
        acs_system_id: system.acs_system_id,
        connected_account_id: system.connected_account_id,
        acs_user_id: None,
        user_identity_id: None,
        display_name: format!("Card {number}"),
        starts_at: None,
        ends_at: None,
        created_at: now,
        content_version: 1,
        changed_at: now,
        issued: None,
        registered_number: Some(number.to_owned()),
        kind: system.kind,
        provider: None,
        doors: Vec::new(),
        deleted_at: None,
    };
    insert(conn, &card).await?;
    Ok(card)
}

/// The registered card of a system with this number, in any case, whether it has a user or not.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_registered_number(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    number: &str,
) -> Result<Option<CredentialRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query
        .push("c.registered_number IS NOT NULL AND c.deleted_ms IS NULL AND c.acs_system_id = ")
        .push_bind(acs_system_id.to_string())
        .push(" AND lower(c.registered_number) = ")
        .push_bind(number.to_ascii_lowercase());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// Gives a registered card to a user, for these times and entrances, and records the event.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn assign(
    conn: &mut SqliteConnection,
    card: &CredentialRow,
    user: &UserRow,
    validity: Validity,
    entrances: &[Uuid],
    now: Timestamp,
) -> Result<CredentialRow, StoreError> {
    let id = card.acs_credential_id;
    set_user(conn, id, Some(user.acs_user_id)).await?;
    set_content(conn, card, validity, entrances, now).await?;
    sqlx::query(
        "UPDATE credentials SET issued_version = content_version, issued_ms = ?, card_number = registered_number \
         WHERE acs_credential_id = ?",
    )
    .bind(now.as_millisecond())
    .bind(id.to_string())
    .execute(&mut *conn)
    .await?;
    let issued = EventType::AcsCredentialIssued;
    let subject = card.event_subject();
    events::record(conn, card.workspace_id, issued, subject, now, now).await?;
    Ok(by_id(conn, id).await?.unwrap_or_else(|| card.clone()))
}

/// Takes a registered card from its user, so that it waits for another one, and records the event.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn release(
    conn: &mut SqliteConnection,
    card: &CredentialRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = card.acs_credential_id;
    set_user(conn, id, None).await?;
    set_content(conn, card, (None, None), &[], now).await?;
    sqlx::query(
        "UPDATE credentials SET issued_version = NULL, issued_ms = NULL, card_number = NULL WHERE acs_credential_id = ?",
    )
    .bind(id.to_string())
    .execute(&mut *conn)
    .await?;
    let invalidated = EventType::AcsCredentialInvalidated;
    let subject = card.event_subject();
    events::record(conn, card.workspace_id, invalidated, subject, now, now).await?;
    Ok(())
}
