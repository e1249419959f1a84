//! Jobs with their bindings, the holds of credentials on cards, and orphans.

use std::time::Duration;

use encoder_protocols::{
    card::{CardDescription, Uid},
    wire::{EncoderKey, JobContent, JobId, JobKind, Outcome, Touched},
};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{StoreError, attempts, columns};
use crate::jobs::{
    AgentId, Binding, BootId, CredentialId, EncoderId, Hold, HoldState, JobRecord, Orphan,
    PlanContent, SessionId, SystemId,
};

const SELECT: &str = "SELECT j.*, a.status, a.result, a.error FROM jobs j \
     JOIN action_attempts a ON a.action_attempt_id = j.job_id WHERE ";

/// The job with this id.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn by_id(
    conn: &mut SqliteConnection,
    job: JobId,
) -> Result<Option<JobRecord>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} j.job_id = ?")))
        .bind(job.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    match row {
        Some(row) => Ok(Some(with_bindings(conn, record(&row)?).await?)),
        None => Ok(None),
    }
}

/// Every job that may change without being named.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn unsettled(conn: &mut SqliteConnection) -> Result<Vec<JobRecord>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} j.unsettled = 1")))
        .fetch_all(&mut *conn)
        .await?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in &rows {
        jobs.push(with_bindings(conn, record(row)?).await?);
    }
    Ok(jobs)
}

/// Stores a job's row and its binding; its attempt must be stored before. A binding, once stored, never changes.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn save(conn: &mut SqliteConnection, job: &JobRecord) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO jobs (job_id, kind, acs_system_id, acs_encoder_id, encoder_key, agent_id, acs_credential_id, \
         content, api_key_id, created_ms, deadline_ms, card_wait_ms, simulated, sent, pinned, awaited, cancelled, \
         touched, unsettled) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_id) DO UPDATE SET \
         deadline_ms = excluded.deadline_ms, sent = excluded.sent, pinned = excluded.pinned, awaited = excluded.awaited, \
         cancelled = excluded.cancelled, touched = excluded.touched, unsettled = excluded.unsettled",
    )
    .bind(job.id.to_string())
    .bind(columns::name(&job.kind)?)
    .bind(job.system.to_string())
    .bind(job.encoder.to_string())
    .bind(&job.encoder_key.0)
    .bind(columns::optional_text(job.agent.map(|agent| agent.0)))
    .bind(columns::optional_text(job.credential.map(|id| id.0)))
    .bind(job.content.as_ref().map(columns::json).transpose()?)
    .bind(columns::optional_text(job.api_key))
    .bind(job.created_at.as_millisecond())
    .bind(job.deadline.as_millisecond())
    .bind(i64::try_from(job.card_wait.as_millis()).unwrap_or(i64::MAX))
    .bind(job.simulated)
    .bind(job.sent)
    .bind(job.pinned)
    .bind(job.awaited)
    .bind(job.cancelled.as_ref().map(columns::json).transpose()?)
    .bind(job.outcome.as_ref().map(columns::name).transpose()?)
    .bind(!job.is_settled())
    .execute(&mut *conn)
    .await?;
    if let Some(binding) = &job.binding {
        save_binding(conn, job.id, binding).await?;
    }
    Ok(())
}

/// Every hold of a credential.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn holds(
    conn: &mut SqliteConnection,
    credential: CredentialId,
) -> Result<Vec<Hold>, StoreError> {
    let rows = sqlx::query("SELECT * FROM holds WHERE acs_credential_id = ?")
        .bind(credential.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Hold {
                job: JobId(columns::id(row, "job_id")?),
                credential,
                uid: uid(row, "uid")?,
                state: columns::from_name::<HoldState>(row, "state")?,
            })
        })
        .collect()
}

/// The credentials of a system that a card holds, also those that the store does not know.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn held_credentials(
    conn: &mut SqliteConnection,
    system: SystemId,
) -> Result<Vec<CredentialId>, StoreError> {
    let rows = sqlx::query(
        "SELECT DISTINCT h.acs_credential_id FROM holds h \
         LEFT JOIN credentials c ON c.acs_credential_id = h.acs_credential_id \
         LEFT JOIN jobs j ON j.job_id = h.job_id \
         LEFT JOIN orphans o ON o.job_id = h.job_id LEFT JOIN agents a ON a.agent_id = o.agent_id \
         WHERE coalesce(c.acs_system_id, j.acs_system_id, a.acs_system_id) = ? ORDER BY h.acs_credential_id",
    )
    .bind(system.to_string())
    .fetch_all(conn)
    .await?;
    let ids = rows
        .iter()
        .map(|row| columns::id(row, "acs_credential_id").map(CredentialId));
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Stores a hold in place of the same job's hold on the same card.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn put_hold(conn: &mut SqliteConnection, hold: &Hold) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO holds (job_id, acs_credential_id, uid, state) VALUES (?, ?, ?, ?) \
         ON CONFLICT (job_id, acs_credential_id, uid) DO UPDATE SET state = excluded.state",
    )
    .bind(hold.job.to_string())
    .bind(hold.credential.to_string())
    .bind(hold.uid.map(|uid| uid.to_string()).unwrap_or_default())
    .bind(columns::name(&hold.state)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends every hold of a job.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn drop_holds(conn: &mut SqliteConnection, job: JobId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM holds WHERE job_id = ?")
        .bind(job.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends every hold of a credential.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn release(
    conn: &mut SqliteConnection,
    credential: CredentialId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM holds WHERE acs_credential_id = ?")
        .bind(credential.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Stores what an agent said of a job that the store does not know.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn put_orphan(conn: &mut SqliteConnection, orphan: &Orphan) -> Result<(), StoreError> {
    let (outcome, touched) = orphan.outcome.unzip();
    sqlx::query(
        "INSERT INTO orphans (job_id, agent_id, kind, acs_credential_id, uid, outcome, touched, seen_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_id) DO UPDATE SET \
         uid = coalesce(excluded.uid, uid), outcome = excluded.outcome, touched = excluded.touched",
    )
    .bind(orphan.job.to_string())
    .bind(orphan.agent.to_string())
    .bind(columns::name(&orphan.kind)?)
    .bind(columns::optional_text(orphan.credential.map(|id| id.0)))
    .bind(orphan.uid.map(|uid| uid.to_string()))
    .bind(outcome.as_ref().map(columns::name).transpose()?)
    .bind(touched.as_ref().map(columns::name).transpose()?)
    .bind(orphan.seen_at.as_millisecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// The orphan with this id.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn orphan(conn: &mut SqliteConnection, job: JobId) -> Result<Option<Orphan>, StoreError> {
    let row = sqlx::query("SELECT * FROM orphans WHERE job_id = ?")
        .bind(job.to_string())
        .fetch_optional(conn)
        .await?;
    Ok(row.as_ref().map(orphan_of).transpose()?)
}

/// The orphans that their agents listed as open and whose outcome has not come.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn open_orphans(conn: &mut SqliteConnection) -> Result<Vec<Orphan>, StoreError> {
    let rows = sqlx::query("SELECT * FROM orphans WHERE outcome IS NULL")
        .fetch_all(conn)
        .await?;
    Ok(rows.iter().map(orphan_of).collect::<Result<_, _>>()?)
}

/// Every orphan, the newest last.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn orphans(conn: &mut SqliteConnection) -> Result<Vec<Orphan>, StoreError> {
    let rows = sqlx::query("SELECT * FROM orphans ORDER BY seen_ms, job_id")
        .fetch_all(conn)
        .await?;
    Ok(rows.iter().map(orphan_of).collect::<Result<_, _>>()?)
}

async fn save_binding(
    conn: &mut SqliteConnection,
    job: JobId,
    binding: &Binding,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR IGNORE INTO bindings (job_id, n, card, session_id, boot_id, content) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(job.to_string())
    .bind(i64::try_from(binding.n).unwrap_or(i64::MAX))
    .bind(columns::json(&binding.card)?)
    .bind(binding.session.to_string())
    .bind(binding.boot.to_string())
    .bind(binding.content.as_ref().map(columns::json).transpose()?)
    .execute(conn)
    .await?;
    Ok(())
}

async fn with_bindings(
    conn: &mut SqliteConnection,
    mut job: JobRecord,
) -> Result<JobRecord, StoreError> {
    let rows = sqlx::query("SELECT * FROM bindings WHERE job_id = ? ORDER BY n")
        .bind(job.id.to_string())
        .fetch_all(conn)
        .await?;
    for row in &rows {
        let binding = binding(row)?;
        if let Some(uid) = binding.uid.filter(|uid| !job.cards.contains(uid)) {
            job.cards.push(uid);
        }
        job.binding = Some(binding);
    }
    Ok(job)
}

fn record(row: &SqliteRow) -> Result<JobRecord, sqlx::Error> {
    let card_wait: u64 = columns::number(row, "card_wait_ms")?;
    Ok(JobRecord {
        id: JobId(columns::id(row, "job_id")?),
        kind: columns::from_name::<JobKind>(row, "kind")?,
        system: SystemId(columns::id(row, "acs_system_id")?),
        encoder: EncoderId(columns::id(row, "acs_encoder_id")?),
        encoder_key: EncoderKey(row.try_get("encoder_key")?),
        agent: columns::optional_id(row, "agent_id")?.map(AgentId),
        credential: columns::optional_id(row, "acs_credential_id")?.map(CredentialId),
        content: columns::optional_json::<JobContent>(row, "content")?,
        api_key: columns::optional_id(row, "api_key_id")?,
        created_at: columns::time(row, "created_ms")?,
        deadline: columns::time(row, "deadline_ms")?,
        card_wait: Duration::from_millis(card_wait),
        simulated: row.try_get("simulated")?,
        sent: row.try_get("sent")?,
        binding: None,
        cards: Vec::new(),
        pinned: row.try_get("pinned")?,
        awaited: row.try_get("awaited")?,
        cancelled: columns::optional_json(row, "cancelled")?,
        attempt: attempts::attempt(row)?,
        outcome: columns::optional_name::<Touched>(row, "touched")?,
    })
}

fn binding(row: &SqliteRow) -> Result<Binding, sqlx::Error> {
    let card: CardDescription = columns::from_json(row, "card")?;
    let session: Uuid = columns::id(row, "session_id")?;
    Ok(Binding {
        n: columns::number(row, "n")?,
        uid: card.uid,
        card,
        session: SessionId(session),
        boot: BootId(columns::id(row, "boot_id")?),
        content: columns::optional_json::<PlanContent>(row, "content")?,
    })
}

fn orphan_of(row: &SqliteRow) -> Result<Orphan, sqlx::Error> {
    let outcome = columns::optional_name::<Outcome>(row, "outcome")?;
    Ok(Orphan {
        job: JobId(columns::id(row, "job_id")?),
        agent: AgentId(columns::id(row, "agent_id")?),
        kind: columns::from_name::<JobKind>(row, "kind")?,
        credential: columns::optional_id(row, "acs_credential_id")?.map(CredentialId),
        uid: uid(row, "uid")?,
        outcome: outcome.zip(columns::optional_name::<Touched>(row, "touched")?),
        seen_at: columns::time(row, "seen_ms")?,
    })
}

/// A card's column; null and the empty text stand for an unknown card.
fn uid(row: &SqliteRow, column: &str) -> Result<Option<Uid>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.filter(|text| !text.is_empty())
        .map(str::parse)
        .transpose()
        .map_err(|error| columns::undecodable(column, error))
}
