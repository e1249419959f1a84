//! `/spaces/*`.

use axum::extract::State;
use jiff::{Timestamp, civil::Time};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, access_grants, act,
    change, entrances, page_json, read, reader::given, remove, replace, time_json,
};
use crate::{
    grants,
    state::AppState,
    store::{
        access_grants::{self as grant_store, GrantFilter},
        spaces::{self, SpaceDetails, SpaceFilter, SpaceRow},
    },
};

/// How many spaces a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

const NO_CUSTOMERS: &str = "customers are not offered by this service";
const NO_DEVICES: &str = "devices are not offered by this service";
const NO_PARENTS: &str = "spaces within spaces are not offered by this service";
const ENTRANCES: &str = "acs_entrance_ids";

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/spaces/create", "Makes a space.", act(create))
        .route("/spaces/get", "Returns a space.", read(get))
        .route("/spaces/list", "Lists spaces.", read(list))
        .route("/spaces/update", "Changes a space.", change(update))
        .route("/spaces/delete", "Deletes a space.", remove(delete))
        .route(
            "/spaces/add_acs_entrances",
            "Adds entrances to a space; access grants of the space follow.",
            replace(add_entrances),
        )
        .route(
            "/spaces/remove_acs_entrances",
            "Removes entrances from a space; access grants of the space follow.",
            remove(remove_entrances),
        )
}

/// A space as the API shows it.
pub(super) fn space_json(space: &SpaceRow) -> Value {
    let mut json = json!({
        "space_id": space.space_id,
        "workspace_id": space.workspace_id,
        "name": space.details.name,
        "display_name": space.details.name,
        "acs_entrance_count": space.acs_entrance_count,
        "device_count": 0,
        "created_at": time_json(space.created_at),
    });
    if let Some(key) = &space.details.space_key {
        json["space_key"] = json!(key);
    }
    if let Some(data) = &space.details.customer_data {
        json["customer_data"] = data.clone();
    }
    json
}

/// The space with this id.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<SpaceRow, ApiError> {
    spaces::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::Space, id))
}

/// The space with this key.
pub(super) async fn by_key(
    conn: &mut SqliteConnection,
    caller: &Caller,
    key: &str,
) -> Result<SpaceRow, ApiError> {
    spaces::by_key(conn, caller.workspace_id, key)
        .await?
        .ok_or_else(|| ApiError::KeyNotFound(Resource::Space, key.to_owned()))
}

async fn create(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let name = reader.text("name");
    let key = reader.optional_filled_text("space_key");
    let data = read_customer_data(&mut reader);
    let entrance_ids = reader.optional_ids(ENTRANCES);
    reader.refuse_list("device_ids", NO_DEVICES);
    reader.refuse("customer_key", NO_CUSTOMERS);
    reader.finish()?;
    let details = SpaceDetails {
        name: name?,
        space_key: key?,
        customer_data: data?,
    };
    let entrance_ids = entrance_ids?.unwrap_or_default();

    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    check_key(&mut conn, &caller, details.space_key.as_deref(), None).await?;
    let id = spaces::create(&mut conn, caller.workspace_id, &details, now).await?;
    put_entrances(&mut conn, &caller, id, &entrance_ids).await?;
    let space = find(&mut conn, &caller, id).await?;
    conn.commit().await?;
    Ok(Reply::of("space", space_json(&space)))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = read_named(&mut reader);
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let space = find_named(&mut conn, &caller, &named?).await?;
    Ok(Reply::of("space", space_json(&space)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let key = reader.optional_text("space_key");
    let account = reader.optional_id("connected_account_id");
    let search = reader.optional_text("search");
    reader.refuse("customer_key", NO_CUSTOMERS);
    refuse_parents(&mut reader);
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let filter = SpaceFilter {
        space_ids: None,
        space_key: key?,
        connected_account_id: account?,
        search: search?,
    };
    let mut conn = state.store.read().await?;
    let found = spaces::list(&mut conn, caller.workspace_id, &filter, page?).await?;
    Ok(page_json(
        "spaces",
        &found,
        &params,
        |space| space.space_id,
        space_json,
    ))
}

/// Changes a space, which is named by its id, or by its key alone.
async fn update(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = read_named(&mut reader);
    let name = reader.optional_filled_text("name");
    let data = read_customer_data(&mut reader);
    let entrance_ids = reader.optional_ids(ENTRANCES);
    reader.refuse_list("device_ids", NO_DEVICES);
    refuse_parents(&mut reader);
    reader.finish()?;
    let (named, name, data) = (named?, name?, data?);

    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let space = find_named(&mut conn, &caller, &named).await?;
    let id = space.space_id;
    let key = named.space_key.or(space.details.space_key);
    check_key(&mut conn, &caller, key.as_deref(), Some(id)).await?;
    let details = SpaceDetails {
        name: name.unwrap_or(space.details.name),
        space_key: key,
        customer_data: data.or(space.details.customer_data),
    };
    spaces::update(&mut conn, id, &details).await?;
    if let Some(entrance_ids) = entrance_ids? {
        spaces::clear_entrances(&mut conn, id).await?;
        put_entrances(&mut conn, &caller, id, &entrance_ids).await?;
        provision_grants(&mut conn, &caller, id, now).await?;
    }
    let space = find(&mut conn, &caller, id).await?;
    conn.commit().await?;
    Ok(Reply::of("space", space_json(&space)))
}

async fn delete(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("space_id");
    reader.finish()?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let space = find(&mut conn, &caller, id?).await?;
    let filter = of_space(space.space_id);
    let concerned = grant_store::all(&mut conn, caller.workspace_id, &filter).await?;
    spaces::delete(&mut conn, space.space_id).await?;
    for grant in &concerned {
        provision(&mut conn, grant, now).await?;
    }
    conn.commit().await?;
    Ok(Reply::done())
}

async fn add_entrances(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let (id, entrance_ids) = read_entrances(&params)?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    find(&mut conn, &caller, id).await?;
    put_entrances(&mut conn, &caller, id, &entrance_ids).await?;
    provision_grants(&mut conn, &caller, id, now).await?;
    conn.commit().await?;
    Ok(Reply::done())
}

async fn remove_entrances(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let (id, entrance_ids) = read_entrances(&params)?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    find(&mut conn, &caller, id).await?;
    for entrance in entrance_ids {
        let entrance = entrances::find(&mut conn, &caller, entrance).await?;
        spaces::remove_entrance(&mut conn, id, entrance.acs_entrance_id).await?;
    }
    provision_grants(&mut conn, &caller, id, now).await?;
    conn.commit().await?;
    Ok(Reply::done())
}

/// How a request names a space.
struct NamedSpace {
    space_id: Option<Uuid>,
    space_key: Option<String>,
}

fn read_named(reader: &mut Reader<'_>) -> Result<NamedSpace, Invalid> {
    let id = reader.optional_id("space_id");
    let key = reader.optional_filled_text("space_key");
    reader.any_of(&[("space_id", given(&id)), ("space_key", given(&key))]);
    Ok(NamedSpace {
        space_id: id?,
        space_key: key?,
    })
}

async fn find_named(
    conn: &mut SqliteConnection,
    caller: &Caller,
    named: &NamedSpace,
) -> Result<SpaceRow, ApiError> {
    match named.space_id {
        Some(id) => find(conn, caller, id).await,
        None => by_key(conn, caller, named.space_key.as_deref().unwrap_or_default()).await,
    }
}

fn read_entrances(params: &Params) -> Result<(Uuid, Vec<Uuid>), ApiError> {
    let mut reader = params.reader();
    let id = reader.id("space_id");
    let entrance_ids = reader.ids(ENTRANCES);
    reader.finish()?;
    Ok((id?, entrance_ids?))
}

fn refuse_parents(reader: &mut Reader<'_>) {
    reader.refuse("parent_space_id", NO_PARENTS);
    reader.refuse("parent_space_key", NO_PARENTS);
}

/// Defaults of stays: texts alone, and times of day where the name says so.
fn read_customer_data(reader: &mut Reader<'_>) -> Result<Option<Value>, Invalid> {
    const NAME: &str = "customer_data";
    let Some(data) = reader.optional_texts_by_name(NAME)? else {
        return Ok(None);
    };
    for field in ["default_checkin_time", "default_checkout_time"] {
        let is_time = |text: &str| text.is_ascii() && text.parse::<Time>().is_ok();
        if data
            .get(field)
            .and_then(Value::as_str)
            .is_some_and(|text| !is_time(text))
        {
            return Err(reader.wrong(&format!("{NAME}.{field}"), "Expected a time such as 15:00"));
        }
    }
    Ok(Some(Value::Object(data)))
}

async fn check_key(
    conn: &mut SqliteConnection,
    caller: &Caller,
    key: Option<&str>,
    own: Option<Uuid>,
) -> Result<(), ApiError> {
    let Some(key) = key else { return Ok(()) };
    let other = spaces::by_key(conn, caller.workspace_id, key).await?;
    match other.filter(|other| Some(other.space_id) != own) {
        None => Ok(()),
        Some(other) => Err(ApiError::field(
            "space_key",
            format!("the space {} has this key already", other.space_id),
        )),
    }
}

async fn put_entrances(
    conn: &mut SqliteConnection,
    caller: &Caller,
    space_id: Uuid,
    entrance_ids: &[Uuid],
) -> Result<(), ApiError> {
    for id in entrance_ids {
        let entrance = entrances::find(conn, caller, *id).await?;
        spaces::add_entrance(conn, space_id, entrance.acs_entrance_id).await?;
    }
    Ok(())
}

/// Brings the grants that name a space up to date with its entrances.
async fn provision_grants(
    conn: &mut SqliteConnection,
    caller: &Caller,
    space_id: Uuid,
    now: Timestamp,
) -> Result<(), ApiError> {
    for grant in grant_store::all(conn, caller.workspace_id, &of_space(space_id)).await? {
        provision(conn, &grant, now).await?;
    }
    Ok(())
}

async fn provision(
    conn: &mut SqliteConnection,
    grant: &grant_store::GrantRow,
    now: Timestamp,
) -> Result<(), ApiError> {
    let provisioned = grants::provision(conn, grant, now).await;
    provisioned.map_err(access_grants::unfit)
}

fn of_space(space_id: Uuid) -> GrantFilter {
    GrantFilter {
        space_id: Some(space_id),
        ..GrantFilter::default()
    }
}

#[cfg(test)]
mod tests;
