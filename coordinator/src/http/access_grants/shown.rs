//! Access grants as the API shows them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::{
    ApiError, Caller,
    access_methods::{UPDATING_TIMES, pending_mutations},
    time_json,
};
use crate::store::{
    access_grants::{self, GrantRow, RequestRow},
    access_methods::{self, AccessMethodFilter, AccessMethodRow, GrantedMethod},
};

/// What the API calls a requested card.
const REQUESTED_NAME: &str = "Plastic card";

/// What belongs to some grants and is shown with them.
#[derive(Debug, Default)]
pub(in super::super) struct GrantParts(BTreeMap<Uuid, Parts>);

impl GrantParts {
    /// What belongs to these grants.
    pub(in super::super) async fn of(
        conn: &mut SqliteConnection,
        caller: &Caller,
        grants: &[GrantRow],
    ) -> Result<Self, ApiError> {
        let ids: Vec<_> = grants.iter().map(|grant| grant.access_grant_id).collect();
        let mut parts: BTreeMap<Uuid, Parts> = BTreeMap::new();
        let methods = access_methods::of_grants(conn, &ids).await?;
        let changed = methods.iter().filter(|method| method.is_changed);
        let changed = changed.map(|method| method.access_method_id).collect();
        for method in methods {
            let parts = parts.entry(method.access_grant_id).or_default();
            parts.methods.push(method);
        }
        for method in changed_methods(conn, caller, changed).await? {
            let parts = parts.entry(method.access_grant_id).or_default();
            parts.changed.push(method);
        }
        for request in access_grants::requests(conn, &ids).await? {
            let parts = parts.entry(request.access_grant_id).or_default();
            parts.requests.push(request);
        }
        for (grant, space) in access_grants::spaces(conn, &ids).await? {
            parts.entry(grant).or_default().spaces.push(space);
        }
        Ok(Self(parts))
    }

    /// One of them as the API shows it.
    pub(in super::super) fn json(&self, grant: &GrantRow) -> Value {
        let none = Parts::default();
        let parts = self.0.get(&grant.access_grant_id);
        grant_json(grant, parts.unwrap_or(&none))
    }
}

/// The access methods whose cards carry something else than they should: seldom any.
async fn changed_methods(
    conn: &mut SqliteConnection,
    caller: &Caller,
    ids: Vec<Uuid>,
) -> Result<Vec<AccessMethodRow>, ApiError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = AccessMethodFilter {
        access_method_ids: Some(ids),
        ..AccessMethodFilter::default()
    };
    Ok(access_methods::list(conn, caller.workspace_id, &filter).await?)
}

/// What belongs to a grant.
#[derive(Debug, Default)]
struct Parts {
    requests: Vec<RequestRow>,
    methods: Vec<GrantedMethod>,
    changed: Vec<AccessMethodRow>,
    spaces: Vec<Uuid>,
}

fn grant_json(grant: &GrantRow, parts: &Parts) -> Value {
    let methods = parts.methods.iter();
    let ids: Vec<_> = methods.map(|method| method.access_method_id).collect();
    let requested = parts.requests.iter().map(|request| {
        let made = parts.methods.iter();
        let made = made.filter(|method| method.position == request.position);
        json!({
            "mode": "card",
            "display_name": REQUESTED_NAME,
            "created_at": time_json(request.created_at),
            "created_access_method_ids":
                made.map(|method| method.access_method_id).collect::<Vec<_>>(),
        })
    });
    let (mutations, warnings) = updating_times(parts);
    let mut json = json!({
        "access_grant_id": grant.access_grant_id,
        "workspace_id": grant.workspace_id,
        "user_identity_id": grant.user_identity_id,
        "name": grant.name,
        "display_name": grant.display_name(),
        "starts_at": time_json(grant.starts_at),
        "ends_at": grant.ends_at.map(time_json),
        "created_at": time_json(grant.created_at),
        "access_method_ids": ids,
        "requested_access_methods": requested.collect::<Vec<_>>(),
        "space_ids": parts.spaces,
        "location_ids": parts.spaces,
        "errors": [],
        "warnings": warnings,
        "pending_mutations": mutations,
    });
    if let Some(key) = &grant.access_grant_key {
        json["access_grant_key"] = json!(key);
    }
    if let Some(key) = &grant.reservation_key {
        json["reservation_key"] = json!(key);
    }
    json
}

/// The mutation and the warning of a grant whose cards carry earlier times.
fn updating_times(parts: &Parts) -> (Vec<Value>, Vec<Value>) {
    let updating = parts.changed.iter().filter_map(|method| {
        let mut mutations = pending_mutations(method).into_iter();
        let mutation = mutations.find(|mutation| mutation["mutation_code"] == UPDATING_TIMES)?;
        Some((method.access_method_id, mutation))
    });
    let (ids, mut updating): (Vec<_>, Vec<_>) = updating.unzip();
    let Some(mut mutation) = updating.pop() else {
        return (Vec::new(), Vec::new());
    };
    mutation["access_method_ids"] = json!(ids);
    let warning = json!({
        "warning_code": UPDATING_TIMES,
        "message": mutation["message"],
        "created_at": mutation["created_at"],
        "access_method_ids": ids,
    });
    (vec![mutation], vec![warning])
}
