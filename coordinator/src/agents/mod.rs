//! The agents' websocket: who may connect, and the conversation with each; and how an agent comes by its token.

mod clash;
mod pair;
mod session;
#[cfg(test)]
mod tests;

use axum::{
    Json, Router,
    extract::{Request, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use encoder_protocols::wire::{
    CLIENT_CERTIFICATE_REQUIRED, CLONE_PATH, MAX_MESSAGE_BYTES, PAIR_PATH, PairRefusal,
    REFUSAL_HEADER, SOCKET_PATH, SUBPROTOCOL,
};
use serde_json::json;

use crate::{
    connections::ClientCertificate,
    state::AppState,
    store::{
        StoreError,
        agents::{self, AgentRow},
    },
};

/// Bytes that one connection keeps for reading; the library's own choice costs 128 KiB an agent.
const READ_BUFFER: usize = 2 * 1024;
/// Bytes of answers that may wait for a slow connection before it counts as dead.
const WRITE_BUFFER: usize = 4 * MAX_MESSAGE_BYTES;

/// The paths where agents connect and are paired.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route(SOCKET_PATH, get(connect))
        .route(PAIR_PATH, post(pair::pair))
        .route(CLONE_PATH, post(pair::cloned))
        .layer(middleware::from_fn(need_certificate))
}

/// Refuses an agent without a certificate where the service was given an authority for them.
async fn need_certificate(request: Request, next: Next) -> Response {
    let certificate = request.extensions().get::<ClientCertificate>();
    if certificate == Some(&ClientCertificate::Missing) {
        return Refused::NoCertificate.into_response();
    }
    next.run(request).await
}

/// Why a connection is not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{}", PairRefusal::ClientCertificateRequired)]
    NoCertificate,
    #[error("no agent token: send the header `Authorization: Bearer agent_…`")]
    NoToken,
    #[error(
        "this agent token is not known here or was revoked: make one with `encoder-coordinator agent token`, or `agent \
         create` for a new agent"
    )]
    WrongToken,
    #[error("expected a websocket upgrade: {0}")]
    NoUpgrade(String),
    #[error(
        "expected the websocket sub-protocol `{SUBPROTOCOL}`, the one that is spoken here; got {0}"
    )]
    OtherProtocol(String),
    #[error("the service failed internally: its log has the details")]
    Store(#[from] StoreError),
}

impl Refused {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NoCertificate => StatusCode::FORBIDDEN,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::NoUpgrade(_) | Self::OtherProtocol(_) => StatusCode::BAD_REQUEST,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::NoCertificate => CLIENT_CERTIFICATE_REQUIRED,
            Self::NoToken | Self::WrongToken => "unauthorized",
            Self::NoUpgrade(_) => "websocket_required",
            Self::OtherProtocol(_) => "unsupported_subprotocol",
            Self::Store(_) => "internal_server_error",
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match &self {
            Self::Store(error) => tracing::error!(%error, "an agent could not be let in"),
            Self::NoCertificate
            | Self::NoToken
            | Self::WrongToken
            | Self::NoUpgrade(_)
            | Self::OtherProtocol(_) => {
                tracing::info!(reason = %self, "an agent was not let in");
            }
        }
        let body = json!({
            "error": {
                "type": self.kind(),
                "message": self.to_string(),
                "data": {"spoken_subprotocols": [SUBPROTOCOL]},
            },
            "ok": false,
        });
        let headers = [(REFUSAL_HEADER, self.kind())];
        (self.status(), headers, Json(body)).into_response()
    }
}

async fn connect(
    State(state): State<AppState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refused> {
    let agent = authenticate(&state, &headers).await?;
    let upgrade = upgrade.map_err(|rejection| Refused::NoUpgrade(rejection.body_text()))?;
    if !upgrade
        .requested_protocols()
        .any(|protocol| protocol == SUBPROTOCOL)
    {
        return Err(Refused::OtherProtocol(offered(&upgrade)));
    }
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| session::run(state, agent, socket)))
}

async fn authenticate(state: &AppState, headers: &HeaderMap) -> Result<AgentRow, Refused> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(Refused::NoToken)?;
    let mut conn = state.store.read().await?;
    if let Some(agent) = agents::find_by_token(&mut conn, token).await? {
        return Ok(agent);
    }
    let agent = agents::find_by_next_token(&mut conn, token).await?;
    let agent = agent.ok_or(Refused::WrongToken)?;
    drop(conn);
    let mut conn = state.store.write().await?;
    agents::use_next_token(&mut conn, token).await?;
    conn.commit().await.map_err(StoreError::from)?;
    tracing::info!(agent = %agent.name, "an agent uses its new token; the one before opens nothing any more");
    Ok(agent)
}

/// The sub-protocols that the agent offered, shortened, for its error message.
fn offered(upgrade: &WebSocketUpgrade) -> String {
    let offered: Vec<_> = upgrade
        .requested_protocols()
        .take(4)
        .map(|value| value.to_str().unwrap_or("?").chars().take(40).collect())
        .collect::<Vec<String>>();
    if offered.is_empty() {
        "none".to_owned()
    } else {
        format!("`{}`", offered.join("`, `"))
    }
}
