//! Spaces and their entrances.

use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::bench::Bench;

async fn make(bench: &Bench, body: Value) -> Value {
    bench.post("/spaces/create", body).await.ok("space").clone()
}

async fn entrances_of(bench: &Bench, space: &Value) -> Vec<Value> {
    let id = space["space_id"].as_str().unwrap();
    let list = bench
        .get(&format!("/acs/entrances/list?space_id={id}"))
        .await;
    let doors = list.ok("acs_entrances").as_array().unwrap();
    doors
        .iter()
        .map(|door| door["acs_entrance_id"].clone())
        .collect()
}

#[tokio::test]
async fn a_space_has_what_it_was_made_with() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let data =
        json!({"default_checkin_time": "15:00", "time_zone": "Europe/Vienna", "floor": null});
    let made = make(
        &bench,
        json!({
            "name": "Room 101",
            "space_key": "r101",
            "acs_entrance_ids": [door, door],
            "customer_data": data,
            "device_ids": [],
        }),
    )
    .await;
    assert_eq!(made["acs_entrance_count"], json!(1));
    assert_eq!(made["device_count"], json!(0));
    assert_eq!(made["customer_data"], data);
    let id = made["space_id"].as_str().unwrap();
    for query in [format!("space_id={id}"), "space_key=r101".to_owned()] {
        let got = bench.get(&format!("/spaces/get?{query}")).await;
        assert_eq!(*got.ok("space"), made, "{query}");
    }
    let shown = bench
        .get(&format!("/acs/entrances/get?acs_entrance_id={door}"))
        .await;
    assert_eq!(shown.ok("acs_entrance")["space_ids"], json!([id]));
    let unknown = bench.get("/spaces/get?space_key=x").await;
    assert_eq!(unknown.error(), (404, "space_not_found"));
}

#[tokio::test]
async fn entrances_are_added_and_removed() {
    let bench = Bench::start().await;
    let hall = json!(bench.entrance(bench.system, "Hall").await);
    let room = json!(bench.entrance(bench.system, "101").await);
    let space = make(&bench, json!({"name": "Room 101"})).await;
    let both = json!({"space_id": space["space_id"], "acs_entrance_ids": [hall, room]});
    let key = &bench.key;
    let put = bench
        .call(
            Method::PUT,
            "/spaces/add_acs_entrances",
            key,
            Some(both.clone()),
        )
        .await;
    put.ok("ok");
    bench.post("/spaces/add_acs_entrances", both).await.ok("ok");
    assert_eq!(
        entrances_of(&bench, &space).await,
        [hall.clone(), room.clone()]
    );
    let path = format!(
        "/spaces/remove_acs_entrances?space_id={}&acs_entrance_ids={}",
        space["space_id"].as_str().unwrap(),
        hall.as_str().unwrap()
    );
    bench.call(Method::DELETE, &path, key, None).await.ok("ok");
    assert_eq!(json!(entrances_of(&bench, &space).await), json!([room]));
    let body = json!({"space_id": space["space_id"], "acs_entrance_ids": [hall]});
    bench.post("/spaces/update", body).await.ok("space");
    assert_eq!(entrances_of(&bench, &space).await, [hall]);
}

#[tokio::test]
async fn a_space_is_changed_and_deleted() {
    let bench = Bench::start().await;
    let made = make(&bench, json!({"name": "Old", "space_key": "a"})).await;
    let other = make(&bench, json!({"name": "Other", "space_key": "b"})).await;
    let id = &made["space_id"];
    let renamed = bench
        .post("/spaces/update", json!({"space_id": id, "name": "New"}))
        .await;
    assert_eq!(renamed.ok("space")["name"], "New");
    assert_eq!(renamed.ok("space")["space_key"], "a");
    let by_key = bench
        .post("/spaces/update", json!({"space_key": "a", "name": "Newer"}))
        .await;
    assert_eq!(by_key.ok("space")["space_id"], *id);
    let taken = bench
        .post("/spaces/update", json!({"space_id": id, "space_key": "b"}))
        .await;
    assert_eq!(taken.error(), (400, "invalid_input"));
    bench
        .post("/spaces/delete", json!({"space_id": id}))
        .await
        .ok("ok");
    let list = bench.get("/spaces/list").await;
    assert_eq!(*list.ok("spaces"), json!([other]));
}

#[tokio::test]
async fn what_is_wrong_with_a_space_is_named() {
    let bench = Bench::start().await;
    make(&bench, json!({"name": "Taken", "space_key": "a"})).await;
    for (body, path) in [
        (json!({}), "/name"),
        (json!({"name": "x", "space_key": "a"}), "/space_key"),
        (json!({"name": "x", "customer_key": "c"}), "/customer_key"),
        (
            json!({"name": "x", "device_ids": [Uuid::nil()]}),
            "/device_ids",
        ),
        (json!({"name": "x", "customer_data": []}), "/customer_data"),
        (
            json!({"name": "x", "customer_data": {"floor": 3}}),
            "/customer_data/floor",
        ),
        (
            json!({"name": "x", "customer_data": {"default_checkin_time": "3 pm"}}),
            "/customer_data/default_checkin_time",
        ),
    ] {
        let answer = bench.post("/spaces/create", body.clone()).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{body}");
        let errors = &answer.body["error"]["validation_errors"];
        assert!(
            errors.pointer(&format!("{path}/_errors/0")).is_some(),
            "{body}: {errors}"
        );
    }
}

#[tokio::test]
async fn a_list_is_filtered_and_paged() {
    let bench = Bench::start().await;
    let door = bench.entrance(bench.system, "101").await;
    let first = make(
        &bench,
        json!({"name": "Room 101", "acs_entrance_ids": [door]}),
    )
    .await;
    let second = make(&bench, json!({"name": "Pool", "space_key": "pool"})).await;
    let systems = bench.get("/acs/systems/list").await;
    let account = systems.ok("acs_systems")[0]["connected_account_id"].clone();
    for (body, expected) in [
        (json!({"search": "ROOM"}), vec![&first]),
        (json!({"space_key": "pool"}), vec![&second]),
        (json!({"connected_account_id": account}), vec![&first]),
    ] {
        let list = bench.post("/spaces/list", body.clone()).await;
        let found = list.ok("spaces").as_array().unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{body}");
    }
    let page = bench.get("/spaces/list?limit=1").await;
    assert_eq!(page.ok("pagination")["has_next_page"], json!(true));
}
