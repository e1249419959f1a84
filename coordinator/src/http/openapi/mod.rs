//! The document of the API, as it is served: `/openapi.json` for programs and `/docs` for people.
//!
//! What a path asks for comes from the functions that read it (see [`super::asked`]), what it answers from the published
//! document with this service's differences (see `answers`), which every answer of the tests is checked against.

mod answers;
mod document;
mod page;

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
    routing,
};
use serde_json::{Map, Value};

use super::routes::Path;
use crate::state::AppState;

/// Where the document is, for programs.
pub(super) const JSON_PATH: &str = "/openapi.json";
/// Where the document is, for people.
pub(super) const PAGE_PATH: &str = "/docs";

/// The page needs nothing but itself, so nothing else is let in.
const ONLY_ITSELF: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// The document in both forms.
#[derive(Debug)]
struct Texts {
    json: String,
    page: String,
}

/// Serves the document of these paths. It is written when it is first asked for.
pub(super) fn routes(paths: Vec<Path>) -> Router<AppState> {
    let paths: Arc<[Path]> = paths.into();
    let texts: Arc<OnceLock<Texts>> = Arc::default();
    let written = move |state: &AppState| {
        let document = || write(&paths, state);
        texts.get_or_init(document);
        Arc::clone(&texts)
    };
    let (json, page) = (written.clone(), written);
    Router::new()
        .route(
            JSON_PATH,
            routing::get(async move |State(state): State<AppState>| {
                let text = json(&state).get().map(|texts| texts.json.clone());
                answer("application/json", text)
            }),
        )
        .route(
            PAGE_PATH,
            routing::get(async move |State(state): State<AppState>| {
                let text = page(&state).get().map(|texts| texts.page.clone());
                answer("text/html; charset=utf-8", text)
            }),
        )
}

fn write(paths: &[Path], state: &AppState) -> Texts {
    let document = document::of(paths, state);
    Texts {
        json: document.to_string(),
        page: page::of(&document),
    }
}

fn answer(media: &'static str, text: Option<String>) -> Response {
    const POLICY: HeaderName = header::CONTENT_SECURITY_POLICY;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (POLICY, HeaderValue::from_static(ONLY_ITSELF)),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    // It was written just now.
    (headers, text.unwrap_or_default()).into_response()
}

/// What a path answers on success: as it says itself, else as the published document says.
pub(super) fn answer_of(path: &Path) -> Option<Value> {
    path.answer
        .map(|answer| answer())
        .or_else(|| answers::of_path(path.path))
}

/// The schemas that answers refer to.
pub(super) fn components() -> Map<String, Value> {
    answers::components()
}

#[cfg(test)]
mod tests;
