//! The coordinator itself on a thread of its own, and its HTTP API as a client calls it.

use std::{path::Path, sync::mpsc, thread::JoinHandle, time::Duration};

use encoder_coordinator::{
    clock::Clock,
    demo::Demo,
    desk::DeskSettings,
    encryption::CertificateFiles,
    operator,
    outbound::Reach,
    pairing::{CODE_LIFETIME, digest},
    serve::{ServeOptions, Service},
    state::StopSignal,
    store::{
        Store,
        agents::{self, AgentRow},
        commands,
        pairing::{self, GrantKind, NewGrant},
    },
    tokens,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a client asks again.
const ASKING: Duration = Duration::from_millis(10);

/// A coordinator with a demo workspace, which ends when it is dropped.
pub(crate) struct Coordinator {
    /// Its base URL.
    pub(crate) endpoint: String,
    /// The keys to it.
    pub(crate) demo: Demo,
    stop: StopSignal,
    thread: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Coordinator {
    pub(crate) fn start() -> Self {
        Self::serving(|_| {})
    }

    /// One that encrypts, with this certificate and key.
    pub(crate) fn encrypting(certificate: &Path, key: &Path) -> Self {
        Self::serving(|options| options.certificate = Some(files(certificate, key)))
    }

    pub(crate) fn serving(change: impl FnOnce(&mut ServeOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tell, started) = mpsc::channel();
        let mut options = options(folder.path());
        change(&mut options);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let service = Service::start(&options).await.unwrap();
                let demo = service.demo().cloned().unwrap();
                tell.send((service.stop_signal(), service.endpoint(), demo))
                    .unwrap();
                service.run().await;
            });
        });
        let (stop, endpoint, demo) = started.recv().unwrap();
        Self {
            endpoint,
            demo,
            stop,
            thread: Some(thread),
            folder,
        }
    }

    /// A new code or fleet token for the demo's system, which holds until so long from now.
    pub(crate) async fn grant(
        &self,
        kind: GrantKind,
        uses: u32,
        lifetime: SignedDuration,
    ) -> String {
        let store = self.store().await;
        let secret = match kind {
            GrantKind::Code => tokens::new_pairing_code().unwrap(),
            GrantKind::FleetToken => tokens::new_fleet_token().unwrap(),
        };
        let now = Clock::start().utc();
        let new = NewGrant {
            acs_system_id: self.demo.acs_system_id,
            kind,
            agent_id: None,
            label: String::new(),
            uses,
            expires_at: now + lifetime,
        };
        let hash = digest(store.master_key(), &secret);
        let mut conn = store.write().await.unwrap();
        let made = pairing::create(&mut conn, &new, &hash, now).await;
        made.unwrap();
        conn.commit().await.unwrap();
        store.close().await;
        secret.to_string()
    }

    /// A new code, as its operator makes one.
    pub(crate) async fn code(&self) -> String {
        self.grant(GrantKind::Code, 1, CODE_LIFETIME).await
    }

    /// The agents that it knows, the oldest first.
    pub(crate) async fn agents(&self) -> Vec<AgentRow> {
        let store = self.store().await;
        let agents = agents::all(&mut store.read().await.unwrap()).await;
        store.close().await;
        agents.unwrap()
    }

    /// Has it do what the operator asks.
    pub(crate) async fn command(&self, command: &operator::Command) {
        let store = self.store().await;
        let mut conn = store.write().await.unwrap();
        let asked = commands::ask(&mut conn, command, Clock::start().utc()).await;
        asked.unwrap();
        conn.commit().await.unwrap();
        store.close().await;
    }

    async fn store(&self) -> Store {
        let options = options(self.folder.path());
        let key = options.database.master_key_file(None);
        let store = Store::open(options.database.path(), &key, Clock::start().utc()).await;
        store.unwrap()
    }

    /// Its host and port.
    pub(crate) fn authority(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    /// What it answers to a request, on a thread of its own: agent and emulator may share this one.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (url, key) = (
            format!("{}{path}", self.endpoint),
            self.demo.api_key.clone(),
        );
        let answer = tokio::task::spawn_blocking(move || -> Value {
            let mut answer = ureq::post(url)
                .header("authorization", format!("Bearer {key}"))
                .config()
                .http_status_as_error(false)
                .build()
                .send_json(&body)
                .unwrap();
            answer.body_mut().read_json().unwrap()
        });
        let answer = answer.await.unwrap();
        assert_eq!(answer["ok"], json!(true), "{path}: {answer}");
        answer
    }

    /// The id of the encoder, once an agent has brought it.
    pub(crate) async fn encoder(&self) -> String {
        let of_system = json!({"acs_system_id": self.demo.acs_system_id});
        let listed = async {
            loop {
                let listed = self.post("/acs/encoders/list", of_system.clone()).await;
                if let Some(id) = listed["acs_encoders"][0]["acs_encoder_id"].as_str() {
                    return id.to_owned();
                }
                tokio::time::sleep(ASKING).await;
            }
        };
        soon("an encoder", listed).await
    }

    /// A new credential for every entrance, from 1 to 4 December 2026.
    pub(crate) async fn credential(&self) -> String {
        let user = json!({"acs_system_id": self.demo.acs_system_id, "full_name": "Jane Doe"});
        let user = self.post("/acs/users/create", user).await;
        let credential = json!({
            "acs_user_id": user["acs_user"]["acs_user_id"],
            "access_method": "card",
            "allowed_acs_entrance_ids": self.demo.acs_entrance_ids,
            "starts_at": "2026-12-01T15:00:00.000Z",
            "ends_at": "2026-12-04T12:00:00.000Z",
        });
        let created = self.post("/acs/credentials/create", credential).await;
        let id = &created["acs_credential"]["acs_credential_id"];
        id.as_str().unwrap().to_owned()
    }

    /// Asks for an encode; the attempt as it began.
    pub(crate) async fn encode(&self, encoder: &str, credential: &str) -> Value {
        let asked = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
        let mut answer = self.post("/acs/encoders/encode_credential", asked).await;
        answer["action_attempt"].take()
    }

    /// Asks for a scan; the attempt as it began.
    pub(crate) async fn scan(&self, encoder: &str) -> Value {
        let asked = json!({"acs_encoder_id": encoder});
        let mut answer = self.post("/acs/encoders/scan_credential", asked).await;
        answer["action_attempt"].take()
    }

    /// The attempt once it has ended.
    pub(crate) async fn ended(&self, attempt: &Value) -> Value {
        let asked = json!({"action_attempt_id": attempt["action_attempt_id"]});
        let ended = async {
            loop {
                let mut answer = self.post("/action_attempts/get", asked.clone()).await;
                if answer["action_attempt"]["status"] != "pending" {
                    return answer["action_attempt"].take();
                }
                tokio::time::sleep(ASKING).await;
            }
        };
        soon("the attempt's end", ended).await
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok(), "it panicked");
        }
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: it did not come in time"))
}

fn options(folder: &Path) -> ServeOptions {
    let database = format!("sqlite:{}", folder.join("coordinator.sqlite").display());
    ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics: None,
        certificate: None,
        next_certificate: None,
        database: database.parse().unwrap(),
        master_key: None,
        seed_demo: true,
        allowed_hosts: Vec::new(),
        reach: Reach::default(),
        target_ca: None,
        desk: DeskSettings::default(),
    }
}

/// A certificate and its key.
pub(crate) fn files(certificate: &Path, key: &Path) -> CertificateFiles {
    CertificateFiles {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        client_authorities: None,
    }
}
