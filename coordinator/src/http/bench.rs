//! A service to call in tests.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::{Hosts, contract, router};
use crate::{
    clock::Clock,
    desk::{Desk, DeskSettings},
    key_server::{AskKeyServer, AsksNobody},
    outbound::Reach,
    pairing::Guard,
    state::{App, AppState, StopSignal},
    store::{
        Store, api_keys,
        api_keys::Vocabulary,
        credentials, entrances,
        statements::Watch,
        systems::{self, SystemKind},
        workspaces,
    },
};

/// A service with one workspace, one system and one key, called without a socket.
pub(crate) struct Bench {
    pub(crate) state: AppState,
    pub(crate) workspace: Uuid,
    pub(crate) system: Uuid,
    pub(crate) key: String,
    router: Router,
    _statements: Watch,
    _folder: TempDir,
}

/// An answer: status, headers that matter, body.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answered {
    /// The error's type; fails the test where the answer is none.
    pub(crate) fn error(&self) -> (u16, &str) {
        assert_eq!(self.body["ok"], json!(false), "{self:?}");
        assert!(self.body["error"]["message"].is_string(), "{self:?}");
        (
            self.status.as_u16(),
            self.body["error"]["type"].as_str().unwrap(),
        )
    }

    /// The value under the response key; fails the test where the answer is an error.
    pub(crate) fn ok(&self, key: &str) -> &Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.body["ok"], json!(true), "{self:?}");
        &self.body[key]
    }
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(DeskSettings::default()).await
    }

    /// A service whose desk works like this.
    pub(crate) async fn start_with(settings: DeskSettings) -> Self {
        Self::start_by(Clock::start(), settings).await
    }

    /// The same by this clock.
    pub(crate) async fn start_by(clock: Clock, settings: DeskSettings) -> Self {
        Self::start_asking(clock, settings, Arc::new(AsksNobody)).await
    }

    /// The same, with key servers that answer like this.
    pub(crate) async fn start_asking(
        clock: Clock,
        settings: DeskSettings,
        asker: Arc<dyn AskKeyServer>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = clock.utc();
        let database = folder.path().join("store.db");
        let key_file = folder.path().join("store.key");
        let store = Store::open(&database, &key_file, now).await.unwrap();
        let mut conn = store.write().await.unwrap();
        let workspace = workspaces::create(&mut conn, "Hotel", true, now)
            .await
            .unwrap()
            .workspace_id;
        let system = systems::create(&mut conn, store.master_key(), workspace, "Site", None, now)
            .await
            .unwrap()
            .acs_system_id;
        let (_, key) = api_keys::create(&mut conn, workspace, "test", Vocabulary::Guide, now)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        let desk = Desk::start_with(store.clone(), clock, settings, asker)
            .await
            .unwrap();
        let state = Arc::new(App {
            store,
            clock,
            desk,
            hosts: Hosts::new("127.0.0.1:8480".parse().unwrap(), &[]),
            reach: Reach::Public,
            next_pins: None,
            pairing: Guard::default(),
            stop: StopSignal::default(),
        });
        Self {
            router: router(state.clone()),
            state,
            workspace,
            system,
            key: key.to_string(),
            _statements: Watch,
            _folder: folder,
        }
    }

    /// The same service after it was killed and started again on its database.
    pub(crate) async fn restarted(self, settings: DeskSettings) -> Self {
        let store = self.state.store.clone();
        let clock = self.state.clock;
        let desk = Desk::start(store.clone(), clock, settings).await.unwrap();
        let state = Arc::new(App {
            store,
            clock,
            desk,
            hosts: self.state.hosts.clone(),
            reach: Reach::Public,
            next_pins: None,
            pairing: Guard::default(),
            stop: StopSignal::default(),
        });
        Self {
            router: router(state.clone()),
            state,
            ..self
        }
    }

    /// Another workspace with a system, and a key to it.
    pub(crate) async fn neighbour(&self) -> (Uuid, String) {
        let now = self.state.clock.utc();
        let store = &self.state.store;
        let mut conn = store.write().await.unwrap();
        let other = workspaces::create(&mut conn, "Neighbour", false, now)
            .await
            .unwrap()
            .workspace_id;
        let system = systems::create(&mut conn, store.master_key(), other, "Theirs", None, now)
            .await
            .unwrap()
            .acs_system_id;
        let (_, key) = api_keys::create(&mut conn, other, "test", Vocabulary::Guide, now)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        (system, key.to_string())
    }

    /// A further system of a workspace.
    pub(crate) async fn system_of(&self, workspace: Uuid) -> Uuid {
        let now = self.state.clock.utc();
        let store = &self.state.store;
        let mut conn = store.write().await.unwrap();
        let row = systems::create(
            &mut conn,
            store.master_key(),
            workspace,
            "Annexe",
            None,
            now,
        )
        .await
        .unwrap();
        conn.commit().await.unwrap();
        row.acs_system_id
    }

    /// A further system of the bench's workspace, with cards that come to be like this.
    pub(crate) async fn system_of_kind(&self, kind: SystemKind) -> Uuid {
        let system = self.system_of(self.workspace).await;
        let mut conn = self.state.store.write().await.unwrap();
        systems::set_kind(&mut conn, system, kind).await.unwrap();
        conn.commit().await.unwrap();
        system
    }

    /// Registers a card with a system.
    pub(crate) async fn registered_card(&self, system: Uuid, number: &str) -> Uuid {
        let now = self.state.clock.utc();
        let mut conn = self.state.store.write().await.unwrap();
        let system = systems::by_id(&mut conn, system).await.unwrap().unwrap();
        let card = credentials::register(&mut conn, &system, number, now)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        card.acs_credential_id
    }

    /// A new user identity.
    pub(crate) async fn person(&self, name: &str) -> Value {
        let answer = self
            .post("/user_identities/create", json!({"full_name": name}))
            .await;
        answer.ok("user_identity")["user_identity_id"].clone()
    }

    /// A new grant of one card to a new person, from December 2026 to the end of 2027.
    pub(crate) async fn grant(&self, entrances: &[Uuid]) -> Value {
        let body = json!({
            "user_identity_id": self.person("Jane Doe").await,
            "acs_entrance_ids": entrances,
            "requested_access_methods": [{"mode": "card"}],
            "starts_at": "2026-12-01T15:00:00Z",
            "ends_at": "2027-12-31T11:00:00Z",
        });
        let answer = self.post("/access_grants/create", body).await;
        answer.ok("access_grant").clone()
    }

    /// The types of the events that a query selects, in order.
    pub(crate) async fn events(&self, query: &str) -> Vec<String> {
        let path = format!("/events/list?since=2020-01-01&{query}");
        let answer = self.get(&path).await;
        let events = answer.ok("events").as_array().unwrap().clone();
        events
            .iter()
            .map(|event| event["event_type"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A new entrance of the bench's system or another one.
    pub(crate) async fn entrance(&self, system: Uuid, name: &str) -> Uuid {
        let mut conn = self.state.store.write().await.unwrap();
        let now = self.state.clock.utc();
        let row = entrances::create(&mut conn, system, name, now)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        row.acs_entrance_id
    }

    /// Sends any request. The answer must be what the API document says.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answered {
        let path = request.uri().path().to_owned();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        contract::check(&path, parts.status, &body);
        Answered {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// POST with the bench's key.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answered {
        self.post_as(&self.key, path, body).await
    }

    /// POST with another key.
    pub(crate) async fn post_as(&self, key: &str, path: &str, body: Value) -> Answered {
        self.call(Method::POST, path, key, Some(body)).await
    }

    /// GET with the bench's key.
    pub(crate) async fn get(&self, path_and_query: &str) -> Answered {
        self.call(Method::GET, path_and_query, &self.key, None)
            .await
    }

    /// Any method with any key.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<Value>,
    ) -> Answered {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8480")
            .header("authorization", format!("Bearer {key}"));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }
}
