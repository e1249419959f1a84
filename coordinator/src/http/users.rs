//! `/acs/users/*`.

use axum::extract::State;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, act, change,
    page_json, read, reader::given, remove, systems, time_json, user_identities, withdrawn,
};
use crate::{
    state::AppState,
    store::{
        systems::SystemRow,
        users::{self, UserDetails, UserFilter, UserRow},
    },
};

/// How many users a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/acs/users/create",
            "Makes a user of an access system.",
            act(create),
        )
        .route(
            "/acs/users/get",
            "Returns a user of an access system.",
            read(get),
        )
        .route(
            "/acs/users/list",
            "Lists users of access systems.",
            read(list),
        )
        .route(
            "/acs/users/update",
            "Changes a user of an access system.",
            change(update),
        )
        .route(
            "/acs/users/delete",
            "Deletes a user of an access system and its credentials.",
            remove(delete),
        )
}

/// How a request names a user: by its own id, or as the user of a person, within a system if that is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedUser {
    acs_user_id: Option<Uuid>,
    user_identity_id: Option<Uuid>,
    /// The system that the request names besides.
    pub(super) acs_system_id: Option<Uuid>,
}

impl NamedUser {
    /// The same user, but of this system where the request names none.
    pub(super) fn within(self, acs_system_id: Uuid) -> Self {
        Self {
            acs_system_id: self.acs_system_id.or(Some(acs_system_id)),
            ..self
        }
    }
}

/// Reads which user is meant. Exactly one of `acs_user_id` and `user_identity_id` must be given.
pub(super) fn read_named(reader: &mut Reader<'_>) -> Result<NamedUser, Invalid> {
    let acs_user_id = reader.optional_id("acs_user_id");
    let user_identity_id = reader.optional_id("user_identity_id");
    let acs_system_id = reader.optional_id("acs_system_id");
    reader.one_of(&[
        ("acs_user_id", given(&acs_user_id)),
        ("user_identity_id", given(&user_identity_id)),
    ]);
    Ok(NamedUser {
        acs_user_id: acs_user_id?,
        user_identity_id: user_identity_id?,
        acs_system_id: acs_system_id?,
    })
}

/// The user that a request names.
pub(super) async fn find_named(
    conn: &mut SqliteConnection,
    caller: &Caller,
    named: NamedUser,
) -> Result<UserRow, ApiError> {
    if let Some(id) = named.acs_user_id {
        return users::find(conn, caller.workspace_id, id)
            .await?
            .filter(|user| {
                named
                    .acs_system_id
                    .is_none_or(|id| id == user.acs_system_id)
            })
            .ok_or(ApiError::NotFound(Resource::AcsUser, id));
    }
    let person = named.user_identity_id.unwrap_or_default();
    user_identities::find(conn, caller, person).await?;
    let filter = UserFilter {
        acs_system_id: named.acs_system_id,
        user_identity_id: Some(person),
        ..UserFilter::default()
    };
    let mut theirs = users::all(conn, caller.workspace_id, &filter).await?;
    match (theirs.pop(), theirs.is_empty()) {
        (Some(user), true) => Ok(user),
        (Some(_), false) => Err(ApiError::field(
            "acs_system_id",
            "Required: this person has users in several access systems",
        )),
        (None, _) => Err(ApiError::InvalidInput(
            "this person has no user in the access system: make one with /acs/users/create"
                .to_owned(),
        )),
    }
}

/// The user that a request names in a system; a person without one there gets one.
pub(super) async fn find_or_make(
    state: &AppState,
    conn: &mut SqliteConnection,
    caller: &Caller,
    named: NamedUser,
    system: &SystemRow,
) -> Result<UserRow, ApiError> {
    let user = match named.user_identity_id {
        Some(person) => {
            let person = user_identities::find(conn, caller, person).await?;
            users::of_identity(conn, system, &person, state.clock.utc()).await?
        }
        None => {
            let anywhere = NamedUser {
                acs_system_id: None,
                ..named
            };
            find_named(conn, caller, anywhere).await?
        }
    };
    if user.acs_system_id == system.acs_system_id {
        Ok(user)
    } else {
        Err(ApiError::field(
            "acs_user_id",
            "the acs_user belongs to another access system",
        ))
    }
}

async fn create(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let system_id = reader.id("acs_system_id");
    let full_name = reader.text("full_name");
    let schedule = reader.optional_object("access_schedule");
    let details = read_details(&mut reader);
    let person = reader.optional_id("user_identity_id");
    reader.refuse_list(
        "acs_access_group_ids",
        "access groups are not offered by this service",
    );
    reader.finish()?;
    schedule?;
    let details = UserDetails {
        full_name: full_name?,
        ..details?
    };

    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let system = systems::find(&mut conn, &caller, system_id?).await?;
    let person = match person? {
        None => None,
        Some(id) => Some(user_identities::find(&mut conn, &caller, id).await?),
    };
    if let Some(person) = &person
        && let Some(user) = users::linked_to(&mut conn, &system, person.user_identity_id).await?
    {
        return Err(ApiError::field(
            "user_identity_id",
            format!(
                "this person has the acs_user {} in the access system already",
                user.acs_user_id
            ),
        ));
    }
    let user = users::create(&mut conn, &system, details, person.as_ref(), now).await?;
    conn.commit().await?;
    Ok(Reply::of("acs_user", user_json(&user)))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = read_named(&mut reader);
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let user = find_named(&mut conn, &caller, named?).await?;
    Ok(Reply::of("acs_user", user_json(&user)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let system = reader.optional_id("acs_system_id");
    let person = reader.optional_id("user_identity_id");
    let email = reader.optional_text("user_identity_email_address");
    let phone = reader.optional_text("user_identity_phone_number");
    let before = reader.optional_time("created_before");
    let search = reader.optional_text("search");
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let filter = UserFilter {
        acs_system_id: system?,
        user_identity_id: person?,
        identity_email_address: email?,
        identity_phone_number: phone?,
        created_before: before?,
        search: search?,
    };
    let mut conn = state.store.read().await?;
    if let Some(id) = filter.acs_system_id {
        systems::find(&mut conn, &caller, id).await?;
    }
    if let Some(id) = filter.user_identity_id {
        user_identities::find(&mut conn, &caller, id).await?;
    }
    let found = users::list(&mut conn, caller.workspace_id, &filter, page?).await?;
    Ok(page_json(
        "acs_users",
        &found,
        &params,
        |user| user.acs_user_id,
        user_json,
    ))
}

async fn update(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = read_named(&mut reader);
    let full_name = reader.optional_filled_text("full_name");
    let details = read_details(&mut reader);
    let has_schedule = reader.optional_object("access_schedule");
    let no_schedule = reader.is_null("access_schedule");
    reader.refuse(
        "hid_acs_system_id",
        "HID systems are not offered by this service",
    );
    reader.finish()?;
    let (full_name, wanted, has_schedule) = (full_name?, details?, has_schedule?);

    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let user = find_named(&mut conn, &caller, named?).await?;
    let mut details = user.details;
    details.full_name = full_name.unwrap_or(details.full_name);
    details.email_address = wanted.email_address.or(details.email_address);
    details.phone_number = wanted.phone_number.or(details.phone_number);
    if has_schedule {
        details.access_starts_at = wanted.access_starts_at.or(Some(now));
        details.access_ends_at = wanted.access_ends_at;
    } else if no_schedule {
        details.access_starts_at = None;
        details.access_ends_at = None;
    }
    users::update(&mut conn, user.acs_user_id, &details).await?;
    conn.commit().await?;
    Ok(Reply::done())
}

async fn delete(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = read_named(&mut reader);
    reader.finish()?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let user = find_named(&mut conn, &caller, named?).await?;
    let deleted = users::delete(&mut conn, &user, now).await?;
    withdrawn::note(&mut conn, &caller, user.acs_system_id, &deleted, now).await?;
    conn.commit().await?;
    withdrawn::tell(&state, &deleted).await?;
    Ok(Reply::done())
}

/// Everything but the name.
fn read_details(reader: &mut Reader<'_>) -> Result<UserDetails, Invalid> {
    let email_address = reader.optional_email("email_address");
    let old_email = reader.optional_email("email");
    let phone_number = reader.optional_filled_text("phone_number");
    let starts_at = reader.optional_time("access_schedule.starts_at");
    let ends_at = reader.optional_time("access_schedule.ends_at");
    let (starts_at, ends_at) = (starts_at?, ends_at?);
    if let (Some(starts), Some(ends)) = (starts_at, ends_at)
        && ends <= starts
    {
        return Err(reader.wrong("access_schedule.ends_at", "must be after starts_at"));
    }
    Ok(UserDetails {
        full_name: String::new(),
        email_address: email_address?.or(old_email?),
        phone_number: phone_number?,
        access_starts_at: starts_at,
        access_ends_at: ends_at,
    })
}

fn user_json(user: &UserRow) -> Value {
    let details = &user.details;
    let mut json = json!({
        "acs_user_id": user.acs_user_id,
        "acs_system_id": user.acs_system_id,
        "connected_account_id": user.connected_account_id,
        "workspace_id": user.workspace_id,
        "display_name": details.full_name,
        "full_name": details.full_name,
        "created_at": time_json(user.created_at),
        "is_managed": true,
        "is_suspended": false,
        "last_successful_sync_at": null,
        "pending_mutations": [],
        "errors": [],
        "warnings": [],
    });
    if let Some(address) = &details.email_address {
        json["email_address"] = json!(address);
        json["email"] = json!(address);
    }
    if let Some(number) = &details.phone_number {
        json["phone_number"] = json!(number);
    }
    if let Some(person) = &user.identity {
        json["user_identity_id"] = json!(person.user_identity_id);
        json["user_identity_full_name"] = json!(person.full_name);
        json["user_identity_email_address"] = json!(person.email_address);
        json["user_identity_phone_number"] = json!(person.phone_number);
    }
    if details.access_starts_at.is_some() || details.access_ends_at.is_some() {
        json["access_schedule"] = json!({
            "starts_at": time_json(details.access_starts_at.unwrap_or(user.created_at)),
            "ends_at": details.access_ends_at.map(time_json),
        });
    }
    json
}

#[cfg(test)]
mod tests;
