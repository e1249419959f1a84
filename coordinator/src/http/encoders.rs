//! `/acs/encoders/*`.

use axum::{Router, extract::State};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, act, action_attempts,
    page_json, read, time_json,
};
use crate::{
    desk::{Asked, DeskError},
    jobs::{CredentialId, EncoderId},
    state::AppState,
    store::{
        credentials,
        encoders::{self, EncoderFilter, EncoderRow},
        systems,
    },
};

/// How many encoders a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

const NO_ACCESS_METHODS: &str =
    "access methods are not offered by this service yet: give acs_credential_id";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/acs/encoders/get", read(get))
        .route("/acs/encoders/list", read(list))
        .route("/acs/encoders/encode_credential", act(encode))
        .route("/acs/encoders/scan_credential", act(scan))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_encoder_id");
    reader.finish()?;
    let encoder = find(&state, &caller, id?).await?;
    Ok(Reply::of("acs_encoder", encoder_json(&encoder)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let filter = read_filter(&mut reader);
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let (filter, page) = (filter?, page?);
    let mut conn = state.store.read().await?;
    for id in filter.acs_system_ids.iter().flatten() {
        systems::find(&mut conn, caller.workspace_id, *id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsSystem, *id))?;
    }
    let found = encoders::list(&mut conn, caller.workspace_id, &filter, page).await?;
    Ok(page_json(
        "acs_encoders",
        &found,
        &params,
        |encoder| encoder.acs_encoder_id,
        encoder_json,
    ))
}

async fn encode(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let encoder = reader.id("acs_encoder_id");
    reader.refuse("access_method_id", NO_ACCESS_METHODS);
    let credential = if reader.is_given("access_method_id") {
        reader.optional_id("acs_credential_id")
    } else {
        reader.id("acs_credential_id").map(Some)
    };
    reader.finish()?;
    let encoder = find(&state, &caller, encoder?).await?;
    let credential = credential?.unwrap_or_default();
    let mut conn = state.store.read().await?;
    let row = credentials::find(&mut conn, caller.workspace_id, credential)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsCredential, credential))?;
    drop(conn);
    if row.acs_system_id != encoder.acs_system_id {
        return Err(ApiError::field(
            "acs_credential_id",
            "the credential belongs to another access system than the encoder: use an encoder of its own system",
        ));
    }
    ask(&state, &caller, &encoder, Some(CredentialId(credential))).await
}

async fn scan(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let encoder = reader.id("acs_encoder_id");
    reader.finish()?;
    let encoder = find(&state, &caller, encoder?).await?;
    ask(&state, &caller, &encoder, None).await
}

/// Hands the request to the desk and answers with its attempt, which is pending or has ended at once.
async fn ask(
    state: &AppState,
    caller: &Caller,
    encoder: &EncoderRow,
    credential: Option<CredentialId>,
) -> Answer {
    let asked = Asked {
        encoder: EncoderId(encoder.acs_encoder_id),
        credential,
        api_key: caller.api_key_id,
    };
    let attempt = state.desk.ask(asked).await.map_err(|error| match error {
        DeskError::Unknown => credential.map_or(
            ApiError::NotFound(Resource::AcsEncoder, encoder.acs_encoder_id),
            |credential| ApiError::NotFound(Resource::AcsCredential, credential.0),
        ),
        DeskError::AgentInUse | DeskError::Failed | DeskError::Revoked => error.into(),
    })?;
    let mut conn = state.store.read().await?;
    let attempt = action_attempts::find_json(&mut conn, caller, attempt.0).await?;
    Ok(Reply::of("action_attempt", attempt))
}

fn encoder_json(encoder: &EncoderRow) -> Value {
    json!({
        "acs_encoder_id": encoder.acs_encoder_id,
        "acs_system_id": encoder.acs_system_id,
        "connected_account_id": encoder.connected_account_id,
        "workspace_id": encoder.workspace_id,
        "display_name": encoder.display_name,
        "created_at": time_json(encoder.created_at),
        "errors": [],
    })
}

fn read_filter(reader: &mut Reader<'_>) -> Result<EncoderFilter, Invalid> {
    let system = reader.optional_id("acs_system_id");
    let systems = reader.optional_ids("acs_system_ids");
    let encoders = reader.optional_ids("acs_encoder_ids");
    let (system, systems, encoders) = (system?, systems?, encoders?);
    if system.is_none() && systems.is_none() && encoders.is_none() {
        return Err(reader.wrong(
            "acs_system_id",
            "Required, or acs_system_ids, or acs_encoder_ids",
        ));
    }
    let systems = match (system, systems) {
        (Some(one), Some(many)) => Some(many.into_iter().filter(|id| *id == one).collect()),
        (Some(one), None) => Some(vec![one]),
        (None, many) => many,
    };
    Ok(EncoderFilter {
        acs_system_ids: systems,
        acs_encoder_ids: encoders,
    })
}

async fn find(state: &AppState, caller: &Caller, id: Uuid) -> Result<EncoderRow, ApiError> {
    let mut conn = state.store.read().await?;
    encoders::find(&mut conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsEncoder, id))
}
