//! How much of what there is, for monitors. Each figure is counted along an index that holds little more than what it counts.

use sqlx::SqliteConnection;

use super::StoreError;

/// The figures of the whole store, all workspaces together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, sqlx::FromRow)]
pub struct Figures {
    /// Agents whose token opens something.
    pub agents: i64,
    /// Encoders that an agent listed last.
    pub encoders_listed: i64,
    /// All encoders that any agent ever listed.
    pub encoders: i64,
    /// Jobs that have not ended, or whose end is not settled.
    pub jobs_unsettled: i64,
    /// Jobs that agents hold open and nobody here knows.
    pub orphans_open: i64,
    /// Deliveries to webhooks that wait for their time or for one before them.
    pub deliveries_waiting: i64,
    /// Deliveries to webhooks that were given up and are still remembered.
    pub deliveries_failed: i64,
}

/// Counts.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn count(conn: &mut SqliteConnection) -> Result<Figures, StoreError> {
    let figures = sqlx::query_as(
        "SELECT (SELECT count(*) FROM agents WHERE revoked_ms IS NULL) AS agents, \
         (SELECT count(DISTINCT acs_encoder_id) FROM encoder_places WHERE listed = 1) AS encoders_listed, \
         (SELECT count(*) FROM encoders) AS encoders, \
         (SELECT count(*) FROM jobs WHERE unsettled = 1) AS jobs_unsettled, \
         (SELECT count(*) FROM orphans WHERE outcome IS NULL) AS orphans_open, \
         (SELECT count(*) FROM webhook_deliveries WHERE state IN ('queued', 'pending')) AS deliveries_waiting, \
         (SELECT count(*) FROM webhook_deliveries WHERE state = 'failed') AS deliveries_failed",
    );
    Ok(figures.fetch_one(conn).await?)
}
