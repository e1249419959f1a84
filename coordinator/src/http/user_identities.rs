//! `/user_identities/*`.

use std::{collections::BTreeMap, slice};

use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, act, page_json,
    read, reader::given, systems, time_json,
};
use crate::{
    state::AppState,
    store::{
        user_identities::{self, IdentityDetails, IdentityFilter, IdentityRow},
        users,
    },
};

/// How many identities a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/user_identities/create",
            "Makes a user identity, and users of it in access systems.",
            act(create),
        )
        .route(
            "/user_identities/get",
            "Returns a user identity.",
            read(get),
        )
        .route(
            "/user_identities/list",
            "Lists user identities.",
            read(list),
        )
}

/// The identity with this id.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<IdentityRow, ApiError> {
    user_identities::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::UserIdentity, id))
}

/// Reads a person's details, whose fields stand below `prefix`.
pub(super) fn read_details(
    reader: &mut Reader<'_>,
    prefix: &str,
) -> Result<IdentityDetails, Invalid> {
    let key = reader.optional_filled_text(&format!("{prefix}user_identity_key"));
    let name = reader.optional_filled_text(&format!("{prefix}full_name"));
    let email = reader.optional_email(&format!("{prefix}email_address"));
    let phone = reader.optional_filled_text(&format!("{prefix}phone_number"));
    Ok(IdentityDetails {
        user_identity_key: key?,
        full_name: name?,
        email_address: email?,
        phone_number: phone?,
    })
}

/// Makes an identity whose fields stood below `prefix`.
pub(super) async fn make(
    conn: &mut SqliteConnection,
    caller: &Caller,
    details: IdentityDetails,
    prefix: &str,
    now: Timestamp,
) -> Result<IdentityRow, ApiError> {
    let workspace = caller.workspace_id;
    if let Some((field, id)) = user_identities::taken(conn, workspace, &details).await? {
        return Err(ApiError::field(
            &format!("{prefix}{field}"),
            format!("the user identity {id} has it already: give user_identity_id instead"),
        ));
    }
    Ok(user_identities::create(conn, workspace, details, now).await?)
}

/// The users of some identities, which are shown with them.
pub(super) struct IdentityUsers(BTreeMap<Uuid, Vec<Uuid>>);

impl IdentityUsers {
    /// The users of these identities.
    pub(super) async fn of(
        conn: &mut SqliteConnection,
        identities: &[IdentityRow],
    ) -> Result<Self, ApiError> {
        let ids: Vec<_> = identities.iter().map(|row| row.user_identity_id).collect();
        let mut theirs: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for (identity, user) in users::of_identities(conn, &ids).await? {
            theirs.entry(identity).or_default().push(user);
        }
        Ok(Self(theirs))
    }

    /// One of them as the API shows it.
    pub(super) fn json(&self, identity: &IdentityRow) -> Value {
        let users = self.0.get(&identity.user_identity_id);
        identity_json(identity, users.map_or(&[], Vec::as_slice))
    }
}

async fn create(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let details = read_details(&mut reader, "");
    let system_ids = reader.optional_ids("acs_system_ids");
    reader.finish()?;
    let (details, system_ids) = (details?, system_ids?.unwrap_or_default());
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let identity = make(&mut conn, &caller, details, "", now).await?;
    for id in system_ids {
        let system = systems::find(&mut conn, &caller, id).await?;
        users::of_identity(&mut conn, &system, &identity, now).await?;
    }
    let reply = reply(&mut conn, identity).await?;
    conn.commit().await?;
    Ok(reply)
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.optional_id("user_identity_id");
    let key = reader.optional_text("user_identity_key");
    reader.any_of(&[
        ("user_identity_id", given(&id)),
        ("user_identity_key", given(&key)),
    ]);
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let identity = match (id?, key?) {
        (Some(id), _) => find(&mut conn, &caller, id).await?,
        (None, key) => {
            let key = key.unwrap_or_default();
            user_identities::by_key(&mut conn, caller.workspace_id, &key)
                .await?
                .ok_or(ApiError::KeyNotFound(Resource::UserIdentity, key))?
        }
    };
    reply(&mut conn, identity).await
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let ids = reader.optional_ids("user_identity_ids");
    let before = reader.optional_time("created_before");
    let search = reader.optional_text("search");
    reader.refuse(
        "credential_manager_acs_system_id",
        "credential managers are not offered by this service",
    );
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let filter = IdentityFilter {
        user_identity_ids: ids?,
        created_before: before?,
        search: search?,
    };
    let mut conn = state.store.read().await?;
    let found = user_identities::list(&mut conn, caller.workspace_id, &filter, page?).await?;
    let users = IdentityUsers::of(&mut conn, &found.rows).await?;
    Ok(page_json(
        "user_identities",
        &found,
        &params,
        |identity| identity.user_identity_id,
        |identity| users.json(identity),
    ))
}

async fn reply(conn: &mut SqliteConnection, identity: IdentityRow) -> Answer {
    let users = IdentityUsers::of(conn, slice::from_ref(&identity)).await?;
    Ok(Reply::of("user_identity", users.json(&identity)))
}

fn identity_json(identity: &IdentityRow, acs_user_ids: &[Uuid]) -> Value {
    let details = &identity.details;
    json!({
        "user_identity_id": identity.user_identity_id,
        "workspace_id": identity.workspace_id,
        "user_identity_key": details.user_identity_key,
        "display_name": identity.display_name(),
        "full_name": details.full_name,
        "email_address": details.email_address,
        "phone_number": details.phone_number,
        "acs_user_ids": acs_user_ids,
        "created_at": time_json(identity.created_at),
        "errors": [],
        "warnings": [],
    })
}

#[cfg(test)]
mod tests;
