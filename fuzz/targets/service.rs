//! The coordinator with its store: HTTP requests and agents' messages of any kind, one after the other. No request is
//! answered by an internal error, no message stops the desk, and nobody reaches another site's things.

use std::{cell::RefCell, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use encoder_coordinator::{
    clock::Clock,
    desk::{Desk, DeskSettings, Outgoing},
    http::{Hosts, MAX_BODY_BYTES, router},
    ids,
    jobs::{AgentId, SessionId},
    outbound::Reach,
    state::{App, AppState, StopSignal},
    store::{
        Store, agents,
        api_keys::{self, Vocabulary},
        entrances, systems, workspaces,
    },
};
use encoder_protocols::wire::{AgentMessage, JobId, ServiceMessage, WireMessage};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::{
    input::Input,
    said::{self, Around},
};

const MOST_STEPS: usize = 40;
/// How many inputs one store serves before the next takes its place.
const INPUTS_PER_STORE: u32 = 64;

const PATHS: [&str; 32] = [
    "/webhooks/create",
    "/webhooks/get",
    "/webhooks/list",
    "/webhooks/update",
    "/webhooks/delete",
    "/acs/systems/list",
    "/acs/systems/get",
    "/acs/encoders/list",
    "/acs/encoders/get",
    "/acs/encoders/encode_credential",
    "/acs/encoders/scan_credential",
    "/acs/users/create",
    "/acs/users/get",
    "/acs/users/list",
    "/acs/entrances/list",
    "/acs/entrances/get",
    "/acs/credentials/create",
    "/acs/credentials/create",
    "/acs/credentials/get",
    "/acs/credentials/list",
    "/acs/credentials/update",
    "/acs/credentials/delete",
    "/acs/encoders/encode_credential",
    "/action_attempts/get",
    "/action_attempts/list",
    "/events/list",
    "/events/get",
    "/workspaces/get",
    "/health",
    "/acs/users/create",
    "/agents/socket",
    "/nowhere",
];

const FIELDS: [&str; 38] = [
    "webhook_id",
    "url",
    "acs_system_id",
    "acs_encoder_id",
    "acs_credential_id",
    "acs_user_id",
    "acs_entrance_id",
    "action_attempt_id",
    "event_id",
    "acs_system_ids",
    "acs_encoder_ids",
    "allowed_acs_entrance_ids",
    "acs_entrance_ids",
    "action_attempt_ids",
    "event_ids",
    "event_types",
    "event_type",
    "access_method",
    "full_name",
    "email_address",
    "phone_number",
    "starts_at",
    "ends_at",
    "since",
    "between",
    "created_before",
    "limit",
    "page_cursor",
    "search",
    "code",
    "is_multi_phone_sync_credential",
    "user_identity_id",
    "unstable_offset",
    "access_schedule.starts_at",
    "access_schedule.ends_at",
    "credential_manager_acs_system_id",
    "salto_ks_metadata",
    "connected_account_id",
];

thread_local! {
    static SERVICE: RefCell<Option<(Runtime, Service, u32)>> = const { RefCell::new(None) };
}

pub fn run(bytes: &[u8]) {
    SERVICE.with_borrow_mut(|kept| {
        let fresh = kept
            .take()
            .filter(|(_, _, inputs)| *inputs < INPUTS_PER_STORE);
        let (runtime, mut service, inputs) = fresh.unwrap_or_else(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let service = runtime.block_on(Service::start());
            (runtime, service, 0)
        });
        runtime.block_on(service.course(&mut Input::new(bytes)));
        *kept = Some((runtime, service, inputs + 1));
    });
}

/// A site: a workspace with a system, a key to it, and an agent.
struct Site {
    system: Uuid,
    entrance: Uuid,
    key: String,
    agent: AgentId,
    session: Option<(SessionId, mpsc::Receiver<Outgoing>)>,
}

struct Service {
    state: AppState,
    router: Router,
    _folder: TempDir,
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::start();
        let database = folder.path().join("store.db");
        let key_file = folder.path().join("store.key");
        let store = Store::open(&database, &key_file, clock.utc())
            .await
            .unwrap();
        let settings = DeskSettings::default();
        let desk = Desk::start(store.clone(), clock, settings).await.unwrap();
        let state = Arc::new(App {
            store,
            clock,
            desk,
            hosts: Hosts::new("127.0.0.1:8480".parse().unwrap(), &[]),
            reach: Reach::Public,
            stop: StopSignal::default(),
        });
        Self {
            router: router(state.clone()),
            state,
            _folder: folder,
        }
    }

    async fn site(&self) -> Site {
        let now = self.state.clock.utc();
        let store = &self.state.store;
        let mut conn = store.write().await.unwrap();
        let workspace = workspaces::create(&mut conn, "Hotel", true, now)
            .await
            .unwrap();
        let workspace = workspace.workspace_id;
        let key = store.master_key();
        let system = systems::create(&mut conn, key, workspace, "Site", None, now).await;
        let system = system.unwrap().acs_system_id;
        let entrance = entrances::create(&mut conn, system, "Door", now)
            .await
            .unwrap();
        let (_, key) = api_keys::create(&mut conn, workspace, "any", Vocabulary::Guide, now)
            .await
            .unwrap();
        let (agent, _) = agents::create(&mut conn, system, "desk", now)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        Site {
            system,
            entrance: entrance.acs_entrance_id,
            key: key.to_string(),
            agent: AgentId(agent.agent_id),
            session: None,
        }
    }

    async fn course(&mut self, input: &mut Input<'_>) {
        let mut sites = [self.site().await, self.site().await];
        let mut known = Known::default();
        let untouched = self.prepare(&mut sites, &mut known).await;
        let mut steps = 0;
        while !input.is_empty() && steps < MOST_STEPS {
            steps += 1;
            match input.below(8) {
                0..=2 => {
                    let key = sites[0].key.clone();
                    let request = request(&key, &known, input);
                    let answer = self.send(request).await;
                    known.learn(&answer);
                }
                3 => self.connect(&mut sites[0], &known, input).await,
                4 => {
                    if let Some((session, _)) = sites[0].session.take() {
                        self.state.desk.lost(sites[0].agent, session).await;
                    }
                }
                _ => self.say(&mut sites[0], &known, input).await,
            }
        }
        if let Some((session, _)) = sites[0].session.take() {
            self.state.desk.lost(sites[0].agent, session).await;
        }
        let (neighbour, credential) = untouched;
        let seen = self.credential(&neighbour, credential).await;
        assert_eq!(
            seen["credential"]["issued_at"],
            Value::Null,
            "another site's credential"
        );
        let key = &neighbour;
        let listed = self.post(
            key,
            "/acs/credentials/list",
            json!({"acs_system_id": sites[1].system}),
        );
        let listed = listed.await;
        assert_eq!(
            listed["acs_credentials"].as_array().map(Vec::len),
            Some(1),
            "{listed}"
        );
    }

    /// Makes the neighbour's credential, which the other site's agent knows by its id, and something to work with.
    async fn prepare(&self, sites: &mut [Site; 2], known: &mut Known) -> (String, Uuid) {
        let [site, neighbour] = sites;
        known.note(&site.system);
        known.note(&site.entrance);
        let mut credentials = Vec::new();
        for site in [&*site, &*neighbour] {
            let user = json!({"acs_system_id": site.system, "full_name": "Jane"});
            let user = self.post(&site.key, "/acs/users/create", user).await;
            let user = &user["acs_user"]["acs_user_id"];
            let credential = json!({
                "acs_user_id": user,
                "access_method": "card",
                "allowed_acs_entrance_ids": [site.entrance],
            });
            let made = self
                .post(&site.key, "/acs/credentials/create", credential)
                .await;
            let id = made["acs_credential"]["acs_credential_id"]
                .as_str()
                .unwrap();
            credentials.push(Uuid::parse_str(id).unwrap());
        }
        known.credentials.extend(&credentials);
        for id in &credentials {
            known.note(id);
        }
        (neighbour.key.clone(), credentials[1])
    }

    async fn credential(&self, key: &str, id: Uuid) -> Value {
        let body = json!({"acs_credential_id": id});
        let answer = self.post(key, "/acs/credentials/get", body).await;
        json!({"credential": answer["acs_credential"]})
    }

    async fn post(&self, key: &str, path: &str, body: Value) -> Value {
        let request = Request::post(path)
            .header("host", "127.0.0.1:8480")
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    /// Every answer is JSON that says whether it is one, and none blames the service itself.
    async fn send(&self, request: Request<Body>) -> Value {
        let path = request.uri().path().to_owned();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), MAX_BODY_BYTES * 8).await;
        let body: Value = serde_json::from_slice(&bytes.unwrap()).expect("an answer is json");
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {body}");
        if path != "/health" {
            assert_eq!(
                body["ok"],
                json!(status == StatusCode::OK),
                "{path}: {body}"
            );
        }
        body
    }

    async fn connect(&self, site: &mut Site, known: &Known, input: &mut Input<'_>) {
        if site.session.is_some() {
            return;
        }
        let message = AgentMessage::Hello(said::hello(&known.around(self), input));
        let Ok(AgentMessage::Hello(hello)) = AgentMessage::decode(&message.encode()) else {
            return;
        };
        let session = SessionId(ids::new_id(self.state.clock.utc()));
        let (outbox, mut inbox) = mpsc::channel(64);
        let opened = self
            .state
            .desk
            .open(site.agent, session, hello, outbox)
            .await;
        opened.expect("an agent with a good token is let in");
        if !ended(&mut inbox) {
            site.session = Some((session, inbox));
        }
    }

    async fn say(&self, site: &mut Site, known: &Known, input: &mut Input<'_>) {
        let Some((session, mut inbox)) = site.session.take() else {
            return self.connect(site, known, input).await;
        };
        let message = said::message(&known.around(self), input);
        let Ok(message) = AgentMessage::decode(&message.encode()) else {
            site.session = Some((session, inbox));
            return;
        };
        let mut commits = self.state.desk.commits();
        commits.mark_unchanged();
        self.state
            .desk
            .said(site.agent, session, message)
            .await
            .unwrap();
        let turn = tokio::time::timeout(std::time::Duration::from_secs(10), commits.changed());
        let stored = async {
            tokio::select! {
                biased;
                turn = turn => turn.is_ok_and(|turn| turn.is_ok()),
                () = closed(&mut inbox) => false,
            }
        };
        let stored = stored.await;
        assert!(
            stored,
            "a message that the desk could not store stops every session"
        );
        if !ended(&mut inbox) {
            site.session = Some((session, inbox));
        }
    }
}

/// Resolves when the desk lets go of a session without a goodbye.
async fn closed(inbox: &mut mpsc::Receiver<Outgoing>) {
    while !inbox.is_closed() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// Whether the desk has ended the session; everything that it sent can be read.
fn ended(inbox: &mut mpsc::Receiver<Outgoing>) -> bool {
    loop {
        match inbox.try_recv() {
            Ok(Outgoing::Message(message)) => {
                let text = message.encode();
                assert_eq!(ServiceMessage::decode(&text).as_ref(), Ok(&*message));
            }
            Ok(Outgoing::End(_)) | Err(mpsc::error::TryRecvError::Disconnected) => return true,
            Ok(Outgoing::Probe) => {}
            Err(mpsc::error::TryRecvError::Empty) => return false,
        }
    }
}

/// The ids that answers have told.
#[derive(Default)]
struct Known {
    ids: Vec<String>,
    jobs: Vec<JobId>,
    credentials: Vec<Uuid>,
}

impl Known {
    fn note(&mut self, id: &Uuid) {
        self.ids.push(id.to_string());
    }

    fn learn(&mut self, answer: &Value) {
        let resources = [
            "acs_user",
            "acs_credential",
            "action_attempt",
            "acs_encoder",
        ];
        for resource in resources {
            let id = &answer[resource][format!("{resource}_id")];
            let Some(id) = id.as_str().and_then(|id| Uuid::parse_str(id).ok()) else {
                continue;
            };
            self.note(&id);
            match resource {
                "action_attempt" => self.jobs.push(JobId(id)),
                "acs_credential" => self.credentials.push(id),
                _ => {}
            }
        }
        if let Some(encoders) = answer["acs_encoders"].as_array() {
            let ids = encoders
                .iter()
                .filter_map(|one| one["acs_encoder_id"].as_str());
            self.ids.extend(ids.map(str::to_owned));
        }
        if let Some(cursor) = answer["pagination"]["next_page_cursor"].as_str() {
            self.ids.push(cursor.to_owned());
        }
    }

    fn around(&self, service: &Service) -> Around<'_> {
        Around {
            now: service.state.clock.utc(),
            jobs: &self.jobs,
            credentials: &self.credentials,
        }
    }
}

fn request(key: &str, known: &Known, input: &mut Input<'_>) -> Request<Body> {
    let path = *input.pick(&PATHS);
    let how = input.below(8);
    let fields = fields(path, known, input);
    let builder = Request::builder()
        .header("host", "127.0.0.1:8480")
        .header("authorization", format!("Bearer {key}"));
    let (method, uri, body) = match how {
        0 => ("GET", format!("{path}?{}", query(&fields)), String::new()),
        1 => (
            "DELETE",
            format!("{path}?{}", query(&fields)),
            String::new(),
        ),
        2 => ("POST", path.to_owned(), input.text(200)),
        3 => {
            let raw = escaped(input.bytes(200));
            ("GET", format!("{path}?{raw}"), String::new())
        }
        4 => ("PATCH", path.to_owned(), Value::Object(fields).to_string()),
        _ => ("POST", path.to_owned(), Value::Object(fields).to_string()),
    };
    let builder = match input.below(16) {
        0 => builder.header("x-forwarded-proto", "https"),
        1 => builder,
        _ => builder.header("content-type", "application/json"),
    };
    builder
        .method(method)
        .uri(uri)
        .body(Body::from(body))
        .unwrap()
}

type Fields = serde_json::Map<String, Value>;

/// The fields that a path needs, as the input fills them, and others.
fn fields(path: &str, known: &Known, input: &mut Input<'_>) -> Fields {
    let mut fields = Fields::new();
    let needed: &[&str] = match path {
        "/acs/encoders/encode_credential" => &["acs_credential_id", "acs_encoder_id"],
        "/acs/encoders/scan_credential" => &["acs_encoder_id"],
        "/acs/users/create" => &["acs_system_id", "full_name"],
        "/acs/credentials/create" => &["acs_user_id", "access_method", "ends_at"],
        "/acs/credentials/update" | "/acs/credentials/delete" => &["acs_credential_id", "ends_at"],
        "/events/list" => &["since"],
        "/webhooks/create" => &["url", "event_types"],
        "/webhooks/update" => &["webhook_id", "event_types"],
        _ => &[],
    };
    for name in needed {
        if input.below(8) != 0 {
            fields.insert((*name).to_owned(), value(name, known, input));
        }
    }
    for _ in 0..input.below(4) {
        let name = *input.pick(&FIELDS);
        fields.insert(name.to_owned(), value(name, known, input));
    }
    fields
}

fn value(name: &str, known: &Known, input: &mut Input<'_>) -> Value {
    let id = |input: &mut Input<'_>| match known.ids.as_slice() {
        [] => json!(input.id(3)),
        ids => json!(input.pick(ids)),
    };
    match input.below(8) {
        0 => {
            return input
                .pick(&[Value::Null, json!(true), json!([]), json!({}), json!("")])
                .clone();
        }
        1 => return json!(input.text(40)),
        2 => return json!(input.number()),
        _ => {}
    }
    match name {
        "access_method" => json!("card"),
        "url" => json!(input.pick(&[
            "https://hooks.example/a",
            "http://127.0.0.1:9/",
            "https://10.0.0.1"
        ])),
        "limit" | "unstable_offset" => json!(input.number()),
        "between" => json!([time(input), time(input)]),
        "starts_at" | "ends_at" | "since" | "created_before" => time(input),
        name if name.ends_with("_ids") => json!([id(input), id(input)]),
        name if name.ends_with("_id") || name == "page_cursor" => id(input),
        _ => json!(input.text(40)),
    }
}

fn time(input: &mut Input<'_>) -> Value {
    match input.below(8) {
        0 => json!("-009999-01-02T01:59:59Z"),
        1 => json!("9999-12-30T22:00:00.999999999Z"),
        2 => json!("2026-11-21"),
        3 => json!("1969-12-31T23:59:59.999Z"),
        4 => json!("2106-02-07T06:28:15Z"),
        _ => json!(input.time(super::agent::noon()).to_string()),
    }
}

fn query(fields: &Fields) -> String {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let values = match value {
            Value::Array(values) => values.clone(),
            other => vec![other.clone()],
        };
        for value in values {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            pairs.push(format!("{name}={}", escaped(text.as_bytes())));
        }
    }
    pairs.join("&")
}

/// Bytes as a query may carry them.
fn escaped(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'.' | b'=' | b'&' | b'_' | b'-' | b'%' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}
