//! `/acs/encoders/simulate/*`: what comes of the next encode or scan on a simulated encoder. In sandbox workspaces.

use axum::extract::State;
use encoder_protocols::wire::{ErrorCode, JobKind};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::EncoderRow;
use crate::{
    http::{Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, act},
    simulation::{Found, Simulation},
    state::AppState,
    store::{credentials, encoders, simulations, workspaces},
};

const ENCODER: &str = "acs_encoder_id";
/// The credential that an encode is about.
const ENCODED: &str = "acs_credential_id";
/// The credential that a scan finds.
const SCANNED: &str = "acs_credential_id_on_seam";

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/acs/encoders/simulate/next_credential_encode_will_succeed",
            "Makes the next encode on a simulated encoder succeed.",
            act(encode_will_succeed),
        )
        .route(
            "/acs/encoders/simulate/next_credential_encode_will_fail",
            "Makes the next encode on a simulated encoder fail.",
            act(encode_will_fail),
        )
        .route(
            "/acs/encoders/simulate/next_credential_scan_will_succeed",
            "Makes the next scan on a simulated encoder succeed.",
            act(scan_will_succeed),
        )
        .route(
            "/acs/encoders/simulate/next_credential_scan_will_fail",
            "Makes the next scan on a simulated encoder fail.",
            act(scan_will_fail),
        )
}

async fn encode_will_succeed(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    reader.only(&[ENCODER, "scenario"]);
    let encoder = reader.id(ENCODER);
    let scenario = reader.optional_choice("scenario", &["credential_is_issued"]);
    reader.finish()?;
    scenario?;
    let next = Next::encode(encoder?, Simulation::Success, None);
    put(&state, &caller, next).await
}

async fn encode_will_fail(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    reader.only(&[ENCODER, "error_code", ENCODED]);
    let encoder = reader.id(ENCODER);
    let alone = ["no_credential_on_encoder", "encoding_interrupted"];
    let failure = read_failure(&mut reader, &alone, ENCODED);
    reader.finish()?;
    let (code, credential) = failure?;
    let simulation = Simulation::Failure { code, credential };
    let next = Next::encode(encoder?, simulation, credential);
    put(&state, &caller, next).await
}

async fn scan_will_succeed(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    reader.only(&[ENCODER, "scenario", SCANNED]);
    let encoder = reader.id(ENCODER);
    let found = read_found(&mut reader);
    reader.finish()?;
    let (found, credential) = found?;
    let next = Next::scan(encoder?, Simulation::Found(found), credential);
    put(&state, &caller, next).await
}

async fn scan_will_fail(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    reader.only(&[ENCODER, "error_code", SCANNED]);
    let encoder = reader.id(ENCODER);
    let failure = read_failure(&mut reader, &["no_credential_on_encoder"], SCANNED);
    reader.finish()?;
    let (code, credential) = failure?;
    let simulation = Simulation::Failure {
        code,
        credential: None,
    };
    let next = Next::scan(encoder?, simulation, credential);
    put(&state, &caller, next).await
}

/// What is to come of the next job on an encoder.
struct Next {
    encoder: Uuid,
    kind: JobKind,
    simulation: Simulation,
    /// A credential that must be there, and the parameter that names it.
    credential: Option<(&'static str, Uuid)>,
}

impl Next {
    fn encode(encoder: Uuid, simulation: Simulation, credential: Option<Uuid>) -> Self {
        Self {
            encoder,
            kind: JobKind::Encode,
            simulation,
            credential: credential.map(|id| (ENCODED, id)),
        }
    }

    fn scan(encoder: Uuid, simulation: Simulation, credential: Option<Uuid>) -> Self {
        Self {
            encoder,
            kind: JobKind::Scan,
            simulation,
            credential: credential.map(|id| (SCANNED, id)),
        }
    }
}

/// The code that a job fails with. Those that are not `alone` may be about one credential.
fn read_failure(
    reader: &mut Reader<'_>,
    alone: &[&'static str],
    credential: &str,
) -> Result<(ErrorCode, Option<Uuid>), Invalid> {
    let mut codes = alone.to_vec();
    codes.extend(["uncategorized_error", "action_attempt_expired"]);
    let code = reader.optional_choice("error_code", &codes);
    let id = reader.optional_id(credential);
    let code = code?.unwrap_or("no_credential_on_encoder");
    if alone.contains(&code) && reader.is_given(credential) {
        return Err(reader.wrong(
            credential,
            "goes with the error codes uncategorized_error and action_attempt_expired only",
        ));
    }
    let code = match code {
        "encoding_interrupted" => ErrorCode::EncodingInterrupted,
        "uncategorized_error" => ErrorCode::UncategorizedError,
        "action_attempt_expired" => ErrorCode::ActionAttemptExpired,
        _ => ErrorCode::NoCardOnEncoder,
    };
    Ok((code, id?))
}

fn read_found(reader: &mut Reader<'_>) -> Result<(Found, Option<Uuid>), Invalid> {
    const KNOWN: [&str; 2] = [
        "credential_exists_on_seam",
        "credential_on_encoder_needs_update",
    ];
    let scenarios = [
        KNOWN[0],
        KNOWN[1],
        "credential_does_not_exist_on_seam",
        "credential_on_encoder_is_empty",
    ];
    let scenario = reader.optional_choice("scenario", &scenarios);
    let credential = reader.optional_id(SCANNED);
    let scenario = scenario?.unwrap_or(KNOWN[0]);
    if !KNOWN.contains(&scenario) && reader.is_given(SCANNED) {
        let message = format!("goes with the scenarios {} only", KNOWN.join(" and "));
        return Err(reader.wrong(SCANNED, message));
    }
    let credential = credential?;
    let found = match scenario {
        "credential_on_encoder_needs_update" => Found::OutOfSync { credential },
        "credential_does_not_exist_on_seam" => Found::Unknown,
        "credential_on_encoder_is_empty" => Found::Empty,
        _ => Found::Known { credential },
    };
    Ok((found, credential))
}

async fn put(state: &AppState, caller: &Caller, next: Next) -> Answer {
    let mut conn = state.store.write().await?;
    let encoder = find(&mut conn, caller, next.encoder).await?;
    if let Some((field, id)) = next.credential {
        let credential = credentials::find(&mut conn, caller.workspace_id, id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsCredential, id))?;
        if credential.acs_system_id != encoder.acs_system_id {
            return Err(ApiError::field(
                field,
                "the credential belongs to another access system than the encoder",
            ));
        }
    }
    simulations::put_next(
        &mut conn,
        encoder.acs_encoder_id,
        next.kind,
        &next.simulation,
    )
    .await?;
    conn.commit().await?;
    Ok(Reply::done())
}

/// The simulated encoder with this id, in a workspace that is for trying things out.
async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<EncoderRow, ApiError> {
    let encoder = encoders::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsEncoder, id))?;
    let workspace = workspaces::find(conn, caller.workspace_id).await?;
    if !workspace.is_some_and(|workspace| workspace.is_sandbox) {
        return Err(ApiError::NotSandbox);
    }
    if !encoder.simulated {
        return Err(ApiError::field(
            ENCODER,
            "the encoder is a real one: make a simulated one with `encoder-coordinator encoder create --simulated`",
        ));
    }
    Ok(encoder)
}
