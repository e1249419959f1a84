//! `/acs/credentials/*`.

use axum::{Router, extract::State};
use encoder_protocols::card::key_record::{KeyRecord, MOST_ENTRANCES, RecordContentError};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, act, change, page_json,
    read, remove, time_json,
};
use crate::{
    jobs::CredentialId,
    state::AppState,
    store::{
        audit::{self, AuditEntry},
        credentials::{self, CredentialFilter, CredentialRow, IssueState},
        entrances::{self, EntranceRow},
        systems,
        users::{self, UserRow},
    },
};

/// How many credentials a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

/// The ways of access that the API knows.
const ACCESS_METHODS: &[&str] = &["code", "card", "mobile_key", "cloud_key"];

const CARD: &str = "card";

const NO_IDENTITIES: &str = "user identities are not offered by this service yet: give acs_user_id";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/acs/credentials/create", act(create))
        .route("/acs/credentials/get", read(get))
        .route("/acs/credentials/list", read(list))
        .route("/acs/credentials/update", change(update))
        .route("/acs/credentials/delete", remove(delete))
}

/// A credential as the API shows it.
pub fn credential_json(credential: &CredentialRow) -> Value {
    let issued = credential.issued.as_ref();
    let mut json = json!({
        "acs_credential_id": credential.acs_credential_id,
        "acs_system_id": credential.acs_system_id,
        "acs_user_id": credential.acs_user_id,
        "connected_account_id": credential.connected_account_id,
        "workspace_id": credential.workspace_id,
        "access_method": CARD,
        "display_name": credential.display_name,
        "code": null,
        "card_number": issued.and_then(|issued| issued.card_number.as_deref()),
        "is_issued": issued.is_some(),
        "issued_at": issued.map(|issued| time_json(issued.at)),
        "created_at": time_json(credential.created_at),
        "is_managed": true,
        "is_multi_phone_sync_credential": false,
        "is_one_time_use": false,
        "is_latest_desired_state_synced_with_provider": null,
        "latest_desired_state_synced_with_provider_at": null,
        "errors": [],
        "warnings": warnings(credential),
    });
    if let Some(starts_at) = credential.starts_at {
        json["starts_at"] = time_json(starts_at);
    }
    if let Some(ends_at) = credential.ends_at {
        json["ends_at"] = time_json(ends_at);
    }
    json
}

/// What a request for a new credential asks for.
struct Wanted {
    acs_user_id: Uuid,
    acs_system_id: Option<Uuid>,
    acs_entrance_ids: Vec<Uuid>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

async fn create(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let wanted = read_wanted(&mut reader);
    reader.finish()?;
    let wanted = wanted?;

    let mut conn = state.store.write().await?;
    let user = find_user(&mut conn, &caller, &wanted).await?;
    let entrances = find_entrances(&mut conn, &user, &wanted.acs_entrance_ids).await?;
    let validity = (wanted.starts_at, wanted.ends_at);
    let now = state.clock.utc();
    let numbers = entrances.iter().map(|entrance| entrance.number).collect();
    check_fits_card(validity, numbers, now)?;
    let credential = credentials::create(&mut conn, &user, validity, &entrances, now).await?;
    note(&mut conn, &caller, "credential.create", &credential, now).await?;
    conn.commit().await?;
    Ok(Reply::of("acs_credential", credential_json(&credential)))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_credential_id");
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let credential = find(&mut conn, &caller, id?).await?;
    Ok(Reply::of("acs_credential", credential_json(&credential)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let filter = read_filter(&mut reader);
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let filter = filter?;
    let mut conn = state.store.read().await?;
    if let Some(id) = filter.acs_system_id {
        systems::find(&mut conn, caller.workspace_id, id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsSystem, id))?;
    }
    if let Some(id) = filter.acs_user_id {
        users::find(&mut conn, caller.workspace_id, id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsUser, id))?;
    }
    let found = credentials::list(&mut conn, caller.workspace_id, &filter, page?).await?;
    Ok(page_json(
        "acs_credentials",
        &found,
        &params,
        |credential| credential.acs_credential_id,
        credential_json,
    ))
}

async fn update(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_credential_id");
    let ends_at = reader.optional_time("ends_at");
    reader.refuse("code", "a card credential has no code");
    reader.finish()?;
    let (id, ends_at) = (id?, ends_at?);

    let mut conn = state.store.write().await?;
    let credential = find(&mut conn, &caller, id).await?;
    if let Some(ends_at) = ends_at {
        if credential.starts_at.is_some_and(|starts| ends_at <= starts) {
            return Err(ApiError::field("ends_at", "must be after starts_at"));
        }
        let now = state.clock.utc();
        check_fits_card((credential.starts_at, Some(ends_at)), Vec::new(), now)?;
        credentials::set_ends_at(&mut conn, id, ends_at, now).await?;
        note(&mut conn, &caller, "credential.update", &credential, now).await?;
    }
    let credential = find(&mut conn, &caller, id).await?;
    conn.commit().await?;
    Ok(Reply::of("acs_credential", credential_json(&credential)))
}

async fn delete(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_credential_id");
    reader.finish()?;
    let id = id?;
    let mut conn = state.store.write().await?;
    let credential = find(&mut conn, &caller, id).await?;
    let now = state.clock.utc();
    credentials::delete(&mut conn, &credential, now).await?;
    note(&mut conn, &caller, "credential.delete", &credential, now).await?;
    conn.commit().await?;
    state.desk.credential_deleted(CredentialId(id)).await?;
    Ok(Reply::done())
}

fn read_wanted(reader: &mut Reader<'_>) -> Result<Wanted, Invalid> {
    let method = reader.choice("access_method", ACCESS_METHODS);
    if let Ok(method) = method
        && method != CARD
    {
        reader.wrong(
            "access_method",
            format!("this access system only does cards, got '{method}': give 'card'"),
        );
    }
    reader.refuse("user_identity_id", NO_IDENTITIES);
    reader.refuse("code", "a card credential has no code");
    let user = reader.id("acs_user_id");
    let system = reader.optional_id("acs_system_id");
    let entrances = reader.optional_ids_up_to(MOST_ENTRANCES, "allowed_acs_entrance_ids");
    let starts_at = reader.optional_time("starts_at");
    let ends_at = reader.optional_time("ends_at");
    let (starts_at, ends_at) = (starts_at?, ends_at?);
    if let (Some(starts), Some(ends)) = (starts_at, ends_at)
        && ends <= starts
    {
        reader.wrong("ends_at", "must be after starts_at");
    }
    Ok(Wanted {
        acs_user_id: user?,
        acs_system_id: system?,
        acs_entrance_ids: entrances?.unwrap_or_default(),
        starts_at,
        ends_at,
    })
}

fn read_filter(reader: &mut Reader<'_>) -> Result<CredentialFilter, Invalid> {
    reader.refuse("user_identity_id", NO_IDENTITIES);
    let system = reader.optional_id("acs_system_id");
    let user = reader.optional_id("acs_user_id");
    let before = reader.optional_time("created_before");
    let search = reader.optional_text("search");
    if !["acs_system_id", "acs_user_id", "user_identity_id"]
        .iter()
        .any(|name| reader.is_given(name))
    {
        return Err(reader.wrong("acs_system_id", "Required, or acs_user_id"));
    }
    Ok(CredentialFilter {
        acs_system_id: system?,
        acs_user_id: user?,
        created_before: before?,
        search: search?,
    })
}

async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<CredentialRow, ApiError> {
    credentials::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsCredential, id))
}

async fn find_user(
    conn: &mut SqliteConnection,
    caller: &Caller,
    wanted: &Wanted,
) -> Result<UserRow, ApiError> {
    let user = users::find(conn, caller.workspace_id, wanted.acs_user_id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsUser, wanted.acs_user_id))?;
    match wanted.acs_system_id {
        Some(system) if system != user.acs_system_id => Err(ApiError::field(
            "acs_system_id",
            "the acs_user belongs to another access system",
        )),
        Some(_) | None => Ok(user),
    }
}

async fn find_entrances(
    conn: &mut SqliteConnection,
    user: &UserRow,
    ids: &[Uuid],
) -> Result<Vec<EntranceRow>, ApiError> {
    let mut found = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        let entrance = entrances::find(conn, user.workspace_id, *id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsEntrance, *id))?;
        if entrance.acs_system_id != user.acs_system_id {
            return Err(ApiError::field(
                &format!("allowed_acs_entrance_ids.{index}"),
                "the entrance belongs to another access system than the acs_user",
            ));
        }
        if !found.contains(&entrance) {
            found.push(entrance);
        }
    }
    Ok(found)
}

/// Notes in the audit trail which key changed a credential.
async fn note(
    conn: &mut SqliteConnection,
    caller: &Caller,
    action: &'static str,
    credential: &CredentialRow,
    now: Timestamp,
) -> Result<(), ApiError> {
    let entry = AuditEntry {
        action: action.into(),
        workspace_id: Some(caller.workspace_id),
        acs_system_id: Some(credential.acs_system_id),
        api_key_id: Some(caller.api_key_id),
        acs_credential_id: Some(credential.acs_credential_id),
        ..AuditEntry::default()
    };
    Ok(audit::record(conn, &entry, now).await?)
}

/// Refuses what no card of the embedded access system can carry, while whoever asks can still change it.
fn check_fits_card(
    (starts_at, ends_at): (Option<Timestamp>, Option<Timestamp>),
    entrances: Vec<u16>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let record = KeyRecord {
        credential_id: Uuid::nil(),
        issued_at: now,
        starts_at,
        ends_at,
        entrances,
    };
    record.check().map_err(|error| {
        let field = match &error {
            RecordContentError::EndsBeforeStart { .. } => "ends_at",
            RecordContentError::TimeOutOfRange { what, .. } => what,
            RecordContentError::TooManyEntrances(_) | RecordContentError::EntranceZero => {
                "allowed_acs_entrance_ids"
            }
        };
        ApiError::field(field, error.to_string())
    })
}

fn warnings(credential: &CredentialRow) -> Value {
    match credential.issue_state() {
        IssueState::Issued => json!([]),
        IssueState::Waiting => json!([{
            "created_at": time_json(credential.created_at),
            "warning_code": "waiting_to_be_issued",
            "message": "The credential is on no card yet: encode it.",
        }]),
        IssueState::ChangedSince => json!([{
            "created_at": time_json(credential.changed_at),
            "warning_code": "needs_to_be_reissued",
            "message": "The credential was changed after it was put on its card: encode it onto the same card again.",
        }]),
        IssueState::Doubtful => json!([{
            "created_at": time_json(credential.changed_at),
            "warning_code": "needs_to_be_reissued",
            "message": "What the credential's card carries is not certain: a write to it was interrupted, or was not seen \
                        by this service. Encode the credential onto the same card again.",
        }]),
    }
}

#[cfg(test)]
mod tests;
