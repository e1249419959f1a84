//! The API as callers see it: conventions common to all paths, and bad input.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{MAX_BODY_BYTES, bench::Bench, contract, frame::REQUEST_ID};

/// Every path that needs a key, with the methods it takes.
const PATHS: &[(&str, &[Method])] = &[
    ("/acs/systems/get", &[Method::GET, Method::POST]),
    ("/acs/systems/list", &[Method::GET, Method::POST]),
    ("/acs/encoders/get", &[Method::GET, Method::POST]),
    ("/acs/encoders/list", &[Method::GET, Method::POST]),
    ("/acs/encoders/encode_credential", &[Method::POST]),
    ("/acs/encoders/scan_credential", &[Method::POST]),
    ("/action_attempts/get", &[Method::GET, Method::POST]),
    ("/action_attempts/list", &[Method::GET, Method::POST]),
    ("/acs/entrances/get", &[Method::GET, Method::POST]),
    ("/acs/entrances/list", &[Method::GET, Method::POST]),
    ("/acs/users/create", &[Method::POST]),
    ("/acs/users/get", &[Method::GET, Method::POST]),
    ("/acs/users/list", &[Method::GET, Method::POST]),
    ("/acs/credentials/create", &[Method::POST]),
    ("/acs/credentials/get", &[Method::GET, Method::POST]),
    ("/acs/credentials/list", &[Method::GET, Method::POST]),
    ("/acs/credentials/update", &[Method::PATCH, Method::POST]),
    ("/acs/credentials/delete", &[Method::DELETE, Method::POST]),
    ("/acs/encoders/scan_to_assign_credential", &[Method::POST]),
    ("/acs/users/update", &[Method::PATCH, Method::POST]),
    ("/acs/users/delete", &[Method::DELETE, Method::POST]),
    ("/acs/credentials/assign", &[Method::PATCH, Method::POST]),
    ("/acs/credentials/unassign", &[Method::PATCH, Method::POST]),
    (
        "/acs/credentials/list_accessible_entrances",
        &[Method::GET, Method::POST],
    ),
    (
        "/acs/credentials/unmanaged/get",
        &[Method::GET, Method::POST],
    ),
    (
        "/acs/credentials/unmanaged/list",
        &[Method::GET, Method::POST],
    ),
    ("/user_identities/create", &[Method::POST]),
    ("/user_identities/get", &[Method::GET, Method::POST]),
    ("/user_identities/list", &[Method::GET, Method::POST]),
    ("/spaces/create", &[Method::POST]),
    ("/spaces/get", &[Method::GET, Method::POST]),
    ("/spaces/list", &[Method::GET, Method::POST]),
    ("/spaces/update", &[Method::PATCH, Method::POST]),
    ("/spaces/delete", &[Method::DELETE, Method::POST]),
    ("/spaces/add_acs_entrances", &[Method::PUT, Method::POST]),
    (
        "/spaces/remove_acs_entrances",
        &[Method::DELETE, Method::POST],
    ),
    ("/access_grants/create", &[Method::POST]),
    ("/access_grants/get", &[Method::GET, Method::POST]),
    ("/access_grants/list", &[Method::GET, Method::POST]),
    ("/access_grants/get_related", &[Method::GET, Method::POST]),
    ("/access_grants/request_access_methods", &[Method::POST]),
    ("/access_grants/update", &[Method::PATCH, Method::POST]),
    ("/access_grants/delete", &[Method::DELETE, Method::POST]),
    ("/access_methods/get", &[Method::GET, Method::POST]),
    ("/access_methods/list", &[Method::GET, Method::POST]),
    ("/access_methods/get_related", &[Method::GET, Method::POST]),
    ("/access_methods/encode", &[Method::POST]),
    ("/access_methods/assign_card", &[Method::POST]),
    ("/access_methods/delete", &[Method::DELETE, Method::POST]),
    ("/events/get", &[Method::GET, Method::POST]),
    ("/events/list", &[Method::GET, Method::POST]),
    ("/workspaces/get", &[Method::GET, Method::POST]),
];

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
    let published = contract::paths();
    for (path, methods) in PATHS {
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
    for (path, methods) in PATHS {
        for method in *methods {
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
                    .uri(*path)
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
    for (path, methods) in PATHS {
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
    let filler = "x".repeat(MAX_BODY_BYTES);
    let answer = bench
        .post("/acs/systems/get", json!({"filler": filler}))
        .await;
    assert_eq!(answer.error(), (413, "payload_too_large"));
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
