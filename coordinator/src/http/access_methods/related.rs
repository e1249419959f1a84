//! `/access_methods/get_related`.

use std::collections::BTreeSet;

use axum::extract::State;

use super::{access_method_json, find};
use crate::{
    http::{
        Answer, Caller, Params, Reply, access_grants::GrantParts, batch::Batch, credential_json,
        entrances::entrance_json, spaces::space_json,
    },
    state::AppState,
    store::{
        access_grants::{self as grant_store, GrantFilter},
        entrances,
        spaces::{self, SpaceFilter},
    },
};

/// What belongs to access methods, in the API's words; of some of it this service has none.
const KINDS: &[&str] = &[
    "spaces",
    "devices",
    "acs_entrances",
    "access_grants",
    "access_methods",
    "instant_keys",
    "client_sessions",
    "acs_credentials",
];

pub(super) async fn get_related(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    let ids = reader.ids("access_method_ids");
    let wanted = Batch::read(&mut reader, KINDS);
    reader.finish()?;
    let mut batch = wanted?;

    let mut conn = state.store.read().await?;
    let mut methods = Vec::new();
    for id in ids?.into_iter().collect::<BTreeSet<_>>() {
        methods.push(find(&mut conn, &caller, id).await?);
    }
    let grant_ids: BTreeSet<_> = methods
        .iter()
        .map(|method| method.access_grant_id)
        .collect();
    let grant_ids: Vec<_> = grant_ids.into_iter().collect();
    let workspace = caller.workspace_id;

    batch.put("access_methods", methods.iter().map(access_method_json));
    let cards = methods
        .iter()
        .filter_map(|method| method.credential.as_ref());
    batch.put("acs_credentials", cards.map(credential_json));
    let mut doors = Vec::new();
    for method in &methods {
        let of_grant = entrances::of_grant(&mut conn, workspace, method.access_grant_id).await?;
        let of_card = |door: &entrances::EntranceRow| door.acs_system_id == method.acs_system_id;
        doors.extend(of_grant.into_iter().filter(of_card));
    }
    doors.sort_by_key(|door| door.acs_entrance_id);
    doors.dedup();
    batch.put("acs_entrances", doors.iter().map(entrance_json));
    if batch.wants("access_grants") {
        let filter = GrantFilter {
            access_grant_ids: Some(grant_ids.clone()),
            ..GrantFilter::default()
        };
        let found = grant_store::all(&mut conn, workspace, &filter).await?;
        let parts = GrantParts::of(&mut conn, &caller, &found).await?;
        batch.put("access_grants", found.iter().map(|grant| parts.json(grant)));
    }
    if batch.wants("spaces") {
        let named = grant_store::spaces(&mut conn, &grant_ids).await?;
        let filter = SpaceFilter {
            space_ids: Some(named.into_iter().map(|(_, space)| space).collect()),
            ..SpaceFilter::default()
        };
        let found = spaces::all(&mut conn, workspace, &filter).await?;
        batch.put("spaces", found.iter().map(space_json));
    }
    Ok(Reply::of("batch", batch))
}
