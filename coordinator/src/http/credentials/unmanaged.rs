//! `/acs/credentials/unmanaged/*`: registered cards that wait for their user.

use axum::extract::State;

use super::{DEFAULT_LIMIT, check_filter, credential_json, read_filter};
use crate::{
    http::{Answer, ApiError, Caller, Params, Reply, Resource, page_json},
    state::AppState,
    store::credentials::{self, CredentialFilter, CredentialRow},
};

pub(super) async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_credential_id");
    reader.finish()?;
    let id = id?;
    let mut conn = state.store.read().await?;
    let card = credentials::find(&mut conn, caller.workspace_id, id)
        .await?
        .filter(CredentialRow::is_unmanaged)
        .ok_or(ApiError::NotFound(Resource::AcsCredential, id))?;
    Ok(Reply::of("acs_credential", credential_json(&card)))
}

pub(super) async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let filter = read_filter(&mut reader);
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let filter = CredentialFilter {
        is_unmanaged: true,
        ..filter?
    };
    let mut conn = state.store.read().await?;
    check_filter(&mut conn, &caller, &filter).await?;
    let found = credentials::list(&mut conn, caller.workspace_id, &filter, page?).await?;
    Ok(page_json(
        "acs_credentials",
        &found,
        &params,
        |card| card.acs_credential_id,
        credential_json,
    ))
}
