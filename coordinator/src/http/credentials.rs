//! `/acs/credentials/*`.

mod assignment;
mod provider;
mod unmanaged;

use axum::extract::State;
use encoder_protocols::card::key_record::MOST_ENTRANCES;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes,
    access_grants::unfit_field, act, change, entrances, entrances::entrance_json, page_json, read,
    remove, systems, time_json, user_identities, users, users::NamedUser,
};
use crate::{
    access_system,
    jobs::CredentialId,
    provider::ProviderMetadata,
    state::AppState,
    store::{
        access_methods,
        audit::{self, AuditEntry},
        credentials::{self, CredentialFilter, CredentialRow, IssueState, Validity},
        entrances::{self as entrance_store, EntranceRow},
        systems::SystemKind,
        users::{self as user_store, UserRow},
    },
};

/// How many credentials a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

/// The ways of access that the API knows.
const ACCESS_METHODS: &[&str] = &["code", "card", "mobile_key", "cloud_key"];

const CARD: &str = "card";

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/acs/credentials/create",
            "Makes a credential of a user.",
            act(create),
        )
        .route("/acs/credentials/get", "Returns a credential.", read(get))
        .route("/acs/credentials/list", "Lists credentials.", read(list))
        .route(
            "/acs/credentials/update",
            "Changes a credential; one that is on a card must be encoded again.",
            change(update),
        )
        .route(
            "/acs/credentials/delete",
            "Deletes a credential.",
            remove(delete),
        )
        .route(
            "/acs/credentials/assign",
            "Gives a credential, or a registered card, to a user.",
            change(assignment::assign),
        )
        .route(
            "/acs/credentials/unassign",
            "Takes a credential from its user.",
            change(assignment::unassign),
        )
        .route(
            "/acs/credentials/list_accessible_entrances",
            "Lists the entrances that a credential opens.",
            read(list_accessible_entrances),
        )
        .route(
            "/acs/credentials/unmanaged/get",
            "Returns a registered card that waits for its user.",
            read(unmanaged::get),
        )
        .route(
            "/acs/credentials/unmanaged/list",
            "Lists registered cards that wait for their users.",
            read(unmanaged::list),
        )
}

/// A credential as the API shows it.
pub fn credential_json(credential: &CredentialRow) -> Value {
    let issued = credential.issued.as_ref();
    let mut json = json!({
        "acs_credential_id": credential.acs_credential_id,
        "acs_system_id": credential.acs_system_id,
        "connected_account_id": credential.connected_account_id,
        "workspace_id": credential.workspace_id,
        "access_method": CARD,
        "display_name": credential.display_name,
        "code": null,
        "card_number": credential.card_number(),
        "is_issued": issued.is_some(),
        "issued_at": issued.map(|issued| time_json(issued.at)),
        "created_at": time_json(credential.created_at),
        "is_managed": !credential.is_unmanaged(),
        "is_multi_phone_sync_credential": false,
        "is_one_time_use": false,
        "is_latest_desired_state_synced_with_provider": null,
        "latest_desired_state_synced_with_provider_at": null,
        "errors": [],
        "warnings": warnings(credential),
    });
    if let Some(user) = credential.acs_user_id {
        json["acs_user_id"] = json!(user);
    }
    if let Some(person) = credential.user_identity_id {
        json["user_identity_id"] = json!(person);
    }
    if let Some((external_type, name)) = credential.kind.credential_type() {
        json["external_type"] = json!(external_type);
        json["external_type_display_name"] = json!(name);
    }
    if let Some((field, metadata)) = provider::shown(credential) {
        json[field] = metadata;
    }
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
    user: NamedUser,
    acs_entrance_ids: Vec<Uuid>,
    provider: Vec<ProviderMetadata>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

async fn create(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let wanted = read_wanted(&mut reader);
    reader.finish()?;
    let wanted = wanted?;

    let mut conn = state.store.write().await?;
    let (user, kind) = find_user(&state, &mut conn, &caller, wanted.user).await?;
    let entrances = find_entrances(&mut conn, &caller, &user, &wanted.acs_entrance_ids).await?;
    let provider = provider::of_kind(kind, wanted.provider)?;
    if let Some(provider) = &provider {
        provider::check(&mut conn, &caller, &user, &entrances, provider).await?;
    }
    let validity = (wanted.starts_at, wanted.ends_at);
    let now = state.clock.utc();
    let numbers = entrances.iter().map(|entrance| entrance.number).collect();
    check_fits(validity, numbers, now)?;
    let credential =
        credentials::create(&mut conn, &user, provider, validity, &entrances, now).await?;
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
    check_filter(&mut conn, &caller, &filter).await?;
    let found = credentials::list(&mut conn, caller.workspace_id, &filter, page?).await?;
    Ok(page_json(
        "acs_credentials",
        &found,
        &params,
        |credential| credential.acs_credential_id,
        credential_json,
    ))
}

async fn list_accessible_entrances(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_credential_id");
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let credential = find(&mut conn, &caller, id?).await?;
    let id = credential.acs_credential_id;
    let found = entrance_store::of_credential(&mut conn, caller.workspace_id, id).await?;
    let shown: Vec<_> = found.iter().map(entrance_json).collect();
    Ok(Reply::of("acs_entrances", shown))
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
        refuse_granted(&mut conn, id, "update its access grant").await?;
        if credential.starts_at.is_some_and(|starts| ends_at <= starts) {
            return Err(ApiError::field("ends_at", "must be after starts_at"));
        }
        let now = state.clock.utc();
        check_fits((credential.starts_at, Some(ends_at)), Vec::new(), now)?;
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
    let why = "this access system only does cards";
    // What is wrong stands in the reader.
    let _ = reader.offered_choice("access_method", ACCESS_METHODS, CARD, why);
    reader.refuse("code", "a card credential has no code");
    let user = users::read_named(reader);
    let entrances = reader.optional_ids_up_to(MOST_ENTRANCES, "allowed_acs_entrance_ids");
    let provider = provider::read(reader);
    let starts_at = reader.optional_time("starts_at");
    let ends_at = reader.optional_time("ends_at");
    let (starts_at, ends_at) = (starts_at?, ends_at?);
    if let (Some(starts), Some(ends)) = (starts_at, ends_at)
        && ends <= starts
    {
        reader.wrong("ends_at", "must be after starts_at");
    }
    Ok(Wanted {
        user: user?,
        acs_entrance_ids: entrances?.unwrap_or_default(),
        provider: provider?,
        starts_at,
        ends_at,
    })
}

fn read_filter(reader: &mut Reader<'_>) -> Result<CredentialFilter, Invalid> {
    let system = reader.optional_id("acs_system_id");
    let user = reader.optional_id("acs_user_id");
    let person = reader.optional_id("user_identity_id");
    let before = reader.optional_time("created_before");
    let search = reader.optional_text("search");
    Ok(CredentialFilter {
        acs_system_id: system?,
        acs_user_id: user?,
        user_identity_id: person?,
        created_before: before?,
        search: search?,
        ..CredentialFilter::default()
    })
}

/// What a list is filtered by must be there.
async fn check_filter(
    conn: &mut SqliteConnection,
    caller: &Caller,
    filter: &CredentialFilter,
) -> Result<(), ApiError> {
    if let Some(id) = filter.acs_system_id {
        systems::find(conn, caller, id).await?;
    }
    if let Some(id) = filter.acs_user_id {
        user_store::find(conn, caller.workspace_id, id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsUser, id))?;
    }
    if let Some(id) = filter.user_identity_id {
        user_identities::find(conn, caller, id).await?;
    }
    Ok(())
}

/// Refuses to change what an access method has the say in.
async fn refuse_granted(
    conn: &mut SqliteConnection,
    acs_credential_id: Uuid,
    instead: &str,
) -> Result<(), ApiError> {
    match access_methods::of_credential(conn, acs_credential_id).await? {
        None => Ok(()),
        Some(method) => Err(ApiError::field(
            "acs_credential_id",
            format!(
                "the credential belongs to the access method {}: {instead}",
                method.access_method_id
            ),
        )),
    }
}

async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<CredentialRow, ApiError> {
    credentials::find(conn, caller.workspace_id, id)
        .await?
        .filter(|row| !row.is_unmanaged())
        .ok_or(ApiError::NotFound(Resource::AcsCredential, id))
}

/// The user who is to have a new credential, and the kind of their system. A person without one in the system that is named gets one.
async fn find_user(
    state: &AppState,
    conn: &mut SqliteConnection,
    caller: &Caller,
    named: NamedUser,
) -> Result<(UserRow, SystemKind), ApiError> {
    let system = match named.acs_system_id {
        Some(id) => systems::find(conn, caller, id).await?,
        None => {
            let user = users::find_named(conn, caller, named).await?;
            systems::find(conn, caller, user.acs_system_id).await?
        }
    };
    let user = users::find_or_make(state, conn, caller, named, &system).await?;
    let kind = system.kind;
    if kind.assigns_cards() {
        return Err(ApiError::field(
            "access_method",
            format!(
                "cards of a {} system are registered ones: assign one with /acs/credentials/assign",
                kind.name()
            ),
        ));
    }
    Ok((user, kind))
}

async fn find_entrances(
    conn: &mut SqliteConnection,
    caller: &Caller,
    user: &UserRow,
    ids: &[Uuid],
) -> Result<Vec<EntranceRow>, ApiError> {
    let mut found = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        let entrance = entrances::find(conn, caller, *id).await?;
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
fn check_fits(validity: Validity, entrances: Vec<u16>, now: Timestamp) -> Result<(), ApiError> {
    access_system::check_fits(validity, entrances, now).map_err(|error| {
        let (field, message) = (
            unfit_field(&error, "allowed_acs_entrance_ids"),
            error.to_string(),
        );
        ApiError::field(field, message)
    })
}

fn warnings(credential: &CredentialRow) -> Value {
    if credential.registered_number.is_some() {
        return json!([]);
    }
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
