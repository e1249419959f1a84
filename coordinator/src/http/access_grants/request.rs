//! `/access_grants/create` and `/access_grants/request_access_methods`.

use axum::extract::State;
use encoder_protocols::card::key_record::MOST_ENTRANCES;
use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{NO_DEVICES, NO_LOCATIONS, check_times, find, note, reply, unfit};
use crate::{
    grants,
    http::{
        Answer, ApiError, Caller, Invalid, Params, Reader, entrances,
        reader::{filled, given},
        spaces, user_identities,
    },
    state::AppState,
    store::{
        access_grants::{self, GrantRow, NewGrant},
        user_identities::{IdentityDetails, IdentityRow},
    },
};

/// The ways of access that the API knows.
const MODES: &[&str] = &["code", "card", "mobile_key", "cloud_key"];

const ONLY_CARDS: &str = "this service only does cards";

const REQUESTS: &str = "requested_access_methods";

/// Where the details of a new person stand.
const PERSON: &str = "user_identity.";

/// Who is to get access.
enum Person {
    Known(Uuid),
    New(IdentityDetails),
}

/// What a request for a new grant asks for.
struct Wanted {
    person: Person,
    access_grant_key: Option<String>,
    reservation_key: Option<String>,
    name: Option<String>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    acs_entrance_ids: Vec<Uuid>,
    space_ids: Vec<Uuid>,
    space_keys: Vec<String>,
    requests: usize,
}

pub(super) async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    let wanted = read_wanted(&mut reader);
    reader.finish()?;
    let wanted = wanted?;

    let now = state.clock.utc();
    let starts_at = wanted.starts_at.unwrap_or(now);
    check_times(starts_at, wanted.ends_at, now)?;
    let mut conn = state.store.write().await?;
    check_key(&mut conn, &caller, wanted.access_grant_key.as_deref()).await?;
    let (acs_entrance_ids, space_ids) = find_places(&mut conn, &caller, &wanted).await?;
    let person = find_person(&mut conn, &caller, wanted.person, now).await?;
    let grant = NewGrant {
        user_identity_id: person.user_identity_id,
        access_grant_key: wanted.access_grant_key,
        reservation_key: wanted.reservation_key,
        name: wanted.name,
        starts_at,
        ends_at: wanted.ends_at,
        acs_entrance_ids,
        space_ids,
    };
    let id = access_grants::create(&mut conn, caller.workspace_id, &grant, now).await?;
    let grant = request(&mut conn, &caller, id, wanted.requests, now).await?;
    note(&mut conn, &caller, "access_grant.create", &grant, now).await?;
    let reply = reply(&mut conn, &caller, grant).await?;
    conn.commit().await?;
    Ok(reply)
}

pub(super) async fn request_access_methods(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("access_grant_id");
    let requests = read_requests(&mut reader);
    reader.finish()?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let grant = find(&mut conn, &caller, id?).await?;
    let grant = request(&mut conn, &caller, grant.access_grant_id, requests?, now).await?;
    note(&mut conn, &caller, "access_grant.update", &grant, now).await?;
    let reply = reply(&mut conn, &caller, grant).await?;
    conn.commit().await?;
    Ok(reply)
}

/// Asks for access methods of a grant, and makes them.
async fn request(
    conn: &mut SqliteConnection,
    caller: &Caller,
    access_grant_id: Uuid,
    count: usize,
    now: Timestamp,
) -> Result<GrantRow, ApiError> {
    access_grants::add_requests(conn, access_grant_id, count, now).await?;
    let grant = find(conn, caller, access_grant_id).await?;
    grants::provision(conn, &grant, now).await.map_err(unfit)?;
    Ok(grant)
}

fn read_wanted(reader: &mut Reader<'_>) -> Result<Wanted, Invalid> {
    let person = read_person(reader);
    let requests = read_requests(reader);
    let key = reader.optional_filled_text("access_grant_key");
    let reservation = reader.optional_filled_text("reservation_key");
    let name = reader.optional_text("name");
    let starts_at = reader.optional_time("starts_at");
    let ends_at = reader.optional_time("ends_at");
    let entrances = reader.optional_ids_up_to(MOST_ENTRANCES, "acs_entrance_ids");
    let spaces = reader.optional_ids("space_ids");
    let space_keys = reader.optional_texts("space_keys");
    reader.any_filled(&[
        ("acs_entrance_ids", filled(&entrances)),
        ("space_ids", filled(&spaces)),
        ("space_keys", filled(&space_keys)),
    ]);
    reader.refuse_list("device_ids", NO_DEVICES);
    reader.refuse_list("location_ids", NO_LOCATIONS);
    reader.refuse("location", NO_LOCATIONS);
    reader.refuse(
        "customization_profile_id",
        "customization profiles are not offered by this service",
    );
    Ok(Wanted {
        person: person?,
        requests: requests?,
        access_grant_key: key?,
        reservation_key: reservation?,
        name: name?,
        starts_at: starts_at?,
        ends_at: ends_at?,
        acs_entrance_ids: entrances?.unwrap_or_default(),
        space_ids: spaces?.unwrap_or_default(),
        space_keys: space_keys?.unwrap_or_default(),
    })
}

fn read_person(reader: &mut Reader<'_>) -> Result<Person, Invalid> {
    let id = reader.optional_id("user_identity_id");
    let details = match reader.optional_object("user_identity") {
        Ok(true) => user_identities::read_details(reader, PERSON).map(Some),
        Ok(false) => Ok(None),
        Err(invalid) => Err(invalid),
    };
    reader.one_of(&[
        ("user_identity_id", given(&id)),
        ("user_identity", given(&details)),
    ]);
    match (id?, details?) {
        (Some(id), None) => Ok(Person::Known(id)),
        (None, Some(details)) => Ok(Person::New(details)),
        // What is wrong stands in the reader.
        (Some(_), Some(_)) | (None, None) => Err(Invalid),
    }
}

/// How many cards are asked for; nothing else can be.
fn read_requests(reader: &mut Reader<'_>) -> Result<usize, Invalid> {
    let count = reader.objects(REQUESTS)?;
    for index in 0..count {
        let field = |name: &str| format!("{REQUESTS}.{index}.{name}");
        // What is wrong stands in the reader.
        let _ = reader.offered_choice(&field("mode"), MODES, "card", ONLY_CARDS);
        reader.refuse(&field("code"), "a card has no code");
        reader.refuse(
            &field("instant_key_max_use_count"),
            "a card is no instant key",
        );
    }
    Ok(count)
}

async fn check_key(
    conn: &mut SqliteConnection,
    caller: &Caller,
    key: Option<&str>,
) -> Result<(), ApiError> {
    let Some(key) = key else { return Ok(()) };
    match access_grants::by_key(conn, caller.workspace_id, key).await? {
        None => Ok(()),
        Some(other) => Err(ApiError::field(
            "access_grant_key",
            format!(
                "the access grant {} has this key already",
                other.access_grant_id
            ),
        )),
    }
}

/// The entrances and spaces that are named, all of them the workspace's.
async fn find_places(
    conn: &mut SqliteConnection,
    caller: &Caller,
    wanted: &Wanted,
) -> Result<(Vec<Uuid>, Vec<Uuid>), ApiError> {
    let mut doors = Vec::new();
    for id in &wanted.acs_entrance_ids {
        doors.push(entrances::find(conn, caller, *id).await?.acs_entrance_id);
    }
    let mut rooms = Vec::new();
    for id in &wanted.space_ids {
        rooms.push(spaces::find(conn, caller, *id).await?.space_id);
    }
    for key in &wanted.space_keys {
        rooms.push(spaces::by_key(conn, caller, key).await?.space_id);
    }
    Ok((doors, rooms))
}

async fn find_person(
    conn: &mut SqliteConnection,
    caller: &Caller,
    person: Person,
    now: Timestamp,
) -> Result<IdentityRow, ApiError> {
    match person {
        Person::Known(id) => user_identities::find(conn, caller, id).await,
        Person::New(details) => user_identities::make(conn, caller, details, PERSON, now).await,
    }
}
