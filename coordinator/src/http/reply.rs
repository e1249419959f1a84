//! Answers as the API gives them: `{"<response key>": …, "ok": true}`.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::ApiError;

/// What a resource's function answers.
pub type Answer = Result<Reply, ApiError>;

/// A successful answer, always with status 200: each response key with its value as JSON text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply(Vec<(String, String)>);

impl Reply {
    /// An answer that says nothing but that it was done.
    pub fn done() -> Self {
        Self(vec![("ok".to_owned(), "true".to_owned())])
    }

    /// An answer with a resource or a list under its response key.
    pub fn of(key: &str, value: impl Into<Value>) -> Self {
        Self::done().with(key, value)
    }

    /// An answer with a list under its response key. Each of a page's 500 resources is text before the next one is made: as
    /// one tree of values they would take several times the memory, and the processor's cache with it.
    pub fn of_rows(key: &str, rows: impl Iterator<Item = Value>) -> Self {
        let mut text = String::from("[");
        for row in rows {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&row.to_string());
        }
        text.push(']');
        Self::done().with_text(key, text)
    }

    /// The same answer with one more key.
    #[must_use]
    pub fn with(self, key: &str, value: impl Into<Value>) -> Self {
        self.with_text(key, value.into().to_string())
    }

    fn with_text(mut self, key: &str, text: String) -> Self {
        self.0.push((key.to_owned(), text));
        self
    }

    fn text(self) -> String {
        let length = self.0.iter().map(|(key, text)| key.len() + text.len() + 4);
        let mut body = String::with_capacity(length.sum::<usize>() + 1);
        for (key, text) in self.0 {
            body.push(if body.is_empty() { '{' } else { ',' });
            body.push_str(&Value::String(key).to_string());
            body.push(':');
            body.push_str(&text);
        }
        body.push('}');
        body
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], self.text()).into_response()
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
    fn an_answer_is_one_object_of_all_its_keys() {
        let rows = || [json!({"a \"b\"": 1}), json!(null)].into_iter();
        for (reply, text) in [
            (Reply::done(), r#"{"ok":true}"#),
            (Reply::of("a", 1), r#"{"ok":true,"a":1}"#),
            (Reply::of_rows("a", rows().take(0)), r#"{"ok":true,"a":[]}"#),
            (
                Reply::of_rows("a", rows()).with("b\"", "c\""),
                r#"{"ok":true,"a":[{"a \"b\"":1},null],"b\"":"c\""}"#,
            ),
        ] {
            assert_eq!(reply.text(), text);
        }
    }

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
