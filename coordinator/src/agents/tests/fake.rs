//! A service with a listening socket, and an agent that says what a test tells it to.

use std::{net::SocketAddr, time::Duration};

use encoder_protocols::{
    card::{CardContents, CardDescription, CardImage, Technology, Uid},
    wire::{
        Abilities, AgentMessage, Bye, CardPlan, CardPresented, EncoderDescription, EncoderKey,
        EncoderState, Hello, Job, JobError, JobFinished, JobId, JobKind, KeyScope, OpenJob,
        Outcome, Plan, PlanPurpose, PlanRequest, SOCKET_PATH, SUBPROTOCOL, ServiceMessage, Touched,
        Welcome, WireMessage,
    },
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};
use uuid::Uuid;

use crate::{
    desk::DeskSettings,
    http::{bench::Bench, router},
    operator::{Answer, Command},
    store::{agents, commands},
};

/// A safety net: everything here is awaited, nothing is waited for this long unless the test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// A service that agents can connect to.
pub(super) struct Site {
    pub(super) bench: Bench,
    pub(super) address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::of(Bench::start().await).await
    }

    pub(super) async fn of(bench: Bench) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(bench.state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            bench,
            address,
            server,
        }
    }

    /// Kills the service and starts it again on its database.
    pub(super) async fn restart(self, settings: DeskSettings) -> Self {
        self.server.abort();
        self.bench.state.stop.stop();
        Self::of(self.bench.restarted(settings).await).await
    }

    /// A new agent of the bench's system, and its token.
    pub(super) async fn agent(&self, name: &str) -> (Uuid, String) {
        self.agent_of(self.bench.system, name).await
    }

    /// A new agent of any system.
    pub(super) async fn agent_of(&self, system: Uuid, name: &str) -> (Uuid, String) {
        let mut conn = self.bench.state.store.write().await.unwrap();
        let now = self.bench.state.clock.utc();
        let (row, token) = agents::create(&mut conn, system, name, now).await.unwrap();
        conn.commit().await.unwrap();
        (row.agent_id, token.to_string())
    }

    /// Has the running service do what the operator asks.
    pub(super) async fn command(&self, command: &Command) -> Answer {
        let store = &self.bench.state.store;
        let mut conn = store.write().await.unwrap();
        let now = self.bench.state.clock.utc();
        let id = commands::ask(&mut conn, command, now).await.unwrap();
        conn.commit().await.unwrap();
        let mut commits = self.bench.state.desk.commits();
        tokio::time::timeout(PATIENCE, async {
            loop {
                commits.borrow_and_update();
                let mut conn = store.read().await.unwrap();
                if let Some(answer) = commands::answered(&mut conn, id).await.unwrap() {
                    return answer;
                }
                drop(conn);
                commits.changed().await.unwrap();
            }
        })
        .await
        .expect("the service answers the operator")
    }

    /// A connected agent with one encoder of this key, and that encoder's id.
    pub(super) async fn desk(&self, name: &str) -> (Fake, String) {
        let (_, token) = self.agent(name).await;
        let mut agent = Fake::connect(self, &token).await;
        let encoder = agent.list(self, &[name]).await.remove(0);
        (agent, encoder)
    }

    /// A credential that ends in 2027.
    pub(super) async fn credential(&self) -> String {
        self.credential_for(&[]).await
    }

    /// A credential for these entrances.
    pub(super) async fn credential_for(&self, entrances: &[Uuid]) -> String {
        let body = json!({"acs_system_id": self.bench.system, "full_name": "Jane Doe"});
        let user = self.bench.post("/acs/users/create", body).await;
        let body = json!({
            "acs_user_id": user.ok("acs_user")["acs_user_id"],
            "access_method": "card",
            "allowed_acs_entrance_ids": entrances,
            "starts_at": "2026-12-01T15:00:00.250Z",
            "ends_at": "2027-01-04T12:00:00.750Z",
        });
        let made = self.bench.post("/acs/credentials/create", body).await;
        text(&made.ok("acs_credential")["acs_credential_id"])
    }

    pub(super) async fn encode(&self, encoder: &str, credential: &str) -> Value {
        let body = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
        let path = "/acs/encoders/encode_credential";
        let answer = self.bench.post(path, body).await;
        answer.ok("action_attempt").clone()
    }

    pub(super) async fn scan(&self, encoder: &str) -> Value {
        let body = json!({"acs_encoder_id": encoder});
        let answer = self.bench.post("/acs/encoders/scan_credential", body).await;
        answer.ok("action_attempt").clone()
    }

    /// Scans until the service has noticed that the encoder's agent is gone; returns the attempt that says so.
    pub(super) async fn until_disconnected(&self, encoder: &str) -> Value {
        let mut commits = self.bench.state.desk.commits();
        tokio::time::timeout(PATIENCE, async {
            loop {
                commits.borrow_and_update();
                let attempt = self.scan(encoder).await;
                if attempt["error"]["type"] == "bridge_disconnected" {
                    return attempt;
                }
                commits.changed().await.unwrap();
            }
        })
        .await
        .expect("the service should notice")
    }

    pub(super) async fn attempt(&self, id: &Value) -> Value {
        let path = format!("/action_attempts/get?action_attempt_id={}", text(id));
        self.bench.get(&path).await.ok("action_attempt").clone()
    }

    /// The attempt once it has ended.
    pub(super) async fn ended(&self, attempt: &Value) -> Value {
        let mut commits = self.bench.state.desk.commits();
        tokio::time::timeout(PATIENCE, async {
            loop {
                commits.borrow_and_update();
                let now = self.attempt(&attempt["action_attempt_id"]).await;
                if now["status"] != "pending" {
                    return now;
                }
                commits.changed().await.unwrap();
            }
        })
        .await
        .expect("the attempt should end")
    }

    pub(super) async fn credential_now(&self, credential: &str) -> Value {
        let path = format!("/acs/credentials/get?acs_credential_id={credential}");
        self.bench.get(&path).await.ok("acs_credential").clone()
    }

    /// The types of a credential's events, in order.
    pub(super) async fn events_of(&self, credential: &str) -> Vec<String> {
        let path =
            format!("/events/list?since=2020-01-01T00:00:00Z&acs_credential_id={credential}");
        let answer = self.bench.get(&path).await;
        let events = answer.ok("events").as_array().unwrap().clone();
        events
            .iter()
            .map(|event| text(&event["event_type"]))
            .collect()
    }

    /// Encodes the credential on the card from the request to the end.
    pub(super) async fn issue(
        &self,
        agent: &mut Fake,
        encoder: &str,
        credential: &str,
        uid: &str,
    ) -> (Value, CardImage) {
        let attempt = self.encode(encoder, credential).await;
        assert_eq!(attempt["status"], "pending", "{attempt}");
        let job = agent.job().await;
        let image = agent.present_for_image(&job, 1, uid).await;
        agent.finish_written(&job, uid).await;
        (self.ended(&attempt).await, image)
    }

    /// Scans a card with these contents, from the request to the end.
    pub(super) async fn scanned(
        &self,
        agent: &mut Fake,
        encoder: &str,
        card: CardDescription,
        contents: CardContents,
    ) -> Value {
        let attempt = self.scan(encoder).await;
        let job = agent.job().await;
        agent
            .say(AgentMessage::JobAccepted { job_id: job.job_id })
            .await;
        let plan = agent.present(&job, 1, card).await;
        assert!(matches!(plan.plan, Plan::Read { .. }), "{plan:?}");
        let finished = JobFinished {
            contents: Some(contents),
            ..agent.outcome(&job, Outcome::Success, Touched::Untouched, Some(card))
        };
        agent.finish(finished).await;
        self.ended(&attempt).await
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub(super) fn card(uid: &str) -> CardDescription {
    CardDescription {
        technology: Technology::MifareClassic1k,
        uid: Some(uid.parse::<Uid>().unwrap()),
        capacity: 716,
    }
}

/// An agent whose every word a test chooses.
pub(super) struct Fake {
    pub(super) socket: WebSocketStream<TcpStream>,
    pub(super) agent_id: Uuid,
    pub(super) boot_id: Uuid,
    pub(super) sequence: u64,
}

/// Frames as they come, in time.
pub(super) trait NextFrame {
    async fn next_frame(&mut self) -> Option<Result<Message, Error>>;
}

impl NextFrame for WebSocketStream<TcpStream> {
    async fn next_frame(&mut self) -> Option<Result<Message, Error>> {
        let frame = tokio::time::timeout(PATIENCE, self.next());
        frame.await.expect("a frame, or the end, in time")
    }
}

/// A websocket to the service with this token and these sub-protocols.
pub(super) async fn dial(
    address: SocketAddr,
    token: Option<&str>,
    protocol: Option<&str>,
) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}{SOCKET_PATH}");
    let mut request = url.into_client_request().unwrap();
    let headers = request.headers_mut();
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        headers.insert("authorization", value);
    }
    if let Some(protocol) = protocol {
        headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    client_async(request, stream)
        .await
        .map(|(socket, _)| socket)
}

impl Fake {
    /// Answers pings for as long as nothing else comes, and returns that.
    pub(super) async fn hear_pings(&mut self) -> Option<Result<Message, Error>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Ping(_))) => self.socket.flush().await.unwrap(),
                other => return other,
            }
        }
    }

    /// An agent that has not said hello yet.
    pub(super) async fn dial(site: &Site, token: &str) -> Self {
        let socket = dial(site.address, Some(token), Some(SUBPROTOCOL)).await;
        Self {
            socket: socket.unwrap(),
            agent_id: Uuid::new_v4(),
            boot_id: Uuid::new_v4(),
            sequence: 0,
        }
    }

    pub(super) async fn connect(site: &Site, token: &str) -> Self {
        let mut fake = Self::dial(site, token).await;
        fake.greet(vec![]).await;
        fake
    }

    /// The same process with a new connection.
    pub(super) async fn reconnect(&mut self, site: &Site, token: &str) {
        let socket = dial(site.address, Some(token), Some(SUBPROTOCOL)).await;
        self.socket = socket.unwrap();
    }

    pub(super) async fn greet(&mut self, open_jobs: Vec<OpenJob>) -> Welcome {
        self.hello(open_jobs).await;
        match self.next().await {
            ServiceMessage::Welcome(welcome) => welcome,
            other => panic!("expected welcome, got {other:?}"),
        }
    }

    pub(super) async fn hello(&mut self, open_jobs: Vec<OpenJob>) {
        let hello = Hello {
            agent_id: self.agent_id,
            boot_id: self.boot_id,
            version: "0.0.0".into(),
            os: "test".into(),
            hostname: "bench".into(),
            open_jobs,
            last_sequence: self.sequence,
        };
        self.say(AgentMessage::Hello(hello)).await;
    }

    /// Lists encoders by their keys; returns their ids once they are offered.
    pub(super) async fn list(&mut self, site: &Site, keys: &[&str]) -> Vec<String> {
        let encoders = keys.iter().map(|key| description(key)).collect();
        self.say(AgentMessage::Inventory {
            encoders,
            problems: vec![],
        })
        .await;
        for _ in keys {
            let told = self.next().await;
            assert!(
                matches!(&told, ServiceMessage::EncoderSettings(told) if told.adopted),
                "{told:?}"
            );
        }
        let path = format!("/acs/encoders/list?acs_system_id={}", site.bench.system);
        let answer = site.bench.get(&path).await;
        let listed = answer.ok("acs_encoders").as_array().unwrap().clone();
        keys.iter()
            .map(|key| {
                let named = listed.iter().find(|row| row["display_name"] == *key);
                text(&named.unwrap()["acs_encoder_id"])
            })
            .collect()
    }

    pub(super) async fn say(&mut self, message: AgentMessage) {
        self.say_text(message.encode()).await;
    }

    pub(super) async fn say_text(&mut self, text: String) {
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    /// The next message of the service.
    pub(super) async fn next(&mut self) -> ServiceMessage {
        let text = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.socket.next().await.expect("a message").unwrap() {
                    Message::Text(text) => return text,
                    Message::Close(_) => panic!("the service closed the session"),
                    Message::Ping(_)
                    | Message::Pong(_)
                    | Message::Binary(_)
                    | Message::Frame(_) => {}
                }
            }
        });
        ServiceMessage::decode(&text.await.expect("a message in time")).unwrap()
    }

    /// The last message of a session that the service ends.
    pub(super) async fn bye(&mut self) -> Bye {
        let bye = match self.next().await {
            ServiceMessage::Bye(bye) => bye,
            other => panic!("expected bye, got {other:?}"),
        };
        let rest = tokio::time::timeout(PATIENCE, async {
            while let Some(Ok(frame)) = self.socket.next().await {
                assert!(!frame.is_text(), "nothing is said after bye: {frame:?}");
            }
        });
        rest.await.expect("the session should end");
        bye
    }

    pub(super) async fn job(&mut self) -> Job {
        match self.next().await {
            ServiceMessage::Job(job) => job,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    pub(super) async fn present(&mut self, job: &Job, n: u64, card: CardDescription) -> CardPlan {
        self.say(AgentMessage::CardPresented(CardPresented {
            job_id: job.job_id,
            n,
            card,
        }))
        .await;
        self.plan().await
    }

    pub(super) async fn present_for_image(&mut self, job: &Job, n: u64, uid: &str) -> CardImage {
        self.say(AgentMessage::JobAccepted { job_id: job.job_id })
            .await;
        let plan = self.present(job, n, card(uid)).await;
        assert_eq!((plan.n, plan.uid), (n, card(uid).uid));
        match plan.plan {
            Plan::Write { image } => image,
            other => panic!("expected a plan to write, got {other:?}"),
        }
    }

    pub(super) async fn verify(&mut self, job: JobId, n: u64, uid: &str) -> Plan {
        self.say(AgentMessage::PlanRequest(PlanRequest {
            job_id: job,
            uid: uid.parse().unwrap(),
            n,
            purpose: PlanPurpose::Verify,
        }))
        .await;
        self.plan().await.plan
    }

    async fn plan(&mut self) -> CardPlan {
        match self.next().await {
            ServiceMessage::CardPlan(plan) => plan,
            other => panic!("expected a plan, got {other:?}"),
        }
    }

    /// The next outcome of this agent.
    pub(super) fn outcome(
        &mut self,
        job: &Job,
        outcome: Outcome,
        touched: Touched,
        on: Option<CardDescription>,
    ) -> JobFinished {
        self.sequence += 1;
        JobFinished {
            sequence: self.sequence,
            job_id: job.job_id,
            kind: job.kind,
            credential_id: job.credential_id,
            outcome,
            touched,
            card: on,
            card_number: on.and_then(|card| card.card_number()),
            issued_at: (touched == Touched::Written)
                .then(|| "2026-11-21T10:00:00Z".parse().unwrap()),
            contents: None,
            error: None,
        }
    }

    pub(super) async fn finish_written(&mut self, job: &Job, uid: &str) {
        assert_eq!(job.kind, JobKind::Encode);
        let outcome = self.outcome(job, Outcome::Success, Touched::Written, Some(card(uid)));
        self.finish(outcome).await;
    }

    pub(super) async fn fail(&mut self, job: &Job, error: JobError) {
        let outcome = self.outcome(job, Outcome::Error, error.touched, None);
        self.finish(JobFinished {
            error: Some(error),
            ..outcome
        })
        .await;
    }

    /// Says an outcome and takes its acknowledgement.
    pub(super) async fn finish(&mut self, finished: JobFinished) {
        let sequence = finished.sequence;
        self.say(AgentMessage::JobFinished(finished)).await;
        let ack = self.next().await;
        assert_eq!(ack, ServiceMessage::FinishedAck { sequence });
    }
}

pub(super) fn description(key: &str) -> EncoderDescription {
    EncoderDescription {
        key: EncoderKey(key.into()),
        key_scope: KeyScope::Agent,
        name: key.into(),
        named: false,
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
    }
}
