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
    pairing::{CODE_LIFETIME, Guard, digest},
    state::{App, AppState, StopSignal},
    store::{
        Store, agents,
        api_keys::{self, Vocabulary},
        entrances,
        pairing::{self as grants, GrantKind, NewGrant},
        systems, workspaces,
    },
    tokens,
};
use encoder_protocols::wire::{AgentMessage, PAIR_PATH, PairAnswer, ServiceMessage, WireMessage};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::{input::Input, said};
use requests::{Known, request};

mod requests;

const MOST_STEPS: usize = 40;
/// How many inputs one store serves before the next takes its place.
const INPUTS_PER_STORE: u32 = 64;

thread_local! {
    static SERVICE: RefCell<Option<(Runtime, Service, u32)>> = const { RefCell::new(None) };
}

pub fn run(bytes: &[u8]) {
    serve(async |service| service.course(&mut Input::new(bytes)).await);
}

/// An agent asks for a token, in any words.
pub(super) fn paired(input: &mut Input<'_>) {
    serve(async |service| service.pair(input).await);
}

fn serve(course: impl AsyncFnOnce(&mut Service)) {
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
        runtime.block_on(course(&mut service));
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
            next_pins: None,
            pairing: Guard::default(),
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

    /// Whoever has a code gets a token, whatever its PC is called; nobody else does.
    async fn pair(&mut self, input: &mut Input<'_>) {
        let site = self.site().await;
        let (now, store) = (self.state.clock.utc(), &self.state.store);
        let code = tokens::new_pairing_code().unwrap();
        let new = NewGrant {
            acs_system_id: site.system,
            kind: GrantKind::Code,
            agent_id: None,
            label: String::new(),
            uses: 1,
            expires_at: now + CODE_LIFETIME,
        };
        let mut conn = store.write().await.unwrap();
        let hash = digest(store.master_key(), &code);
        grants::create(&mut conn, &new, &hash, now).await.unwrap();
        conn.commit().await.unwrap();
        let (has_code, attempt) = (input.flag(), "a".repeat(32));
        let body = if has_code {
            let (machine, hostname, os) = (input.text(90), input.text(120), input.text(20));
            json!({
                "secret": *code, "attempt": attempt, "machine": machine, "hostname": hostname, "version": "1", "os": os,
            })
            .to_string()
            .into_bytes()
        } else {
            input.rest().to_vec()
        };
        let request = Request::post(PAIR_PATH)
            .header("host", "127.0.0.1:8480")
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), MAX_BODY_BYTES).await;
        let bytes = bytes.unwrap();
        if has_code && status != StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(status, StatusCode::OK);
            let answer: PairAnswer = serde_json::from_slice(&bytes).expect("a token");
            let mut conn = store.read().await.unwrap();
            let found = agents::find_by_token(&mut conn, &answer.token.0).await;
            let found = found.unwrap().expect("a token that opens");
            assert_eq!(
                (found.agent_id, found.acs_system_id),
                (answer.agent_id, site.system)
            );
        } else {
            let refused = [
                StatusCode::BAD_REQUEST,
                StatusCode::FORBIDDEN,
                StatusCode::TOO_MANY_REQUESTS,
            ];
            assert!(refused.contains(&status), "{status}");
        }
    }

    async fn connect(&self, site: &mut Site, known: &Known, input: &mut Input<'_>) {
        if site.session.is_some() {
            return;
        }
        let message =
            AgentMessage::Hello(said::hello(&known.around(self.state.clock.utc()), input));
        let Ok(AgentMessage::Hello(mut hello)) = AgentMessage::decode(&message.encode()) else {
            return;
        };
        // No two agents have one journal; the other sites' agents are of this store too.
        let own = hello.agent_id.as_u128() ^ site.agent.0.as_u128();
        hello.agent_id = Uuid::from_u128(own);
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
        let message = said::message(&known.around(self.state.clock.utc()), input);
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
