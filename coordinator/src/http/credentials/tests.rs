//! Credentials from their making to their deletion.

use axum::http::Method;
use encoder_protocols::card::{Uid, key_record::MOST_ENTRANCES};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    http::bench::Bench,
    store::{
        credentials::{self, Issue},
        events::EventType,
        systems::SystemKind,
    },
};

/// A user of the bench's system.
async fn user(bench: &Bench) -> Value {
    let body = json!({"acs_system_id": bench.system, "full_name": "Jane Doe"});
    let answer = bench.post("/acs/users/create", body).await;
    answer.ok("acs_user")["acs_user_id"].clone()
}

/// A card credential of a new user, valid for three days in December 2026.
async fn credential(bench: &Bench) -> Value {
    let body = json!({
        "acs_user_id": user(bench).await,
        "access_method": "card",
        "allowed_acs_entrance_ids": [bench.entrance(bench.system, "101").await],
        "starts_at": "2026-12-01T15:00:00.000Z",
        "ends_at": "2026-12-04T12:00:00.000Z",
    });
    let answer = bench.post("/acs/credentials/create", body).await;
    answer.ok("acs_credential").clone()
}

fn id_of(credential: &Value) -> Uuid {
    Uuid::try_parse(credential["acs_credential_id"].as_str().unwrap()).unwrap()
}

/// What an encode that succeeded records.
async fn issue(
    bench: &Bench,
    id: Uuid,
    version: impl Into<Option<i64>>,
    uid: &str,
) -> Option<EventType> {
    let now = bench.state.clock.utc();
    let mut conn = bench.state.store.write().await.unwrap();
    let issue = Issue {
        acs_credential_id: id,
        version: version.into(),
        card_uid: Some(uid.parse::<Uid>().unwrap()),
        card_number: Some(uid.to_owned()),
        at: now,
        job_id: None,
    };
    let event = credentials::record_issued(&mut conn, &issue, now).await;
    conn.commit().await.unwrap();
    event.unwrap()
}

async fn events(bench: &Bench, id: Uuid) -> Vec<String> {
    let answer = bench
        .get(&format!(
            "/events/list?since=2020-01-01&acs_credential_id={id}"
        ))
        .await;
    let events = answer.ok("events").as_array().unwrap().clone();
    events
        .iter()
        .map(|event| event["event_type"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_new_credential_waits_to_be_issued() {
    let bench = Bench::start().await;
    let made = credential(&bench).await;
    assert_eq!(made["is_issued"], json!(false));
    assert_eq!(made["issued_at"], Value::Null);
    assert_eq!(made["card_number"], Value::Null);
    assert_eq!(made["starts_at"], json!("2026-12-01T15:00:00.000Z"));
    assert_eq!(
        made["warnings"][0]["warning_code"],
        json!("waiting_to_be_issued")
    );
    let id = id_of(&made);
    let got = bench
        .get(&format!(
            "/acs/credentials/get?acs_credential_id={id}&_strict=true"
        ))
        .await;
    assert_eq!(*got.ok("acs_credential"), made);
    let posted = bench
        .post("/acs/credentials/get", json!({"acs_credential_id": id}))
        .await;
    assert_eq!(*posted.ok("acs_credential"), made);
}

#[tokio::test]
async fn an_issued_credential_that_is_changed_needs_to_be_reissued() {
    let bench = Bench::start().await;
    let id = id_of(&credential(&bench).await);
    issue(&bench, id, 1, "04a1b2c3").await;
    let get = json!({"acs_credential_id": id});
    let issued = bench.post("/acs/credentials/get", get.clone()).await;
    let issued = issued.ok("acs_credential");
    assert_eq!(issued["is_issued"], json!(true));
    assert_eq!(issued["card_number"], json!("04a1b2c3"));
    assert!(issued["issued_at"].is_string());
    assert_eq!(issued["warnings"], json!([]));

    let same = json!({"acs_credential_id": id, "ends_at": "2026-12-04T13:00:00+01:00"});
    let unchanged = bench.post("/acs/credentials/update", same).await;
    assert_eq!(unchanged.ok("acs_credential")["warnings"], json!([]));

    let later = json!({"acs_credential_id": id, "ends_at": "2026-12-05T12:00:00Z"});
    let changed = bench
        .call(
            Method::PATCH,
            "/acs/credentials/update",
            &bench.key,
            Some(later),
        )
        .await;
    let changed = changed.ok("acs_credential");
    assert_eq!(changed["ends_at"], json!("2026-12-05T12:00:00.000Z"));
    assert_eq!(
        changed["warnings"][0]["warning_code"],
        json!("needs_to_be_reissued")
    );

    issue(&bench, id, 2, "04a1b2c3").await;
    let again = bench.post("/acs/credentials/get", get.clone()).await;
    assert_eq!(again.ok("acs_credential")["warnings"], json!([]));

    issue(&bench, id, None, "04a1b2c3").await;
    let unknown = bench.post("/acs/credentials/get", get).await;
    assert_eq!(
        unknown.ok("acs_credential")["warnings"][0]["warning_code"],
        json!("needs_to_be_reissued")
    );
}

#[tokio::test]
async fn a_card_that_held_another_credential_is_reissued() {
    let bench = Bench::start().await;
    let first = id_of(&credential(&bench).await);
    let second = id_of(&credential(&bench).await);
    let issued = EventType::AcsCredentialIssued;
    let reissued = EventType::AcsCredentialReissued;
    assert_eq!(issue(&bench, first, 1, "04a1b2c3").await, Some(issued));
    assert_eq!(issue(&bench, first, 1, "04a1b2c3").await, Some(issued));
    assert_eq!(issue(&bench, second, 1, "04a1b2c3").await, Some(reissued));
    assert_eq!(issue(&bench, Uuid::new_v4(), 1, "04a1b2c3").await, None);
    assert_eq!(
        events(&bench, second).await,
        ["acs_credential.reissued".to_owned()]
    );
}

#[tokio::test]
async fn a_deleted_credential_is_gone_but_its_late_outcome_is_kept() {
    let bench = Bench::start().await;
    let made = credential(&bench).await;
    let id = id_of(&made);
    let path = format!("/acs/credentials/delete?acs_credential_id={id}&_strict=true");
    let deleted = bench.call(Method::DELETE, &path, &bench.key, None).await;
    assert_eq!(deleted.body, json!({"ok": true}));
    for path in [
        "/acs/credentials/get",
        "/acs/credentials/update",
        "/acs/credentials/delete",
    ] {
        let answer = bench.post(path, json!({"acs_credential_id": id})).await;
        assert_eq!(answer.error(), (404, "acs_credential_not_found"));
    }
    let list = bench
        .post(
            "/acs/credentials/list",
            json!({"acs_user_id": made["acs_user_id"]}),
        )
        .await;
    assert_eq!(*list.ok("acs_credentials"), json!([]));

    issue(&bench, id, 1, "04a1b2c3").await;
    assert_eq!(
        events(&bench, id).await,
        ["acs_credential.deleted".to_owned()]
    );
    let mut conn = bench.state.store.read().await.unwrap();
    let row = credentials::by_id(&mut conn, id).await.unwrap().unwrap();
    assert_eq!(row.issued.unwrap().card_uid.as_deref(), Some("04a1b2c3"));
}

#[tokio::test]
async fn what_this_system_cannot_do_is_refused_by_name() {
    let bench = Bench::start().await;
    let user = user(&bench).await;
    let (their_system, _) = bench.neighbour().await;
    let foreign_door = bench.entrance(their_system, "Their door").await;
    let annexe = bench.system_of(bench.workspace).await;
    for (body, field, expected) in [
        (json!({}), "access_method", "Required"),
        (
            json!({"access_method": "mobile_key"}),
            "access_method",
            "this access system only does cards, got 'mobile_key': give 'card'",
        ),
        (
            json!({"access_method": "teleport"}),
            "access_method",
            "Invalid enum value. Expected 'code' | 'card' | 'mobile_key' | 'cloud_key'",
        ),
        (
            json!({"access_method": "card"}),
            "acs_user_id",
            "Required, or user_identity_id",
        ),
        (
            json!({"access_method": "card", "acs_user_id": user, "user_identity_id": Uuid::new_v4()}),
            "user_identity_id",
            "give only one of acs_user_id, user_identity_id",
        ),
        (
            json!({"access_method": "card", "acs_user_id": user, "starts_at": "2026-12-04T12:00:00Z", "ends_at": "2026-12-04T12:00:00Z"}),
            "ends_at",
            "must be after starts_at",
        ),
        (
            json!({"access_method": "card", "acs_user_id": user, "starts_at": 5}),
            "starts_at",
            "Expected string, received number",
        ),
        (
            json!({"access_method": "card", "acs_user_id": user, "acs_system_id": annexe}),
            "acs_user_id",
            "the acs_user belongs to another access system",
        ),
    ] {
        let answer = bench.post("/acs/credentials/create", body.clone()).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{body}");
        let errors = &answer.body["error"]["validation_errors"][field]["_errors"];
        assert_eq!(*errors, json!([expected]), "{body}");
    }
    let body = json!({"access_method": "card", "acs_user_id": user, "allowed_acs_entrance_ids": [foreign_door]});
    let answer = bench.post("/acs/credentials/create", body).await;
    assert_eq!(answer.error(), (404, "acs_entrance_not_found"));
}

#[tokio::test]
async fn an_entrance_of_another_system_of_the_workspace_is_refused() {
    let bench = Bench::start().await;
    let other = bench.system_of(bench.workspace).await;
    let door = bench.entrance(other, "Annexe").await;
    let body = json!({"access_method": "card", "acs_user_id": user(&bench).await, "allowed_acs_entrance_ids": [door]});
    let answer = bench.post("/acs/credentials/create", body).await;
    assert_eq!(answer.error(), (400, "invalid_input"));
    assert_eq!(
        answer.body["error"]["validation_errors"]["allowed_acs_entrance_ids"]["0"]["_errors"],
        json!(["the entrance belongs to another access system than the acs_user"])
    );
}

#[tokio::test]
async fn what_fits_no_card_is_refused() {
    let bench = Bench::start().await;
    let user = user(&bench).await;
    let mut doors = Vec::new();
    for name in ["101", "102", "103"] {
        doors.push(bench.entrance(bench.system, name).await);
    }
    let too_many = vec![doors[0]; MOST_ENTRANCES + 1];
    for (extra, field) in [
        (
            json!({"allowed_acs_entrance_ids": too_many}),
            "allowed_acs_entrance_ids",
        ),
        (json!({"starts_at": "1969-12-31T00:00:00Z"}), "starts_at"),
        (json!({"ends_at": "2106-03-01T00:00:00Z"}), "ends_at"),
    ] {
        let mut body = json!({"access_method": "card", "acs_user_id": user});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let answer = bench.post("/acs/credentials/create", body).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{field}");
        assert!(answer.body["error"]["validation_errors"][field].is_object());
    }
    let thrice = [doors[0], doors[1], doors[2], doors[0]];
    let body =
        json!({"access_method": "card", "acs_user_id": user, "allowed_acs_entrance_ids": thrice});
    let answer = bench.post("/acs/credentials/create", body).await;
    let id = answer.ok("acs_credential")["acs_credential_id"].clone();
    let path = format!(
        "/acs/entrances/list?acs_credential_id={}",
        id.as_str().unwrap()
    );
    let opened = bench.get(&path).await;
    assert_eq!(opened.ok("acs_entrances").as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_end_before_the_start_is_refused_in_an_update() {
    let bench = Bench::start().await;
    let id = id_of(&credential(&bench).await);
    let body = json!({"acs_credential_id": id, "ends_at": "2026-11-01T00:00:00Z"});
    let answer = bench.post("/acs/credentials/update", body).await;
    assert_eq!(answer.error(), (400, "invalid_input"));
}

#[tokio::test]
async fn a_list_without_a_filter_has_the_workspaces_credentials_only() {
    let bench = Bench::start().await;
    let ours = credential(&bench).await;
    let (_, their_key) = bench.neighbour().await;
    let list = bench.get("/acs/credentials/list").await;
    assert_eq!(*list.ok("acs_credentials"), json!([ours]));
    let theirs = bench
        .post_as(&their_key, "/acs/credentials/list", json!({}))
        .await;
    assert_eq!(*theirs.ok("acs_credentials"), json!([]));
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repeat() {
    let bench = Bench::start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(json!(id_of(&credential(&bench).await)));
    }
    let mut seen = Vec::new();
    let mut path = format!(
        "/acs/credentials/list?acs_system_id={}&limit=2",
        bench.system
    );
    loop {
        let page = bench.get(&path).await;
        let rows = page.ok("acs_credentials").as_array().unwrap().clone();
        assert!(rows.len() <= 2);
        seen.extend(rows.iter().map(|row| row["acs_credential_id"].clone()));
        let pagination = page.ok("pagination");
        if pagination["has_next_page"] == json!(false) {
            assert_eq!(pagination["next_page_cursor"], Value::Null);
            assert_eq!(pagination["next_page_url"], Value::Null);
            break;
        }
        let url = pagination["next_page_url"].as_str().unwrap();
        assert!(url.contains(pagination["next_page_cursor"].as_str().unwrap()));
        path = url
            .strip_prefix("http://127.0.0.1:8480")
            .unwrap()
            .to_owned();
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn a_foreign_cursor_is_refused() {
    let bench = Bench::start().await;
    let body = json!({"acs_system_id": bench.system, "page_cursor": "2"});
    let answer = bench.post("/acs/credentials/list", body).await;
    assert_eq!(answer.error(), (400, "invalid_input"));
    assert!(answer.body["error"]["validation_errors"]["page_cursor"].is_object());
}

#[tokio::test]
async fn every_change_is_in_the_audit_trail_with_its_key() {
    let bench = Bench::start().await;
    let id = id_of(&credential(&bench).await);
    let later = json!({"acs_credential_id": id, "ends_at": "2026-12-05T12:00:00Z"});
    bench.post("/acs/credentials/update", later).await;
    bench
        .post("/acs/credentials/delete", json!({"acs_credential_id": id}))
        .await;
    let mut conn = bench.state.store.read().await.unwrap();
    let rows = sqlx::query_scalar::<_, String>(
        "SELECT action FROM audit WHERE acs_credential_id = ? AND api_key_id IS NOT NULL ORDER BY audit_id",
    )
    .bind(id.to_string())
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    assert_eq!(
        rows,
        [
            "credential.create",
            "credential.update",
            "credential.delete"
        ]
    );
}

#[tokio::test]
async fn a_persons_credential_makes_them_a_user_of_the_system_once() {
    let bench = Bench::start().await;
    let person = bench.person("Jane Doe").await;
    let body = json!({
        "user_identity_id": person,
        "acs_system_id": bench.system,
        "access_method": "card",
    });
    let first = bench.post("/acs/credentials/create", body.clone()).await;
    let first = first.ok("acs_credential");
    assert_eq!(first["user_identity_id"], person);
    let second = bench.post("/acs/credentials/create", body).await;
    let second = second.ok("acs_credential");
    assert_eq!(first["acs_user_id"], second["acs_user_id"]);
    let of_person = format!(
        "/acs/credentials/list?user_identity_id={}",
        person.as_str().unwrap()
    );
    let found = bench.get(&of_person).await;
    assert_eq!(*found.ok("acs_credentials"), json!([first, second]));
}

#[tokio::test]
async fn a_credential_tells_which_entrances_it_opens() {
    let bench = Bench::start().await;
    let made = credential(&bench).await;
    bench.entrance(bench.system, "Another").await;
    let path = "/acs/credentials/list_accessible_entrances";
    let body = json!({"acs_credential_id": made["acs_credential_id"]});
    let answer = bench.post(path, body).await;
    let found = answer.ok("acs_entrances").as_array().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["display_name"], "101");
}

#[tokio::test]
async fn a_credential_changes_its_user_only_when_it_has_none() {
    let bench = Bench::start().await;
    let made = credential(&bench).await;
    let id = &made["acs_credential_id"];
    let other = user(&bench).await;
    let to_other = json!({"acs_credential_id": id, "acs_user_id": other});
    let taken = bench
        .post("/acs/credentials/assign", to_other.clone())
        .await;
    assert_eq!(taken.error(), (400, "invalid_input"));
    let wrong = bench
        .post("/acs/credentials/unassign", to_other.clone())
        .await;
    assert_eq!(wrong.error(), (400, "invalid_input"));

    let from_first = json!({"acs_credential_id": id, "acs_user_id": made["acs_user_id"]});
    let free = bench
        .call(
            Method::PATCH,
            "/acs/credentials/unassign",
            &bench.key,
            Some(from_first),
        )
        .await;
    let free = free.ok("acs_credential");
    assert_eq!(free.get("acs_user_id"), None);
    assert_eq!(free["is_managed"], json!(true));
    let theirs = bench
        .post("/acs/credentials/assign", to_other.clone())
        .await;
    assert_eq!(theirs.ok("acs_credential")["acs_user_id"], other);
    let again = bench.post("/acs/credentials/assign", to_other).await;
    assert_eq!(again.ok("acs_credential"), theirs.ok("acs_credential"));
}

#[tokio::test]
async fn a_registered_card_is_unmanaged_until_it_has_a_user() {
    let bench = Bench::start().await;
    let brivo = bench.system_of_kind(SystemKind::Brivo).await;
    let card = bench.registered_card(brivo, "ABCD1234").await;
    let by_id = json!({"acs_credential_id": card});
    let list = json!({"acs_system_id": brivo});

    let listed = bench
        .post("/acs/credentials/unmanaged/list", list.clone())
        .await;
    let waiting = listed.ok("acs_credentials")[0].clone();
    assert_eq!(waiting["card_number"], "ABCD1234");
    assert_eq!(waiting["is_managed"], json!(false));
    let got = bench
        .post("/acs/credentials/unmanaged/get", by_id.clone())
        .await;
    assert_eq!(*got.ok("acs_credential"), waiting);
    let managed = bench.post("/acs/credentials/get", by_id.clone()).await;
    assert_eq!(managed.error(), (404, "acs_credential_not_found"));
    let managed = bench.post("/acs/credentials/list", list.clone()).await;
    assert_eq!(*managed.ok("acs_credentials"), json!([]));

    let person = bench.person("Jane Doe").await;
    let body = json!({"acs_credential_id": card, "user_identity_id": person});
    let assigned = bench.post("/acs/credentials/assign", body.clone()).await;
    let assigned = assigned.ok("acs_credential");
    assert_eq!(assigned["is_managed"], json!(true));
    assert_eq!(assigned["is_issued"], json!(true));
    assert_eq!(assigned["card_number"], "ABCD1234");
    assert_eq!(assigned["user_identity_id"], person);
    let listed = bench.post("/acs/credentials/unmanaged/list", list).await;
    assert_eq!(*listed.ok("acs_credentials"), json!([]));

    let released = bench.post("/acs/credentials/unassign", body).await;
    assert_eq!(released.ok("acs_credential")["is_managed"], json!(false));
    let waits_again = bench.post("/acs/credentials/unmanaged/get", by_id).await;
    assert_eq!(waits_again.ok("acs_credential")["is_issued"], json!(false));
    assert_eq!(
        events(&bench, card).await,
        ["acs_credential.issued", "acs_credential.invalidated"]
    );
}

#[tokio::test]
async fn no_credential_is_made_where_cards_are_registered() {
    let bench = Bench::start().await;
    let brivo = bench.system_of_kind(SystemKind::Brivo).await;
    let body = json!({
        "user_identity_id": bench.person("Jane Doe").await,
        "acs_system_id": brivo,
        "access_method": "card",
    });
    let answer = bench.post("/acs/credentials/create", body).await;
    assert_eq!(answer.error(), (400, "invalid_input"));
    let users = bench
        .post("/acs/users/list", json!({"acs_system_id": brivo}))
        .await;
    assert_eq!(
        *users.ok("acs_users"),
        json!([]),
        "a refused request makes nothing"
    );
}
