//! Pairing: the agent as a process, and the coordinator itself.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use desk::{
    AgentProcess,
    coordinator::{Coordinator, files},
    soon,
};
use encoder_coordinator::{
    jobs::AgentId, operator, pairing::CODE_LIFETIME, store::pairing::GrantKind,
};
use jiff::SignedDuration;

/// A PC with settings that say nothing of a coordinator.
struct Pc {
    directory: tempfile::TempDir,
}

impl Pc {
    fn new() -> Self {
        Self::with("")
    }

    fn with(coordinator: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = format!("state_dir = \"state\"\n[coordinator]\n{coordinator}\n");
        std::fs::write(directory.path().join("agent.toml"), settings).unwrap();
        Self { directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_encoder-agent"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.file("agent.toml"))
            .env("RUST_LOG", "trace")
            .env("ENCODER_AGENT__DISCOVERY__SYS", self.file("no-sys"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end with this on its standard input: whether it did what it was asked, and all that it said.
    fn ask(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut child = self.agent(arguments).spawn().unwrap();
        // A command that reads nothing may have ended by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    fn pair(&self, url: &str, code: &str) -> (bool, String) {
        self.ask(&["pair", url], &format!("{code}\n"))
    }

    fn run(&self) -> AgentProcess {
        AgentProcess::start(self.agent(&["run"]))
    }

    fn pairing(&self) -> serde_json::Value {
        let text = std::fs::read(self.file("state/pairing.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

fn assert_refused((done, said): (bool, String), expected: &str) {
    assert!(!done && said.contains(expected), "{expected}: {said}");
}

fn testdata(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pairing/testdata");
    folder.join(name)
}

/// The fingerprint that a coordinator has, as an agent tells that looked for another one.
fn fingerprint(coordinator: &Coordinator) -> String {
    let other = "11".repeat(32);
    let arguments = ["pair", &coordinator.endpoint, "--fingerprint", &other];
    let (_, said) = Pc::new().ask(&arguments, "BCDF2345");
    let (_, found) = said.split_once("its key has ").unwrap();
    found.get(..64).unwrap().to_owned()
}

/// What this process, and so the coordinator in it, logs at its most talkative.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).into_owned()
    }
}

#[tokio::test]
async fn a_code_is_all_it_takes_and_no_log_tells_a_secret() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || lines.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let coordinator = Coordinator::start();
    let url = coordinator.endpoint.clone();
    let (code, fleet_token) = (
        coordinator.code().await,
        coordinator
            .grant(GrantKind::FleetToken, 1, CODE_LIFETIME)
            .await,
    );
    let mut said = String::new();
    let mut secrets = vec![code.clone(), fleet_token.clone()];
    for (secret, arguments) in [
        (&code, vec!["pair", &url]),
        (&fleet_token, vec!["pair", &url, "--fleet-token-file", "-"]),
    ] {
        let pc = Pc::new();
        let (done, words) = pc.ask(&arguments, secret);
        assert!(done && words.contains("paired with ws://"), "{words}");
        said.push_str(&words);
        secrets.push(pc.pairing()["token"].as_str().unwrap().to_owned());
        let mut agent = pc.run();
        agent.logs("connected; session").await;
        // A rotated token is kept beside the pairing, and used next time.
        let newest = coordinator.agents().await.pop().unwrap();
        let rotate = operator::Command::RotateToken {
            agent: AgentId(newest.agent_id),
        };
        coordinator.command(&rotate).await;
        agent.logs("the coordinator gave a new token").await;
        agent.terminate();
        agent.end().await;
        said.push_str(&agent.log());
        let rotated = std::fs::read_to_string(pc.file("state/token.json")).unwrap();
        let rotated: serde_json::Value = serde_json::from_str(&rotated).unwrap();
        secrets.push(rotated["token"].as_str().unwrap().to_owned());
        let mut agent = pc.run();
        agent.logs("connected; session").await;
        let revoke = operator::Command::RevokeAgent {
            agent: AgentId(newest.agent_id),
        };
        coordinator.command(&revoke).await;
        agent.logs("the token was revoked; pair again").await;
        agent.terminate();
        agent.end().await;
        said.push_str(&agent.log());
    }
    said.push_str(&log.text());
    assert!(log.text().contains("an agent was paired"), "{}", log.text());
    for secret in secrets {
        assert!(secret.len() >= 8);
        assert!(!said.contains(&secret), "a log tells a secret");
    }
}

#[tokio::test]
async fn a_code_that_gives_nothing_is_told_apart() {
    let coordinator = Coordinator::start();
    let url = &coordinator.endpoint;
    let pc = Pc::new();
    assert_refused(pc.pair(url, "BCDF-2345"), "there is no such pairing code");
    assert_refused(pc.pair(url, "hello"), "neither a pairing code");
    assert_refused(pc.pair(url, ""), "no code was given");
    let late = SignedDuration::from_secs(-1);
    let expired = coordinator.grant(GrantKind::Code, 1, late).await;
    assert_refused(pc.pair(url, &expired), "the pairing code has expired");
    let code = coordinator.code().await;
    assert!(pc.pair(url, &code).0);
    assert_refused(pc.pair(url, &code), "the pairing code was used before");
    let fleet = coordinator.grant(GrantKind::FleetToken, 1, late).await;
    assert_refused(pc.pair(url, &fleet), "the fleet token has expired");
    // What was paired before stays.
    assert!(pc.pairing()["token"].is_string());
}

#[tokio::test]
async fn roads_that_cannot_be_trusted_are_refused_before_anything_is_sent() {
    let pc = Pc::new();
    for (url, expected) in [
        (
            "ws://192.0.2.1",
            "URL: ws://192.0.2.1:80 is not encrypted, and 192.0.2.1 is another machine",
        ),
        ("ftp://127.0.0.1", "its scheme is none of"),
        (
            "http://user:hush@127.0.0.1",
            "carries a user name or password",
        ),
    ] {
        assert_refused(pc.pair(url, "BCDF2345"), expected);
    }
    let fingerprint = "00".repeat(32);
    let arguments = ["pair", "ws://127.0.0.1:1", "--fingerprint", &fingerprint];
    assert_refused(
        pc.ask(&arguments, "BCDF2345"),
        "is not encrypted, so it has no certificate",
    );
    let settled = Pc::with("url = \"ws://127.0.0.1:1\"");
    assert_refused(
        settled.pair("ws://127.0.0.1:2", "BCDF2345"),
        "which would win over",
    );
    let settled = Pc::with("url = \"ws://127.0.0.1:1\"\ntoken = \"t\"");
    assert_refused(
        settled.pair("ws://127.0.0.1:1", "BCDF2345"),
        "would win over that of the pairing",
    );
}

#[tokio::test]
async fn an_encrypted_coordinator_is_pinned_by_its_fingerprint() {
    let coordinator = Coordinator::encrypting(&testdata("paired.pem"), &testdata("paired.key"));
    let pc = Pc::new();
    let code = coordinator.code().await;
    let url = coordinator.endpoint.as_str();
    assert_refused(pc.pair(url, &code), "which this pc does not trust");
    let other = "11".repeat(32);
    let refused = pc.ask(&["pair", url, &code, "--fingerprint", &other], "");
    assert_refused(
        refused.clone(),
        "does not have this fingerprint; its key has ",
    );
    let (_, found) = refused.1.split_once("its key has ").unwrap();
    let found = found.get(..64).unwrap();
    let (done, said) = pc.ask(&["pair", url, &code, "--fingerprint", found], "");
    assert!(done, "{said}");
    assert_eq!(pc.pairing()["pins"]["keys"][0], found);
    let agent = pc.run();
    agent.logs("connected; session").await;
}

#[tokio::test]
async fn a_copied_disk_does_not_connect_and_is_told_of() {
    if encoder_agent::platform::machine_fact().is_none() {
        // A system without an id cannot tell a copy.
        return;
    }
    let coordinator = Coordinator::start();
    let pc = Pc::new();
    assert!(pc.pair(&coordinator.endpoint, &coordinator.code().await).0);
    let mut copied = pc.pairing();
    copied["machine"] = "another".into();
    std::fs::write(pc.file("state/pairing.json"), copied.to_string()).unwrap();
    std::fs::write(
        pc.file("state/journal.sqlite"),
        "what the other PC has written",
    )
    .unwrap();
    assert_refused(
        pc.ask(&["run"], ""),
        "was made on another machine: this disk was copied",
    );
    let paired = coordinator.agents().await.pop().unwrap();
    let (_, seen) = paired.clash.unwrap();
    assert!(seen.starts_with("copied to another PC, "), "{seen}");
    // Paired anew it is an agent of its own, with a journal of its own.
    assert!(pc.pair(&coordinator.endpoint, &coordinator.code().await).0);
    assert!(!pc.file("state/journal.sqlite").exists());
    let agent = pc.run();
    agent.logs("connected; session").await;
    let agents = coordinator.agents().await;
    assert_ne!(agents.last().unwrap().agent_id, paired.agent_id);
}

#[tokio::test]
async fn a_fleet_token_among_the_credentials_pairs_at_the_first_start() {
    let coordinator = Coordinator::start();
    let fleet_token = coordinator
        .grant(GrantKind::FleetToken, 1, CODE_LIFETIME)
        .await;
    let pc = Pc::with(&format!("url = \"{}\"", coordinator.endpoint));
    std::fs::write(pc.file("fleet-token"), &fleet_token).unwrap();
    for _ in 0..2 {
        let mut command = pc.agent(&["run"]);
        command.env("CREDENTIALS_DIRECTORY", pc.directory.path());
        let mut agent = AgentProcess::start(command);
        agent.logs("connected; session").await;
        agent.terminate();
        agent.end().await;
        assert!(!agent.log().contains(&fleet_token));
    }
    // The demo's own, and this one.
    assert_eq!(coordinator.agents().await.len(), 2);
}

#[tokio::test]
async fn an_agent_that_is_paired_anew_stays_the_one_whose_journal_it_has() {
    let coordinator = Coordinator::start();
    let pc = Pc::new();
    let url = &coordinator.endpoint;
    assert!(pc.pair(url, &coordinator.code().await).0);
    let mut agent = pc.run();
    agent.logs("connected; session").await;
    let before = coordinator.agents().await;
    let id = before.last().unwrap().agent_id;
    let revoke = operator::Command::RevokeAgent { agent: AgentId(id) };
    coordinator.command(&revoke).await;
    agent.logs("the token was revoked; pair again").await;
    // While it runs and waits, with a new code that says nothing of who it was.
    assert!(pc.pair(url, &coordinator.code().await).0);
    agent.logs("another token is configured").await;
    let rejoined = async {
        loop {
            let agents = coordinator.agents().await;
            let newest = agents.last().unwrap();
            if newest.agent_id == id && newest.connected_at.is_some() {
                return agents;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let after = soon("the former agent", rejoined).await;
    assert_eq!(after.len(), before.len());
    assert_eq!(after.last().unwrap().revoked_at, None);
    // With a journal of its own it is another agent.
    let anew = ["pair", url, "--new-journal"];
    assert_refused(
        pc.ask(&anew, &coordinator.code().await),
        "the journal cannot be set aside",
    );
    agent.terminate();
    agent.end().await;
    let (done, said) = pc.ask(&anew, &coordinator.code().await);
    assert!(done && said.contains("of-former-agent"), "{said}");
    let agent = pc.run();
    agent.logs("connected; session").await;
    assert_eq!(coordinator.agents().await.len(), before.len() + 1);
}

#[tokio::test]
async fn agents_show_the_certificate_that_the_coordinator_asks_for() {
    let asking = |authority: &str| {
        Coordinator::serving(|options| {
            let mut files = files(&testdata("paired.pem"), &testdata("paired.key"));
            files.client_authorities = Some(testdata(authority));
            options.certificate = Some(files);
        })
    };
    let (coordinator, other) = (asking("authority.pem"), asking("inspection.pem"));
    let known_by = fingerprint(&coordinator);
    let (without, with) = (
        Pc::new(),
        Pc::with(&format!(
            "client_certificate = {:?}\nclient_key = {:?}",
            testdata("client.pem"),
            testdata("other.key")
        )),
    );
    let pair = |pc: &Pc, coordinator: &Coordinator, code: &str| {
        let url = coordinator.endpoint.as_str();
        pc.ask(&["pair", url, code, "--fingerprint", &known_by], "")
    };
    let none = "takes agents with a client certificate only";
    assert_refused(
        pair(&without, &coordinator, &coordinator.code().await),
        none,
    );
    assert_refused(
        pair(&with, &other, &other.code().await),
        "does not take this agent's client certificate (UnknownCA)",
    );
    let (done, said) = pair(&with, &coordinator, &coordinator.code().await);
    assert!(done, "{said}");
    let mut agent = with.run();
    agent.logs("connected; session").await;
    agent.terminate();
    agent.end().await;
    std::fs::write(with.file("agent.toml"), "state_dir = \"state\"\n").unwrap();
    with.run().logs(none).await;
}

#[tokio::test]
async fn a_change_of_key_and_authority_that_was_announced_locks_nobody_out() {
    let old = |next: Option<&str>| {
        Coordinator::serving(|options| {
            options.certificate = Some(files(&testdata("paired.pem"), &testdata("paired.key")));
            options.next_certificate = next.map(testdata);
        })
    };
    let (paired, inspected) = (old(None), "inspected.pem");
    let known_by = fingerprint(&paired);
    // Where the agent finds the coordinator afterwards, which knows no token of the one before.
    let moved = Coordinator::encrypting(&testdata(inspected), &testdata("other.key"));
    for (coordinator, expected) in [
        (paired, "is not the one that this agent was paired with"),
        (old(Some(inspected)), "refused the token (http 401)"),
        // The authority alone will do.
        (old(Some("inspection.pem")), "refused the token (http 401)"),
    ] {
        let (pc, url) = (Pc::new(), coordinator.endpoint.as_str());
        let code = coordinator.code().await;
        let (done, said) = pc.ask(&["pair", url, &code, "--fingerprint", &known_by], "");
        assert!(done, "{said}");
        let mut agent = pc.run();
        agent.logs("connected; session").await;
        if expected.contains("401") {
            agent.logs("will have another certificate").await;
        }
        agent.terminate();
        agent.end().await;
        let port = |coordinator: &Coordinator| {
            let (_, port) = coordinator.endpoint.rsplit_once(':').unwrap();
            port.to_owned()
        };
        let mut pairing = pc.pairing();
        let url = pairing["url"].as_str().unwrap();
        pairing["url"] = url.replace(&port(&coordinator), &port(&moved)).into();
        std::fs::write(pc.file("state/pairing.json"), pairing.to_string()).unwrap();
        pc.run().logs(expected).await;
    }
}
