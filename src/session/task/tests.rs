//! The session against a scripted coordinator on a real socket.

#![allow(
    clippy::result_large_err,
    reason = "the library's upgrade callback has this shape"
)]

mod encryption;
mod pins;
mod proxies;
mod refusals;
mod silence;

use std::{net::SocketAddr, time::Duration};

use encoder_protocols::wire::{
    AgentMessage, Bye, ByeReason, ErrorCode, JobId, MAX_MESSAGE_BYTES, SUBPROTOCOL, SecretText,
    ServiceMessage, Welcome, WireMessage,
};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
    },
};
use uuid::Uuid;

use super::*;
use crate::config::{CoordinatorUrl, TokenSetting};

/// How long a test waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it did not happen in time")
}

/// A coordinator that does what the test says, and the session that connects to it.
struct Bench {
    listener: TcpListener,
    state_dir: tempfile::TempDir,
    events: mpsc::Receiver<SessionEvent>,
    outgoing: mpsc::Sender<Outgoing>,
    stop: CancellationToken,
    session: JoinHandle<()>,
}

impl Bench {
    async fn new() -> Self {
        Self::with_event_room(64).await
    }

    async fn with_event_room(room: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let coordinator = settings(listener.local_addr().unwrap());
        Self::of(listener, tempfile::tempdir().unwrap(), &coordinator, room)
    }

    fn of(
        listener: TcpListener,
        state_dir: tempfile::TempDir,
        coordinator: &CoordinatorSettings,
        room: usize,
    ) -> Self {
        let (events_in, events) = mpsc::channel(room);
        let (outgoing, outgoing_out) = mpsc::channel(8);
        let clock = Clock::start();
        let mut session = Session::new(
            coordinator,
            state_dir.path(),
            clock,
            events_in,
            outgoing_out,
        )
        .unwrap();
        session.machine = Machine::new(clock.now(), Box::new(|_| Duration::ZERO));
        let stop = CancellationToken::new();
        Self {
            listener,
            state_dir,
            events,
            outgoing,
            session: tokio::spawn(session.run(stop.clone(), SignOfLife::default())),
            stop,
        }
    }

    async fn tcp(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// Takes a connection, upgrades it, and gives the request besides.
    async fn accept(&self) -> (Coordinator, Request) {
        let tcp = self.tcp().await;
        let mut seen = None;
        let upgrade = |request: &Request, mut response: Response| {
            seen = Some(request.clone());
            response.headers_mut().insert(
                "sec-websocket-protocol",
                HeaderValue::from_static(SUBPROTOCOL),
            );
            Ok(response)
        };
        let stream = soon(accept_hdr_async(tcp, upgrade)).await.unwrap();
        (Coordinator { stream }, seen.unwrap())
    }

    async fn event(&mut self) -> SessionEvent {
        soon(self.events.recv()).await.expect("the session ended")
    }

    async fn connected(&mut self) -> (Coordinator, u64) {
        let (coordinator, _) = self.accept().await;
        let event = self.event().await;
        let SessionEvent::Connected { connection } = event else {
            panic!("expected to be connected: {event:?}");
        };
        (coordinator, connection)
    }

    async fn open(&mut self, heartbeat_ms: u64) -> (Coordinator, u64) {
        let (mut coordinator, connection) = self.connected().await;
        coordinator.say(&welcome(heartbeat_ms)).await;
        let message = self.message().await;
        assert!(matches!(message, ServiceMessage::Welcome(_)), "{message:?}");
        (coordinator, connection)
    }

    async fn message(&mut self) -> ServiceMessage {
        let event = self.event().await;
        let SessionEvent::Message { message, .. } = event else {
            panic!("expected a message: {event:?}");
        };
        message
    }

    async fn disconnected(&mut self) -> u64 {
        let event = self.event().await;
        let SessionEvent::Disconnected { connection } = event else {
            panic!("expected to be disconnected: {event:?}");
        };
        connection
    }

    /// Answers one connection with these bytes instead of an upgrade.
    async fn answer(&self, response: &str) {
        let mut tcp = self.tcp().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(soon(tcp.read_u8()).await.unwrap());
        }
        tcp.write_all(response.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
    }
}

struct Coordinator {
    stream: WebSocketStream<TcpStream>,
}

impl Coordinator {
    async fn say(&mut self, message: &ServiceMessage) {
        self.send(Message::text(message.encode())).await;
    }

    async fn send(&mut self, message: Message) {
        soon(self.stream.send(message)).await.unwrap();
    }

    /// The next frame that is not part of the heartbeat.
    async fn hear(&mut self) -> Option<Message> {
        loop {
            match soon(self.stream.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    async fn hear_message(&mut self) -> AgentMessage {
        match self.hear().await {
            Some(Message::Text(text)) => AgentMessage::decode(&text).unwrap(),
            other => panic!("expected a message: {other:?}"),
        }
    }

    async fn hear_close(&mut self) -> (u16, String) {
        match self.hear().await {
            Some(Message::Close(Some(frame))) => {
                (u16::from(frame.code), frame.reason.as_str().to_owned())
            }
            other => panic!("expected a farewell: {other:?}"),
        }
    }
}

fn settings(address: SocketAddr) -> CoordinatorSettings {
    let url = CoordinatorUrl::parse(&format!("http://{address}/base")).unwrap();
    CoordinatorSettings::new(url, the_token())
}

fn the_token() -> TokenSetting {
    TokenSetting::Text(Secret::new("the-token".to_owned()))
}

fn welcome(heartbeat_ms: u64) -> ServiceMessage {
    ServiceMessage::Welcome(Welcome {
        session_id: Uuid::nil(),
        store_id: Uuid::nil(),
        last_sequence: 0,
        journal_behind: false,
        heartbeat_ms,
        server_time: jiff::Timestamp::UNIX_EPOCH,
        next_pins: None,
    })
}

fn accepted(number: u128) -> AgentMessage {
    AgentMessage::JobAccepted {
        job_id: JobId(Uuid::from_u128(number)),
    }
}

fn cancel(number: u128, words: usize) -> ServiceMessage {
    ServiceMessage::Cancel {
        job_id: JobId(Uuid::from_u128(number)),
        code: ErrorCode::ActionAttemptExpired,
        message: "w".repeat(words),
    }
}

async fn connect_error(response: &'static str) -> ConnectError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = Connector::new(&settings(listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(tcp.read_u8().await.unwrap());
        }
        tcp.write_all(response.as_bytes()).await.unwrap();
    });
    let token = Secret::new("the-token".to_owned());
    let result = soon(connector.connect(&token, jiff::Timestamp::UNIX_EPOCH)).await;
    server.await.unwrap();
    result.err().expect("it connected")
}

#[tokio::test]
async fn the_upgrade_carries_token_and_sub_protocol() {
    let bench = Bench::new().await;
    let (_coordinator, request) = bench.accept().await;
    assert_eq!(request.uri().path(), "/base/agents/socket");
    assert_eq!(request.headers()["authorization"], "Bearer the-token");
    assert_eq!(
        request.headers()["sec-websocket-protocol"],
        "encoder-agent.v1"
    );
}

#[tokio::test]
async fn messages_go_both_ways() {
    let mut bench = Bench::new().await;
    let (mut coordinator, connection) = bench.open(10_000).await;
    let message = accepted(1);
    bench
        .outgoing
        .send(Outgoing {
            connection,
            message: message.clone(),
        })
        .await
        .unwrap();
    assert_eq!(coordinator.hear_message().await, message);
    coordinator.say(&cancel(2, 3)).await;
    assert_eq!(bench.message().await, cancel(2, 3));
}

#[tokio::test]
async fn a_message_for_a_connection_that_is_over_is_dropped() {
    let mut bench = Bench::new().await;
    let (coordinator, first) = bench.open(10_000).await;
    drop(coordinator);
    assert_eq!(bench.disconnected().await, first);
    let (mut coordinator, second) = bench.open(10_000).await;
    assert_eq!(second, first + 1);
    for (connection, number) in [(first, 1), (second, 2)] {
        let message = accepted(number);
        bench
            .outgoing
            .send(Outgoing {
                connection,
                message,
            })
            .await
            .unwrap();
    }
    assert_eq!(coordinator.hear_message().await, accepted(2));
}

#[tokio::test]
async fn garbage_binary_and_oversize_end_the_connection() {
    let mut bench = Bench::new().await;
    for frame in [
        Message::text("garbage"),
        Message::binary(vec![1, 2, 3]),
        Message::text("x".repeat(MAX_MESSAGE_BYTES + 1)),
    ] {
        let (mut coordinator, _) = bench.open(10_000).await;
        let _ = coordinator.stream.send(frame).await;
        bench.disconnected().await;
        while coordinator.hear().await.is_some() {}
    }
    bench.open(10_000).await;
}

#[tokio::test]
async fn a_breach_is_told_in_the_close_frame() {
    let mut bench = Bench::new().await;
    let (mut coordinator, _) = bench.open(10_000).await;
    coordinator.send(Message::text("garbage")).await;
    assert_eq!(
        coordinator.hear_close().await,
        (1008, "a message was not as the protocol has it".to_owned())
    );
}

#[tokio::test]
async fn the_largest_message_is_taken() {
    let mut bench = Bench::new().await;
    let (mut coordinator, _) = bench.open(10_000).await;
    let overhead = cancel(1, 0).encode().len();
    coordinator
        .say(&cancel(1, MAX_MESSAGE_BYTES - overhead))
        .await;
    assert!(matches!(bench.event().await, SessionEvent::Message { .. }));
}

#[tokio::test]
async fn an_unknown_message_is_answered() {
    let mut bench = Bench::new().await;
    let (mut coordinator, _) = bench.open(10_000).await;
    coordinator.send(Message::text(r#"{"type":"dance"}"#)).await;
    let expected = AgentMessage::Unsupported {
        message_type: "dance".to_owned(),
    };
    assert_eq!(coordinator.hear_message().await, expected);
}

#[tokio::test]
async fn a_restart_is_followed_by_a_new_connection() {
    let mut bench = Bench::new().await;
    let (mut coordinator, first) = bench.open(10_000).await;
    coordinator
        .say(&ServiceMessage::Bye(Bye {
            reason: ByeReason::Restart,
            message: String::new(),
        }))
        .await;
    assert_eq!(bench.disconnected().await, first);
    assert_eq!(coordinator.hear_close().await.0, 1001);
    let (_, second) = bench.open(10_000).await;
    assert_eq!(second, first + 1);
}

#[tokio::test]
async fn a_rotated_token_is_kept_and_used_next_time() {
    let mut bench = Bench::new().await;
    let (mut coordinator, _) = bench.open(10_000).await;
    let token = SecretText("rotated".to_owned());
    coordinator.say(&ServiceMessage::Token { token }).await;
    coordinator.say(&cancel(1, 0)).await;
    assert!(matches!(bench.event().await, SessionEvent::Message { .. }));
    assert!(bench.state_dir.path().join("token.json").exists());
    drop(coordinator);
    bench.disconnected().await;
    let (_, request) = bench.accept().await;
    assert_eq!(request.headers()["authorization"], "Bearer rotated");
}

#[tokio::test]
async fn a_coordinator_that_is_not_there_yet_is_found_later() {
    let mut bench = Bench::new().await;
    bench
        .answer("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n\r\n")
        .await;
    bench.answer("HTTP/1.1 500 Oops\r\n\r\n").await;
    bench.open(10_000).await;
}

#[tokio::test]
async fn a_token_file_that_is_put_right_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let state_dir = tempfile::tempdir().unwrap();
    let token_file = state_dir.path().join("agent-token");
    std::fs::write(&token_file, "wrong").unwrap();
    let coordinator = CoordinatorSettings {
        token: TokenSetting::File(token_file.clone()),
        ..settings(listener.local_addr().unwrap())
    };
    let mut bench = Bench::of(listener, state_dir, &coordinator, 64);
    bench.answer("HTTP/1.1 401 Unauthorized\r\n\r\n").await;
    std::fs::write(&token_file, "right").unwrap();
    let (_coordinator, request) = bench.accept().await;
    assert_eq!(request.headers()["authorization"], "Bearer right");
    assert!(matches!(
        bench.event().await,
        SessionEvent::Connected { .. }
    ));
}

#[tokio::test]
async fn events_wait_for_slow_jobs_and_none_is_lost() {
    let mut bench = Bench::with_event_room(1).await;
    let (mut coordinator, _) = bench.open(10_000).await;
    let sending = tokio::spawn(async move {
        for number in 0..100 {
            coordinator.say(&cancel(number, 1_000)).await;
        }
        coordinator
    });
    for number in 0..100 {
        assert_eq!(bench.message().await, cancel(number, 1_000));
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn stopping_says_farewell() {
    let mut bench = Bench::new().await;
    let (mut coordinator, _) = bench.open(10_000).await;
    bench.stop.cancel();
    assert_eq!(
        coordinator.hear_close().await,
        (1001, "the agent leaves".to_owned())
    );
    soon(&mut bench.session).await.unwrap();
}

#[tokio::test]
async fn stopping_does_not_wait_for_an_attempt() {
    let mut bench = Bench::new().await;
    let _silent = bench.tcp().await;
    bench.stop.cancel();
    soon(&mut bench.session).await.unwrap();
}

#[tokio::test]
async fn it_ends_when_the_jobs_are_gone() {
    let mut bench = Bench::new().await;
    let (_coordinator, _) = bench.open(10_000).await;
    drop(bench.outgoing);
    soon(&mut bench.session).await.unwrap();
}
