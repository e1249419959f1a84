//! `/access_methods/*`.

mod assignment;
mod related;

use axum::extract::State;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, access_grants, act,
    encoders::{self, Wish},
    page_json, read,
    reader::given,
    remove, time_json, withdrawn,
};
use crate::{
    jobs::CredentialId,
    state::AppState,
    store::{
        access_grants::{self as grant_store, GrantFilter},
        access_methods::{self, AccessMethodFilter, AccessMethodRow},
        credentials::IssueState,
    },
};

/// How many access methods a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

/// What the API calls the card of an access method.
const DISPLAY_NAME: &str = "Key Card";

const NO_DEVICES: &str = "devices and access codes are not offered by this service";

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/access_methods/get",
            "Returns an access method.",
            read(get),
        )
        .route("/access_methods/list", "Lists access methods.", read(list))
        .route(
            "/access_methods/get_related",
            "Returns what belongs to access methods.",
            read(related::get_related),
        )
        .route(
            "/access_methods/encode",
            "Puts an access method onto the card that is held to an encoder.",
            act(encode),
        )
        .route(
            "/access_methods/assign_card",
            "Gives a registered card to an access method.",
            act(assignment::assign_card),
        )
        .route(
            "/access_methods/delete",
            "Deletes an access method, or all of an access grant or a reservation.",
            remove(delete),
        )
}

/// An access method as the API shows it.
pub fn access_method_json(method: &AccessMethodRow) -> Value {
    let issued = method.issued();
    let assigns = method.kind.assigns_cards();
    let waits = issued.is_none();
    let mutations = pending_mutations(method);
    json!({
        "access_method_id": method.access_method_id,
        "workspace_id": method.workspace_id,
        "mode": "card",
        "display_name": DISPLAY_NAME,
        "code": null,
        "card_number": method.credential.as_ref().and_then(|card| card.card_number()),
        "is_issued": !waits,
        "issued_at": issued.map(|issued| time_json(issued.at)),
        "is_encoding_required": !assigns && method.issue_state() != IssueState::Issued,
        "is_ready_for_encoding": !assigns && waits,
        "is_assignment_required": assigns && waits,
        "is_ready_for_assignment": assigns && waits,
        "created_at": time_json(method.created_at),
        "errors": [],
        "warnings": warnings(&mutations),
        "pending_mutations": mutations,
    })
}

/// What its card does not carry yet. Empty unless the access method was changed since it was put on its card.
pub(super) fn pending_mutations(method: &AccessMethodRow) -> Vec<Value> {
    let Some(credential) = &method.credential else {
        return Vec::new();
    };
    if credential.issue_state() != IssueState::ChangedSince {
        return Vec::new();
    }
    let at = time_json(credential.changed_at);
    let carried = method.carried.as_ref();
    let (starts_at, ends_at) = carried.map_or((None, None), |it| (it.starts_at, it.ends_at));
    if carried.is_none() || (starts_at, ends_at) != (credential.starts_at, credential.ends_at) {
        let message = if carried.is_some() {
            "The card still carries the earlier times: encode it again."
        } else {
            "It is not known what the card carries: encode it again."
        };
        return vec![json!({
            "mutation_code": UPDATING_TIMES,
            "message": message,
            "created_at": at,
            "from": {"starts_at": starts_at.map(time_json), "ends_at": ends_at.map(time_json)},
            "to": {
                "starts_at": credential.starts_at.map(time_json),
                "ends_at": credential.ends_at.map(time_json),
            },
        })];
    }
    vec![json!({
        "mutation_code": "provisioning_access",
        "message": "The card still carries the earlier entrances: encode it again.",
        "created_at": at,
        "from": {"device_ids": []},
        "to": {"device_ids": []},
    })]
}

/// The mutation and warning that the times on a card are not the wanted ones.
pub(super) const UPDATING_TIMES: &str = "updating_access_times";

fn warnings(mutations: &[Value]) -> Vec<Value> {
    let updating = |mutation: &&Value| mutation["mutation_code"] == UPDATING_TIMES;
    let warning = |mutation: &Value| {
        json!({
            "warning_code": UPDATING_TIMES,
            "message": mutation["message"],
            "created_at": mutation["created_at"],
        })
    };
    mutations.iter().filter(updating).map(warning).collect()
}

/// The access method with this id.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<AccessMethodRow, ApiError> {
    access_methods::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AccessMethod, id))
}

/// The credential that an encode of an access method puts on the card of this encoder's system.
pub(super) fn credential_to_encode(
    method: &AccessMethodRow,
    encoder_system: Uuid,
) -> Result<CredentialId, ApiError> {
    const FIELD: &str = "access_method_id";
    if method.acs_system_id != encoder_system {
        return Err(ApiError::field(
            FIELD,
            "the access method belongs to another access system than the encoder: use an encoder of its own system",
        ));
    }
    match &method.credential {
        Some(credential) if !method.kind.assigns_cards() => {
            Ok(CredentialId(credential.acs_credential_id))
        }
        Some(_) | None => Err(ApiError::field(
            FIELD,
            "cards of this access system are not encoded: assign a registered one with /access_methods/assign_card",
        )),
    }
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("access_method_id");
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let method = find(&mut conn, &caller, id?).await?;
    Ok(Reply::of("access_method", access_method_json(&method)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let grant = access_grants::read_optional_named(&mut reader);
    let entrance = reader.optional_id("acs_entrance_id");
    let space = reader.optional_id("space_id");
    reader.refuse("device_id", NO_DEVICES);
    reader.refuse("access_code_id", NO_DEVICES);
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let (entrance, space) = (entrance?, space?);
    let mut conn = state.store.read().await?;
    let grant = match grant? {
        Some(named) => Some(access_grants::find_named(&mut conn, &caller, &named).await?),
        None => None,
    };
    if let Some(id) = entrance {
        super::entrances::find(&mut conn, &caller, id).await?;
    }
    if let Some(id) = space {
        super::spaces::find(&mut conn, &caller, id).await?;
    }
    let filter = AccessMethodFilter {
        access_method_ids: None,
        access_grant_ids: grant.map(|grant| vec![grant.access_grant_id]),
        acs_entrance_id: entrance,
        space_id: space,
    };
    let found = access_methods::page(&mut conn, caller.workspace_id, &filter, page?).await?;
    Ok(page_json(
        "access_methods",
        &found,
        &params,
        |method| method.access_method_id,
        access_method_json,
    ))
}

async fn encode(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("access_method_id");
    let encoder = reader.id("acs_encoder_id");
    reader.finish()?;
    let encoder = encoders::find(&state, &caller, encoder?).await?;
    let mut conn = state.store.read().await?;
    let method = find(&mut conn, &caller, id?).await?;
    drop(conn);
    let credential = credential_to_encode(&method, encoder.acs_system_id)?;
    let wish = Wish::EncodeMethod(method.access_method_id, credential);
    encoders::ask(&state, &caller, &encoder, wish).await
}

async fn delete(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = read_to_delete(&mut reader);
    reader.finish()?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let mut deleted = Vec::new();
    for method in find_to_delete(&mut conn, &caller, named?).await? {
        let credential = access_methods::delete(&mut conn, &method, now).await?;
        let credentials = credential.as_slice();
        withdrawn::note(&mut conn, &caller, method.acs_system_id, credentials, now).await?;
        deleted.extend(credential);
    }
    conn.commit().await?;
    withdrawn::tell(&state, &deleted).await?;
    Ok(Reply::done())
}

/// What a deletion names: one access method, or all of a grant or a reservation.
enum ToDelete {
    Method(Uuid),
    Grant(Uuid),
    Reservation(String),
}

fn read_to_delete(reader: &mut Reader<'_>) -> Result<ToDelete, Invalid> {
    let method = reader.optional_id("access_method_id");
    let grant = reader.optional_id("access_grant_id");
    let reservation = reader.optional_filled_text("reservation_key");
    reader.one_of(&[
        ("access_method_id", given(&method)),
        ("access_grant_id", given(&grant)),
        ("reservation_key", given(&reservation)),
    ]);
    match (method?, grant?, reservation?) {
        (Some(id), None, None) => Ok(ToDelete::Method(id)),
        (None, Some(id), None) => Ok(ToDelete::Grant(id)),
        (None, None, Some(key)) => Ok(ToDelete::Reservation(key)),
        // What is wrong stands in the reader.
        _ => Err(Invalid),
    }
}

async fn find_to_delete(
    conn: &mut SqliteConnection,
    caller: &Caller,
    named: ToDelete,
) -> Result<Vec<AccessMethodRow>, ApiError> {
    let grants = match named {
        ToDelete::Method(id) => return Ok(vec![find(conn, caller, id).await?]),
        ToDelete::Grant(id) => vec![access_grants::find(conn, caller, id).await?],
        ToDelete::Reservation(key) => {
            let filter = GrantFilter {
                reservation_key: Some(key),
                ..GrantFilter::default()
            };
            grant_store::all(conn, caller.workspace_id, &filter).await?
        }
    };
    let filter = AccessMethodFilter {
        access_grant_ids: Some(grants.iter().map(|grant| grant.access_grant_id).collect()),
        ..AccessMethodFilter::default()
    };
    Ok(access_methods::list(conn, caller.workspace_id, &filter).await?)
}

#[cfg(test)]
mod tests;
