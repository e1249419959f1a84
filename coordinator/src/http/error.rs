//! Errors as the API answers them: `{"error": {"type", "message", "data"?, "validation_errors"?}, "ok": false}`.

use std::{collections::BTreeMap, fmt};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{desk::DeskError, store::StoreError};

/// The kinds of thing that a request can name and the store can lack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resource {
    /// An access grant.
    AccessGrant,
    /// An access method.
    AccessMethod,
    /// A credential.
    AcsCredential,
    /// An encoder.
    AcsEncoder,
    /// An entrance.
    AcsEntrance,
    /// An access system.
    AcsSystem,
    /// A user of an access system.
    AcsUser,
    /// An action attempt.
    ActionAttempt,
    /// An event.
    Event,
    /// A space.
    Space,
    /// A user identity.
    UserIdentity,
    /// A webhook.
    Webhook,
    /// A workspace.
    Workspace,
}

impl Resource {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::AccessGrant,
        Self::AccessMethod,
        Self::AcsCredential,
        Self::AcsEncoder,
        Self::AcsEntrance,
        Self::AcsSystem,
        Self::AcsUser,
        Self::ActionAttempt,
        Self::Event,
        Self::Space,
        Self::UserIdentity,
        Self::Webhook,
        Self::Workspace,
    ];

    /// The resource as the API names it, also in its ids and error types.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessGrant => "access_grant",
            Self::AccessMethod => "access_method",
            Self::AcsCredential => "acs_credential",
            Self::AcsEncoder => "acs_encoder",
            Self::AcsEntrance => "acs_entrance",
            Self::AcsSystem => "acs_system",
            Self::AcsUser => "acs_user",
            Self::ActionAttempt => "action_attempt",
            Self::Event => "event",
            Self::Space => "space",
            Self::UserIdentity => "user_identity",
            Self::Webhook => "webhook",
            Self::Workspace => "workspace",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with which field.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ValidationErrors(Vec<(Vec<String>, String)>);

impl ValidationErrors {
    /// Notes an error of the field at `path`; nested fields are parted by dots.
    pub fn push(&mut self, path: &str, message: impl Into<String>) {
        let path = path.split('.').map(str::to_owned).collect();
        self.0.push((path, message.into()));
    }

    /// Whether there is no error.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors as a tree that mirrors the request: `{"_errors": [], "field": {"_errors": ["Required"]}}`.
    fn tree(&self) -> Value {
        let mut root = json!({"_errors": []});
        for (path, message) in &self.0 {
            let mut node = &mut root;
            for segment in path {
                if node.get(segment).is_none() {
                    node[segment] = json!({"_errors": []});
                }
                node = &mut node[segment];
            }
            if let Some(errors) = node["_errors"].as_array_mut() {
                errors.push(json!(message));
            }
        }
        root
    }
}

impl fmt::Display for ValidationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (path, message)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {message}", path.join("."))?;
        }
        Ok(())
    }
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No API key, or none that opens anything.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// Fields are missing or wrong.
    #[error("{0}")]
    Validation(ValidationErrors),
    /// The request as a whole cannot be understood or done.
    #[error("{0}")]
    InvalidInput(String),
    /// The body is not declared as JSON.
    #[error("expected a body with content-type application/json: set that header")]
    InvalidContentType,
    /// The body did not come in [`super::BODY_PATIENCE`].
    #[error("the request body did not come within {} s: send it at once", super::BODY_PATIENCE.as_secs())]
    SlowBody,
    /// The body is longer than [`super::MAX_BODY_BYTES`].
    #[error("the request body is longer than {} bytes", super::MAX_BODY_BYTES)]
    PayloadTooLarge,
    /// The workspace has no such resource.
    #[error("no {0} with id {1} in this workspace")]
    NotFound(Resource, Uuid),
    /// The workspace has no such resource with this key of the integrator's.
    #[error("no {0} with key {1:?} in this workspace")]
    KeyNotFound(Resource, String),
    /// There is no such path.
    #[error("no such path: {0}")]
    UnknownRoute(String),
    /// The path does not take this method.
    #[error("this path does not take {0}: use POST with a JSON body")]
    MethodNotAllowed(String),
    /// The workspace is not for trying things out.
    #[error(
        "only sandbox workspaces simulate, and this one is real: make one with `encoder-coordinator workspace create --sandbox`"
    )]
    NotSandbox,
    /// The request names a host that this service does not answer for.
    #[error(
        "this service does not answer for host {0:?}: call it by its listen address, or start it with --allow-host"
    )]
    HostNotAllowed(String),
    /// Nothing can be stored now, so nothing was done.
    #[error(
        "the service cannot store anything now, so nothing was done: try again later, /health tells when it can"
    )]
    Unavailable,
    /// The store failed; the log says why.
    #[error("the service failed internally: its log has the details under this request id")]
    Store(#[source] StoreError),
    /// A part of the service failed; the log says why.
    #[error("the service failed internally: its log has the details under this request id")]
    Internal(String),
}

impl ApiError {
    /// An error of one field.
    pub fn field(path: &str, message: impl Into<String>) -> Self {
        let mut errors = ValidationErrors::default();
        errors.push(path, message);
        Self::Validation(errors)
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Validation(_)
            | Self::InvalidInput(_)
            | Self::InvalidContentType
            | Self::NotSandbox => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::NotFound(..) | Self::KeyNotFound(..) | Self::UnknownRoute(_) => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HostNotAllowed(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn type_name(&self) -> String {
        match self {
            Self::Validation(_) | Self::InvalidInput(_) => "invalid_input",
            Self::InvalidContentType => "invalid_content_type",
            Self::NotSandbox => "workspace_not_sandbox",
            Self::Unauthorized(_) => "unauthorized",
            Self::NotFound(resource, _) | Self::KeyNotFound(resource, _) => {
                return format!("{resource}_not_found");
            }
            Self::UnknownRoute(_) => "route_not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::SlowBody => "request_timeout",
            Self::PayloadTooLarge => "payload_too_large",
            Self::HostNotAllowed(_) => "host_not_allowed",
            Self::Unavailable => "service_unavailable",
            Self::Store(_) | Self::Internal(_) => "internal_server_error",
        }
        .to_owned()
    }

    /// What programs may want besides the message.
    fn data(&self) -> Option<Value> {
        match self {
            Self::NotFound(resource, id) => Some(json!({ format!("{resource}_id"): id })),
            Self::KeyNotFound(resource, key) => Some(json!({ format!("{resource}_key"): key })),
            Self::Unauthorized(_)
            | Self::Validation(_)
            | Self::InvalidInput(_)
            | Self::InvalidContentType
            | Self::NotSandbox
            | Self::SlowBody
            | Self::PayloadTooLarge
            | Self::UnknownRoute(_)
            | Self::MethodNotAllowed(_)
            | Self::HostNotAllowed(_)
            | Self::Unavailable
            | Self::Store(_)
            | Self::Internal(_) => None,
        }
    }

    fn log(&self) {
        match self {
            Self::Store(error) => tracing::error!(%error, "the store failed"),
            Self::Internal(error) => tracing::error!(%error, "a part of the service failed"),
            Self::Unauthorized(_)
            | Self::Validation(_)
            | Self::InvalidInput(_)
            | Self::InvalidContentType
            | Self::NotSandbox
            | Self::SlowBody
            | Self::PayloadTooLarge
            | Self::NotFound(..)
            | Self::KeyNotFound(..)
            | Self::UnknownRoute(_)
            | Self::MethodNotAllowed(_)
            | Self::Unavailable
            | Self::HostNotAllowed(_) => tracing::debug!(error = %self, "refused"),
        }
    }
}

/// The errors that any path of the document may answer: their types by status. Errors of no path, and of methods that a
/// path does not take, are not among them.
pub(super) fn error_types() -> BTreeMap<StatusCode, Vec<String>> {
    let missing = Resource::ALL.iter();
    let missing = missing.map(|resource| ApiError::NotFound(*resource, Uuid::nil()));
    let others = [
        ApiError::Validation(ValidationErrors::default()),
        ApiError::InvalidContentType,
        ApiError::NotSandbox,
        ApiError::Unauthorized(""),
        ApiError::SlowBody,
        ApiError::PayloadTooLarge,
        ApiError::HostNotAllowed(String::new()),
        ApiError::Internal(String::new()),
        ApiError::Unavailable,
    ];
    let mut types: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for error in others.into_iter().chain(missing) {
        let of_status = types.entry(error.status()).or_default();
        of_status.push(error.type_name());
    }
    types
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Failed => Self::Unavailable,
            DeskError::AgentInUse
            | DeskError::AnothersJournal
            | DeskError::JournalInUse
            | DeskError::Revoked
            | DeskError::Unknown => Self::Internal(error.to_string()),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_unwritable() {
            tracing::error!(%error, "the store cannot be written");
            return Self::Unavailable;
        }
        Self::Store(error)
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let mut error = Map::new();
        error.insert("type".to_owned(), json!(self.type_name()));
        error.insert("message".to_owned(), json!(self.to_string()));
        if let Some(data) = self.data() {
            error.insert("data".to_owned(), data);
        }
        if let Self::Validation(errors) = &self {
            error.insert("validation_errors".to_owned(), errors.tree());
        }
        let body = json!({"error": error, "ok": false});
        (self.status(), Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_mirrors_the_request() {
        let mut errors = ValidationErrors::default();
        errors.push("a", "Required");
        errors.push("b.c", "Invalid uuid");
        assert_eq!(
            errors.tree(),
            json!({
                "_errors": [],
                "a": {"_errors": ["Required"]},
                "b": {"_errors": [], "c": {"_errors": ["Invalid uuid"]}},
            })
        );
        assert_eq!(errors.to_string(), "a: Required; b.c: Invalid uuid");
    }
}
