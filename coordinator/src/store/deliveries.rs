//! Deliveries: the events on their way to webhooks.
//!
//! Deliveries of one object to one webhook stand in line: the first of the line is *pending*, the others are *queued*
//! until it has ended. Lines of other objects and other webhooks go on meanwhile.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{FromRow, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{StoreError, columns, events::EventRow, webhooks};
use crate::webhooks::LONGEST_WAIT;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeliveryState {
    /// Behind an earlier one of the same object.
    Queued,
    /// To be sent when it is due.
    Pending,
    /// The endpoint has accepted it.
    Delivered,
    /// Given up.
    Failed,
}

impl DeliveryState {
    /// The state as the store and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    fn from_column(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let text: &str = row.try_get("state")?;
        // The schema allows no other state.
        Ok(match text {
            "queued" => Self::Queued,
            "pending" => Self::Pending,
            "delivered" => Self::Delivered,
            _ => Self::Failed,
        })
    }
}

/// A delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryRow {
    /// Its id.
    pub delivery_id: i64,
    /// To which webhook.
    pub webhook_id: Uuid,
    /// Which event.
    pub event_id: Uuid,
    /// The event's type.
    pub event_type: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is to be sent next; means nothing once it has ended.
    pub due_at: Timestamp,
    /// When it was sent last.
    pub last_at: Option<Timestamp>,
    /// The status that the endpoint answered last.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

impl FromRow<'_, SqliteRow> for DeliveryRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let last_status: Option<i64> = row.try_get("last_status")?;
        Ok(Self {
            delivery_id: row.try_get("delivery_id")?,
            webhook_id: columns::id(row, "webhook_id")?,
            event_id: columns::id(row, "event_id")?,
            event_type: row.try_get("event_type")?,
            state: DeliveryState::from_column(row)?,
            attempts: columns::number(row, "attempts")?,
            due_at: columns::time(row, "due_ms")?,
            last_at: columns::optional_time(row, "last_ms")?,
            last_status: last_status.and_then(|status| u16::try_from(status).ok()),
            last_error: row.try_get("last_error")?,
        })
    }
}

/// What a webhook has to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// The webhook.
    pub webhook_id: Uuid,
    /// Whether a delivery is due, one that is under way included.
    pub is_due: bool,
    /// When the next one is due that is not due yet.
    pub next_at: Option<Timestamp>,
}

/// A delivery to be sent now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due {
    /// Its id.
    pub delivery_id: i64,
    /// Its event.
    pub event_id: Uuid,
    /// How often it was sent before.
    pub attempts: u32,
}

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The delivery.
    pub delivery_id: i64,
    /// When it ended.
    pub at: Timestamp,
    /// The status that came back.
    pub status: Option<u16>,
    /// Why it failed; none where it was accepted.
    pub error: Option<String>,
    /// After a failure: when to try again; none to give up.
    pub retry_at: Option<Timestamp>,
}

/// Adds a delivery: ?1 webhook, ?2 event, ?3 object, ?4 when it is due.
const ADD: &str = "INSERT INTO webhook_deliveries (webhook_id, event_id, object, state, due_ms) VALUES (?1, ?2, ?3, \
     CASE WHEN EXISTS (SELECT 1 FROM webhook_deliveries WHERE webhook_id = ?1 AND object = ?3 AND state = 'pending') \
     THEN 'queued' ELSE 'pending' END, ?4)";

/// What every webhook has to send: ?1 now, ?2 later than any attempt scheduled now.
const WAITING: &str = "SELECT webhook_id, \
     EXISTS (SELECT 1 FROM webhook_deliveries AS d WHERE d.webhook_id = w.webhook_id AND d.state = 'pending' \
       AND d.due_ms <= ?1) \
     OR EXISTS (SELECT 1 FROM webhook_deliveries AS d WHERE d.webhook_id = w.webhook_id AND d.state = 'pending' \
       AND d.due_ms > ?2) AS is_due, \
     (SELECT min(d.due_ms) FROM webhook_deliveries AS d WHERE d.webhook_id = w.webhook_id AND d.state = 'pending' \
       AND d.due_ms > ?1) AS next_ms \
     FROM webhooks AS w ORDER BY webhook_id";

/// The due deliveries of webhook ?1: ?2 now, ?3 later than any attempt scheduled now, ?4 how many.
const DUE: &str = "SELECT * FROM (SELECT delivery_id, event_id, attempts FROM webhook_deliveries \
       WHERE webhook_id = ?1 AND state = 'pending' AND due_ms <= ?2 ORDER BY due_ms, delivery_id LIMIT ?4) \
     UNION ALL SELECT * FROM (SELECT delivery_id, event_id, attempts FROM webhook_deliveries \
       WHERE webhook_id = ?1 AND state = 'pending' AND due_ms > ?3 ORDER BY due_ms, delivery_id LIMIT ?4) LIMIT ?4";

/// Makes the next in line due: at ?1, for webhook ?2 and object ?3.
const CALL_UP: &str = "UPDATE webhook_deliveries SET state = 'pending', due_ms = ?1 WHERE delivery_id = (SELECT delivery_id \
     FROM webhook_deliveries WHERE webhook_id = ?2 AND object = ?3 AND state = 'queued' ORDER BY delivery_id LIMIT 1)";

/// The statements that run for every event, to be checked for their indexes.
#[cfg(test)]
pub(crate) const QUERIES: [&str; 4] = [ADD, WAITING, DUE, CALL_UP];

/// Puts an event into the outbox of every webhook that takes its type.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub(super) async fn enqueue(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    event_id: Uuid,
    event_type: &str,
    object: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    for webhook in webhooks::taking(conn, workspace_id, event_type).await? {
        add(conn, webhook, event_id, object, now).await?;
    }
    Ok(())
}

/// Sends an event once more to a webhook: a new delivery, at the end of its object's line. Returns its id.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn replay(
    conn: &mut SqliteConnection,
    webhook_id: Uuid,
    event: &EventRow,
    now: Timestamp,
) -> Result<i64, StoreError> {
    add(conn, webhook_id, event.event_id, &event.object(), now).await
}

async fn add(
    conn: &mut SqliteConnection,
    webhook_id: Uuid,
    event_id: Uuid,
    object: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let webhook_id = webhook_id.to_string();
    let added = sqlx::query(ADD)
        .bind(webhook_id)
        .bind(event_id.to_string())
        .bind(object)
        .bind(now.as_millisecond())
        .execute(conn)
        .await?;
    Ok(added.last_insert_rowid())
}

/// What every webhook has to send.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn waiting(
    conn: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query(WAITING)
        .bind(now.as_millisecond())
        .bind(beyond(now))
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Waiting {
                webhook_id: columns::id(row, "webhook_id")?,
                is_due: row.try_get("is_due")?,
                next_at: columns::optional_time(row, "next_ms")?,
            })
        })
        .collect()
}

/// The deliveries of a webhook that are due, those under way included; whichever has waited longest comes first.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn due(
    conn: &mut SqliteConnection,
    webhook_id: Uuid,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Due>, StoreError> {
    let rows = sqlx::query(DUE)
        .bind(webhook_id.to_string())
        .bind(now.as_millisecond())
        .bind(beyond(now))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Due {
                delivery_id: row.try_get("delivery_id")?,
                event_id: columns::id(row, "event_id")?,
                attempts: columns::number(row, "attempts")?,
            })
        })
        .collect()
}

/// Later than any attempt that is scheduled now. What is due only then was scheduled by a clock that has been set back.
fn beyond(now: Timestamp) -> i64 {
    let longest = i64::try_from(LONGEST_WAIT.as_millis()).unwrap_or(i64::MAX);
    now.as_millisecond().saturating_add(longest)
}

/// Notes what came of an attempt; where that ends the delivery, the next of its object's line becomes due. A delivery
/// that has ended or was deleted meanwhile stays as it is. Returns its state, if it is still there.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn settle(
    conn: &mut SqliteConnection,
    attempt: &Attempt,
) -> Result<Option<DeliveryState>, StoreError> {
    let state = match (&attempt.error, attempt.retry_at) {
        (None, _) => DeliveryState::Delivered,
        (Some(_), Some(_)) => DeliveryState::Pending,
        (Some(_), None) => DeliveryState::Failed,
    };
    let settled = sqlx::query(
        "UPDATE webhook_deliveries SET state = ?, attempts = attempts + 1, due_ms = coalesce(?, due_ms), last_ms = ?, \
         last_status = ?, last_error = ? WHERE delivery_id = ? AND state = 'pending' RETURNING webhook_id, object",
    )
    .bind(state.as_str())
    .bind(columns::optional_ms(attempt.retry_at))
    .bind(attempt.at.as_millisecond())
    .bind(attempt.status)
    .bind(&attempt.error)
    .bind(attempt.delivery_id)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = settled else { return Ok(None) };
    if state != DeliveryState::Pending {
        let (webhook_id, object) = (row.try_get("webhook_id")?, row.try_get("object")?);
        call_up(conn, webhook_id, object, attempt.at).await?;
    }
    Ok(Some(state))
}

/// Makes the next of an object's line due.
async fn call_up(
    conn: &mut SqliteConnection,
    webhook_id: &str,
    object: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(CALL_UP)
        .bind(now.as_millisecond())
        .bind(webhook_id)
        .bind(object)
        .execute(conn)
        .await?;
    Ok(())
}

/// Which deliveries to list; every condition that is given must hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeliveryFilter {
    /// Only those of webhooks of this workspace.
    pub workspace_id: Option<Uuid>,
    /// Only those to this webhook.
    pub webhook_id: Option<Uuid>,
    /// Only those of this event.
    pub event_id: Option<Uuid>,
    /// Only those that stand there.
    pub state: Option<DeliveryState>,
}

/// The newest deliveries that pass the filter, the newest first.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    filter: &DeliveryFilter,
    limit: u32,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT d.*, e.event_type FROM webhook_deliveries AS d JOIN events AS e ON e.event_id = d.event_id WHERE d.delivery_id > 0",
    );
    for (condition, value) in [
        (
            " AND d.webhook_id IN (SELECT webhook_id FROM webhooks WHERE workspace_id = ",
            filter.workspace_id,
        ),
        (" AND (d.webhook_id = ", filter.webhook_id),
        (" AND (d.event_id = ", filter.event_id),
    ] {
        if let Some(id) = value {
            query.push(condition).push_bind(id.to_string()).push(")");
        }
    }
    if let Some(state) = filter.state {
        query.push(" AND d.state = ").push_bind(state.as_str());
    }
    query
        .push(" ORDER BY d.delivery_id DESC LIMIT ")
        .push_bind(limit);
    Ok(query.build_query_as().fetch_all(conn).await?)
}

/// Forgets deliveries that ended a while ago: accepted ones after `delivered`, given-up ones after `failed`; at most
/// `limit` of each. Returns how many.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn forget(
    conn: &mut SqliteConnection,
    now: Timestamp,
    delivered: Duration,
    failed: Duration,
    limit: u32,
) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    for (state, age) in [
        (DeliveryState::Delivered, delivered),
        (DeliveryState::Failed, failed),
    ] {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let done = sqlx::query(
            "DELETE FROM webhook_deliveries WHERE delivery_id IN (SELECT delivery_id FROM webhook_deliveries \
             WHERE state = ? AND state IN ('delivered', 'failed') AND last_ms < ? LIMIT ?)",
        )
        .bind(state.as_str())
        .bind(now.as_millisecond().saturating_sub(age))
        .bind(limit)
        .execute(&mut *conn)
        .await?;
        forgotten += done.rows_affected();
    }
    Ok(forgotten)
}
