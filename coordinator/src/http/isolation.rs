//! Workspaces are strictly apart: with a key to one, the ids, keys and cursors of another lead nowhere.

use axum::http::StatusCode;
use encoder_protocols::{
    card::Technology,
    wire::{Abilities, EncoderDescription, EncoderKey, EncoderState, KeyScope},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{Answered, Bench};
use crate::{
    desk::DeskSettings,
    ids,
    jobs::{AgentId, EncoderId, EncoderRecord, Place, SystemId},
    store::{
        agents,
        credentials::{self, CredentialRow},
        encoders,
        systems::{self, SystemKind},
    },
};

mod requesters;
mod walked;

/// Another workspace, with one of everything in it.
struct Neighbour {
    workspace: Uuid,
    key: String,
    system: Uuid,
    door: Uuid,
    encoder: Uuid,
    card: Uuid,
    user: Value,
    credential: Value,
    person: Value,
    space: Value,
    grant: Value,
    method: Value,
    registered_method: Value,
    attempt: Value,
    webhook: Value,
    event: Value,
}

impl Neighbour {
    async fn of(bench: &Bench) -> Self {
        let (system, key) = bench.neighbour().await;
        let door = bench.entrance(system, "Their door").await;
        let (encoder, registering, card) = furnish(bench, system).await;
        let gym = bench.entrance(registering, "Their gym").await;
        let made = async |path: &str, key_of: &str, body: Value| {
            bench.post_as(&key, path, body).await.ok(key_of).clone()
        };
        let user = json!({"acs_system_id": system, "full_name": "Their guest"});
        let user = made("/acs/users/create", "acs_user", user).await["acs_user_id"].clone();
        let credential = json!({"acs_user_id": user, "access_method": "card"});
        let credential = made("/acs/credentials/create", "acs_credential", credential).await;
        let person = json!({"user_identity_key": "guest", "full_name": "Their guest"});
        let person = made("/user_identities/create", "user_identity", person).await;
        let space = json!({"name": "Theirs", "space_key": "room", "acs_entrance_ids": [door]});
        let space = made("/spaces/create", "space", space).await["space_id"].clone();
        let grant = json!({
            "user_identity_id": person["user_identity_id"],
            "access_grant_key": "booking",
            "reservation_key": "party",
            "acs_entrance_ids": [gym],
            "space_ids": [space],
            "requested_access_methods": [{"mode": "card"}],
        });
        let grant = made("/access_grants/create", "access_grant", grant).await;
        let methods = json!({"access_grant_id": grant["access_grant_id"]});
        let methods = made("/access_methods/list", "access_methods", methods).await;
        let (assigned, encoded): (Vec<_>, Vec<_>) = methods
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .partition(|method| method["is_assignment_required"] == json!(true));
        let registered_method = assigned[0]["access_method_id"].clone();
        let failed = json!({"access_method_id": registered_method, "card_number": "none"});
        let attempt = made("/access_methods/assign_card", "action_attempt", failed).await;
        let webhook = json!({"url": "https://hooks.example.com/theirs"});
        let webhook = made("/webhooks/create", "webhook", webhook).await;
        let since = json!({"since": "2020-01-01"});
        let events = made("/events/list", "events", since).await;
        let workspace = made("/workspaces/get", "workspace", json!({})).await;
        Self {
            workspace: workspace["workspace_id"].as_str().unwrap().parse().unwrap(),
            attempt: attempt["action_attempt_id"].clone(),
            webhook: webhook["webhook_id"].clone(),
            event: events[0]["event_id"].clone(),
            system,
            door,
            encoder,
            card,
            user,
            credential: credential["acs_credential_id"].clone(),
            person: person["user_identity_id"].clone(),
            space,
            grant: grant["access_grant_id"].clone(),
            method: encoded[0]["access_method_id"].clone(),
            registered_method,
            key,
        }
    }

    /// Every request that names something of theirs, and what is missing of it in another workspace.
    fn requests(&self) -> Vec<(&'static str, Value, &'static str)> {
        let wanted = json!([{"mode": "card"}]);
        let of_person = json!({"user_identity_id": self.person, "acs_system_id": self.system});
        vec![
            (
                "/acs/systems/get",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/encoders/get",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/list",
                json!({"acs_system_ids": [self.system]}),
                "acs_system",
            ),
            (
                "/acs/encoders/encode_credential",
                json!({"acs_encoder_id": self.encoder, "acs_credential_id": self.credential}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/scan_credential",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/scan_to_assign_credential",
                json!({"acs_encoder_id": self.encoder, "acs_user_id": self.user}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/simulate/next_credential_encode_will_succeed",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/simulate/next_credential_encode_will_fail",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/simulate/next_credential_scan_will_succeed",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/simulate/next_credential_scan_will_fail",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/entrances/get",
                json!({"acs_entrance_id": self.door}),
                "acs_entrance",
            ),
            (
                "/acs/entrances/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/entrances/list",
                json!({"acs_credential_id": self.credential}),
                "acs_credential",
            ),
            (
                "/acs/entrances/list",
                json!({"space_id": self.space}),
                "space",
            ),
            (
                "/acs/users/get",
                json!({"acs_user_id": self.user}),
                "acs_user",
            ),
            (
                "/acs/users/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/users/list",
                json!({"user_identity_id": self.person}),
                "user_identity",
            ),
            (
                "/acs/users/create",
                json!({"acs_system_id": self.system, "full_name": "x"}),
                "acs_system",
            ),
            (
                "/acs/users/update",
                json!({"acs_user_id": self.user, "full_name": "x"}),
                "acs_user",
            ),
            (
                "/acs/users/delete",
                json!({"acs_user_id": self.user}),
                "acs_user",
            ),
            ("/acs/users/delete", of_person.clone(), "user_identity"),
            (
                "/acs/credentials/list",
                json!({"acs_user_id": self.user}),
                "acs_user",
            ),
            (
                "/acs/credentials/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/credentials/list",
                json!({"user_identity_id": self.person}),
                "user_identity",
            ),
            (
                "/acs/credentials/create",
                json!({"acs_user_id": self.user, "access_method": "card"}),
                "acs_user",
            ),
            (
                "/acs/credentials/get",
                json!({"acs_credential_id": self.credential}),
                "acs_credential",
            ),
            (
                "/acs/credentials/list_accessible_entrances",
                json!({"acs_credential_id": self.credential}),
                "acs_credential",
            ),
            (
                "/acs/credentials/update",
                json!({"acs_credential_id": self.credential, "ends_at": "2028-01-01"}),
                "acs_credential",
            ),
            (
                "/acs/credentials/assign",
                json!({"acs_credential_id": self.credential, "acs_user_id": self.user}),
                "acs_credential",
            ),
            (
                "/acs/credentials/unassign",
                json!({"acs_credential_id": self.credential, "acs_user_id": self.user}),
                "acs_credential",
            ),
            (
                "/acs/credentials/unmanaged/get",
                json!({"acs_credential_id": self.card}),
                "acs_credential",
            ),
            (
                "/acs/credentials/unmanaged/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/credentials/delete",
                json!({"acs_credential_id": self.credential}),
                "acs_credential",
            ),
            (
                "/user_identities/get",
                json!({"user_identity_id": self.person}),
                "user_identity",
            ),
            (
                "/user_identities/get",
                json!({"user_identity_key": "guest"}),
                "user_identity",
            ),
            (
                "/user_identities/create",
                json!({"acs_system_ids": [self.system]}),
                "acs_system",
            ),
            ("/spaces/get", json!({"space_id": self.space}), "space"),
            ("/spaces/get", json!({"space_key": "room"}), "space"),
            (
                "/spaces/create",
                json!({"name": "x", "acs_entrance_ids": [self.door]}),
                "acs_entrance",
            ),
            (
                "/spaces/update",
                json!({"space_id": self.space, "name": "x"}),
                "space",
            ),
            (
                "/spaces/add_acs_entrances",
                json!({"space_id": self.space, "acs_entrance_ids": [self.door]}),
                "space",
            ),
            (
                "/spaces/remove_acs_entrances",
                json!({"space_id": self.space, "acs_entrance_ids": [self.door]}),
                "space",
            ),
            ("/spaces/delete", json!({"space_id": self.space}), "space"),
            (
                "/access_grants/create",
                json!({"user_identity_id": self.person, "acs_entrance_ids": [self.door], "requested_access_methods": wanted}),
                "acs_entrance",
            ),
            (
                "/access_grants/create",
                json!({"user_identity": {}, "space_keys": ["room"], "requested_access_methods": wanted}),
                "space",
            ),
            (
                "/access_grants/get",
                json!({"access_grant_id": self.grant}),
                "access_grant",
            ),
            (
                "/access_grants/get",
                json!({"access_grant_key": "booking"}),
                "access_grant",
            ),
            (
                "/access_grants/list",
                json!({"space_id": self.space}),
                "space",
            ),
            (
                "/access_grants/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/access_grants/list",
                json!({"acs_entrance_id": self.door}),
                "acs_entrance",
            ),
            (
                "/access_grants/list",
                json!({"user_identity_id": self.person}),
                "user_identity",
            ),
            (
                "/access_grants/get_related",
                json!({"access_grant_ids": [self.grant]}),
                "access_grant",
            ),
            (
                "/access_grants/get_related",
                json!({"access_grant_keys": ["booking"]}),
                "access_grant",
            ),
            (
                "/access_grants/request_access_methods",
                json!({"access_grant_id": self.grant, "requested_access_methods": wanted}),
                "access_grant",
            ),
            (
                "/access_grants/update",
                json!({"access_grant_id": self.grant, "name": "x"}),
                "access_grant",
            ),
            (
                "/access_grants/delete",
                json!({"access_grant_id": self.grant}),
                "access_grant",
            ),
            (
                "/access_methods/get",
                json!({"access_method_id": self.method}),
                "access_method",
            ),
            (
                "/access_methods/list",
                json!({"access_grant_id": self.grant}),
                "access_grant",
            ),
            (
                "/access_methods/list",
                json!({"space_id": self.space}),
                "space",
            ),
            (
                "/access_methods/list",
                json!({"acs_entrance_id": self.door}),
                "acs_entrance",
            ),
            (
                "/access_methods/get_related",
                json!({"access_method_ids": [self.method]}),
                "access_method",
            ),
            (
                "/access_methods/encode",
                json!({"acs_encoder_id": self.encoder, "access_method_id": self.method}),
                "acs_encoder",
            ),
            (
                "/access_methods/assign_card",
                json!({"access_method_id": self.registered_method, "card_number": "77"}),
                "access_method",
            ),
            (
                "/access_methods/delete",
                json!({"access_method_id": self.method}),
                "access_method",
            ),
            (
                "/access_methods/delete",
                json!({"access_grant_id": self.grant}),
                "access_grant",
            ),
            (
                "/action_attempts/get",
                json!({"action_attempt_id": self.attempt}),
                "action_attempt",
            ),
            (
                "/webhooks/get",
                json!({"webhook_id": self.webhook}),
                "webhook",
            ),
            (
                "/webhooks/update",
                json!({"webhook_id": self.webhook, "event_types": ["*"]}),
                "webhook",
            ),
            (
                "/webhooks/delete",
                json!({"webhook_id": self.webhook}),
                "webhook",
            ),
            ("/events/get", json!({"event_id": self.event}), "event"),
        ]
    }
}

/// An encoder of a system, another system whose cards are registered, and a card of that one.
async fn furnish(bench: &Bench, system: Uuid) -> (Uuid, Uuid, Uuid) {
    let now = bench.state.clock.utc();
    let store = &bench.state.store;
    let mut conn = store.write().await.unwrap();
    let row = systems::by_id(&mut conn, system).await.unwrap().unwrap();
    let (agent, _) = agents::create(&mut conn, system, "theirs", now)
        .await
        .unwrap();
    let key = EncoderKey("theirs".into());
    let encoder = EncoderRecord {
        id: EncoderId(ids::new_id(now)),
        system: SystemId(system),
        key: key.clone(),
        scope: KeyScope::System,
        display_name: None,
        adopted: true,
        simulated: false,
        created_at: now,
        places: vec![Place {
            agent: AgentId(agent.agent_id),
            listed: true,
            since: now,
            description: EncoderDescription {
                key,
                key_scope: KeyScope::System,
                name: "theirs".into(),
                named: true,
                adopted: true,
                driver: "pn532".into(),
                model: None,
                serial: None,
                firmware: None,
                abilities: Abilities {
                    encode: true,
                    scan: true,
                    makes_keys: false,
                    technologies: vec![Technology::MifareClassic1k],
                },
                state: EncoderState::Ready,
                problem: None,
                simulated: true,
            },
        }],
    };
    encoders::save(&mut conn, &encoder).await.unwrap();
    let name = "Their gym";
    let registering = systems::create(
        &mut conn,
        store.master_key(),
        row.workspace_id,
        name,
        None,
        now,
    )
    .await
    .unwrap();
    let id = registering.acs_system_id;
    systems::set_kind(&mut conn, id, SystemKind::Brivo)
        .await
        .unwrap();
    let card: CredentialRow = credentials::register(&mut conn, &registering, "77", now)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    (encoder.id.0, id, card.acs_credential_id)
}

/// The lists that need no filter.
const LISTS: [&str; 11] = [
    "/acs/systems/list",
    "/acs/entrances/list",
    "/acs/users/list",
    "/acs/credentials/list",
    "/acs/credentials/unmanaged/list",
    "/user_identities/list",
    "/spaces/list",
    "/access_grants/list",
    "/access_methods/list",
    "/action_attempts/list",
    "/webhooks/list",
];

/// What every list of a workspace holds, without any filter.
async fn lists(bench: &Bench, key: &str) -> Vec<Answered> {
    let mut answers = Vec::new();
    for path in LISTS {
        answers.push(bench.post_as(key, path, json!({})).await);
    }
    let all = json!({"since": "2020-01-01"});
    answers.push(bench.post_as(key, "/events/list", all).await);
    answers
}

#[tokio::test]
async fn the_resources_of_another_workspace_do_not_exist() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    let before: Vec<_> = lists(&bench, &theirs.key)
        .await
        .into_iter()
        .map(|it| it.body)
        .collect();
    for (path, body, missing) in theirs.requests() {
        let ours = bench.post(path, body.clone()).await;
        let expected = format!("{missing}_not_found");
        assert_eq!(ours.error(), (404, &*expected), "{path} {body}");
    }
    let after: Vec<_> = lists(&bench, &theirs.key)
        .await
        .into_iter()
        .map(|it| it.body)
        .collect();
    assert_eq!(before, after, "a refused request changes nothing");
}

#[tokio::test]
async fn the_same_requests_find_them_with_the_workspaces_own_key() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    let bench = bench.restarted(DeskSettings::default()).await;
    for (path, body, missing) in theirs.requests() {
        if path.ends_with("/delete") {
            continue;
        }
        let answer = bench.post_as(&theirs.key, path, body.clone()).await;
        let found = answer.status == StatusCode::OK || answer.error().0 == 400;
        assert!(found, "{path} {body} ({missing}): {answer:?}");
    }
}

#[tokio::test]
async fn no_list_shows_anything_of_another_workspace() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    for answer in lists(&bench, &bench.key).await {
        assert_eq!(answer.status, StatusCode::OK);
        let shown = answer.body.to_string();
        for id in [
            &json!(theirs.system),
            &theirs.user,
            &theirs.person,
            &theirs.grant,
        ] {
            assert!(!shown.contains(id.as_str().unwrap()), "{shown}");
        }
    }
    for body in [
        json!({"access_grant_ids": [theirs.grant]}),
        json!({"reservation_key": "party"}),
    ] {
        let list = bench.post("/access_grants/list", body).await;
        assert_eq!(*list.ok("access_grants"), json!([]));
    }
    let party = json!({"reservation_key": "party"});
    bench.post("/access_methods/delete", party).await.ok("ok");
    let method = json!({"access_method_id": theirs.method});
    let kept = bench
        .post_as(&theirs.key, "/access_methods/get", method)
        .await;
    assert_eq!(kept.status, StatusCode::OK);
}

#[tokio::test]
async fn a_cursor_of_another_workspace_leads_to_ones_own_rows_only() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    bench
        .post_as(
            &theirs.key,
            "/user_identities/create",
            json!({"full_name": "Second"}),
        )
        .await
        .ok("user_identity");
    let first = bench
        .post_as(&theirs.key, "/user_identities/list", json!({"limit": 1}))
        .await;
    let cursor = first.ok("pagination")["next_page_cursor"].clone();
    let ours = bench.person("Ours").await;
    let body = json!({"page_cursor": cursor});
    let page = bench.post("/user_identities/list", body).await;
    let rows = page.ok("user_identities").as_array().unwrap();
    let ids: Vec<_> = rows.iter().map(|row| &row["user_identity_id"]).collect();
    assert_eq!(ids, [&ours]);
}
