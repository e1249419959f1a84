//! Another workspace, with one of everything in it.

use encoder_protocols::{
    card::Technology,
    wire::{Abilities, EncoderDescription, EncoderKey, EncoderState, KeyScope},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    http::bench::Bench,
    ids,
    jobs::{AgentId, EncoderId, EncoderRecord, Place, SystemId},
    store::{
        agents,
        credentials::{self, CredentialRow},
        encoders,
        systems::{self, SystemKind},
    },
};

/// Another workspace, with one of everything in it.
pub(super) struct Neighbour {
    pub(super) workspace: Uuid,
    pub(super) key: String,
    pub(super) system: Uuid,
    pub(super) door: Uuid,
    pub(super) encoder: Uuid,
    pub(super) card: Uuid,
    pub(super) user: Value,
    pub(super) credential: Value,
    pub(super) person: Value,
    pub(super) space: Value,
    pub(super) grant: Value,
    pub(super) method: Value,
    pub(super) registered_method: Value,
    pub(super) attempt: Value,
    pub(super) webhook: Value,
    pub(super) event: Value,
}

impl Neighbour {
    pub(super) async fn of(bench: &Bench) -> Self {
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
