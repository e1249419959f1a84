//! Who calls: the API key in the `Authorization` header.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use uuid::Uuid;

use super::ApiError;
use crate::{
    state::AppState,
    store::api_keys::{self, Vocabulary},
    tokens::API_KEY_PREFIX,
};

/// The key that made a request, and the workspace that it opens. Taking it as an argument is what makes a path
/// need a key; take it before the parameters, so that strangers learn nothing of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The workspace.
    pub workspace_id: Uuid,
    /// The key.
    pub api_key_id: Uuid,
    /// Which names the answers use.
    pub vocabulary: Vocabulary,
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let secret = bearer(parts)?;
        let mut conn = state.store.read().await?;
        let key = api_keys::find_by_secret(&mut conn, secret).await?;
        let key = key.ok_or(ApiError::Unauthorized(
            "this API key is not known here or was revoked: make one with `encoder-coordinator key create`",
        ))?;
        Ok(Self {
            workspace_id: key.workspace_id,
            api_key_id: key.api_key_id,
            vocabulary: key.vocabulary,
        })
    }
}

fn bearer(parts: &Parts) -> Result<&str, ApiError> {
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .ok_or(ApiError::Unauthorized(
            "no API key: send the header `Authorization: Bearer seam_…`",
        ))?;
    let secret = header.to_str().ok().and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(secret.trim())
    });
    match secret {
        None => Err(ApiError::Unauthorized(
            "the Authorization header is malformed: expected `Bearer seam_…`",
        )),
        Some(secret)
            if ["seam_at", "seam_cst", "seam_pk"]
                .iter()
                .any(|kind| secret.starts_with(kind)) =>
        {
            Err(ApiError::Unauthorized(
                "access tokens, client session tokens and publishable keys are not taken here: use an API key",
            ))
        }
        Some(secret) if !secret.starts_with(API_KEY_PREFIX) => Err(ApiError::Unauthorized(
            "this is no API key: they begin with `seam_`",
        )),
        Some(secret) => Ok(secret),
    }
}
