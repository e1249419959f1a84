//! The socket with jobs that answer as a test says: who may ask what, and what cannot harm it.

#![cfg(unix)]

use std::path::Path;

use encoder_protocols::moment::Moment;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::{
    clock::Clock,
    jobs::{DeskRequest, NoEncoder, NotCancelled, NotLent},
    pulse::SignOfLife,
    session::SessionStatus,
    status::{ConfigStatus, JobsStatus, SessionState, Tally},
};

/// A socket in a directory of its own.
struct Bench {
    directory: tempfile::TempDir,
    stop: CancellationToken,
}

impl Bench {
    /// Its jobs answer every request; what is asked of encoders they refuse.
    async fn new() -> Self {
        Self::with(&[], answer).await
    }

    /// Some of its tasks are silent.
    async fn with(silent: &[&str], answer: impl Fn(DeskRequest) + Send + 'static) -> Self {
        let silent = silent.iter().map(|name| (*name).to_owned()).collect();
        let directory = tempfile::tempdir().unwrap();
        let (requests, mut asked) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                answer(request);
            }
        });
        let clock = Clock::start();
        let now = clock.utc();
        let session = SessionStatus {
            state: SessionState::Connected,
            since: now,
            sessions: 1,
            last_problem: None,
            view: None,
        };
        let config = ConfigStatus {
            file: "agent.toml".into(),
            read_at: now,
            refused: None,
            after_restart: Vec::new(),
        };
        let facts = DeskFacts {
            version: "1".to_owned(),
            os: "test".to_owned(),
            hostname: "desk".to_owned(),
            started_at: now,
            started: Moment::ORIGIN,
            url: "wss://keys.example".to_owned(),
            proxy: None,
            token: "in a file".to_owned(),
            state_dir: directory.path().to_owned(),
        };
        let desk = Desk::new(
            requests,
            watch::channel(session).1,
            watch::channel(config).1,
            watch::channel(Vec::new()).1,
            watch::channel(silent).1,
            facts,
            clock,
        );
        let bench = Self {
            directory,
            stop: CancellationToken::new(),
        };
        let server = Server::listen(&bench.address(), desk).await.unwrap();
        tokio::spawn(server.serve(bench.stop.clone(), SignOfLife::default()));
        bench
    }

    fn address(&self) -> Address {
        Address(self.directory.path().join("agent.sock"))
    }

    async fn client(&self) -> Client {
        Client::connect(&[self.address()]).await.unwrap()
    }

    async fn stream(&self) -> UnixStream {
        UnixStream::connect(self.address().0).await.unwrap()
    }
}

fn answer(request: DeskRequest) {
    let none = || NoEncoder::None;
    match request {
        DeskRequest::Status(answer) => {
            let status = JobsStatus {
                agent_id: Uuid::from_u128(1),
                encoders: Vec::new(),
                journal_problem: None,
                journal_found: Vec::new(),
                open_jobs: 3,
                owed_outcomes: 0,
                device_problems: Vec::new(),
            };
            let _ = answer.send((status, Tally::default()));
        }
        DeskRequest::Cancel { answer, .. } => {
            let _ = answer.send(Err(NotCancelled::NoEncoder(none())));
        }
        DeskRequest::Borrow { answer, .. } => {
            let _ = answer.send(Err(NotLent::NoEncoder(none())));
        }
        DeskRequest::Guard { answer, .. } => drop(answer.send(Ok(()))),
        DeskRequest::Rename(_) => {}
    }
}

async fn asked(stream: UnixStream, text: &[u8]) -> String {
    let mut stream = BufReader::new(stream);
    stream.write_all(text).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line
}

#[tokio::test]
async fn one_client_asks_again_and_again() {
    let bench = Bench::new().await;
    let mut client = bench.client().await;
    for _ in 0..3 {
        let status = client.status().await.unwrap();
        assert_eq!(status.journal.open_jobs, 3);
        assert_eq!(status.agent.process_id, std::process::id());
        // Without an encoder nothing can be encoded.
        assert_eq!(status.health.problems.len(), 1);
    }
}

#[tokio::test]
async fn a_task_that_gives_no_sign_of_life_is_named_and_health_says_so() {
    let bench = Bench::with(&["encoder Front Desk"], answer).await;
    let status = bench.client().await.status().await.unwrap();
    let named = "encoder Front Desk gives no sign of life";
    let problems = &status.health.problems;
    assert!(
        problems.iter().any(|problem| problem.starts_with(named)),
        "{problems:?}"
    );
    let bench = Bench::with(&["jobs", "discovery"], drop).await;
    let refused = bench.client().await.status().await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the agent's jobs do not answer; no sign of life from: jobs, discovery"
    );
}

#[tokio::test]
async fn refusals_say_why() {
    let bench = Bench::new().await;
    let mut client = bench.client().await;
    for ask in [
        Ask::Cancel { encoder: None },
        Ask::Scan {
            encoder: None,
            wait_s: 1,
        },
    ] {
        client.ask(&ask).await.unwrap();
        let Reply::Refused { message } = client.reply().await.unwrap() else {
            panic!("not refused");
        };
        assert!(message.contains("no encoder is plugged in"), "{message}");
    }
}

#[tokio::test]
async fn what_is_not_understood_or_too_long_is_refused_and_not_quoted() {
    let bench = Bench::new().await;
    for text in [
        &b"secret-key\n"[..],
        b"{\"ask\":\"dance\",\"with\":\"secret-key\"}\n",
        b"{\"ask\":\"encode\",\"wait_s\":1,\"image\":{\"kind\":\"secret-key\"}}\n",
        b"\xff\xfe\n",
        b"\n",
    ] {
        let line = asked(bench.stream().await, text).await;
        assert!(line.contains("\"reply\":\"refused\""), "{line}");
        assert!(!line.contains("secret-key"), "{line}");
    }
    let long = vec![b'a'; 300 * 1024];
    let mut stream = bench.stream().await;
    let _ = stream.write_all(&long).await;
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said).await;
    assert!(said.contains("longer than") || said.is_empty(), "{said}");
    // It serves on.
    bench.client().await.status().await.unwrap();
}

#[tokio::test]
async fn one_user_gets_no_more_than_its_places_and_they_are_free_again() {
    let bench = Bench::new().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = bench.client().await;
        client.status().await.unwrap();
        clients.push(client);
    }
    let one_more = bench.client().await.status().await;
    assert!(matches!(one_more, Err(ClientError::HungUp)), "{one_more:?}");
    clients.pop();
    let again = async {
        while bench.client().await.status().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let again = tokio::time::timeout(std::time::Duration::from_secs(20), again);
    again.await.unwrap();
}

#[tokio::test]
async fn where_no_agent_runs_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let none = Address(directory.path().join("none.sock"));
    // What a killed agent leaves behind.
    let left = Address(directory.path().join("agent.sock"));
    drop(std::os::unix::net::UnixListener::bind(&left.0).unwrap());
    let Err(error) = Client::connect(&[none, left.clone()]).await else {
        panic!("an agent answers");
    };
    let text = error.to_string();
    assert!(text.starts_with("no agent runs here"), "{text}");
    assert!(text.contains("none.sock or "), "{text}");
    let bench = Bench::new().await;
    // The first that answers is taken.
    let addresses = [left, bench.address()];
    let mut client = Client::connect(&addresses).await.unwrap();
    client.status().await.unwrap();
}

#[tokio::test]
async fn a_socket_is_taken_over_from_the_dead_only() {
    use std::os::unix::fs::PermissionsExt;

    let bench = Bench::new().await;
    let mode = std::fs::metadata(bench.address().0)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o666);
    let second = road::Listener::listen(&bench.address()).await;
    assert!(matches!(second, Err(road::ListenError::InUse(_))));
    let file = Address(bench.directory.path().join("file"));
    std::fs::write(&file.0, "precious").unwrap();
    let over_a_file = road::Listener::listen(&file).await;
    assert!(matches!(over_a_file, Err(road::ListenError::NoSocket(_))));
    assert_eq!(std::fs::read(&file.0).unwrap(), b"precious");
    let left = Address(bench.directory.path().join("left.sock"));
    drop(std::os::unix::net::UnixListener::bind(&left.0).unwrap());
    let taken = road::Listener::listen(&left).await.unwrap();
    drop(taken);
    assert!(!left.0.exists());
    bench.client().await.status().await.unwrap();
}

#[test]
fn the_agent_listens_where_it_is_told_to_and_the_commands_look_there() {
    let state = Path::new("/var/lib/agent");
    let listens = |configured: Option<&str>, runtime: Option<&str>| {
        listening_address(configured.map(Path::new), state, runtime.map(Into::into)).0
    };
    assert_eq!(listens(None, None), state.join("agent.sock"));
    assert_eq!(listens(None, Some("")), state.join("agent.sock"));
    let run = Path::new("/run/encoder-agent/agent.sock");
    assert_eq!(listens(None, Some("/run/encoder-agent")), run);
    assert_eq!(
        listens(Some("/a.sock"), Some("/run/x")),
        Path::new("/a.sock")
    );
    let looks = |configured: Option<&str>, is_installed| {
        let addresses = default_addresses(configured.map(Path::new), Some(state), is_installed);
        addresses
            .into_iter()
            .map(|address| address.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(looks(None, true), [run, &state.join("agent.sock")]);
    assert_eq!(looks(None, false), [state.join("agent.sock")]);
    assert_eq!(looks(Some("/a.sock"), true), [Path::new("/a.sock")]);
}
