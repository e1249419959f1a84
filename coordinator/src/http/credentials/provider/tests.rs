use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    http::bench::{Answered, Bench},
    store::{entrances, systems::SystemKind},
};

/// Asks for a credential of a new user in this system, with these further parameters.
async fn create(bench: &Bench, system: Uuid, further: &Value) -> Answered {
    let user = json!({"acs_system_id": system, "full_name": "Jane Doe"});
    let user = bench.post("/acs/users/create", user).await;
    let user = user.ok("acs_user")["acs_user_id"].clone();
    let mut body = json!({"acs_user_id": user, "access_method": "card"});
    let fields = further.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    bench.post("/acs/credentials/create", body).await
}

async fn common_door(bench: &Bench, system: Uuid) -> Uuid {
    let door = bench.entrance(system, "Pool").await;
    let mut conn = bench.state.store.write().await.unwrap();
    entrances::set_common(&mut conn, door).await.unwrap();
    conn.commit().await.unwrap();
    door
}

#[tokio::test]
async fn the_options_of_each_kind_are_kept_and_shown() {
    let bench = Bench::start().await;
    for (kind, field, given, system_type, credential_type) in [
        (
            SystemKind::Visionline,
            "visionline_metadata",
            json!({"card_format": "TLCode", "card_function_type": "staff", "auto_join": true}),
            "visionline_system",
            "visionline_card",
        ),
        (
            SystemKind::Vostio,
            "assa_abloy_vostio_metadata",
            json!({"join_all_guest_acs_entrances": true}),
            "assa_abloy_vostio",
            "assa_abloy_vostio_key",
        ),
        (
            SystemKind::SaltoSpace,
            "salto_space_metadata",
            json!({"assign_new_key": true}),
            "salto_space_system",
            "salto_space_key",
        ),
        (
            SystemKind::Hotek,
            "hotek_metadata",
            json!({"override": true}),
            "hotek_site",
            "hotek_card",
        ),
    ] {
        let system = bench.system_of_kind(kind).await;
        let path = format!("/acs/systems/get?acs_system_id={system}");
        let shown = bench.get(&path).await.ok("acs_system").clone();
        assert_eq!(shown["external_type"], system_type);
        let made = create(&bench, system, &json!({ field: given })).await;
        let made = made.ok("acs_credential").clone();
        assert_eq!(made["external_type"], credential_type);
        for (name, value) in given.as_object().unwrap() {
            assert_eq!(made[field][name], *value, "{field}.{name}: {made}");
        }
        let id = made["acs_credential_id"].as_str().unwrap();
        let path = format!("/acs/credentials/get?acs_credential_id={id}");
        assert_eq!(*bench.get(&path).await.ok("acs_credential"), made);
        let path = format!("/acs/credentials/list?acs_system_id={system}");
        assert_eq!(*bench.get(&path).await.ok("acs_credentials"), json!([made]));
        let plain = create(&bench, system, &json!({})).await;
        assert!(plain.ok("acs_credential")[field].is_object(), "{plain:?}");
    }
}

#[tokio::test]
async fn the_doors_of_a_card_are_told_apart() {
    let bench = Bench::start().await;
    let system = bench.system_of_kind(SystemKind::Visionline).await;
    let room = bench.entrance(system, "Room 101").await;
    let pool = common_door(&bench, system).await;
    let doors = json!({"allowed_acs_entrance_ids": [pool, room]});
    let made = create(&bench, system, &doors).await;
    let shown = &made.ok("acs_credential")["visionline_metadata"];
    assert_eq!(shown["guest_acs_entrance_ids"], json!([room]));
    assert_eq!(shown["common_acs_entrance_ids"], json!([pool]));
    let id = &made.ok("acs_credential")["acs_credential_id"];
    let joined = json!({"visionline_metadata": {"joiner_acs_credential_ids": [id]}});
    let joiner = create(&bench, system, &joined).await;
    let shown = &joiner.ok("acs_credential")["visionline_metadata"];
    assert_eq!(shown["joiner_acs_credential_ids"], json!([id]));
    for (door, category) in [(room, "guest"), (pool, "common")] {
        let path = format!("/acs/entrances/get?acs_entrance_id={door}");
        let answer = bench.get(&path).await;
        let shown = &answer.ok("acs_entrance")["visionline_metadata"];
        assert_eq!(shown["door_category"], category);
    }
    let vostio = bench.system_of_kind(SystemKind::Vostio).await;
    let room = bench.entrance(vostio, "Room 7").await;
    let doors = json!({"allowed_acs_entrance_ids": [room]});
    let made = create(&bench, vostio, &doors).await;
    let shown = &made.ok("acs_credential")["assa_abloy_vostio_metadata"];
    assert_eq!(shown["door_names"], json!(["Room 7"]));
}

/// What stands at a dotted path of the validation errors.
fn complaint(answer: &Answered, path: &str) -> String {
    assert_eq!(answer.error(), (400, "invalid_input"), "{path}: {answer:?}");
    let mut node = &answer.body["error"]["validation_errors"];
    for segment in path.split('.') {
        node = &node[segment];
    }
    node["_errors"][0]
        .as_str()
        .unwrap_or_else(|| panic!("nothing at {path}: {answer:?}"))
        .to_owned()
}

#[tokio::test]
async fn options_of_another_maker_are_refused() {
    let bench = Bench::start().await;
    let visionline = bench.system_of_kind(SystemKind::Visionline).await;
    for (system, field, expected) in [
        (bench.system, "visionline_metadata", "this one is embedded"),
        (bench.system, "hotek_metadata", "only Hotek"),
        (visionline, "salto_space_metadata", "this one is Visionline"),
        (visionline, "assa_abloy_vostio_metadata", "only Vostio"),
    ] {
        let answer = create(&bench, system, &json!({ field: {} })).await;
        let complaint = complaint(&answer, field);
        assert!(complaint.contains(expected), "{field}: {complaint}");
    }
    let both = json!({"visionline_metadata": {}, "hotek_metadata": {}});
    let answer = create(&bench, visionline, &both).await;
    complaint(&answer, "hotek_metadata");
    let salto_ks = bench.system_of_kind(SystemKind::SaltoKs).await;
    let answer = create(&bench, salto_ks, &json!({})).await;
    assert!(complaint(&answer, "access_method").contains("Salto KS"));
}

#[tokio::test]
async fn malformed_and_contradicting_options_are_named() {
    let bench = Bench::start().await;
    let visionline = bench.system_of_kind(SystemKind::Visionline).await;
    let vostio = bench.system_of_kind(SystemKind::Vostio).await;
    let salto = bench.system_of_kind(SystemKind::SaltoSpace).await;
    let hotek = bench.system_of_kind(SystemKind::Hotek).await;
    let some = Uuid::new_v4();
    for (system, object, options, field) in [
        (visionline, "visionline_metadata", json!("x"), ""),
        (visionline, "visionline_metadata", json!([]), ""),
        (
            visionline,
            "visionline_metadata",
            json!({"card_format": "rfid49"}),
            "card_format",
        ),
        (
            visionline,
            "visionline_metadata",
            json!({"card_format": 48}),
            "card_format",
        ),
        (
            visionline,
            "visionline_metadata",
            json!({"card_function_type": "owner"}),
            "card_function_type",
        ),
        (
            visionline,
            "visionline_metadata",
            json!({"override": "yes"}),
            "override",
        ),
        (
            visionline,
            "visionline_metadata",
            json!({"override": true, "is_override_key": false}),
            "is_override_key",
        ),
        (
            visionline,
            "visionline_metadata",
            json!({"override": true, "auto_join": true}),
            "override",
        ),
        (
            visionline,
            "visionline_metadata",
            json!({"joiner_acs_credential_ids": ["x"]}),
            "joiner_acs_credential_ids.0",
        ),
        (
            visionline,
            "visionline_metadata",
            json!({"joiner_acs_credential_ids": [some], "auto_join": true}),
            "joiner_acs_credential_ids",
        ),
        (
            visionline,
            "visionline_metadata",
            json!({"assa_abloy_credential_service_mobile_endpoint_id": some}),
            "assa_abloy_credential_service_mobile_endpoint_id",
        ),
        (
            vostio,
            "assa_abloy_vostio_metadata",
            json!({"auto_join": 1}),
            "auto_join",
        ),
        (
            vostio,
            "assa_abloy_vostio_metadata",
            json!({"join_all_guest_acs_entrances": true, "override_all_guest_acs_entrances": true}),
            "override_all_guest_acs_entrances",
        ),
        (
            vostio,
            "assa_abloy_vostio_metadata",
            json!({"override_guest_acs_entrance_ids": [some]}),
            "override_guest_acs_entrance_ids.0",
        ),
        (
            salto,
            "salto_space_metadata",
            json!({"assign_new_key": true, "update_current_key": true}),
            "update_current_key",
        ),
        (
            hotek,
            "hotek_metadata",
            json!({"auto_join": true, "override": true}),
            "override",
        ),
    ] {
        let answer = create(&bench, system, &json!({ object: options })).await;
        let path = if field.is_empty() {
            object.to_owned()
        } else {
            format!("{object}.{field}")
        };
        complaint(&answer, &path);
    }
    let unknown = json!({"visionline_metadata": {"joiner_acs_credential_ids": [some]}});
    let answer = create(&bench, visionline, &unknown).await;
    assert_eq!(answer.error(), (404, "acs_credential_not_found"));
    let foreign = create(&bench, vostio, &json!({})).await;
    let foreign = &foreign.ok("acs_credential")["acs_credential_id"];
    let joined = json!({"visionline_metadata": {"joiner_acs_credential_ids": [foreign]}});
    let answer = create(&bench, visionline, &joined).await;
    complaint(&answer, "visionline_metadata.joiner_acs_credential_ids.0");
}

#[tokio::test]
async fn a_card_of_48_bytes_has_room_for_so_many_doors() {
    let bench = Bench::start().await;
    let system = bench.system_of_kind(SystemKind::Visionline).await;
    let mut doors = Vec::new();
    for number in 0..41 {
        doors.push(bench.entrance(system, &format!("Room {number}")).await);
    }
    let wanted = |count: usize, format: &str| {
        json!({
            "allowed_acs_entrance_ids": &doors[..count],
            "visionline_metadata": {"card_format": format},
        })
    };
    for (count, format) in [(40, "rfid48"), (41, "TLCode")] {
        let made = create(&bench, system, &wanted(count, format)).await;
        made.ok("acs_credential");
    }
    let answer = create(&bench, system, &wanted(41, "rfid48")).await;
    assert!(complaint(&answer, "visionline_metadata.card_format").contains("TLCode"));
}

#[tokio::test]
async fn a_salto_space_user_has_one_first_key() {
    let bench = Bench::start().await;
    let system = bench.system_of_kind(SystemKind::SaltoSpace).await;
    let first = create(&bench, system, &json!({})).await;
    let user = &first.ok("acs_credential")["acs_user_id"];
    let again = json!({
        "acs_user_id": user,
        "access_method": "card",
        "salto_space_metadata": {"assign_new_key": true},
    });
    let answer = bench.post("/acs/credentials/create", again.clone()).await;
    complaint(&answer, "salto_space_metadata.assign_new_key");
    let id = &first.ok("acs_credential")["acs_credential_id"];
    let gone = json!({"acs_credential_id": id});
    bench.post("/acs/credentials/delete", gone).await.ok("ok");
    let answer = bench.post("/acs/credentials/create", again).await;
    answer.ok("acs_credential");
}
