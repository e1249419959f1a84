//! The HTTP API, as an integrator uses it.

use std::time::Duration;

use encoder_protocols::wire::JobId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::HarnessError;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The API with a key to it.
#[derive(Clone, Debug)]
pub(super) struct Api {
    endpoint: String,
    key: String,
    agent: ureq::Agent,
}

impl Api {
    pub(super) fn new(endpoint: String, key: String) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false);
        Self {
            endpoint,
            key,
            agent: config.build().into(),
        }
    }

    /// Asks, and answers with the body of a request that was carried out.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, HarnessError> {
        let failed = |answer: String| HarnessError::Http {
            path: path.to_owned(),
            answer,
        };
        let sent = self
            .agent
            .post(format!("{}{path}", self.endpoint))
            .header("authorization", format!("Bearer {}", self.key))
            .send_json(body);
        let mut answer = sent.map_err(|error| failed(error.to_string()))?;
        let body: Value = answer
            .body_mut()
            .read_json()
            .map_err(|error| failed(error.to_string()))?;
        if body["ok"] == json!(true) {
            Ok(body)
        } else {
            Err(failed(format!("{}: {}", answer.status(), body["error"])))
        }
    }

    /// Whether the service answers.
    pub(super) fn is_up(&self) -> bool {
        let asked = self.agent.get(format!("{}/health", self.endpoint)).call();
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// Asks for an encode; answers with its attempt.
    pub(super) fn encode(&self, credential: Uuid, encoder: &str) -> Result<Value, HarnessError> {
        let body = json!({"acs_credential_id": credential, "acs_encoder_id": encoder});
        let answer = self.post("/acs/encoders/encode_credential", &body)?;
        Ok(answer["action_attempt"].clone())
    }

    pub(super) fn attempt(&self, job: JobId) -> Result<Value, HarnessError> {
        let body = json!({"action_attempt_id": job.0});
        let answer = self.post("/action_attempts/get", &body)?;
        Ok(answer["action_attempt"].clone())
    }

    /// Every attempt of the workspace.
    pub(super) fn attempts(&self) -> Result<Vec<Value>, HarnessError> {
        let answer = self.post("/action_attempts/list", &json!({}))?;
        Ok(answer["action_attempts"]
            .as_array()
            .cloned()
            .unwrap_or_default())
    }

    pub(super) fn credential(&self, credential: Uuid) -> Result<Value, HarnessError> {
        let body = json!({"acs_credential_id": credential});
        let answer = self.post("/acs/credentials/get", &body)?;
        Ok(answer["acs_credential"].clone())
    }

    /// The names of the events of a credential, in order.
    pub(super) fn events(&self, credential: Uuid) -> Result<Vec<String>, HarnessError> {
        let body = json!({"since": "2020-01-01T00:00:00Z", "acs_credential_id": credential});
        let answer = self.post("/events/list", &body)?;
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        Ok(events
            .iter()
            .filter_map(|event| event["event_type"].as_str().map(str::to_owned))
            .collect())
    }
}

/// The id of an attempt, which is its job's too.
pub(super) fn job_of(attempt: &Value) -> Result<JobId, HarnessError> {
    let id = attempt["action_attempt_id"]
        .as_str()
        .and_then(|id| id.parse().ok());
    id.map(JobId).ok_or_else(|| HarnessError::Http {
        path: "an attempt".to_owned(),
        answer: attempt.to_string(),
    })
}

/// Whether the attempt still waits.
pub(super) fn is_pending(attempt: &Value) -> bool {
    attempt["status"] == json!("pending")
}
