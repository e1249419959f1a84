//! Webhooks: where a workspace's events are sent. Their signing keys are sealed under the master key.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{StoreError, columns};
use crate::{
    ids,
    secrets::{MasterKey, SecretsError},
    webhooks::SigningKey,
};

const TABLE: &str = "webhooks";

/// The event type that stands for all.
pub const ALL_EVENTS: &str = "*";

/// A webhook.
#[derive(Clone, Debug)]
pub struct WebhookRow {
    /// Its id.
    pub webhook_id: Uuid,
    /// The workspace whose events it gets.
    pub workspace_id: Uuid,
    /// Where they are sent.
    pub url: String,
    /// Which types it gets; [`ALL_EVENTS`] for all.
    pub event_types: Vec<String>,
    /// What they are signed with.
    pub key: SigningKey,
    /// When it was made.
    pub created_at: Timestamp,
}

impl WebhookRow {
    fn open(row: &SqliteRow, master_key: &MasterKey) -> Result<Self, StoreError> {
        let webhook_id = columns::id(row, "webhook_id")?;
        let place = webhook_id.to_string();
        let opened = master_key.open(TABLE, &place, row.try_get("sealed")?)?;
        Ok(Self {
            webhook_id,
            workspace_id: columns::id(row, "workspace_id")?,
            url: row.try_get("url")?,
            event_types: columns::from_json(row, "event_types")?,
            key: SigningKey::from_bytes(&opened).ok_or(SecretsError::DoesNotOpen(place))?,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

/// Makes a webhook with a new signing key.
///
/// # Errors
/// [`StoreError`] when the statement, the random source or the sealing fails.
pub async fn create(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    workspace_id: Uuid,
    url: &str,
    event_types: &[String],
    now: Timestamp,
) -> Result<WebhookRow, StoreError> {
    let webhook = WebhookRow {
        webhook_id: ids::new_id(now),
        workspace_id,
        url: url.to_owned(),
        event_types: event_types.to_vec(),
        key: SigningKey::random()?,
        created_at: now,
    };
    let id = webhook.webhook_id.to_string();
    sqlx::query(
        "INSERT INTO webhooks (webhook_id, workspace_id, url, event_types, sealed, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(workspace_id.to_string())
    .bind(url)
    .bind(columns::json(&event_types)?)
    .bind(master_key.seal(TABLE, &id, webhook.key.as_bytes())?)
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok(webhook)
}

/// The webhook with this id.
///
/// # Errors
/// [`StoreError`] when the statement fails or the key does not open.
pub async fn by_id(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    webhook_id: Uuid,
) -> Result<Option<WebhookRow>, StoreError> {
    sqlx::query("SELECT * FROM webhooks WHERE webhook_id = ?")
        .bind(webhook_id.to_string())
        .fetch_optional(conn)
        .await?
        .map(|row| WebhookRow::open(&row, master_key))
        .transpose()
}

/// The webhook with this id, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError`] when the statement fails or the key does not open.
pub async fn find(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    workspace_id: Uuid,
    webhook_id: Uuid,
) -> Result<Option<WebhookRow>, StoreError> {
    let found = by_id(conn, master_key, webhook_id).await?;
    Ok(found.filter(|webhook| webhook.workspace_id == workspace_id))
}

/// The webhooks of a workspace.
///
/// # Errors
/// [`StoreError`] when the statement fails or a key does not open.
pub async fn list(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    workspace_id: Uuid,
) -> Result<Vec<WebhookRow>, StoreError> {
    sqlx::query("SELECT * FROM webhooks WHERE workspace_id = ? ORDER BY webhook_id")
        .bind(workspace_id.to_string())
        .fetch_all(conn)
        .await?
        .iter()
        .map(|row| WebhookRow::open(row, master_key))
        .collect()
}

/// How many webhooks a workspace has.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn count(conn: &mut SqliteConnection, workspace_id: Uuid) -> Result<u32, StoreError> {
    let row = sqlx::query("SELECT count(*) AS count FROM webhooks WHERE workspace_id = ?")
        .bind(workspace_id.to_string())
        .fetch_one(conn)
        .await?;
    Ok(columns::number(&row, "count")?)
}

/// The webhooks of a workspace that get events of this type.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn taking(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    event_type: &str,
) -> Result<Vec<Uuid>, StoreError> {
    let rows = sqlx::query(
        "SELECT webhook_id, event_types FROM webhooks WHERE workspace_id = ? ORDER BY webhook_id",
    )
    .bind(workspace_id.to_string())
    .fetch_all(conn)
    .await?;
    let mut taking = Vec::new();
    for row in &rows {
        let event_types: Vec<String> = columns::from_json(row, "event_types")?;
        if event_types
            .iter()
            .any(|it| it == ALL_EVENTS || it == event_type)
        {
            taking.push(columns::id(row, "webhook_id")?);
        }
    }
    Ok(taking)
}

/// Changes which events a webhook gets from now on. Returns whether the workspace has it.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_event_types(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    webhook_id: Uuid,
    event_types: &[String],
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE webhooks SET event_types = ? WHERE webhook_id = ? AND workspace_id = ?",
    )
    .bind(columns::json(&event_types)?)
    .bind(webhook_id.to_string())
    .bind(workspace_id.to_string())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Deletes a webhook with its key and its deliveries, waiting ones too. Returns whether the workspace had it.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn delete(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    webhook_id: Uuid,
) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM webhooks WHERE webhook_id = ? AND workspace_id = ?")
        .bind(webhook_id.to_string())
        .bind(workspace_id.to_string())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}
