//! What agents ask for by plain requests: a token to begin with, and to be heard when they may not connect.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    Json,
    body::{self, Body},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use encoder_protocols::wire::{
    CloneReport, MAX_PAIRING_BYTES, PairError, PairRefusal, PairRequest,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Refused, authenticate, clash};
use crate::{
    connections::Peer,
    http::BODY_PATIENCE,
    jobs::AgentId,
    pairing::{self, NotPaired},
    state::AppState,
};

/// Trades a code or fleet token for a token.
pub(super) async fn pair(State(state): State<AppState>, request: Request) -> Response {
    let address = peer(&request);
    let Some(asked) = read::<PairRequest>(request.into_body()).await else {
        return refused(StatusCode::BAD_REQUEST, PairRefusal::Malformed);
    };
    let now = (state.clock.now(), state.clock.utc());
    match pairing::pair(&state.store, &state.pairing, &asked, address, now).await {
        Ok(answer) => {
            // A desk that has stopped has no sessions left.
            let _ = state.desk.token_renewed(AgentId(answer.agent_id)).await;
            ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
        }
        Err(NotPaired::Refused(refusal)) => {
            tracing::info!(%address, %refusal, "an agent was not paired");
            refused(StatusCode::FORBIDDEN, refusal)
        }
        Err(NotPaired::TooMany { wait }) => {
            tracing::warn!(%address, "too many wrong pairing codes were tried");
            let refusal = PairRefusal::TooManyAttempts;
            let mut response = refused(StatusCode::TOO_MANY_REQUESTS, refusal);
            let seconds = HeaderValue::from(wait.as_secs() + 1);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            response
        }
        Err(NotPaired::Store(error)) => Refused::Store(error).into_response(),
    }
}

/// An agent tells that it was copied to another PC, and does not connect.
pub(super) async fn cloned(
    State(state): State<AppState>,
    request: Request,
) -> Result<StatusCode, Refused> {
    let agent = authenticate(&state, request.headers()).await?;
    let report = read::<CloneReport>(request.into_body()).await;
    let name = report.map(|report| pairing::short(&report.hostname, 100));
    let seen = format!(
        "copied to another PC, {}",
        name.unwrap_or_else(|| "which says no name".to_owned())
    );
    clash::note(&state, &agent, &seen).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// From where the request came; requests of tests come from nowhere.
fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |Peer(address)| *address)
}

/// The body, if it is small, in time, and what is expected.
async fn read<T: DeserializeOwned>(body: Body) -> Option<T> {
    let reading = tokio::time::timeout(BODY_PATIENCE, body::to_bytes(body, MAX_PAIRING_BYTES));
    let bytes = reading.await.ok()?.ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn refused(status: StatusCode, refusal: PairRefusal) -> Response {
    let error = PairError {
        refusal,
        message: refusal.to_string(),
    };
    let body = json!({"error": error, "ok": false});
    (status, Json(body)).into_response()
}
