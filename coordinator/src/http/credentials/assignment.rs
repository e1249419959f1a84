//! `/acs/credentials/assign` and `unassign`: whose a credential is.

use axum::extract::State;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{credential_json, note, refuse_granted};
use crate::{
    http::{Answer, ApiError, Caller, Params, Reply, Resource, systems, users},
    state::AppState,
    store::credentials::{self, CredentialRow},
};

/// Gives a credential to a user. A registered card begins to be theirs with that; nothing changes on an encoded card.
pub(super) async fn assign(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_credential_id");
    let named = users::read_named(&mut reader);
    reader.finish()?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let credential = find(&mut conn, &caller, id?).await?;
    let id = credential.acs_credential_id;
    refuse_granted(&mut conn, id, "delete that first").await?;
    let system = systems::find(&mut conn, &caller, credential.acs_system_id).await?;
    let user = users::find_or_make(&state, &mut conn, &caller, named?, &system).await?;
    match credential.acs_user_id {
        Some(owner) if owner == user.acs_user_id => {}
        Some(_) => {
            return Err(ApiError::field(
                "acs_credential_id",
                "the credential belongs to another acs_user: unassign it first",
            ));
        }
        None if credential.is_unmanaged() => {
            credentials::assign(&mut conn, &credential, &user, (None, None), &[], now).await?;
        }
        None => credentials::set_user(&mut conn, id, Some(user.acs_user_id)).await?,
    }
    let credential = find(&mut conn, &caller, id).await?;
    note(&mut conn, &caller, "credential.assign", &credential, now).await?;
    conn.commit().await?;
    Ok(Reply::of("acs_credential", credential_json(&credential)))
}

/// Takes a credential from its user. A registered card waits for another one then, and is listed as unmanaged.
pub(super) async fn unassign(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_credential_id");
    let named = users::read_named(&mut reader);
    reader.finish()?;
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let credential = find(&mut conn, &caller, id?).await?;
    let id = credential.acs_credential_id;
    refuse_granted(&mut conn, id, "delete that instead").await?;
    let named = named?.within(credential.acs_system_id);
    let user = users::find_named(&mut conn, &caller, named).await?;
    if credential.acs_user_id != Some(user.acs_user_id) {
        return Err(ApiError::field(
            "acs_credential_id",
            "the credential is not assigned to this acs_user",
        ));
    }
    if credential.registered_number.is_some() {
        credentials::release(&mut conn, &credential, now).await?;
    } else {
        credentials::set_user(&mut conn, id, None).await?;
    }
    let unassigned = find(&mut conn, &caller, id).await?;
    note(&mut conn, &caller, "credential.unassign", &unassigned, now).await?;
    conn.commit().await?;
    Ok(Reply::of("acs_credential", credential_json(&unassigned)))
}

/// The credential with this id, also a registered card that waits for its user.
async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<CredentialRow, ApiError> {
    credentials::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsCredential, id))
}
