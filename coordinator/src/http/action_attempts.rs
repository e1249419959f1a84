//! `/action_attempts/*`.

use axum::extract::State;
use encoder_protocols::wire::{ErrorCode, JobError, Touched};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{Answer, ApiError, Caller, Params, Reply, Resource, Routes, page_json, read};
use crate::{
    state::AppState,
    store::{
        api_keys::Vocabulary,
        attempts::{
            self, ActionType, AssignmentError, AssignmentErrorCode, AttemptError, AttemptRow,
            AttemptState,
        },
    },
};

/// How many attempts a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/action_attempts/get", "Returns an action attempt: whether an encode, scan or assignment is pending, done or failed.", read(get))
        .route("/action_attempts/list", "Lists action attempts.", read(list))
}

/// An attempt as the API shows it, in the key's vocabulary.
pub(super) fn attempt_json(row: &AttemptRow, vocabulary: Vocabulary) -> Value {
    let (action, result) = match (row.action, vocabulary) {
        (ActionType::EncodeAccessMethod, Vocabulary::Guide) => {
            (row.action, row.access_method.as_ref())
        }
        (ActionType::EncodeAccessMethod, Vocabulary::Types) => (ActionType::EncodeCredential, None),
        (action, _) => (action, None),
    };
    let (status, result, error) = match &row.state {
        AttemptState::Pending => ("pending", Value::Null, Value::Null),
        AttemptState::Success(stored) => {
            ("success", json!(result.or(stored.as_ref())), Value::Null)
        }
        AttemptState::Error(AttemptError::Job(error)) => {
            ("error", Value::Null, error_json(error, vocabulary))
        }
        AttemptState::Error(AttemptError::Assignment(error)) => {
            ("error", Value::Null, assignment_error_json(error))
        }
    };
    json!({
        "action_attempt_id": row.action_attempt_id,
        "action_type": action.as_str(),
        "status": status,
        "result": result,
        "error": error,
    })
}

/// The attempt with this id, as the API shows it.
pub(super) async fn find_json(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<Value, ApiError> {
    let row = attempts::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::ActionAttempt, id))?;
    Ok(attempt_json(&row, caller.vocabulary))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("action_attempt_id");
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let attempt = find_json(&mut conn, &caller, id?).await?;
    Ok(Reply::of("action_attempt", attempt))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let named = reader.optional_ids("action_attempt_ids");
    reader.refuse("device_id", "devices are not offered by this service");
    let page = reader.page(DEFAULT_LIMIT);
    reader.finish()?;
    let (named, page) = (named?, page?);
    let mut conn = state.store.read().await?;
    let found = attempts::list(&mut conn, caller.workspace_id, named.as_deref(), page).await?;
    Ok(page_json(
        "action_attempts",
        &found,
        &params,
        |row| row.action_attempt_id,
        |row| attempt_json(row, caller.vocabulary),
    ))
}

fn error_json(error: &JobError, vocabulary: Vocabulary) -> Value {
    let code = match (error.code, vocabulary) {
        (ErrorCode::NoCardOnEncoder, Vocabulary::Types) => "no_credential_on_encoder",
        (code, _) => code.as_str(),
    };
    let mut json = json!({
        "type": code,
        "message": format!("{code}: {}", error.message),
        "touched": match error.touched {
            Touched::Untouched => "untouched",
            Touched::Unknown => "unknown",
            Touched::Written => "written",
        },
    });
    if let Some(fault) = &error.hardware {
        json["hardware"] =
            json!({"driver": fault.driver, "code": fault.code, "meaning": fault.meaning});
    }
    json
}

fn assignment_error_json(error: &AssignmentError) -> Value {
    let code = match error.code {
        AssignmentErrorCode::CredentialNotFound => "credential_not_found",
    };
    json!({"type": code, "message": format!("{code}: {}", error.message)})
}

#[cfg(test)]
mod tests {
    use encoder_protocols::fault::HardwareFault;

    use super::*;

    fn failed(vocabulary: Vocabulary) -> Value {
        let row = AttemptRow {
            action_attempt_id: Uuid::nil(),
            action: ActionType::EncodeCredential,
            access_method: None,
            state: AttemptState::Error(AttemptError::Job(JobError {
                code: ErrorCode::NoCardOnEncoder,
                message: "put a card down".into(),
                touched: Touched::Untouched,
                hardware: Some(HardwareFault {
                    driver: "pn532".into(),
                    code: "0x01".into(),
                    meaning: "time out".into(),
                }),
            })),
        };
        attempt_json(&row, vocabulary)
    }

    #[test]
    fn an_error_speaks_the_keys_vocabulary_and_names_the_hardware() {
        let guide = failed(Vocabulary::Guide);
        assert_eq!(guide["error"]["type"], "no_card_on_encoder");
        assert_eq!(
            guide["error"]["message"],
            "no_card_on_encoder: put a card down"
        );
        assert_eq!(guide["error"]["touched"], "untouched");
        assert_eq!(guide["error"]["hardware"]["code"], "0x01");
        assert_eq!(guide["status"], "error");
        assert_eq!(guide["result"], Value::Null);
        let types = failed(Vocabulary::Types);
        assert_eq!(types["error"]["type"], "no_credential_on_encoder");
    }
}
