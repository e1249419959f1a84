//! `/access_grants/*`.

mod related;
mod request;
mod shown;

use std::slice;

use axum::extract::State;
use encoder_protocols::card::key_record::RecordContentError;
use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, act, change,
    entrances, page_json, read, remove, spaces, systems, time_json, user_identities, withdrawn,
};
use crate::{
    grants::{self, ProvisionError},
    state::AppState,
    store::{
        access_grants::{self, GrantFilter, GrantRow},
        access_methods::{self, AccessMethodFilter},
        audit::{self, AuditEntry},
        events::{self, EventType},
    },
};

/// How many grants a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

const NO_DEVICES: &str = "devices and access codes are not offered by this service";
const NO_CUSTOMERS: &str = "customers are not offered by this service";
const NO_LOCATIONS: &str = "locations are spaces now: give space_id or space_ids";

pub(super) use shown::GrantParts;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/access_grants/create",
            "Grants a person access and makes its access methods.",
            act(request::create),
        )
        .route("/access_grants/get", "Returns an access grant.", read(get))
        .route("/access_grants/list", "Lists access grants.", read(list))
        .route(
            "/access_grants/get_related",
            "Returns what belongs to access grants.",
            read(related::get_related),
        )
        .route(
            "/access_grants/request_access_methods",
            "Asks for further access methods of an access grant.",
            act(request::request_access_methods),
        )
        .route(
            "/access_grants/update",
            "Changes the name or the times of an access grant.",
            change(update),
        )
        .route(
            "/access_grants/delete",
            "Deletes an access grant and its access methods.",
            remove(delete),
        )
}

/// How a request names a grant: by its id, else by its key.
#[derive(Debug)]
pub(super) struct NamedGrant {
    access_grant_id: Option<Uuid>,
    access_grant_key: Option<String>,
}

/// Reads which grant is meant, if any is.
pub(super) fn read_optional_named(reader: &mut Reader<'_>) -> Result<Option<NamedGrant>, Invalid> {
    let id = reader.optional_id("access_grant_id");
    let key = reader.optional_filled_text("access_grant_key");
    let named = NamedGrant {
        access_grant_id: id?,
        access_grant_key: key?,
    };
    let is_named = named.access_grant_id.is_some() || named.access_grant_key.is_some();
    Ok(is_named.then_some(named))
}

fn read_named(reader: &mut Reader<'_>) -> Result<NamedGrant, Invalid> {
    let named = read_optional_named(reader);
    let (id, key) = match &named {
        Ok(Some(named)) => (
            named.access_grant_id.is_some(),
            named.access_grant_key.is_some(),
        ),
        Ok(None) => (false, false),
        Err(Invalid) => (true, true),
    };
    reader.any_of(&[("access_grant_id", id), ("access_grant_key", key)]);
    named?.ok_or(Invalid)
}

/// The grant that a request names.
pub(super) async fn find_named(
    conn: &mut SqliteConnection,
    caller: &Caller,
    named: &NamedGrant,
) -> Result<GrantRow, ApiError> {
    match (named.access_grant_id, &named.access_grant_key) {
        (Some(id), _) => find(conn, caller, id).await,
        (None, key) => by_key(conn, caller, key.as_deref().unwrap_or_default()).await,
    }
}

/// The grant with this id.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<GrantRow, ApiError> {
    access_grants::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AccessGrant, id))
}

async fn by_key(
    conn: &mut SqliteConnection,
    caller: &Caller,
    key: &str,
) -> Result<GrantRow, ApiError> {
    access_grants::by_key(conn, caller.workspace_id, key)
        .await?
        .ok_or_else(|| ApiError::KeyNotFound(Resource::AccessGrant, key.to_owned()))
}

/// The answer where a grant's cards cannot carry what it gives.
pub(super) fn unfit(error: ProvisionError) -> ApiError {
    match error {
        ProvisionError::Store(error) => error.into(),
        ProvisionError::DoesNotFit(error) => {
            let (field, message) = (unfit_field(&error, "acs_entrance_ids"), error.to_string());
            ApiError::field(field, message)
        }
    }
}

/// The field that asked for what no card can carry.
pub(super) fn unfit_field(error: &RecordContentError, entrances: &'static str) -> &'static str {
    match error {
        RecordContentError::EndsBeforeStart { .. } => "ends_at",
        RecordContentError::TimeOutOfRange { what, .. } => what,
        RecordContentError::TooManyEntrances(_) | RecordContentError::EntranceZero => entrances,
    }
}

/// The answer with one grant.
async fn reply(conn: &mut SqliteConnection, caller: &Caller, grant: GrantRow) -> Answer {
    let parts = GrantParts::of(conn, caller, slice::from_ref(&grant)).await?;
    Ok(Reply::of("access_grant", parts.json(&grant)))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = read_named(&mut reader);
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let grant = find_named(&mut conn, &caller, &named?).await?;
    reply(&mut conn, &caller, grant).await
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let filter = read_filter(&mut reader);
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let filter = filter?;
    let mut conn = state.store.read().await?;
    if let Some(id) = filter.user_identity_id {
        user_identities::find(&mut conn, &caller, id).await?;
    }
    if let Some(id) = filter.space_id {
        spaces::find(&mut conn, &caller, id).await?;
    }
    if let Some(id) = filter.acs_entrance_id {
        entrances::find(&mut conn, &caller, id).await?;
    }
    if let Some(id) = filter.acs_system_id {
        systems::find(&mut conn, &caller, id).await?;
    }
    let found = access_grants::list(&mut conn, caller.workspace_id, &filter, page?).await?;
    let parts = GrantParts::of(&mut conn, &caller, &found.rows).await?;
    Ok(page_json(
        "access_grants",
        &found,
        &params,
        |grant| grant.access_grant_id,
        |grant| parts.json(grant),
    ))
}

fn read_filter(reader: &mut Reader<'_>) -> Result<GrantFilter, Invalid> {
    let ids = reader.optional_ids("access_grant_ids");
    let key = reader.optional_text("access_grant_key");
    let reservation = reader.optional_text("reservation_key");
    let identity = reader.optional_id("user_identity_id");
    let space = reader.optional_id("space_id");
    let entrance = reader.optional_id("acs_entrance_id");
    let system = reader.optional_id("acs_system_id");
    reader.refuse("location_id", NO_LOCATIONS);
    reader.refuse("customer_key", NO_CUSTOMERS);
    reader.refuse("device_id", NO_DEVICES);
    reader.refuse("access_code_id", NO_DEVICES);
    Ok(GrantFilter {
        access_grant_ids: ids?,
        access_grant_keys: key?.map(|key| vec![key]),
        reservation_key: reservation?,
        user_identity_id: identity?,
        space_id: space?,
        acs_entrance_id: entrance?,
        acs_system_id: system?,
    })
}

async fn update(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = read_named(&mut reader);
    let name = reader.optional_text("name");
    let unnamed = reader.is_null("name");
    let starts_at = reader.optional_time("starts_at");
    let ends_at = reader.optional_time("ends_at");
    let endless = reader.is_null("ends_at");
    reader.finish()?;
    let (name, starts_at, ends_at) = (name?, starts_at?, ends_at?);

    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let grant = find_named(&mut conn, &caller, &named?).await?;
    let wanted = GrantRow {
        name: if unnamed {
            None
        } else {
            name.or_else(|| grant.name.clone())
        },
        starts_at: starts_at.unwrap_or(grant.starts_at),
        ends_at: if endless {
            None
        } else {
            ends_at.or(grant.ends_at)
        },
        ..grant.clone()
    };
    check_times(wanted.starts_at, ends_at.and(wanted.ends_at), now)?;
    if wanted.ends_at.is_some_and(|ends| ends <= wanted.starts_at) {
        return Err(ApiError::field("starts_at", "must be before ends_at"));
    }
    access_grants::update(&mut conn, &wanted).await?;
    if (wanted.starts_at, wanted.ends_at) != (grant.starts_at, grant.ends_at) {
        record_new_times(&mut conn, &wanted, now).await?;
        grants::provision(&mut conn, &wanted, now)
            .await
            .map_err(unfit)?;
    }
    note(&mut conn, &caller, "access_grant.update", &wanted, now).await?;
    conn.commit().await?;
    Ok(Reply::done())
}

/// Refuses an end that is not after the start, or over already.
fn check_times(
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), ApiError> {
    match ends_at {
        Some(ends) if ends <= starts_at => {
            Err(ApiError::field("ends_at", "must be after starts_at"))
        }
        Some(ends) if ends <= now => Err(ApiError::field("ends_at", "must be in the future")),
        Some(_) | None => Ok(()),
    }
}

async fn record_new_times(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    now: Timestamp,
) -> Result<(), ApiError> {
    let mut details = json!({"starts_at": time_json(grant.starts_at)});
    if let Some(ends_at) = grant.ends_at {
        details["ends_at"] = time_json(ends_at);
    }
    if let Some(key) = &grant.access_grant_key {
        details["access_grant_key"] = json!(key);
    }
    let changed = EventType::AccessGrantAccessTimesChanged;
    let (workspace, subject) = (grant.workspace_id, grant.event_subject());
    events::record_with(conn, workspace, changed, subject, Some(&details), now, now).await?;
    Ok(())
}

async fn delete(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("access_grant_id");
    reader.finish()?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let grant = find(&mut conn, &caller, id?).await?;
    let filter = AccessMethodFilter {
        access_grant_ids: Some(vec![grant.access_grant_id]),
        ..AccessMethodFilter::default()
    };
    let mut deleted = Vec::new();
    for method in access_methods::list(&mut conn, caller.workspace_id, &filter).await? {
        let credential = access_methods::delete(&mut conn, &method, now).await?;
        let credentials = credential.as_slice();
        withdrawn::note(&mut conn, &caller, method.acs_system_id, credentials, now).await?;
        deleted.extend(credential);
    }
    access_grants::delete(&mut conn, &grant, now).await?;
    note(&mut conn, &caller, "access_grant.delete", &grant, now).await?;
    conn.commit().await?;
    withdrawn::tell(&state, &deleted).await?;
    Ok(Reply::done())
}

/// Notes in the audit trail which key changed a grant.
async fn note(
    conn: &mut SqliteConnection,
    caller: &Caller,
    action: &'static str,
    grant: &GrantRow,
    now: Timestamp,
) -> Result<(), ApiError> {
    let entry = AuditEntry {
        action: action.into(),
        workspace_id: Some(caller.workspace_id),
        api_key_id: Some(caller.api_key_id),
        detail: Some(grant.access_grant_id.to_string()),
        ..AuditEntry::default()
    };
    Ok(audit::record(conn, &entry, now).await?)
}

#[cfg(test)]
mod tests;
