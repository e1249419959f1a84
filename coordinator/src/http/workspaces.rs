//! `/workspaces/*`.

use axum::extract::State;
use serde_json::{Value, json};

use super::{Answer, ApiError, Caller, Params, Reply, Resource, Routes, read};
use crate::{
    state::AppState,
    store::workspaces::{self, WorkspaceRow},
};

pub(super) fn routes() -> Routes {
    Routes::new().route(
        "/workspaces/get",
        "Returns the workspace that the key opens.",
        read(get),
    )
}

/// The workspace that the API key opens.
async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    params.reader().finish()?;
    let id = caller.workspace_id;
    let mut conn = state.store.read().await?;
    let workspace = workspaces::find(&mut conn, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::Workspace, id))?;
    Ok(Reply::of("workspace", workspace_json(&workspace)))
}

fn workspace_json(workspace: &WorkspaceRow) -> Value {
    json!({
        "workspace_id": workspace.workspace_id,
        "name": workspace.name,
        "company_name": workspace.company_name,
        "connect_partner_name": null,
        "connect_webview_customization": {},
        "is_publishable_key_auth_enabled": false,
        "is_sandbox": workspace.is_sandbox,
        "is_suspended": false,
        "organization_id": null,
    })
}
