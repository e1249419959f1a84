//! Users from their making to their deletion.

use axum::http::Method;
use serde_json::{Value, json};

use crate::http::bench::Bench;

#[tokio::test]
async fn a_user_has_what_it_was_made_with() {
    let bench = Bench::start().await;
    let body = json!({
        "acs_system_id": bench.system,
        "full_name": "Jane Doe",
        "email_address": "jane@example.com",
        "phone_number": "+15555550100",
        "access_schedule": {"starts_at": "2026-12-01T15:00:00Z", "ends_at": null},
        "acs_access_group_ids": [],
        "favourite_colour": "unknown fields are ignored",
    });
    let made = bench.post("/acs/users/create", body).await;
    let made = made.ok("acs_user");
    assert_eq!(made["email_address"], json!("jane@example.com"));
    assert_eq!(
        made["access_schedule"],
        json!({"starts_at": "2026-12-01T15:00:00.000Z", "ends_at": null})
    );
    let id = made["acs_user_id"].as_str().unwrap();
    let got = bench
        .get(&format!("/acs/users/get?acs_user_id={id}&_strict=true"))
        .await;
    assert_eq!(got.ok("acs_user"), made);
    let system = bench
        .get(&format!("/acs/systems/get?acs_system_id={}", bench.system))
        .await;
    assert_eq!(system.ok("acs_system")["acs_user_count"], json!(1));
    let events = bench.get("/events/list?since=2020-01-01").await;
    assert_eq!(
        events.ok("events")[0]["event_type"],
        json!("acs_user.created")
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_user_is_named() {
    let bench = Bench::start().await;
    let system = bench.system;
    for (extra, path, expected) in [
        (json!({"full_name": null}), "/full_name", "Required"),
        (
            json!({"full_name": " "}),
            "/full_name",
            "String must contain at least 1 character(s)",
        ),
        (
            json!({"full_name": "x".repeat(1001)}),
            "/full_name",
            "String must contain at most 1000 character(s)",
        ),
        (
            json!({"email_address": "jane"}),
            "/email_address",
            "Invalid email",
        ),
        (json!({"email": "a@b@c"}), "/email", "Invalid email"),
        (
            json!({"access_schedule": {"starts_at": "2026-12-02T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"}}),
            "/access_schedule/ends_at",
            "must be after starts_at",
        ),
        (
            json!({"acs_access_group_ids": [bench.workspace]}),
            "/acs_access_group_ids",
            "access groups are not offered by this service",
        ),
    ] {
        let mut body = json!({"acs_system_id": system, "full_name": "Jane Doe"});
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = bench.post("/acs/users/create", body).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{extra}");
        let tree = &answer.body["error"]["validation_errors"];
        let errors = tree.pointer(&format!("{path}/_errors"));
        assert_eq!(errors, Some(&json!([expected])), "{extra}");
    }
    let none = bench.get("/acs/users/list").await;
    assert_eq!(*none.ok("acs_users"), json!([]));
}

#[tokio::test]
async fn a_user_of_an_unknown_or_foreign_system_is_not_made() {
    let bench = Bench::start().await;
    let (theirs, _) = bench.neighbour().await;
    for system in [theirs, bench.workspace] {
        let body = json!({"acs_system_id": system, "full_name": "Jane Doe"});
        let answer = bench.post("/acs/users/create", body).await;
        assert_eq!(answer.error(), (404, "acs_system_not_found"));
    }
}

#[tokio::test]
async fn a_list_is_searched_and_paged() {
    let bench = Bench::start().await;
    for name in ["Anna", "Bert", "Hanna"] {
        let body = json!({"acs_system_id": bench.system, "full_name": name});
        bench.post("/acs/users/create", body).await.ok("acs_user");
    }
    let found = bench.get("/acs/users/list?search=ANNA&limit=1").await;
    assert_eq!(found.ok("acs_users")[0]["full_name"], json!("Anna"));
    let cursor = found.ok("pagination")["next_page_cursor"].clone();
    let body = json!({"search": "ANNA", "limit": 1, "page_cursor": cursor});
    let next = bench.post("/acs/users/list", body).await;
    assert_eq!(next.ok("acs_users")[0]["full_name"], json!("Hanna"));
    assert_eq!(next.ok("pagination")["has_next_page"], json!(false));
}

async fn user(bench: &Bench) -> Value {
    let body = json!({"acs_system_id": bench.system, "full_name": "Jane Doe"});
    let answer = bench.post("/acs/users/create", body).await;
    answer.ok("acs_user").clone()
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let bench = Bench::start().await;
    let made = user(&bench).await;
    let id = made["acs_user_id"].as_str().unwrap();
    let get = format!("/acs/users/get?acs_user_id={id}");
    for (body, field, expected) in [
        (
            json!({"full_name": "Jane Roe"}),
            "full_name",
            json!("Jane Roe"),
        ),
        (
            json!({"email_address": "jane@example.com"}),
            "email_address",
            json!("jane@example.com"),
        ),
        (
            json!({"access_schedule": {"starts_at": "2026-12-01", "ends_at": "2026-12-02"}}),
            "access_schedule",
            json!({"starts_at": "2026-12-01T00:00:00.000Z", "ends_at": "2026-12-02T00:00:00.000Z"}),
        ),
        (
            json!({"access_schedule": null}),
            "access_schedule",
            Value::Null,
        ),
        (json!({}), "full_name", json!("Jane Roe")),
    ] {
        let mut request = body.clone();
        request["acs_user_id"] = json!(id);
        let key = &bench.key;
        bench
            .call(Method::PATCH, "/acs/users/update", key, Some(request))
            .await
            .ok("ok");
        let now = bench.get(&get).await;
        assert_eq!(now.ok("acs_user")[field], expected, "{body}");
    }
}

#[tokio::test]
async fn a_deleted_user_takes_the_credentials_along() {
    let bench = Bench::start().await;
    let made = user(&bench).await;
    let id = &made["acs_user_id"];
    let body = json!({"acs_user_id": id, "access_method": "card"});
    let credential = bench.post("/acs/credentials/create", body).await;
    let credential = credential.ok("acs_credential")["acs_credential_id"].clone();
    bench
        .post("/acs/users/delete", json!({"acs_user_id": id}))
        .await
        .ok("ok");
    let gone = bench
        .post("/acs/users/get", json!({"acs_user_id": id}))
        .await;
    assert_eq!(gone.error(), (404, "acs_user_not_found"));
    let gone = bench
        .post(
            "/acs/credentials/get",
            json!({"acs_credential_id": credential}),
        )
        .await;
    assert_eq!(gone.error(), (404, "acs_credential_not_found"));
    let list = bench.get("/acs/users/list").await;
    assert_eq!(*list.ok("acs_users"), json!([]));
    let query = format!("acs_user_id={}", id.as_str().unwrap());
    assert_eq!(
        bench.events(&query).await,
        ["acs_user.created", "acs_user.deleted"]
    );
    let query = format!("acs_credential_id={}", credential.as_str().unwrap());
    assert_eq!(bench.events(&query).await, ["acs_credential.deleted"]);
}

#[tokio::test]
async fn a_deleted_user_of_a_person_makes_room_for_a_new_one() {
    let bench = Bench::start().await;
    let person = bench.person("Jane Doe").await;
    let body =
        json!({"acs_system_id": bench.system, "full_name": "Jane", "user_identity_id": person});
    let first = bench.post("/acs/users/create", body.clone()).await;
    let first = first.ok("acs_user")["acs_user_id"].clone();
    let named = json!({"user_identity_id": person, "acs_system_id": bench.system});
    bench.post("/acs/users/delete", named).await.ok("ok");
    let second = bench.post("/acs/users/create", body).await;
    assert_ne!(second.ok("acs_user")["acs_user_id"], first);
}
