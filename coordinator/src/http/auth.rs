//! Who calls: the API key or personal access token in the `Authorization` header.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::ApiError;
use crate::{
    state::AppState,
    store::{
        api_keys::{self, Vocabulary},
        personal_access_tokens,
    },
    tokens::{API_KEY_PREFIX, PERSONAL_ACCESS_TOKEN_PREFIX},
};

/// The header that names the workspace which a personal access token is used for.
const WORKSPACE_HEADER: &str = "seam-workspace";

/// The key or token that made a request, and the workspace that it opens. Taking it as an argument is what makes a path
/// need one; take it before the parameters, so that strangers learn nothing of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The workspace.
    pub workspace_id: Uuid,
    /// The API key, or the personal access token.
    pub api_key_id: Uuid,
    /// Which names the answers use.
    pub vocabulary: Vocabulary,
}

impl Caller {
    /// Nobody, who has no workspace: in whose name a path is asked what it asks for.
    pub(super) fn nobody() -> Self {
        Self {
            workspace_id: Uuid::nil(),
            api_key_id: Uuid::nil(),
            vocabulary: Vocabulary::Guide,
        }
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let secret = bearer(parts)?;
        let mut conn = state.store.read().await?;
        if secret.starts_with(PERSONAL_ACCESS_TOKEN_PREFIX) {
            return with_token(&mut conn, secret, parts).await;
        }
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

async fn with_token(
    conn: &mut SqliteConnection,
    secret: &str,
    parts: &Parts,
) -> Result<Caller, ApiError> {
    let token = personal_access_tokens::find_by_secret(conn, secret).await?;
    let token = token.ok_or(ApiError::Unauthorized(
        "this personal access token is not known here or was revoked: make one with `encoder-coordinator token create`",
    ))?;
    let named = parts.headers.get(WORKSPACE_HEADER).ok_or(ApiError::Unauthorized(
        "a personal access token opens no workspace by itself: send the header `seam-workspace: WORKSPACE_ID`",
    ))?;
    let named = named
        .to_str()
        .ok()
        .and_then(|id| Uuid::parse_str(id.trim()).ok());
    let opened = personal_access_tokens::workspaces(conn, token.personal_access_token_id).await?;
    // A workspace that is not there is refused like one that the token does not open: strangers learn nothing of it.
    let workspace_id = named.filter(|id| opened.contains(id)).ok_or(ApiError::Unauthorized(
        "this personal access token does not open the workspace that `seam-workspace` names: `encoder-coordinator token list` shows those it opens",
    ))?;
    Ok(Caller {
        workspace_id,
        api_key_id: token.personal_access_token_id,
        vocabulary: token.vocabulary,
    })
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
            if ["seam_cst", "seam_pk"]
                .iter()
                .any(|kind| secret.starts_with(kind)) =>
        {
            Err(ApiError::Unauthorized(
                "client session tokens and publishable keys are not taken here: use an API key or a personal access token",
            ))
        }
        Some(secret) if !secret.starts_with(API_KEY_PREFIX) => Err(ApiError::Unauthorized(
            "this is no API key: they begin with `seam_`",
        )),
        Some(secret) => Ok(secret),
    }
}

#[cfg(test)]
mod tests;
