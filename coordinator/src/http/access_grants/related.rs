//! `/access_grants/get_related`.

use std::collections::BTreeSet;

use axum::extract::State;
use uuid::Uuid;

use super::{by_key, find};
use crate::{
    http::{
        Answer, Caller, Params, Reply,
        access_methods::access_method_json,
        batch::Batch,
        entrances::entrance_json,
        reader::given,
        spaces::space_json,
        systems::system_json,
        user_identities::{self, IdentityUsers},
    },
    state::AppState,
    store::{
        access_grants,
        access_methods::{self, AccessMethodFilter},
        entrances,
        spaces::{self, SpaceFilter},
        systems,
    },
};

/// What belongs to access grants, in the API's words; of some of it this service has none.
const KINDS: &[&str] = &[
    "spaces",
    "devices",
    "acs_entrances",
    "connected_accounts",
    "acs_systems",
    "user_identities",
    "acs_access_groups",
    "access_methods",
];

pub(super) async fn get_related(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    let ids = reader.optional_ids("access_grant_ids");
    let keys = reader.optional_texts("access_grant_keys");
    reader.any_of(&[
        ("access_grant_ids", given(&ids)),
        ("access_grant_keys", given(&keys)),
    ]);
    let wanted = Batch::read(&mut reader, KINDS);
    reader.finish()?;
    let mut batch = wanted?;

    let mut conn = state.store.read().await?;
    let mut grants = Vec::new();
    for id in ids?.unwrap_or_default() {
        grants.push(find(&mut conn, &caller, id).await?);
    }
    for key in keys?.unwrap_or_default() {
        grants.push(by_key(&mut conn, &caller, &key).await?);
    }
    grants.sort_by_key(|grant| grant.access_grant_id);
    grants.dedup();
    let grant_ids: Vec<_> = grants.iter().map(|grant| grant.access_grant_id).collect();
    let workspace = caller.workspace_id;

    let filter = AccessMethodFilter {
        access_grant_ids: Some(grant_ids.clone()),
        ..AccessMethodFilter::default()
    };
    let methods = access_methods::list(&mut conn, workspace, &filter).await?;
    batch.put("access_methods", methods.iter().map(access_method_json));
    let mut doors = Vec::new();
    for id in &grant_ids {
        doors.extend(entrances::of_grant(&mut conn, workspace, *id).await?);
    }
    doors.sort_by_key(|door| door.acs_entrance_id);
    doors.dedup();
    batch.put("acs_entrances", doors.iter().map(entrance_json));
    if batch.wants("acs_systems") {
        let ids: BTreeSet<Uuid> = doors.iter().map(|door| door.acs_system_id).collect();
        let mut found = Vec::new();
        for id in ids {
            found.extend(systems::find_counted(&mut conn, workspace, id).await?);
        }
        batch.put("acs_systems", found.iter().map(system_json));
    }
    if batch.wants("user_identities") {
        let ids: BTreeSet<Uuid> = grants.iter().map(|grant| grant.user_identity_id).collect();
        let mut found = Vec::new();
        for id in ids {
            found.push(user_identities::find(&mut conn, &caller, id).await?);
        }
        let users = IdentityUsers::of(&mut conn, &found).await?;
        batch.put(
            "user_identities",
            found.iter().map(|person| users.json(person)),
        );
    }
    if batch.wants("spaces") {
        let named = access_grants::spaces(&mut conn, &grant_ids).await?;
        let filter = SpaceFilter {
            space_ids: Some(named.into_iter().map(|(_, space)| space).collect()),
            ..SpaceFilter::default()
        };
        let found = spaces::all(&mut conn, workspace, &filter).await?;
        batch.put("spaces", found.iter().map(space_json));
    }
    Ok(Reply::of("batch", batch))
}
