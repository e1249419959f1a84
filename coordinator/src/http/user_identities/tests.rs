//! User identities and the users that systems have of them.

use serde_json::{Value, json};

use crate::http::bench::Bench;

async fn make(bench: &Bench, body: Value) -> Value {
    let answer = bench.post("/user_identities/create", body).await;
    answer.ok("user_identity").clone()
}

#[tokio::test]
async fn an_identity_has_what_it_was_made_with() {
    let bench = Bench::start().await;
    let made = make(
        &bench,
        json!({
            "user_identity_key": "guest-7",
            "full_name": "Jane Doe",
            "email_address": "jane@example.com",
            "phone_number": "+15555550100",
        }),
    )
    .await;
    assert_eq!(made["display_name"], "Jane Doe");
    assert_eq!(made["acs_user_ids"], json!([]));
    let id = made["user_identity_id"].as_str().unwrap();
    for query in [
        format!("user_identity_id={id}"),
        "user_identity_key=guest-7".to_owned(),
    ] {
        let got = bench.get(&format!("/user_identities/get?{query}")).await;
        assert_eq!(*got.ok("user_identity"), made, "{query}");
    }
    let unknown = bench.get("/user_identities/get?user_identity_key=x").await;
    assert_eq!(unknown.error(), (404, "user_identity_not_found"));
    let unnamed = bench.get("/user_identities/get").await;
    assert_eq!(unnamed.error(), (400, "invalid_input"));
    let nobody = make(&bench, json!({})).await;
    assert_eq!(nobody["full_name"], Value::Null);
}

#[tokio::test]
async fn key_address_and_number_are_unique_in_a_workspace() {
    let bench = Bench::start().await;
    let (_, their_key) = bench.neighbour().await;
    let body = json!({
        "user_identity_key": "guest-7",
        "email_address": "jane@example.com",
        "phone_number": "+15555550100",
    });
    let made = make(&bench, body.clone()).await;
    let id = made["user_identity_id"].as_str().unwrap();
    for (field, value) in [
        ("user_identity_key", "guest-7"),
        ("email_address", "JANE@example.com"),
        ("phone_number", "+15555550100"),
    ] {
        let answer = bench
            .post("/user_identities/create", json!({ field: value }))
            .await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{field}");
        let told = &answer.body["error"]["validation_errors"][field]["_errors"][0];
        assert!(told.as_str().unwrap().contains(id), "{told}");
    }
    let theirs = bench
        .post_as(&their_key, "/user_identities/create", body)
        .await;
    assert_ne!(theirs.ok("user_identity")["user_identity_id"], id);
}

#[tokio::test]
async fn a_systems_user_with_the_same_address_becomes_the_persons() {
    let bench = Bench::start().await;
    let annexe = bench.system_of(bench.workspace).await;
    let body = json!({
        "acs_system_id": bench.system,
        "full_name": "J. Doe",
        "email_address": "Jane@Example.com",
    });
    let known = bench.post("/acs/users/create", body).await;
    let known = known.ok("acs_user")["acs_user_id"].clone();
    let made = make(
        &bench,
        json!({
            "full_name": "Jane Doe",
            "email_address": "jane@example.com",
            "acs_system_ids": [bench.system, annexe],
        }),
    )
    .await;
    let users = made["acs_user_ids"].as_array().unwrap();
    assert_eq!(users.len(), 2);
    assert_eq!(users[0], known);

    let id = made["user_identity_id"].as_str().unwrap();
    let path = format!("/acs/users/get?user_identity_id={id}&acs_system_id={annexe}");
    let new = bench.get(&path).await;
    let new = new.ok("acs_user");
    assert_eq!(new["acs_user_id"], users[1]);
    assert_eq!(new["full_name"], "Jane Doe");
    assert_eq!(new["user_identity_email_address"], "jane@example.com");
    let which = bench
        .get(&format!("/acs/users/get?user_identity_id={id}"))
        .await;
    assert_eq!(which.error(), (400, "invalid_input"), "there are two");
    for query in [
        format!("user_identity_id={id}"),
        "user_identity_email_address=jane@example.com".to_owned(),
    ] {
        let list = bench.get(&format!("/acs/users/list?{query}")).await;
        assert_eq!(list.ok("acs_users").as_array().unwrap().len(), 2, "{query}");
    }
    let second = bench
        .post(
            "/acs/users/create",
            json!({"acs_system_id": annexe, "full_name": "x", "user_identity_id": id}),
        )
        .await;
    assert_eq!(second.error(), (400, "invalid_input"));
}

#[tokio::test]
async fn a_list_is_filtered_and_paged() {
    let bench = Bench::start().await;
    let anna = make(&bench, json!({"full_name": "Anna"})).await;
    let hanna = make(&bench, json!({"full_name": "Hanna"})).await;
    let bert = make(&bench, json!({"email_address": "bert@example.com"})).await;
    for (body, expected) in [
        (json!({}), vec![&anna, &hanna, &bert]),
        (json!({"search": "ANNA"}), vec![&anna, &hanna]),
        (
            json!({"user_identity_ids": [bert["user_identity_id"]]}),
            vec![&bert],
        ),
        (json!({"created_before": "2020-01-01"}), vec![]),
    ] {
        let list = bench.post("/user_identities/list", body.clone()).await;
        let found = list.ok("user_identities").as_array().unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{body}");
    }
    let first = bench.get("/user_identities/list?limit=2").await;
    let cursor = first.ok("pagination")["next_page_cursor"].as_str().unwrap();
    let rest = bench
        .get(&format!(
            "/user_identities/list?limit=2&page_cursor={cursor}"
        ))
        .await;
    assert_eq!(*rest.ok("user_identities"), json!([bert]));
}
