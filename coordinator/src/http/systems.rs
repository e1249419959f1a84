//! `/acs/systems/*`.

use axum::extract::State;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{Answer, ApiError, Caller, Params, Reply, Resource, Routes, read, time_json};
use crate::{
    state::AppState,
    store::systems::{self, CountedSystem, SystemFilter, SystemRow},
};

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/acs/systems/get", "Returns an access system.", read(get))
        .route("/acs/systems/list", "Lists access systems.", read(list))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_system_id");
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let id = id?;
    let system = systems::find_counted(&mut conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsSystem, id))?;
    Ok(Reply::of("acs_system", system_json(&system)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let account = reader.optional_id("connected_account_id");
    let search = reader.optional_text("search");
    reader.refuse("customer_key", "customers are not offered by this service");
    reader.finish()?;
    let filter = SystemFilter {
        connected_account_id: account?,
        search: search?,
    };
    let mut conn = state.store.read().await?;
    let systems = systems::list(&mut conn, caller.workspace_id, &filter).await?;
    let systems: Vec<_> = systems.iter().map(system_json).collect();
    Ok(Reply::of("acs_systems", systems))
}

/// The system with this id.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<SystemRow, ApiError> {
    systems::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsSystem, id))
}

/// A system as the API shows it.
pub(super) fn system_json(counted: &CountedSystem) -> Value {
    let system = &counted.system;
    let mut json = json!({
        "acs_system_id": system.acs_system_id,
        "workspace_id": system.workspace_id,
        "connected_account_id": system.connected_account_id,
        "connected_account_ids": [system.connected_account_id],
        "name": system.name,
        "created_at": time_json(system.created_at),
        "location": {"time_zone": system.time_zone},
        "acs_user_count": counted.acs_user_count,
        "acs_access_group_count": 0,
        "default_credential_manager_acs_system_id": null,
        "is_credential_manager": false,
        "image_url": "",
        "image_alt_text": "",
        "errors": [],
        "warnings": [],
    });
    if let Some((external_type, name)) = system.kind.system_type() {
        json["external_type"] = json!(external_type);
        json["external_type_display_name"] = json!(name);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::bench::Bench;

    #[tokio::test]
    async fn a_list_has_the_workspaces_systems_only() {
        let bench = Bench::start().await;
        bench.neighbour().await;
        let annexe = bench.system_of(bench.workspace).await;
        let all = bench.get("/acs/systems/list").await;
        let all = all.ok("acs_systems").as_array().unwrap();
        let ids: Vec<_> = all.iter().map(|row| &row["acs_system_id"]).collect();
        assert_eq!(ids, [&json!(bench.system), &json!(annexe)]);
        let account = all[1]["connected_account_id"].as_str().unwrap();
        for query in [
            format!("connected_account_id={account}"),
            "search=ANNEXE".to_owned(),
            format!("search={annexe}"),
        ] {
            let found = bench.get(&format!("/acs/systems/list?{query}")).await;
            assert_eq!(*found.ok("acs_systems"), json!([all[1]]), "{query}");
        }
    }
}
