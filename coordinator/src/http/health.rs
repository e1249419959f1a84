//! `/health`: whether the service works; needs no key and tells nothing of anyone's resources.

use axum::{Router, extract::State};
use serde_json::json;

use super::{Answer, Reply, read};
use crate::state::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/health", read(get))
}

/// Reads from the store, so that an answer means that it can be read.
async fn get(State(state): State<AppState>) -> Answer {
    let mut conn = state.store.read().await?;
    sqlx::query("SELECT store_id FROM store_meta")
        .fetch_one(&mut *conn)
        .await?;
    Ok(Reply::done()
        .with("msg", "the service works")
        .with(
            "last_service_evaluation_at",
            super::time_json(state.clock.utc()),
        )
        .with(
            "service_health_statuses",
            json!([{"service": "store", "status": "healthy", "description": "The store answers."}]),
        ))
}
