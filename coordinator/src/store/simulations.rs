//! What was said to come of jobs on simulated encoders.

use encoder_protocols::wire::{JobId, JobKind};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{StoreError, columns};
use crate::{jobs::EncoderId, simulation::Simulation};

/// Says what comes of the next job of a kind on an encoder, in place of what was said before.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn put_next(
    conn: &mut SqliteConnection,
    acs_encoder_id: Uuid,
    kind: JobKind,
    simulation: &Simulation,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO next_simulations (acs_encoder_id, kind, simulation) VALUES (?, ?, ?) \
         ON CONFLICT (acs_encoder_id, kind) DO UPDATE SET simulation = excluded.simulation",
    )
    .bind(acs_encoder_id.to_string())
    .bind(columns::name(&kind)?)
    .bind(columns::json(simulation)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ties what was said of the next job on an encoder to this job, if it is about it.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn take_next(
    conn: &mut SqliteConnection,
    encoder: EncoderId,
    (job, kind, credential): (JobId, JobKind, Option<Uuid>),
) -> Result<(), StoreError> {
    let kind = columns::name(&kind)?;
    let row = sqlx::query(
        "SELECT simulation FROM next_simulations WHERE acs_encoder_id = ? AND kind = ?",
    )
    .bind(encoder.to_string())
    .bind(&kind)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let next: Simulation = columns::from_json(&row, "simulation")?;
    if !next.is_about(credential) {
        return Ok(());
    }
    sqlx::query("INSERT INTO job_simulations (job_id, simulation) VALUES (?, ?)")
        .bind(job.to_string())
        .bind(columns::json(&next)?)
        .execute(&mut *conn)
        .await?;
    sqlx::query("DELETE FROM next_simulations WHERE acs_encoder_id = ? AND kind = ?")
        .bind(encoder.to_string())
        .bind(kind)
        .execute(conn)
        .await?;
    Ok(())
}

/// What comes of a job.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn of_job(conn: &mut SqliteConnection, job: JobId) -> Result<Simulation, StoreError> {
    let row = sqlx::query("SELECT simulation FROM job_simulations WHERE job_id = ?")
        .bind(job.to_string())
        .fetch_optional(conn)
        .await?;
    let said = row.map(|row| columns::from_json(&row, "simulation"));
    Ok(said.transpose()?.unwrap_or_default())
}
