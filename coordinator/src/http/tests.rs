//! The API as callers see it: conventions common to all paths, and bad input.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{MAX_BODY_BYTES, bench::Bench, contract, frame::REQUEST_ID};

/// Every path that needs a key, with the methods it takes.
fn paths() -> Vec<(&'static str, &'static [Method])> {
    let (_, paths) = super::routes().into_parts();
    let keyed = paths.iter().filter(|path| path.needs_key());
    keyed.map(|path| (path.path, path.methods)).collect()
}

/// Paths that need one id, and the id's kind.
const BY_ID: &[(&str, &str)] = &[
    ("/acs/systems/get", "acs_system"),
    ("/acs/encoders/get", "acs_encoder"),
    ("/acs/encoders/scan_credential", "acs_encoder"),
    ("/action_attempts/get", "action_attempt"),
    ("/acs/entrances/get", "acs_entrance"),
    ("/acs/users/get", "acs_user"),
    ("/acs/credentials/get", "acs_credential"),
    ("/acs/credentials/update", "acs_credential"),
    ("/acs/credentials/delete", "acs_credential"),
    ("/acs/users/update", "acs_user"),
    ("/acs/users/delete", "acs_user"),
    (
        "/acs/credentials/list_accessible_entrances",
        "acs_credential",
    ),
    ("/acs/credentials/unmanaged/get", "acs_credential"),
    ("/user_identities/get", "user_identity"),
    ("/spaces/get", "space"),
    ("/spaces/update", "space"),
    ("/spaces/delete", "space"),
    ("/access_grants/get", "access_grant"),
    ("/access_grants/update", "access_grant"),
    ("/access_grants/delete", "access_grant"),
    ("/access_methods/get", "access_method"),
    ("/access_methods/delete", "access_method"),
    ("/events/get", "event"),
];

#[test]
fn every_path_takes_the_methods_of_the_published_document() {
    let published = contract::published();
    for (path, methods) in paths() {
        let known = published.iter().find(|(known, _)| known == path);
        let (_, known) = known.unwrap_or_else(|| panic!("{path} is not published"));
        let mut known: Vec<_> = known.iter().map(Method::as_str).collect();
        let mut taken: Vec<_> = methods.iter().map(Method::as_str).collect();
        known.sort_unstable();
        taken.sort_unstable();
        assert_eq!(taken, known, "{path}");
    }
}

#[tokio::test]
async fn every_path_needs_a_key() {
    let bench = Bench::start().await;
    for (path, methods) in paths() {
        for method in methods {
            for header in [
                None,
                Some("Bearer seam_000000000000000000000000000000000000000000000000"),
                Some("Bearer seam_at_something"),
                Some("Bearer eyJhbGciOi"),
                Some("Bearer "),
                Some("Basic c2VhbTo="),
                Some("seam_without_scheme"),
            ] {
                let mut request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("host", "localhost");
                if let Some(header) = header {
                    request = request.header("authorization", header);
                }
                let answer = bench.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(answer.error(), (401, "unauthorized"), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_path_takes_its_methods_and_no_other() {
    let bench = Bench::start().await;
    let all = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    for (path, methods) in paths() {
        for method in &all {
            let body = Some(json!({}));
            let answer = bench.call(method.clone(), path, &bench.key, body).await;
            if methods.contains(method) {
                assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            } else {
                assert_eq!(answer.error(), (405, "method_not_allowed"), "{path}");
            }
            assert!(answer.headers.contains_key(REQUEST_ID));
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
    }
}

#[tokio::test]
async fn a_revoked_key_opens_nothing() {
    let bench = Bench::start().await;
    let (_, key) = bench.neighbour().await;
    let workspace = bench
        .post_as(&key, "/workspaces/get", json!({}))
        .await
        .ok("workspace")
        .clone();
    let id = Uuid::try_parse(workspace["workspace_id"].as_str().unwrap()).unwrap();
    let mut conn = bench.state.store.write().await.unwrap();
    let keys = crate::store::api_keys::list(&mut conn, id).await.unwrap();
    let now = bench.state.clock.utc();
    let revoked = crate::store::api_keys::revoke(&mut conn, keys[0].api_key_id, now).await;
    assert!(revoked.unwrap());
    conn.commit().await.unwrap();
    let answer = bench.post_as(&key, "/workspaces/get", json!({})).await;
    assert_eq!(answer.error(), (401, "unauthorized"));
}

#[tokio::test]
async fn a_post_must_declare_and_be_a_json_object() {
    let bench = Bench::start().await;
    let post = |content_type: Option<&str>, body: &'static str| {
        let mut request = Request::post("/acs/systems/get")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", bench.key));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        bench.send(request.body(Body::from(body)).unwrap())
    };
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonp"),
    ] {
        let answer = post(content_type, "{}").await;
        assert_eq!(answer.error(), (400, "invalid_content_type"));
    }
    for body in ["{", "nonsense", "[]", "null", "{\"a\":1}}", "\u{0}"] {
        let answer = post(Some("application/json"), body).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{body}");
    }
    let answer = post(Some("application/json; charset=utf-8"), "").await;
    assert_eq!(
        answer.body["error"]["validation_errors"],
        json!({"_errors": [], "acs_system_id": {"_errors": ["Required"]}})
    );
}

#[tokio::test]
async fn a_deeply_nested_body_is_refused() {
    let bench = Bench::start().await;
    let request = Request::post("/acs/systems/get")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", bench.key))
        .header("content-type", "application/json")
        .body(Body::from("[".repeat(100_000)))
        .unwrap();
    let answer = bench.send(request).await;
    assert_eq!(answer.error(), (400, "invalid_input"));
}

#[tokio::test]
async fn a_long_body_is_refused() {
    let bench = Bench::start().await;
    for length in [MAX_BODY_BYTES, 10 * MAX_BODY_BYTES] {
        let filler = "x".repeat(length);
        let answer = bench
            .post("/acs/systems/get", json!({"filler": filler}))
            .await;
        assert_eq!(answer.error(), (413, "payload_too_large"));
    }
}

#[tokio::test]
async fn ids_that_are_missing_wrong_or_unknown_are_named() {
    let bench = Bench::start().await;
    for (path, kind) in BY_ID {
        let field = format!("{kind}_id");
        for (value, expected) in [
            (Value::Null, "Required"),
            (json!(7), "Expected string, received number"),
            (json!(["x"]), "Expected string, received array"),
            (json!("front desk"), "Invalid uuid"),
            (json!(""), "Invalid uuid"),
        ] {
            let answer = bench.post(path, json!({ &field: value })).await;
            assert_eq!(answer.error(), (400, "invalid_input"), "{path}");
            let errors = &answer.body["error"]["validation_errors"];
            let told = errors[&field]["_errors"][0].as_str().unwrap_or_default();
            assert!(told.starts_with(expected), "{path}: {errors}");
        }
        let answer = bench.post(path, json!({ &field: Uuid::new_v4() })).await;
        assert_eq!(answer.error(), (404, &*format!("{kind}_not_found")));
    }
}

#[tokio::test]
async fn a_cursor_that_was_tampered_with_is_refused_or_leads_to_ones_own_rows() {
    let bench = Bench::start().await;
    for name in ["Anna", "Bert", "Cleo"] {
        bench.person(name).await;
    }
    let path = "/user_identities/list";
    let first = bench.post(path, json!({"limit": 1})).await;
    let pagination = first.ok("pagination");
    let cursor = pagination["next_page_cursor"].as_str().unwrap();
    let longer = format!("{cursor}AA");
    let (shorter, turned): (_, String) = (&cursor[1..], cursor.chars().rev().collect());
    let of_another_list = "cDE5ZTM".to_owned();
    for wrong in [
        "x",
        "null",
        "../../etc/passwd",
        "' OR 1=1 --",
        "\u{0}",
        shorter,
        &longer,
        &turned,
        &of_another_list,
    ] {
        let answer = bench.post(path, json!({"page_cursor": wrong})).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{wrong}");
        let errors = &answer.body["error"]["validation_errors"]["page_cursor"]["_errors"];
        assert!(errors[0].as_str().unwrap().starts_with("Invalid cursor"));
    }
    // Another id in the same form is a place in the list of this workspace, and no more.
    let mut other = cursor.to_owned();
    other.replace_range(cursor.len() - 2..cursor.len() - 1, "Q");
    let answer = bench.post(path, json!({"page_cursor": other})).await;
    if answer.status == StatusCode::OK {
        assert!(answer.ok("user_identities").as_array().unwrap().len() <= 3);
    } else {
        assert_eq!(answer.error(), (400, "invalid_input"));
    }
}

#[tokio::test]
async fn what_the_published_document_has_and_this_service_has_not_is_told_and_listed() {
    let bench = Bench::start().await;
    let readme = include_str!("../../../README.md");
    let ours = paths();
    let mut absent: Vec<_> = contract::published()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| ours.iter().all(|(known, _)| known != path))
        .collect();
    for path in &absent {
        assert!(
            readme.contains(&format!("`{path}`")),
            "{path} is not listed"
        );
    }
    absent.extend(["/locks/list".to_owned(), "/devices/list".to_owned()]);
    for path in absent {
        let answer = bench.post(&path, json!({})).await;
        assert_eq!(answer.error(), (404, "route_not_found"), "{path}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(&path), "{message}");
    }
}

#[tokio::test]
async fn unknown_paths_are_told_in_json() {
    let bench = Bench::start().await;
    for path in ["/", "/acs", "/acs/systems", "/acs/systems/get/", "/x?y=z"] {
        let answer = bench.get(path).await;
        assert_eq!(answer.error(), (404, "route_not_found"), "{path}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(answer.headers.contains_key(REQUEST_ID));
    }
}

#[tokio::test]
async fn foreign_hosts_are_refused_before_anything_else() {
    let bench = Bench::start().await;
    for host in [Some("evil.example"), Some("evil.example:8480"), None] {
        let mut request = Request::get("/health");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = bench.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.error(), (421, "host_not_allowed"));
        assert!(answer.headers.contains_key(REQUEST_ID));
    }
}

#[tokio::test]
async fn the_workspace_is_the_keys() {
    let bench = Bench::start().await;
    let answer = bench.get("/workspaces/get").await;
    let workspace = answer.ok("workspace");
    assert_eq!(workspace["workspace_id"], json!(bench.workspace));
    assert_eq!(workspace["is_sandbox"], json!(true));
}

#[tokio::test]
async fn request_ids_differ() {
    let bench = Bench::start().await;
    let one = bench.get("/workspaces/get").await;
    let other = bench.get("/workspaces/get").await;
    assert_ne!(one.headers[REQUEST_ID], other.headers[REQUEST_ID]);
}

#[tokio::test]
async fn a_panic_is_answered() {
    use axum::{Router, middleware, routing::get};
    use tower::ServiceExt as _;
    async fn panics() {
        panic!("on purpose");
    }
    let bench = Bench::start().await;
    let frame = middleware::from_fn_with_state(bench.state.clone(), super::frame::frame);
    let app: Router = Router::new().route("/panic", get(panics)).layer(frame);
    let request = Request::get("/panic")
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = axum::body::to_bytes(response.into_body(), 10_000).await;
    let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
    assert_eq!(body["error"]["type"], json!("internal_server_error"));
    assert!(!body.to_string().contains("on purpose"));
}

#[tokio::test]
async fn a_failing_store_is_answered_without_details() {
    let bench = Bench::start().await;
    bench.state.store.close().await;
    let answer = bench.get("/workspaces/get").await;
    assert_eq!(answer.error(), (500, "internal_server_error"));
    assert!(!answer.body.to_string().contains("pool"));
}
