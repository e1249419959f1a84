//! A request's parameters, whether they came in the query or as a JSON body.

use axum::{
    body::Bytes,
    extract::{FromRequest, Query, Request},
    http::{HeaderMap, Method, StatusCode, header},
};
use serde_json::{Map, Value};

use super::{ApiError, BODY_PATIENCE, asked::Notes, reader::Reader};

/// How deep a dotted path in a query may nest.
const MAX_DEPTH: usize = 4;

/// The parameters of one request.
///
/// In a query a key given several times is a list, `a=` is an empty list or null, `b.c=1` is field `c` of object `b`.
/// What a JSON body gives counts before what the query gives. Unknown parameters are ignored.
#[derive(Clone, Debug, Default)]
pub struct Params {
    body: Map<String, Value>,
    query: Map<String, Value>,
    address: String,
    notes: Option<Notes>,
}

impl Params {
    /// Starts reading the parameters.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.body, &self.query).noting(self.notes.clone())
    }

    /// Parameters without any value, whose readers note what is asked of them.
    pub(super) fn asking(notes: Notes) -> Self {
        Self {
            notes: Some(notes),
            ..Self::default()
        }
    }

    /// Where the same request can be made as a GET with `page_cursor` set to `cursor`.
    pub fn url_of_page(&self, cursor: &str) -> String {
        let mut pairs = Vec::new();
        flatten("", &self.query, &mut pairs);
        flatten("", &self.body, &mut pairs);
        pairs.retain(|(key, _)| key != "page_cursor");
        pairs.push(("page_cursor".to_owned(), cursor.to_owned()));
        let query: Vec<_> = pairs
            .iter()
            .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
            .collect();
        format!("{}?{}", self.address, query.join("&"))
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let method = request.method().clone();
        let has_json = is_json(request.headers());
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|error| ApiError::InvalidInput(format!("malformed query: {error}")))?;
        let mut params = Self {
            address: address(&request),
            ..Self::default()
        };
        for (key, value) in pairs.0 {
            insert(&mut params.query, &key, value);
        }
        let reads_body = match method {
            Method::GET | Method::HEAD => false,
            Method::DELETE => has_json,
            _ if !has_json => return Err(ApiError::InvalidContentType),
            _ => true,
        };
        if reads_body {
            params.body = parse_body(&read_body(request, state).await?)?;
        }
        Ok(params)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let body = tokio::time::timeout(BODY_PATIENCE, Bytes::from_request(request, state));
    let body = body.await.map_err(|_| ApiError::SlowBody)?;
    body.map_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::PayloadTooLarge
        } else {
            ApiError::InvalidInput("the request body ended early: send it again".to_owned())
        }
    })
}

fn parse_body(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(ApiError::InvalidInput(format!(
            "expected a JSON object as the body, got {}",
            kind_of(&other)
        ))),
        Err(error) => Err(ApiError::InvalidInput(format!(
            "malformed JSON in the body at line {} column {}: expected a JSON object",
            error.line(),
            error.column()
        ))),
    }
}

/// What a JSON value is, in the words of validation errors.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Puts one pair of a query in its place.
fn insert(fields: &mut Map<String, Value>, key: &str, value: String) {
    let mut segments: Vec<_> = key.splitn(MAX_DEPTH, '.').collect();
    let Some(last) = segments.pop() else { return };
    let mut place = fields;
    for segment in segments {
        let next = place
            .entry(segment)
            .or_insert_with(|| Value::Object(Map::new()));
        if !next.is_object() {
            *next = Value::Object(Map::new());
        }
        let Value::Object(inner) = next else { return };
        place = inner;
    }
    match place.get_mut(last) {
        None => {
            place.insert(last.to_owned(), Value::String(value));
        }
        Some(Value::Array(values)) => values.push(Value::String(value)),
        Some(present) => {
            *present = Value::Array(vec![present.take(), Value::String(value)]);
        }
    }
}

fn address(request: &Request) -> String {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    let scheme = match header("x-forwarded-proto") {
        Some("https") => "https",
        Some(_) | None => "http",
    };
    let host = header("host").unwrap_or("localhost");
    format!("{scheme}://{host}{}", request.uri().path())
}

fn flatten(prefix: &str, fields: &Map<String, Value>, pairs: &mut Vec<(String, String)>) {
    for (key, value) in fields {
        let key = format!("{prefix}{key}");
        match value {
            Value::Object(inner) => flatten(&format!("{key}."), inner, pairs),
            Value::Array(values) if values.is_empty() => pairs.push((key, String::new())),
            Value::Array(values) => {
                pairs.extend(values.iter().map(|value| (key.clone(), plain(value))));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                pairs.push((key, plain(value)));
            }
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, section 2.3.
fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;

    use super::*;

    async fn params(request: Request) -> Result<Params, ApiError> {
        Params::from_request(request, &()).await
    }

    #[tokio::test]
    async fn a_query_has_lists_empties_and_paths() {
        let uri = "/x?a=1&a=2&b=&c.d=3&_strict=true&e=x%20y";
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let params = params(request).await.unwrap();
        assert_eq!(
            Value::Object(params.query),
            json!({"a": ["1", "2"], "b": "", "c": {"d": "3"}, "_strict": "true", "e": "x y"})
        );
    }

    #[tokio::test]
    async fn contradicting_paths_do_no_harm() {
        let uri = "/x?a=1&a.b=2&a=3&......=4&=5&a.b.c.d.e.f=6";
        let request = Request::get(uri).body(Body::empty()).unwrap();
        assert!(params(request).await.is_ok());
    }

    #[tokio::test]
    async fn the_next_page_repeats_the_request() {
        let request = Request::post("/acs/users/list")
            .header("host", "desk:8480")
            .header("content-type", "application/json; charset=utf-8")
            .body(Body::from(
                r#"{"ids": ["a", "b"], "limit": 2, "page_cursor": "old", "search": "ü&"}"#,
            ))
            .unwrap();
        assert_eq!(
            params(request).await.unwrap().url_of_page("new"),
            "http://desk:8480/acs/users/list?ids=a&ids=b&limit=2&search=%C3%BC%26&page_cursor=new"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let request = Request::post("/x")
            .header("content-type", "application/json")
            .body(Body::from_stream(never))
            .unwrap();
        let began = tokio::time::Instant::now();
        let error = params(request).await.unwrap_err();
        assert!(matches!(error, ApiError::SlowBody), "{error}");
        assert_eq!(began.elapsed(), BODY_PATIENCE);
    }

    #[tokio::test]
    async fn a_body_must_be_a_json_object() {
        for (body, expected) in [
            ("{", "malformed JSON"),
            ("[]", "got array"),
            ("\"x\"", "got string"),
            ("{\"a\":1,}", "malformed JSON"),
        ] {
            let request = Request::post("/x")
                .header("content-type", "application/json")
                .body(Body::from(body))
                .unwrap();
            let error = params(request).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }
}
