//! Faults on purpose, each with the finding that names it.

#![allow(
    clippy::result_large_err,
    reason = "the library's upgrade callback has its shape"
)]

#[cfg(target_os = "linux")]
mod faults;

use std::{fs, net::SocketAddr, sync::Arc};

use encoder_protocols::wire::SUBPROTOCOL;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        handshake::server::{Request, Response},
        http::HeaderValue,
    },
};

use super::*;
use crate::{
    config::{CoordinatorUrl, Secret},
    pairing::{NewPairing, Pins},
};

/// What a TLS handshake begins with (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// How a coordinator, or what stands in its place, behaves.
#[derive(Clone, Copy)]
enum Server {
    /// It answers this to every request.
    Says(&'static str),
    /// It takes every agent, and tells this date.
    Takes { date: Option<&'static str> },
}

async fn serve(server: Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            talk(server, tcp).await;
        }
    });
    address
}

async fn serve_encrypted(server: Server) -> SocketAddr {
    let chain =
        CertificateDer::pem_slice_iter(include_bytes!("../../session/testdata/coordinator.pem"));
    let key = include_bytes!("../../session/testdata/coordinator.key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            chain.collect::<Result<_, _>>().unwrap(),
            PrivateKeyDer::from_pem_slice(key).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(tcp).await {
                talk(server, stream).await;
            }
        }
    });
    address
}

async fn talk(server: Server, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    match server {
        Server::Says(answer) => {
            let mut head = Vec::new();
            // Of one that wants to encrypt no head will come.
            while !head.ends_with(b"\r\n\r\n") && head.first() != Some(&TLS_HANDSHAKE) {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Server::Takes { date } => {
            let upgrade = |_: &Request, mut response: Response| {
                let headers = response.headers_mut();
                let protocol = HeaderValue::from_static(SUBPROTOCOL);
                headers.insert("sec-websocket-protocol", protocol);
                if let Some(date) = date {
                    headers.insert("date", HeaderValue::from_static(date));
                }
                Ok(response)
            };
            let _ = accept_hdr_async(stream, upgrade).await;
        }
    }
}

/// A desk whose parts are all there.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        bench.put("token", "agent-token\n");
        bench
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    /// Settings with this coordinator and one encoder, whose port is `port`.
    fn settle(&self, coordinator: &str) {
        self.put(
            "agent.toml",
            &format!(
                "state_dir = \"state\"\n[discovery]\nenabled = false\n[coordinator]\ntoken_file = \"token\"\n{coordinator}\n\
                 [[encoder]]\nname = \"Front Desk\"\ndriver = \"pn532\"\nport = \"no-port\"\n"
            ),
        );
    }

    async fn findings(&self) -> Vec<Finding> {
        let args = SettingsArgs {
            config: self.directory.path().join("agent.toml"),
            overrides: Vec::new(),
        };
        examine(&args, &Output::standard()).await
    }

    /// What is found of a part with this coordinator.
    async fn finds(&self, coordinator: &str, part: &str) -> Finding {
        self.settle(coordinator);
        self.found(part).await
    }

    async fn found(&self, part: &str) -> Finding {
        let findings = self.findings().await;
        let mut found = findings.iter().filter(|finding| finding.part == part);
        match (found.next(), found.next()) {
            (Some(found), None) => found.clone(),
            (None, _) | (Some(_), Some(_)) => panic!("{part}: {findings:#?}"),
        }
    }
}

fn assert_broken(finding: &Finding, expected: &str) {
    assert_eq!(finding.state, State::Broken, "{finding:?}");
    assert!(finding.what.contains(expected), "{expected}: {finding:?}");
    assert!(!finding.what.contains("agent-token"), "{finding:?}");
}

/// The file with the authority of the tests' servers.
fn authority() -> String {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/session/testdata/authority.pem"
    );
    std::path::absolute(file).unwrap().display().to_string()
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn a_road_without_faults_is_walked_to_its_end() {
    for (server, url) in [
        (serve(Server::Takes { date: None }).await, "http"),
        (serve_encrypted(Server::Takes { date: None }).await, "https"),
    ] {
        let bench = Bench::new();
        let authority = authority();
        bench.settle(&format!(
            "url = \"{url}://{server}\"\nextra_ca_file = '{authority}'"
        ));
        let findings = bench.findings().await;
        let good = findings
            .iter()
            .filter(|finding| finding.state == State::Good);
        let good: Vec<_> = good.map(|finding| finding.part.as_str()).collect();
        let expected = [
            "this pc",
            "name lookup",
            "connection",
            "encryption",
            "websocket",
        ];
        assert_eq!(good, expected, "{findings:#?}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    let bench = Bench::new();
    assert_broken(
        &bench.found("configuration").await,
        "give its path with --config",
    );
    for (text, expected) in [
        ("state_dir = ", "line 1"),
        ("state_dri = \"state\"", "unknown key"),
        ("", "state_dir"),
    ] {
        bench.put("agent.toml", text);
        let findings = bench.findings().await;
        assert_broken(&findings[0], expected);
        assert_eq!(exit(&findings), Exit::Unusable);
    }
    for (coordinator, expected) in [
        ("url = \"ws://192.0.2.1\"", "is not encrypted"),
        ("url = \"ftp://127.0.0.1\"", "scheme"),
        (
            "url = \"ws://127.0.0.1\"\nproxy = \"socks5://127.0.0.1\"",
            "its scheme is not http",
        ),
    ] {
        assert_broken(&bench.finds(coordinator, "configuration").await, expected);
    }
}

#[tokio::test]
async fn what_this_pc_lacks_is_named() {
    let server = serve(Server::Takes { date: None }).await;
    let coordinator = format!("url = \"http://{server}\"");
    let bench = Bench::new();
    bench.put("state", "");
    assert_broken(&bench.finds(&coordinator, "this pc").await, "state_dir");
    let bench = Bench::new();
    fs::create_dir(bench.directory.path().join("state")).unwrap();
    bench.put(
        "state/journal.sqlite",
        "not a journal at all, though as long as a header would have to be …… ……… ………… ……",
    );
    assert_broken(&bench.finds(&coordinator, "this pc").await, "journal");
    let bench = Bench::new();
    bench.put("token", "two words");
    assert_broken(
        &bench.finds(&coordinator, "this pc").await,
        "holds no token",
    );
    fs::remove_file(bench.directory.path().join("token")).unwrap();
    assert_broken(&bench.finds(&coordinator, "this pc").await, "token_file");
    assert_broken(&bench.found("websocket").await, "cannot read the token");
    let bench = Bench::new();
    let without = format!("{coordinator}\nextra_ca_file = \"none.pem\"");
    assert_broken(&bench.finds(&without, "this pc").await, "extra_ca_file");
}

#[tokio::test]
async fn the_hop_that_fails_is_named_and_those_behind_it_are_not_reached() {
    let bench = Bench::new();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let url = format!("url = \"http://{closed}\"");
    assert_broken(
        &bench.finds(&url, "connection").await,
        "is the coordinator running there",
    );
    for part in ["encryption", "websocket"] {
        assert_eq!(bench.found(part).await.state, State::Skipped);
    }
    let url = "url = \"https://no-such-host.invalid\"";
    assert_broken(
        &bench.finds(url, "name lookup").await,
        "cannot reach wss://no-such-host.invalid:443",
    );
}

#[tokio::test]
async fn a_proxy_that_opens_no_way_is_named() {
    let bench = Bench::new();
    for (answer, expected) in [
        (
            "HTTP/1.1 407 x\r\n\r\n",
            "it wants a user name and password",
        ),
        (
            "HTTP/1.1 503 x\r\n\r\n",
            "let the coordinator's host and port through",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "is it an http proxy?"),
    ] {
        let proxy = serve(Server::Says(answer)).await;
        let coordinator = format!("url = \"https://192.0.2.1\"\nproxy = \"http://{proxy}\"");
        assert_broken(&bench.finds(&coordinator, "proxy").await, expected);
        assert_eq!(bench.found("connection").await.state, State::Good);
    }
}

#[tokio::test]
async fn encryption_that_cannot_be_trusted_is_named() {
    let bench = Bench::new();
    let server = serve_encrypted(Server::Takes { date: None }).await;
    let plain = serve(Server::Says("HTTP/1.1 400 x\r\n\r\n")).await;
    for (server, expected) in [
        (server, "belongs into `extra_ca_file`"),
        (plain, "no trusted encryption"),
    ] {
        let url = format!("url = \"https://{server}\"");
        assert_broken(&bench.finds(&url, "encryption").await, expected);
        assert_eq!(bench.found("websocket").await.state, State::Skipped);
    }
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn a_certificate_of_another_name_is_named() {
    let bench = Bench::new();
    let server = serve_encrypted(Server::Takes { date: None }).await;
    let authority = authority();
    // The proxy leads every name to the server.
    let proxy = lead_to(server).await;
    let coordinator = format!(
        "url = \"https://keys.example\"\nproxy = \"http://{proxy}\"\nextra_ca_file = '{authority}'"
    );
    assert_broken(
        &bench.finds(&coordinator, "encryption").await,
        "its certificate is for another name",
    );
}

/// A proxy whose tunnels all lead to one address.
async fn lead_to(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(near.read_u8().await.unwrap());
            }
            let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
            near.write_all(b"HTTP/1.1 200 x\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    });
    address
}

#[tokio::test]
async fn a_coordinator_that_takes_no_agent_is_named() {
    let bench = Bench::new();
    for (answer, expected) in [
        (
            "HTTP/1.1 401 x\r\ncontent-length: 0\r\n\r\n",
            "refused the token",
        ),
        (
            "HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n",
            "the coordinator's base url",
        ),
        (
            "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n",
            "is not available now",
        ),
        (
            "HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n",
            "instead of a websocket",
        ),
        (
            "220 smtp.example\r\n\r\n",
            "did not answer as a websocket should",
        ),
    ] {
        let server = serve(Server::Says(answer)).await;
        let url = format!("url = \"http://{server}\"");
        assert_broken(&bench.finds(&url, "websocket").await, expected);
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_with_what_sets_it() {
    let bench = Bench::new();
    for (date, expected) in [
        (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "s ahead of the coordinator's",
        ),
        (
            "Sat, 06 Nov 2094 08:49:37 GMT",
            "s behind the coordinator's",
        ),
    ] {
        let server = serve(Server::Takes { date: Some(date) }).await;
        let url = format!("url = \"http://{server}\"");
        let finding = bench.finds(&url, "clock").await;
        assert_eq!(finding.state, State::Warning);
        assert!(finding.what.contains(expected), "{finding:?}");
        assert!(finding.fix.is_some());
    }
}

#[tokio::test]
async fn an_encoder_that_is_not_there_is_named() {
    let bench = Bench::new();
    let finding = bench.finds("url = \"http://127.0.0.1:1\"", "encoder").await;
    assert_broken(&finding, "Front Desk: there is no port");
}

#[test]
fn the_worst_finding_is_the_exit_code() {
    let finding = |state| Finding::new("part", state, "what");
    for (states, expected) in [
        (&[][..], Exit::Done),
        (&[State::Good, State::Skipped], Exit::Done),
        (&[State::Good, State::Warning], Exit::Failed),
        (&[State::Broken, State::Warning], Exit::Unusable),
    ] {
        let findings: Vec<_> = states.iter().copied().map(finding).collect();
        assert_eq!(exit(&findings), expected, "{states:?}");
    }
}

#[test]
fn a_fix_stands_below_what_it_mends() {
    let finding = Finding::new("clock", State::Warning, "it is late").fixed_by(Some("set it"));
    let lines = finding.lines();
    assert_eq!(lines[0], "!       clock          it is late");
    assert_eq!(lines[1].trim(), "fix: set it");
    assert_eq!(
        serde_json::to_string(&finding).unwrap(),
        r#"{"part":"clock","state":"warning","what":"it is late","fix":"set it"}"#
    );
}

/// A paired desk: settings without a token, and a pairing that was made like this.
fn pair(bench: &Bench, url: &str, machine: Option<&str>, pins: Option<Pins>, more: &str) {
    bench.put(
        "agent.toml",
        &format!("state_dir = \"state\"\n[discovery]\nenabled = false\n[coordinator]\n{more}\n[[encoder]]\nname = \"Front Desk\"\n\
                  driver = \"pn532\"\nport = \"no-port\"\n"),
    );
    let state_dir = bench.directory.path().join("state");
    fs::create_dir_all(&state_dir).unwrap();
    let pairing = NewPairing {
        url: CoordinatorUrl::parse(url).unwrap(),
        agent_id: uuid::Uuid::nil(),
        system_name: "Main building".to_owned(),
        token: Secret::new("agent-token".to_owned()),
        machine: machine.map(str::to_owned),
        pins,
    };
    pairing.keep(&state_dir).unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_the_pairing_is_named_with_the_command_that_mends_it() {
    let server = serve(Server::Takes { date: None }).await;
    let url = format!("ws://{server}");
    let bench = Bench::new();
    bench.put("agent.toml", "state_dir = \"state\"\n");
    let never = bench.found("pairing").await;
    assert_broken(&never, "this agent is not paired");
    assert!(never.fix.unwrap().ends_with("encoder-agent pair URL"));
    pair(&bench, &url, None, None, "");
    assert_eq!(bench.found("pairing").await.state, State::Good);
    pair(&bench, &url, None, None, "url = \"ws://127.0.0.1:1\"");
    let other = bench.found("pairing").await;
    assert_broken(&other, "is paired with ws://127.0.0.1:");
    assert!(other.fix.unwrap().ends_with("pair ws://127.0.0.1:1"));
    if crate::platform::machine_fact().is_some() {
        pair(&bench, &url, Some("another"), None, "");
        assert_broken(&bench.found("pairing").await, "this disk was copied");
    }
    pair(&bench, &url, None, None, "accept_inspection = true");
    let accepted = bench.found("pairing").await;
    assert_eq!(accepted.state, State::Warning, "{accepted:?}");
    assert!(
        accepted.what.contains("accept_inspection = true"),
        "{accepted:?}"
    );
}

#[tokio::test]
async fn whoever_opens_the_connection_is_named_by_the_issuer() {
    let server = serve_encrypted(Server::Takes { date: None }).await;
    let bench = Bench::new();
    pair(
        &bench,
        &format!("https://{server}"),
        None,
        Some(Pins::default()),
        "",
    );
    let inspected = bench.found("encryption").await;
    assert_broken(&inspected, "is not the one that this agent was paired with");
    assert!(inspected.what.contains("issued by \""), "{inspected:?}");
    let fix = inspected.fix.unwrap();
    assert!(
        fix.ends_with(&format!("encoder-agent pair wss://{server}")),
        "{fix}"
    );
}
