//! Answers as the API gives them: `{"<response key>": …, "ok": true}`.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::ApiError;

/// What a resource's function answers.
pub type Answer = Result<Reply, ApiError>;

/// A successful answer, always with status 200.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply(Map<String, Value>);

impl Reply {
    /// An answer that says nothing but that it was done.
    pub fn done() -> Self {
        let mut body = Map::new();
        body.insert("ok".to_owned(), json!(true));
        Self(body)
    }

    /// An answer with a resource or a list under its response key.
    pub fn of(key: &str, value: impl Into<Value>) -> Self {
        Self::done().with(key, value)
    }

    /// The same answer with one more key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        Json(Value::Object(self.0)).into_response()
    }
}

/// A time as the API prints it: RFC 3339 in UTC with milliseconds.
pub fn time_json(time: Timestamp) -> Value {
    json!(format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_decimals_and_a_z() {
        assert_eq!(
            time_json("2026-11-21T10:00:00Z".parse().unwrap()),
            json!("2026-11-21T10:00:00.000Z")
        );
        assert_eq!(
            time_json("2026-11-21T12:00:00.5+02:00".parse().unwrap()),
            json!("2026-11-21T10:00:00.500Z")
        );
    }
}
