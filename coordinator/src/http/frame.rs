//! What surrounds every request: its id, the host check, the net under panics, one line in the log.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::ApiError;
use crate::state::AppState;

/// The header that names a request in answers and in the log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("seam-request-id");

/// The frame around every request.
pub(super) async fn frame(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let request_id = Uuid::new_v4().to_string();
    let span = tracing::info_span!(
        "request",
        id = %request_id,
        method = %request.method(),
        path = request.uri().path(),
    );
    let answered = async {
        let mut response = match check_host(&state, &request) {
            Ok(()) => run(request, next).await,
            Err(error) => error.into_response(),
        };
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            state.desk.store_failed();
        }
        tracing::debug!(status = response.status().as_u16(), "answered");
        if let Ok(value) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    };
    answered.instrument(span).await
}

/// The answer for paths that do not exist.
pub(super) async fn unknown_route(uri: Uri) -> ApiError {
    ApiError::UnknownRoute(uri.path().to_owned())
}

/// The answer for methods that a path does not take.
pub(super) async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::MethodNotAllowed(method.to_string())
}

fn check_host(state: &AppState, request: &Request) -> Result<(), ApiError> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if state.hosts.permit(host) {
        Ok(())
    } else {
        Err(ApiError::HostNotAllowed(host.chars().take(100).collect()))
    }
}

/// Runs the request; a panic in it becomes a typed answer instead of a dropped connection.
async fn run(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => ApiError::Internal("a request panicked".to_owned()).into_response(),
    }
}
