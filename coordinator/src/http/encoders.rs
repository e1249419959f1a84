//! `/acs/encoders/*`.

mod simulate;

use axum::extract::State;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, access_methods,
    act, action_attempts, page_json, read, reader::given, systems, time_json, users,
};
use crate::{
    desk::{Asked, DeskError},
    jobs::{CredentialId, EncoderId},
    state::AppState,
    store::{
        attempts::{Aim, Tags},
        credentials,
        encoders::{self, EncoderFilter, EncoderRow},
        systems::SystemKind,
    },
};

/// How many encoders a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/acs/encoders/get", "Returns an encoder.", read(get))
        .route("/acs/encoders/list", "Lists the encoders of access systems.", read(list))
        .route("/acs/encoders/encode_credential", "Puts a credential, or the one of an access method, onto the card that is held to an encoder.", act(encode))
        .route("/acs/encoders/scan_credential", "Reads the card that is held to an encoder.", act(scan))
        .route(
            "/acs/encoders/scan_to_assign_credential", "Reads the card that is held to an encoder and gives it to a user.",
            act(scan_to_assign),
        )
        .merge(simulate::routes())
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
        systems::find(&mut conn, &caller, *id).await?;
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
    let credential = reader.optional_id("acs_credential_id");
    let method = reader.optional_id("access_method_id");
    reader.one_of(&[
        ("acs_credential_id", given(&credential)),
        ("access_method_id", given(&method)),
    ]);
    reader.finish()?;
    let encoder = find(&state, &caller, encoder?).await?;
    let mut conn = state.store.read().await?;
    let credential = match method? {
        Some(id) => {
            let method = access_methods::find(&mut conn, &caller, id).await?;
            access_methods::credential_to_encode(&method, encoder.acs_system_id)?
        }
        None => {
            let credential = credential?.unwrap_or_default();
            credential_to_encode(&mut conn, &caller, credential, &encoder).await?
        }
    };
    drop(conn);
    ask(&state, &caller, &encoder, Wish::Encode(credential)).await
}

async fn credential_to_encode(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
    encoder: &EncoderRow,
) -> Result<CredentialId, ApiError> {
    const FIELD: &str = "acs_credential_id";
    let row = credentials::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsCredential, id))?;
    if row.acs_system_id != encoder.acs_system_id {
        return Err(ApiError::field(
            FIELD,
            "the credential belongs to another access system than the encoder: use an encoder of its own system",
        ));
    }
    if row.registered_number.is_some() {
        return Err(ApiError::field(
            FIELD,
            "cards of this access system are assigned, not encoded",
        ));
    }
    Ok(CredentialId(id))
}

async fn scan(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let encoder = reader.id("acs_encoder_id");
    let new_tags = read_new_tags(&mut reader);
    reader.finish()?;
    let encoder = find(&state, &caller, encoder?).await?;
    let mut conn = state.store.read().await?;
    let system = systems::find(&mut conn, &caller, encoder.acs_system_id).await?;
    drop(conn);
    let tags = tags(system.kind, new_tags?)?;
    ask(&state, &caller, &encoder, Wish::Scan(tags)).await
}

async fn scan_to_assign(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let encoder = reader.id("acs_encoder_id");
    let named = users::read_named(&mut reader);
    let new_tags = read_new_tags(&mut reader);
    reader.finish()?;
    let encoder = find(&state, &caller, encoder?).await?;
    let mut conn = state.store.write().await?;
    let system = systems::find(&mut conn, &caller, encoder.acs_system_id).await?;
    let tags = tags(system.kind, new_tags?)?;
    let user = users::find_or_make(&state, &mut conn, &caller, named?, &system).await?;
    conn.commit().await?;
    let wish = Wish::ScanToAssign(user.acs_user_id, tags);
    ask(&state, &caller, &encoder, wish).await
}

const NEW_TAGS: &str = "salto_ks_metadata.detect_new_tags";

/// Whether a scan is to look for new tags.
fn read_new_tags(reader: &mut Reader<'_>) -> Result<bool, Invalid> {
    reader.optional_object("salto_ks_metadata")?;
    Ok(reader.optional_flag(NEW_TAGS)?.unwrap_or(false))
}

/// Which cards a scan takes. New tags are a matter of Salto KS alone.
fn tags(kind: SystemKind, new_tags: bool) -> Result<Option<Tags>, ApiError> {
    match (kind, new_tags) {
        (SystemKind::SaltoKs, true) => Ok(Some(Tags::New)),
        (SystemKind::SaltoKs, false) => Ok(Some(Tags::Registered)),
        (_, false) => Ok(None),
        (_, true) => Err(ApiError::field(
            NEW_TAGS,
            format!(
                "only Salto KS systems register new tags, and the encoder's is {}",
                kind.name()
            ),
        )),
    }
}

/// What a request wants of an encoder.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// Encode this credential.
    Encode(CredentialId),
    /// Encode this access method, whose credential is this.
    EncodeMethod(Uuid, CredentialId),
    /// Scan a card.
    Scan(Option<Tags>),
    /// Scan a card and give it to this user.
    ScanToAssign(Uuid, Option<Tags>),
}

/// Hands the request to the desk and answers with its attempt, which is pending or has ended at once.
pub(super) async fn ask(
    state: &AppState,
    caller: &Caller,
    encoder: &EncoderRow,
    wish: Wish,
) -> Answer {
    let (credential, aim, tags) = match wish {
        Wish::Encode(credential) => (Some(credential), None, None),
        Wish::EncodeMethod(id, credential) => (Some(credential), Some(Aim::AccessMethod(id)), None),
        Wish::Scan(tags) => (None, None, tags),
        Wish::ScanToAssign(user, tags) => (None, Some(Aim::AssignTo(user)), tags),
    };
    let asked = Asked {
        encoder: EncoderId(encoder.acs_encoder_id),
        credential,
        aim,
        tags,
        api_key: caller.api_key_id,
    };
    let attempt = state.desk.ask(asked).await.map_err(|error| match error {
        DeskError::Unknown => credential.map_or(
            ApiError::NotFound(Resource::AcsEncoder, encoder.acs_encoder_id),
            |credential| ApiError::NotFound(Resource::AcsCredential, credential.0),
        ),
        DeskError::AgentInUse
        | DeskError::AnothersJournal
        | DeskError::Failed
        | DeskError::JournalInUse
        | DeskError::Revoked => error.into(),
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
    reader.any_of(&[
        ("acs_system_id", given(&system)),
        ("acs_system_ids", given(&systems)),
        ("acs_encoder_ids", given(&encoders)),
    ]);
    let (system, systems, encoders) = (system?, systems?, encoders?);
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

/// The encoder with this id.
pub(super) async fn find(
    state: &AppState,
    caller: &Caller,
    id: Uuid,
) -> Result<EncoderRow, ApiError> {
    let mut conn = state.store.read().await?;
    encoders::find(&mut conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsEncoder, id))
}
