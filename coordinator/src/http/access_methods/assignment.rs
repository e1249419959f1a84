//! `/access_methods/assign_card`: a registered card is given to an access method.

use axum::extract::State;
use encoder_protocols::wire::{ErrorCode, JobError, Touched};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::SqliteConnection;

use super::{access_method_json, find};
use crate::{
    grants::{self, Doors},
    http::{
        Answer, ApiError, Caller, Params, Reply, Resource, access_grants, action_attempts,
        user_identities,
    },
    state::AppState,
    store::{
        access_methods::{self, AccessMethodRow},
        attempts::{self, ActionType, AssignmentError, AssignmentErrorCode, AttemptError},
        audit::{self, AuditEntry},
        credentials::{self, CredentialRow},
        entrances,
        events::EventType,
        systems, users,
    },
};

pub(super) async fn assign_card(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("access_method_id");
    let number = reader.text("card_number");
    reader.finish()?;
    let number = number?.trim().to_owned();
    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let method = find(&mut conn, &caller, id?).await?;
    if !method.kind.assigns_cards() {
        return Err(ApiError::field(
            "access_method_id",
            "cards of this access system are encoded, not assigned: use /access_methods/encode",
        ));
    }
    let outcome = match free_card(&mut conn, &method, &number).await? {
        Ok(Some(card)) => Ok(assign(&mut conn, &caller, &method, &card, now).await?),
        Ok(None) => Ok(access_method_json(&method)),
        Err(error) => Err(error),
    };
    let action = ActionType::AssignCredential;
    let attempt =
        attempts::put_ended(&mut conn, caller.workspace_id, action, &outcome, now).await?;
    let attempt = action_attempts::find_json(&mut conn, &caller, attempt).await?;
    conn.commit().await?;
    Ok(Reply::of("action_attempt", attempt))
}

/// The card with this number, if it is to be assigned: none where the access method has it already.
async fn free_card(
    conn: &mut SqliteConnection,
    method: &AccessMethodRow,
    number: &str,
) -> Result<Result<Option<CredentialRow>, AttemptError>, ApiError> {
    let card = credentials::by_registered_number(conn, method.acs_system_id, number).await?;
    let Some(card) = card else {
        return Ok(Err(AttemptError::Assignment(AssignmentError {
            code: AssignmentErrorCode::CredentialNotFound,
            message: format!(
                "the access system has no registered card {number:?}; register it first"
            ),
        })));
    };
    Ok(match &method.credential {
        Some(own) if own.acs_credential_id == card.acs_credential_id => Ok(None),
        Some(own) => {
            let own = own.card_number().unwrap_or_default();
            Err(refused(format!(
                "the access method has the card {own:?} already; ask for another access method"
            )))
        }
        None if card.acs_user_id.is_some() => Err(refused(format!(
            "the card {number:?} belongs to another user; unassign it first"
        ))),
        None => Ok(Some(card)),
    })
}

fn refused(message: String) -> AttemptError {
    AttemptError::Job(JobError {
        code: ErrorCode::UncategorizedError,
        message,
        touched: Touched::Untouched,
        hardware: None,
    })
}

async fn assign(
    conn: &mut SqliteConnection,
    caller: &Caller,
    method: &AccessMethodRow,
    card: &CredentialRow,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let grant = access_grants::find(conn, caller, method.access_grant_id).await?;
    let person = user_identities::find(conn, caller, grant.user_identity_id).await?;
    let system = systems::by_id(conn, method.acs_system_id)
        .await?
        .ok_or(ApiError::NotFound(
            Resource::AcsSystem,
            method.acs_system_id,
        ))?;
    let user = users::of_identity(conn, &system, &person, now).await?;
    let mut doors = entrances::of_grant(conn, caller.workspace_id, grant.access_grant_id).await?;
    doors.retain(|door| door.acs_system_id == method.acs_system_id);
    let before = Doors::of_grant(conn, grant.clone()).await?;
    let validity = (Some(grant.starts_at), grant.ends_at);
    credentials::assign(conn, card, &user, validity, &grants::ids_of(&doors), now).await?;
    let id = method.access_method_id;
    access_methods::set_credential(conn, id, card.acs_credential_id).await?;
    let assigned = find(conn, caller, id).await?;
    let issued = EventType::AccessMethodIssued;
    access_methods::record(conn, &assigned, issued, now, now).await?;
    before.record_changes(conn, now, now).await?;
    let entry = AuditEntry {
        action: "credential.assign".into(),
        workspace_id: Some(caller.workspace_id),
        acs_system_id: Some(method.acs_system_id),
        api_key_id: Some(caller.api_key_id),
        acs_credential_id: Some(card.acs_credential_id),
        ..AuditEntry::default()
    };
    audit::record(conn, &entry, now).await?;
    Ok(access_method_json(&assigned))
}
