//! Access grants up to the card.

use axum::http::Method;
use encoder_protocols::card::key_record::MOST_ENTRANCES;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::bench::Bench;

async fn methods_of(bench: &Bench, grant: &Value) -> Vec<Value> {
    let id = grant["access_grant_id"].as_str().unwrap();
    let list = bench
        .get(&format!("/access_methods/list?access_grant_id={id}"))
        .await;
    list.ok("access_methods").as_array().unwrap().clone()
}

async fn get(bench: &Bench, grant: &Value) -> Value {
    let id = grant["access_grant_id"].as_str().unwrap();
    let got = bench
        .get(&format!("/access_grants/get?access_grant_id={id}"))
        .await;
    got.ok("access_grant").clone()
}

/// The names of the entrances that an access method opens.
async fn doors_of(bench: &Bench, method: &Value) -> Vec<String> {
    let body = json!({"access_method_ids": [method["access_method_id"]]});
    let related = bench.post("/access_methods/get_related", body).await;
    let doors = related.ok("batch")["acs_entrances"]
        .as_array()
        .unwrap()
        .clone();
    doors
        .iter()
        .map(|door| door["display_name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_grant_to_a_new_person_makes_identity_user_credential_and_access_method() {
    let bench = Bench::start().await;
    let doors = [
        bench.entrance(bench.system, "Hall").await,
        bench.entrance(bench.system, "101").await,
    ];
    let body = json!({
        "user_identity": {
            "full_name": "Jane Doe",
            "email_address": "jane.doe@example.com",
            "phone_number": "+15555551000",
        },
        "acs_entrance_ids": doors,
        "device_ids": [],
        "requested_access_methods": [{"mode": "card"}],
        "starts_at": "2026-12-01T15:00:00.000Z",
        "ends_at": "2026-12-04T11:00:00.000Z",
    });
    let made = bench.post("/access_grants/create", body).await;
    let grant = made.ok("access_grant");
    assert_eq!(grant["starts_at"], "2026-12-01T15:00:00.000Z");
    assert_eq!(grant["ends_at"], "2026-12-04T11:00:00.000Z");
    assert_eq!(get(&bench, grant).await, *grant);

    let requested = &grant["requested_access_methods"][0];
    assert_eq!(requested["mode"], "card");
    assert_eq!(requested["display_name"], "Plastic card");
    assert_eq!(
        requested["created_access_method_ids"],
        grant["access_method_ids"]
    );
    let methods = methods_of(&bench, grant).await;
    assert_eq!(methods.len(), 1);
    let method = &methods[0];
    assert_eq!(
        json!([method["access_method_id"]]),
        grant["access_method_ids"]
    );
    assert_eq!(method["is_issued"], json!(false));
    assert_eq!(method["is_encoding_required"], json!(true));
    assert_eq!(method["is_ready_for_encoding"], json!(true));
    assert_eq!(method["is_assignment_required"], json!(false));

    let ids = json!({"access_grant_ids": [grant["access_grant_id"]]});
    let related = bench.post("/access_grants/get_related", ids).await;
    let batch = related.ok("batch");
    assert_eq!(batch["access_methods"], json!(methods));
    assert_eq!(
        batch["acs_systems"][0]["acs_system_id"],
        json!(bench.system)
    );
    let person = &batch["user_identities"][0];
    assert_eq!(person["email_address"], "jane.doe@example.com");
    assert_eq!(person["acs_user_ids"].as_array().unwrap().len(), 1);
    assert_eq!(doors_of(&bench, method).await, ["Hall", "101"]);

    let body =
        json!({"access_method_ids": [method["access_method_id"]], "include": ["acs_credentials"]});
    let related = bench.post("/access_methods/get_related", body).await;
    let batch = related.ok("batch");
    assert_eq!(batch.as_object().unwrap().len(), 1);
    let credential = &batch["acs_credentials"][0];
    assert_eq!(credential["starts_at"], "2026-12-01T15:00:00.000Z");
    assert_eq!(credential["acs_user_id"], person["acs_user_ids"][0]);

    let query = format!(
        "access_grant_id={}",
        grant["access_grant_id"].as_str().unwrap()
    );
    assert_eq!(
        bench.events(&query).await,
        [
            "access_grant.created",
            "access_method.created",
            "access_method.card_encoding_required",
        ]
    );
}

#[tokio::test]
async fn a_person_keeps_the_same_user_over_all_grants() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let person = bench.person("Jane Doe").await;
    for _ in 0..2 {
        let body = json!({
            "user_identity_id": person,
            "acs_entrance_ids": [door],
            "requested_access_methods": [{"mode": "card"}],
        });
        bench
            .post("/access_grants/create", body)
            .await
            .ok("access_grant");
    }
    let users = bench.get("/acs/users/list").await;
    assert_eq!(users.ok("acs_users").as_array().unwrap().len(), 1);
    let body = json!({"user_identity_id": person});
    let list = bench.post("/access_grants/list", body).await;
    assert_eq!(list.ok("access_grants").as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn each_system_and_each_request_has_a_card_of_its_own() {
    let bench = Bench::start().await;
    let annexe = bench.system_of(bench.workspace).await;
    let here = bench.entrance(bench.system, "Here").await;
    let there = bench.entrance(annexe, "There").await;
    let grant = bench.grant(&[here, there]).await;
    assert_eq!(methods_of(&bench, &grant).await.len(), 2);
    let more = json!({
        "access_grant_id": grant["access_grant_id"],
        "requested_access_methods": [{"mode": "card"}],
    });
    let more = bench
        .post("/access_grants/request_access_methods", more)
        .await;
    let more = more.ok("access_grant");
    let requested = more["requested_access_methods"].as_array().unwrap();
    assert_eq!(requested.len(), 2);
    for request in requested {
        assert_eq!(
            request["created_access_method_ids"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
    for method in methods_of(&bench, more).await {
        assert_eq!(
            doors_of(&bench, &method).await.len(),
            1,
            "one system's doors each"
        );
    }
}

#[tokio::test]
async fn a_grant_follows_its_spaces() {
    let bench = Bench::start().await;
    let hall = bench.entrance(bench.system, "Hall").await;
    let room = bench.entrance(bench.system, "101").await;
    let space = bench
        .post(
            "/spaces/create",
            json!({"name": "Room 101", "space_key": "r101", "acs_entrance_ids": [room]}),
        )
        .await
        .ok("space")["space_id"]
        .clone();
    let empty = bench.post("/spaces/create", json!({"name": "Empty"})).await;
    let empty = empty.ok("space")["space_id"].clone();
    let body = json!({
        "user_identity_id": bench.person("Jane Doe").await,
        "space_ids": [empty],
        "space_keys": ["r101"],
        "requested_access_methods": [{"mode": "card"}],
    });
    let made = bench.post("/access_grants/create", body).await;
    let grant = made.ok("access_grant").clone();
    assert_eq!(grant["space_ids"], json!([space, empty]));
    let method = methods_of(&bench, &grant).await.remove(0);
    assert_eq!(doors_of(&bench, &method).await, ["101"]);

    let add = json!({"space_id": empty, "acs_entrance_ids": [hall]});
    bench.post("/spaces/add_acs_entrances", add).await.ok("ok");
    assert_eq!(doors_of(&bench, &method).await, ["Hall", "101"]);
    let accessible = async || {
        let body = json!({"access_method_ids": [method["access_method_id"]]});
        let related = bench.post("/access_methods/get_related", body).await;
        let credential = &related.ok("batch")["acs_credentials"][0]["acs_credential_id"];
        let body = json!({"acs_credential_id": credential});
        let answer = bench
            .post("/acs/credentials/list_accessible_entrances", body)
            .await;
        answer.ok("acs_entrances").as_array().unwrap().len()
    };
    assert_eq!(accessible().await, 2, "the credential follows");
    bench
        .post("/spaces/delete", json!({"space_id": space}))
        .await
        .ok("ok");
    assert_eq!(doors_of(&bench, &method).await, ["Hall"]);
    assert_eq!(accessible().await, 1);

    let annexe = bench.system_of(bench.workspace).await;
    let there = bench.entrance(annexe, "There").await;
    let add = json!({"space_id": empty, "acs_entrance_ids": [there]});
    bench.post("/spaces/add_acs_entrances", add).await.ok("ok");
    assert_eq!(
        methods_of(&bench, &grant).await.len(),
        2,
        "the new system gets a card of its own"
    );
}

#[tokio::test]
async fn an_update_moves_the_times_of_grant_and_credentials() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let grant = bench.grant(&[door]).await;
    let id = &grant["access_grant_id"];
    let later = json!({"access_grant_id": id, "ends_at": "2028-01-05T12:00:00Z", "name": "Suite"});
    let key = &bench.key;
    bench
        .call(Method::PATCH, "/access_grants/update", key, Some(later))
        .await
        .ok("ok");
    let now = get(&bench, &grant).await;
    assert_eq!(now["ends_at"], "2028-01-05T12:00:00.000Z");
    assert_eq!(now["starts_at"], grant["starts_at"]);
    assert_eq!(now["display_name"], "Suite");
    assert_eq!(
        now["pending_mutations"],
        json!([]),
        "no card carries it yet"
    );
    let credentials = bench.get("/acs/credentials/list").await;
    assert_eq!(
        credentials.ok("acs_credentials")[0]["ends_at"],
        "2028-01-05T12:00:00.000Z"
    );
    let endless = json!({"access_grant_id": id, "ends_at": null, "name": null});
    bench.post("/access_grants/update", endless).await.ok("ok");
    let now = get(&bench, &grant).await;
    assert_eq!(
        (&now["ends_at"], &now["name"]),
        (&Value::Null, &Value::Null)
    );
    for wrong in [
        json!({"access_grant_id": id, "ends_at": "2026-11-30T00:00:00Z"}),
        json!({"access_grant_id": id, "starts_at": "2028-01-06T12:00:00Z", "ends_at": "2028-01-05T12:00:00Z"}),
        json!({"access_grant_id": id, "starts_at": "2020-01-01T12:00:00Z", "ends_at": "2020-01-02T12:00:00Z"}),
    ] {
        let answer = bench.post("/access_grants/update", wrong.clone()).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{wrong}");
    }
    let query = "event_type=access_grant.access_times_changed";
    assert_eq!(bench.events(query).await.len(), 2);
}

#[tokio::test]
async fn a_credential_of_a_grant_is_changed_through_the_grant_alone() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    bench.grant(&[door]).await;
    let credentials = bench.get("/acs/credentials/list").await;
    let credential = &credentials.ok("acs_credentials")[0];
    let id = &credential["acs_credential_id"];
    let user = &credential["acs_user_id"];
    for (path, body) in [
        (
            "/acs/credentials/update",
            json!({"acs_credential_id": id, "ends_at": "2028-01-01T00:00:00Z"}),
        ),
        (
            "/acs/credentials/unassign",
            json!({"acs_credential_id": id, "acs_user_id": user}),
        ),
        (
            "/acs/credentials/assign",
            json!({"acs_credential_id": id, "acs_user_id": user}),
        ),
    ] {
        let answer = bench.post(path, body).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{path}");
        let told = answer.body["error"]["message"].as_str().unwrap();
        assert!(told.contains("access method"), "{told}");
    }
}

#[tokio::test]
async fn a_deleted_grant_takes_its_access_methods_and_credentials_along() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let grant = bench.grant(&[door]).await;
    let method = methods_of(&bench, &grant).await.remove(0);
    let id = &grant["access_grant_id"];
    bench
        .post("/access_grants/delete", json!({"access_grant_id": id}))
        .await
        .ok("ok");
    let gone = bench
        .post("/access_grants/get", json!({"access_grant_id": id}))
        .await;
    assert_eq!(gone.error(), (404, "access_grant_not_found"));
    let body = json!({"access_method_id": method["access_method_id"]});
    let gone = bench.post("/access_methods/get", body).await;
    assert_eq!(gone.error(), (404, "access_method_not_found"));
    let credentials = bench.get("/acs/credentials/list").await;
    assert_eq!(*credentials.ok("acs_credentials"), json!([]));
    let list = bench.get("/access_grants/list").await;
    assert_eq!(*list.ok("access_grants"), json!([]));
    let query = format!("access_grant_ids={}", id.as_str().unwrap());
    let events = bench.events(&query).await;
    assert_eq!(
        events[3..],
        ["access_method.deleted", "access_grant.deleted"]
    );
}

#[tokio::test]
async fn a_key_names_one_grant_at_a_time() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let person = bench.person("Jane Doe").await;
    let body = json!({
        "user_identity_id": person,
        "access_grant_key": "booking-7",
        "reservation_key": "party-of-two",
        "acs_entrance_ids": [door],
        "requested_access_methods": [{"mode": "card"}],
    });
    let made = bench.post("/access_grants/create", body.clone()).await;
    let grant = made.ok("access_grant").clone();
    let again = bench.post("/access_grants/create", body.clone()).await;
    assert_eq!(again.error(), (400, "invalid_input"));
    let by_key = bench
        .get("/access_grants/get?access_grant_key=booking-7")
        .await;
    assert_eq!(*by_key.ok("access_grant"), grant);
    let unknown = bench.get("/access_grants/get?access_grant_key=x").await;
    assert_eq!(unknown.error(), (404, "access_grant_not_found"));
    let keys = json!({"access_grant_keys": ["booking-7"]});
    let related = bench.post("/access_grants/get_related", keys).await;
    assert_eq!(
        related.ok("batch")["access_methods"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let event = bench
        .get("/events/list?since=2020-01-01&event_type=access_method.created")
        .await;
    assert_eq!(
        event.ok("events")[0]["access_grant_keys"],
        json!(["booking-7"])
    );

    let id = &grant["access_grant_id"];
    bench
        .post("/access_grants/delete", json!({"access_grant_id": id}))
        .await
        .ok("ok");
    bench
        .post("/access_grants/create", body)
        .await
        .ok("access_grant");
}

#[tokio::test]
async fn a_list_is_filtered_and_paged() {
    let bench = Bench::start().await;
    let annexe = bench.system_of(bench.workspace).await;
    let here = bench.entrance(bench.system, "Here").await;
    let there = bench.entrance(annexe, "There").await;
    let first = bench.grant(&[here]).await;
    let space = bench
        .post(
            "/spaces/create",
            json!({"name": "x", "acs_entrance_ids": [there]}),
        )
        .await
        .ok("space")["space_id"]
        .clone();
    let body = json!({
        "user_identity_id": bench.person("John Doe").await,
        "reservation_key": "party",
        "space_ids": [space],
        "requested_access_methods": [{"mode": "card"}],
    });
    let second = bench.post("/access_grants/create", body).await;
    let second = second.ok("access_grant").clone();
    for (body, expected) in [
        (json!({}), vec![&first, &second]),
        (
            json!({"access_grant_ids": [first["access_grant_id"]]}),
            vec![&first],
        ),
        (
            json!({"user_identity_id": second["user_identity_id"]}),
            vec![&second],
        ),
        (json!({"reservation_key": "party"}), vec![&second]),
        (json!({"space_id": space}), vec![&second]),
        (json!({"acs_entrance_id": here}), vec![&first]),
        (json!({"acs_entrance_id": there}), vec![&second]),
        (json!({"acs_system_id": annexe}), vec![&second]),
        (json!({"access_grant_key": "none"}), vec![]),
    ] {
        let list = bench.post("/access_grants/list", body.clone()).await;
        let found = list.ok("access_grants").as_array().unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{body}");
    }
    let page = bench.get("/access_grants/list?limit=1").await;
    let cursor = page.ok("pagination")["next_page_cursor"].as_str().unwrap();
    let rest = bench
        .get(&format!("/access_grants/list?limit=1&page_cursor={cursor}"))
        .await;
    assert_eq!(*rest.ok("access_grants"), json!([second]));
}

#[tokio::test]
async fn what_is_wrong_with_a_grant_is_named_and_nothing_is_made() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let crowd = vec![door; MOST_ENTRANCES + 1];
    let good = json!({
        "user_identity": {"full_name": "Jane Doe"},
        "acs_entrance_ids": [door],
        "requested_access_methods": [{"mode": "card"}],
    });
    for (changes, path) in [
        (json!({"user_identity": null}), "/user_identity_id"),
        (
            json!({"user_identity_id": Uuid::new_v4()}),
            "/user_identity",
        ),
        (
            json!({"user_identity": {"email_address": "x"}}),
            "/user_identity/email_address",
        ),
        (json!({"acs_entrance_ids": []}), "/acs_entrance_ids"),
        (json!({"acs_entrance_ids": crowd}), "/acs_entrance_ids"),
        (json!({"acs_entrance_ids": ["x"]}), "/acs_entrance_ids/0"),
        (
            json!({"requested_access_methods": null}),
            "/requested_access_methods",
        ),
        (
            json!({"requested_access_methods": []}),
            "/requested_access_methods",
        ),
        (
            json!({"requested_access_methods": ["card"]}),
            "/requested_access_methods/0",
        ),
        (
            json!({"requested_access_methods": [{}]}),
            "/requested_access_methods/0/mode",
        ),
        (
            json!({"requested_access_methods": [{"mode": "card"}, {"mode": "code"}]}),
            "/requested_access_methods/1/mode",
        ),
        (
            json!({"requested_access_methods": [{"mode": "card", "code": "1234"}]}),
            "/requested_access_methods/0/code",
        ),
        (json!({"device_ids": [door]}), "/device_ids"),
        (json!({"location": {"name": "x"}}), "/location"),
        (json!({"ends_at": "2020-01-01T00:00:00Z"}), "/ends_at"),
        (
            json!({"starts_at": "2027-01-02T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"}),
            "/ends_at",
        ),
        (json!({"starts_at": "tomorrow"}), "/starts_at"),
    ] {
        let mut body = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = bench.post("/access_grants/create", body).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{changes}");
        let errors = &answer.body["error"]["validation_errors"];
        let told = errors.pointer(&format!("{path}/_errors/0"));
        assert!(told.is_some(), "{changes}: {errors}");
    }
    for (field, missing) in [
        ("acs_entrance_ids", "acs_entrance_not_found"),
        ("space_ids", "space_not_found"),
    ] {
        let mut body = good.clone();
        body[field] = json!([Uuid::new_v4()]);
        let answer = bench.post("/access_grants/create", body).await;
        assert_eq!(answer.error(), (404, missing));
    }
    for path in [
        "/user_identities/list",
        "/acs/users/list",
        "/access_grants/list",
    ] {
        let list = bench.get(path).await;
        let key = path.trim_start_matches("/acs").trim_end_matches("/list");
        let key = key.trim_start_matches('/').replace("users", "acs_users");
        assert_eq!(*list.ok(&key), json!([]), "{path}");
    }
}
