//! The session against a scripted coordinator on a real socket.

#![allow(
    clippy::result_large_err,
    reason = "the library's upgrade callback has this shape"
)]

mod pins;
mod proxies;

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
            session: tokio::spawn(session.run(stop.clone())),
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
async fn silence_is_a_dead_link_and_pings_keep_it_alive() {
    let mut bench = Bench::new().await;
    let (mut coordinator, connection) = bench.open(400).await;
    for _ in 0..4 {
        let ping = soon(coordinator.stream.next()).await.unwrap().unwrap();
        assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
        coordinator.stream.flush().await.unwrap();
    }
    assert!(bench.events.is_empty());
    assert_eq!(bench.disconnected().await, connection);
    bench.open(10_000).await;
}

#[tokio::test]
async fn a_half_open_link_is_found_within_45_seconds() {
    let mut bench = Bench::new().await;
    let (coordinator, _) = bench.open(600_000).await;
    // The other end takes every byte and never answers; from here on the timers alone move time.
    let mut line = coordinator.stream.into_inner();
    tokio::time::pause();
    let silent_since = tokio::time::Instant::now();
    let mut heard = Vec::new();
    line.read_to_end(&mut heard).await.unwrap();
    let found = silent_since.elapsed();
    assert!(!heard.is_empty(), "it never pinged");
    assert!(found <= Duration::from_secs(45), "{found:?}");
    let event = bench.events.recv().await;
    assert!(matches!(event, Some(SessionEvent::Disconnected { .. })));
}

#[tokio::test]
async fn our_pings_are_answered_while_nothing_else_happens() {
    let mut bench = Bench::new().await;
    let (mut coordinator, _) = bench.open(60_000).await;
    coordinator.send(Message::Ping(vec![7].into())).await;
    let pong = soon(coordinator.stream.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(vec![7].into()));
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
async fn a_coordinator_that_takes_nothing_is_given_up() {
    let mut bench = Bench::new().await;
    let (mut coordinator, connection) = bench.open(300).await;
    let outgoing = bench.outgoing.clone();
    let flood = tokio::spawn(async move {
        let message = AgentMessage::Unsupported {
            message_type: "x".repeat(100_000),
        };
        while outgoing
            .send(Outgoing {
                connection,
                message: message.clone(),
            })
            .await
            .is_ok()
        {}
    });
    let ended = async {
        loop {
            tokio::select! {
                connection = bench.disconnected() => return connection,
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    let ping = Message::Ping(Vec::new().into());
                    let _ = coordinator.stream.send(ping).await;
                }
            }
        }
    };
    assert_eq!(soon(ended).await, connection);
    flood.abort();
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

#[tokio::test]
async fn every_refusal_is_told_apart() {
    for (response, expected) in [
        (
            "HTTP/1.1 401 Unauthorized\r\n\r\n",
            "/base/agents/socket refused the token (http 401); it was revoked, or the agent retired: pair again with `encoder-agent pair`, or, if the token stands in the settings, put a new one there; trying again seldom",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "/base/agents/socket refused the token (http 403); it was revoked, or the agent retired: pair again with `encoder-agent pair`, or, if the token stands in the settings, put a new one there; trying again seldom",
        ),
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "/base/agents/socket is not there (http 404); `coordinator.url` must be the coordinator's base url, without the path for agents",
        ),
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n",
            "/base/agents/socket is not available now (http 503) and asks to come back in 7 s",
        ),
        (
            "HTTP/1.1 429 Slow\r\nRetry-After: Thu, 01 Jan 1970 00:00:09 GMT\r\n\r\n",
            "/base/agents/socket is not available now (http 429) and asks to come back in 9 s",
        ),
        (
            "HTTP/1.1 503 Busy\r\n\r\n",
            "/base/agents/socket is not available now (http 503)",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            "/base/agents/socket answered http 200 instead of a websocket; is `coordinator.url` the coordinator's base url?",
        ),
        (
            "SSH-2.0-OpenSSH\r\n\r\n",
            "/base/agents/socket did not answer as a websocket should: ",
        ),
        (
            "",
            "/base/agents/socket did not answer as a websocket should: ",
        ),
    ] {
        let message = connect_error(response).await.to_string();
        assert!(message.starts_with("ws://127.0.0.1:"), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("the-token"), "{message}");
    }
}

#[tokio::test]
async fn another_sub_protocol_or_none_is_refused() {
    for protocol in [None, Some("encoder-agent.v2")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connector = Connector::new(&settings(listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let upgrade = |_: &Request, mut response: Response| {
                if let Some(protocol) = protocol {
                    let value = HeaderValue::from_static(protocol);
                    response
                        .headers_mut()
                        .insert("sec-websocket-protocol", value);
                }
                Ok(response)
            };
            let _ = accept_hdr_async(tcp, upgrade).await;
        });
        let token = Secret::new("the-token".to_owned());
        let result = soon(connector.connect(&token, jiff::Timestamp::UNIX_EPOCH)).await;
        let error = result.err().expect("it connected");
        assert!(
            error
                .to_string()
                .ends_with("does not speak encoder-agent.v1; agent and coordinator must be of matching versions"),
            "{error}"
        );
        server.await.unwrap();
    }
}

#[tokio::test]
async fn nobody_listening_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = Connector::new(&settings(listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let token = Secret::new("the-token".to_owned());
    let result = soon(connector.connect(&token, jiff::Timestamp::UNIX_EPOCH)).await;
    assert!(matches!(result, Err(ConnectError::Unreachable { .. })));
}

/// A coordinator behind TLS on `127.0.0.1`, which takes one connection.
async fn encrypted_coordinator() -> (u16, JoinHandle<bool>) {
    let certificates =
        CertificateDer::pem_slice_iter(include_bytes!("../testdata/coordinator.pem"))
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../testdata/coordinator.key")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let upgraded = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(stream) = acceptor.accept(tcp).await else {
            return false;
        };
        let upgrade = |_: &Request, mut response: Response| {
            let value = HeaderValue::from_static(SUBPROTOCOL);
            response
                .headers_mut()
                .insert("sec-websocket-protocol", value);
            Ok(response)
        };
        accept_hdr_async(stream, upgrade).await.is_ok()
    });
    (port, upgraded)
}

async fn connect_encrypted(host: &str, trusts: bool) -> (Result<Socket, ConnectError>, bool) {
    let (port, upgraded) = encrypted_coordinator().await;
    let authority = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/session/testdata/authority.pem"
    );
    let url = CoordinatorUrl::parse(&format!("https://{host}:{port}")).unwrap();
    let settings = CoordinatorSettings {
        extra_ca_file: trusts.then(|| authority.into()),
        ..CoordinatorSettings::new(url, the_token())
    };
    let connector = Connector::new(&settings).unwrap();
    let token = Secret::new("the-token".to_owned());
    let result = soon(connector.connect(&token, jiff::Timestamp::UNIX_EPOCH)).await;
    (result, soon(upgraded).await.unwrap())
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn an_encrypted_connection_trusts_the_extra_authority() {
    for host in ["127.0.0.1", "localhost"] {
        let (result, upgraded) = connect_encrypted(host, true).await;
        result.map(|_| ()).unwrap();
        assert!(upgraded);
    }
}

#[tokio::test]
async fn an_unknown_authority_is_refused_before_the_token_is_sent() {
    let (result, upgraded) = connect_encrypted("127.0.0.1", false).await;
    let error = result.err().expect("it connected");
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    assert!(
        error.to_string().contains("belongs into `extra_ca_file`"),
        "{error}"
    );
    assert!(!upgraded);
}
