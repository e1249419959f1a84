//! Access methods without an encoder: lists, registered cards, deletion.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{http::bench::Bench, store::systems::SystemKind};

async fn method_of(bench: &Bench, grant: &Value) -> Value {
    let body = json!({"access_method_id": grant["access_method_ids"][0]});
    let got = bench.post("/access_methods/get", body).await;
    got.ok("access_method").clone()
}

/// A grant in a system whose cards are registered ones.
async fn registered(bench: &Bench) -> (Uuid, Value) {
    let brivo = bench.system_of_kind(SystemKind::Brivo).await;
    let door = bench.entrance(brivo, "Gym").await;
    (brivo, bench.grant(&[door]).await)
}

async fn assign(bench: &Bench, method: &Value, number: &str) -> Value {
    let body = json!({"access_method_id": method["access_method_id"], "card_number": number});
    let answer = bench.post("/access_methods/assign_card", body).await;
    answer.ok("action_attempt").clone()
}

#[tokio::test]
async fn a_registered_card_is_assigned_instead_of_encoded() {
    let bench = Bench::start().await;
    let (brivo, grant) = registered(&bench).await;
    let card = bench.registered_card(brivo, "ABCD1234").await;
    let method = method_of(&bench, &grant).await;
    assert_eq!(method["is_encoding_required"], json!(false));
    assert_eq!(method["is_assignment_required"], json!(true));
    assert_eq!(method["is_ready_for_assignment"], json!(true));
    assert_eq!(method["card_number"], Value::Null);

    let attempt = assign(&bench, &method, "abcd1234").await;
    assert_eq!(attempt["action_type"], "ASSIGN_CREDENTIAL");
    assert_eq!(attempt["status"], "success");
    let result = &attempt["result"];
    assert_eq!(*result, method_of(&bench, &grant).await);
    assert_eq!(result["is_issued"], json!(true));
    assert_eq!(result["card_number"], "ABCD1234");
    assert_eq!(result["is_assignment_required"], json!(false));
    assert_eq!(result["pending_mutations"], json!([]));
    let again = assign(&bench, &method, "ABCD1234").await;
    assert_eq!(again["result"], *result, "the same card again is no error");

    let got = bench
        .post("/acs/credentials/get", json!({"acs_credential_id": card}))
        .await;
    let credential = got.ok("acs_credential");
    assert_eq!(credential["starts_at"], grant["starts_at"]);
    assert_eq!(credential["user_identity_id"], grant["user_identity_id"]);
    let query = format!(
        "access_grant_id={}",
        grant["access_grant_id"].as_str().unwrap()
    );
    assert_eq!(
        bench.events(&query).await,
        [
            "access_grant.created",
            "access_method.created",
            "access_method.issued",
            "access_grant.access_granted_to_door",
            "access_grant.access_granted_to_all_doors",
        ]
    );
}

#[tokio::test]
async fn times_of_an_assigned_card_need_no_encoder_to_change() {
    let bench = Bench::start().await;
    let (brivo, grant) = registered(&bench).await;
    let card = bench.registered_card(brivo, "7").await;
    let method = method_of(&bench, &grant).await;
    assign(&bench, &method, "7").await;
    let later =
        json!({"access_grant_id": grant["access_grant_id"], "ends_at": "2028-02-01T00:00:00Z"});
    bench.post("/access_grants/update", later).await.ok("ok");
    let now = method_of(&bench, &grant).await;
    assert_eq!(now["is_issued"], json!(true));
    assert_eq!(now["pending_mutations"], json!([]));
    let got = bench
        .post("/acs/credentials/get", json!({"acs_credential_id": card}))
        .await;
    assert_eq!(
        got.ok("acs_credential")["ends_at"],
        "2028-02-01T00:00:00.000Z"
    );
}

#[tokio::test]
async fn only_a_card_that_waits_is_assigned() {
    let bench = Bench::start().await;
    let (brivo, first) = registered(&bench).await;
    bench.registered_card(brivo, "1").await;
    bench.registered_card(brivo, "2").await;
    let door = bench.entrance(brivo, "Pool").await;
    let second = bench.grant(&[door]).await;
    let first = method_of(&bench, &first).await;
    let second = method_of(&bench, &second).await;
    let unknown = assign(&bench, &first, "no such card").await;
    assert_eq!(unknown["status"], "error");
    assert_eq!(unknown["error"]["type"], "credential_not_found");
    let got = bench
        .post(
            "/action_attempts/get",
            json!({"action_attempt_id": unknown["action_attempt_id"]}),
        )
        .await;
    assert_eq!(*got.ok("action_attempt"), unknown);

    assert_eq!(assign(&bench, &first, "1").await["status"], "success");
    let taken = assign(&bench, &second, "1").await;
    assert_eq!(taken["error"]["type"], "uncategorized_error");
    let has_one = assign(&bench, &first, "2").await;
    assert_eq!(has_one["error"]["type"], "uncategorized_error");

    let encoded = bench.entrance(bench.system, "101").await;
    let encoded = bench.grant(&[encoded]).await;
    let body = json!({"access_method_id": encoded["access_method_ids"][0], "card_number": "2"});
    let refused = bench.post("/access_methods/assign_card", body).await;
    assert_eq!(refused.error(), (400, "invalid_input"));
}

#[tokio::test]
async fn a_registered_card_comes_back_when_its_access_method_is_deleted() {
    let bench = Bench::start().await;
    let (brivo, grant) = registered(&bench).await;
    let card = bench.registered_card(brivo, "1").await;
    let method = method_of(&bench, &grant).await;
    assign(&bench, &method, "1").await;
    let id = json!({"access_method_id": method["access_method_id"]});
    bench
        .post("/access_methods/delete", id.clone())
        .await
        .ok("ok");
    assert_eq!(
        bench.post("/access_methods/get", id).await.error(),
        (404, "access_method_not_found")
    );
    let waiting = bench
        .post(
            "/acs/credentials/unmanaged/get",
            json!({"acs_credential_id": card}),
        )
        .await;
    assert_eq!(waiting.ok("acs_credential")["card_number"], "1");
    let query = format!(
        "access_method_id={}",
        method["access_method_id"].as_str().unwrap()
    );
    assert_eq!(
        bench.events(&query).await[2..],
        ["access_method.revoked", "access_method.deleted"]
    );
}

#[tokio::test]
async fn a_deleted_access_method_is_not_made_again() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let grant = bench.grant(&[door]).await;
    let id = json!({"access_method_id": grant["access_method_ids"][0]});
    bench.post("/access_methods/delete", id).await.ok("ok");
    let later =
        json!({"access_grant_id": grant["access_grant_id"], "ends_at": "2028-02-01T00:00:00Z"});
    bench.post("/access_grants/update", later).await.ok("ok");
    let list = bench.get("/access_methods/list").await;
    assert_eq!(*list.ok("access_methods"), json!([]));
    let credentials = bench.get("/acs/credentials/list").await;
    assert_eq!(*credentials.ok("acs_credentials"), json!([]));
}

#[tokio::test]
async fn a_deleted_credential_ends_its_access_method() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let grant = bench.grant(&[door]).await;
    let credentials = bench.get("/acs/credentials/list").await;
    let credential = credentials.ok("acs_credentials")[0]["acs_credential_id"].clone();
    let body = json!({"acs_credential_id": credential});
    bench.post("/acs/credentials/delete", body).await.ok("ok");
    let id = json!({"access_method_id": grant["access_method_ids"][0]});
    let gone = bench.post("/access_methods/get", id).await;
    assert_eq!(gone.error(), (404, "access_method_not_found"));
}

#[tokio::test]
async fn a_deletion_names_one_access_method_or_all_of_a_grant_or_reservation() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let make = async || {
        let body = json!({
            "user_identity_id": bench.person("Jane Doe").await,
            "reservation_key": "party",
            "acs_entrance_ids": [door],
            "requested_access_methods": [{"mode": "card"}, {"mode": "card"}],
        });
        let made = bench.post("/access_grants/create", body).await;
        made.ok("access_grant").clone()
    };
    let count = async || {
        let list = bench.get("/access_methods/list").await;
        list.ok("access_methods").as_array().unwrap().len()
    };
    let first = make().await;
    make().await;
    make().await;
    for wrong in [
        json!({}),
        json!({"reservation_key": "party", "access_grant_id": first["access_grant_id"]}),
    ] {
        let answer = bench.post("/access_methods/delete", wrong).await;
        assert_eq!(answer.error(), (400, "invalid_input"));
    }
    for (body, left) in [
        (
            json!({"access_method_id": first["access_method_ids"][0]}),
            5,
        ),
        (json!({"access_grant_id": first["access_grant_id"]}), 4),
        (json!({"reservation_key": "party"}), 0),
    ] {
        bench.post("/access_methods/delete", body).await.ok("ok");
        assert_eq!(count().await, left);
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_grant_entrance_and_space() {
    let bench = Bench::start().await;
    let annexe = bench.system_of(bench.workspace).await;
    let here = bench.entrance(bench.system, "Here").await;
    let there = bench.entrance(annexe, "There").await;
    let space = bench
        .post(
            "/spaces/create",
            json!({"name": "x", "acs_entrance_ids": [there]}),
        )
        .await
        .ok("space")["space_id"]
        .clone();
    let body = json!({
        "user_identity_id": bench.person("Jane Doe").await,
        "access_grant_key": "both",
        "acs_entrance_ids": [here],
        "space_ids": [space],
        "requested_access_methods": [{"mode": "card"}],
    });
    let both = bench.post("/access_grants/create", body).await;
    let both = both.ok("access_grant")["access_grant_id"].clone();
    bench.grant(&[here]).await;
    for (body, count) in [
        (json!({}), 3),
        (json!({"access_grant_id": both}), 2),
        (json!({"access_grant_key": "both"}), 2),
        (json!({"acs_entrance_id": here}), 2),
        (json!({"acs_entrance_id": there}), 1),
        (json!({"space_id": space}), 2),
    ] {
        let list = bench.post("/access_methods/list", body.clone()).await;
        let found = list.ok("access_methods").as_array().unwrap();
        assert_eq!(found.len(), count, "{body}");
    }
    let whole = bench.get("/access_methods/list").await;
    let whole = whole.ok("access_methods").as_array().unwrap();
    for (body, sizes) in [(json!({}), [2, 1]), (json!({"space_id": space}), [1, 1])] {
        let (mut paged, mut cursor) = (Vec::new(), Value::Null);
        for size in sizes {
            let mut body = body.clone();
            body["limit"] = json!(sizes[0]);
            body["page_cursor"] = cursor;
            let page = bench.post("/access_methods/list", body).await;
            let found = page.ok("access_methods").as_array().unwrap();
            assert_eq!(found.len(), size, "{found:?}");
            paged.extend(found.iter().cloned());
            cursor = page.ok("pagination")["next_page_cursor"].clone();
        }
        assert_eq!(cursor, Value::Null, "{body}");
        let expected: Vec<_> = whole
            .iter()
            .filter(|it| paged.contains(it))
            .cloned()
            .collect();
        assert_eq!(paged, expected, "each once, in the order of their creation");
    }
    let refused = bench
        .post("/access_methods/list", json!({"device_id": both}))
        .await;
    assert_eq!(refused.error(), (400, "invalid_input"));
}
