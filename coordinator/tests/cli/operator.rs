//! What the operator does to a running service, and to one that does not run.

use std::{fs, path::Path, process::Output, time::Instant};

use serde_json::{Value, json};

use super::{
    agent::Agent,
    program::{Service, answer, complaint, run},
};

const COMMON: [&str; 2] = ["--database", "sqlite:store.db"];

/// The SHA-256 of the public key of `desk.pem`.
const FINGERPRINT: &str = "5d32445af57961d3a872b334bba596102cfbc99908a19f8ca7d4b9379a90a140";

/// The id of the demo's agent.
fn agent_of(folder: &Path) -> String {
    answer(folder, &["agent", "list"])[0]["agent_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn awaited(service: &Service) -> Value {
    let (status, body) = service.get("/health", &json!(""));
    assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
    body["awaited_agents"].clone()
}

#[test]
fn an_agent_is_retired_with_and_without_a_running_service() {
    for running in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let service = Service::start(here);
        let service = running.then_some(service);
        let agent = agent_of(here);
        let once = complaint(
            here,
            &[["agent", "retire", &agent].as_slice(), &COMMON].concat(),
        );
        assert!(once.contains(&format!("--confirm {agent}")), "{once}");
        let retire = ["agent", "retire", agent.as_str(), "--confirm", &agent];
        let done = answer(here, &retire);
        assert_eq!(done["retired"], agent.as_str());
        assert_eq!(done["ended_jobs"], json!([]));
        assert!(answer(here, &["agent", "list"])[0]["retired_at"].is_string());
        let again = complaint(here, &[retire.as_slice(), &COMMON].concat());
        assert!(again.contains("was retired before"), "{again}");
        drop(service);
    }
}

#[test]
fn a_command_that_no_service_took_is_done_by_the_next_one_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    drop(Service::start(here));
    let agent = agent_of(here);
    let renamed = answer(here, &["agent", "rename", &agent, "Lobby"]);
    assert_eq!(renamed["changed"], agent.as_str());
    let service = Service::start(here);
    let renamed = answer(here, &["agent", "rename", &agent, "Bar"]);
    assert_eq!(renamed["changed"], agent.as_str());
    assert_eq!(answer(here, &["agent", "list"])[0]["name"], "Bar");
    drop(service);
}

#[test]
fn what_holds_credentials_is_listed_and_released_only_when_said_twice() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    drop(Service::start(here));
    assert_eq!(answer(here, &["credential", "holds", "--all"]), json!([]));
    assert_eq!(answer(here, &["orphans"]), json!([]));
    assert_eq!(answer(here, &["encoder", "list"]), json!([]));
    let system = answer(here, &["system", "list"])[0]["acs_system_id"].clone();
    let system = system.as_str().unwrap();
    let nobody = "00000000-0000-7000-8000-000000000000";
    let release = ["credential", "release", "--all", "--confirm"];
    let wrong = complaint(here, &[release.as_slice(), &[nobody], &COMMON].concat());
    assert!(wrong.contains(&format!("--confirm {system}")), "{wrong}");
    assert_eq!(
        answer(here, &[release.as_slice(), &[system]].concat()),
        json!([])
    );
    let one = ["credential", "release", nobody, "--confirm", nobody];
    let not_held = complaint(here, &[one.as_slice(), &COMMON].concat());
    assert!(not_held.contains("nothing to release"), "{not_held}");
}

#[test]
fn a_backup_of_a_running_service_is_served_as_a_restored_store() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let service = Service::start(here);
    let made = run(here, &[["backup", "copy.db"].as_slice(), &COMMON].concat());
    assert!(made.status.success(), "{made:?}");
    let told = String::from_utf8(made.stderr.clone()).unwrap();
    assert!(told.contains("store.db.master-key"), "{told}");
    let twice = complaint(here, &[["backup", "copy.db"].as_slice(), &COMMON].concat());
    assert!(twice.contains("exists already"), "{twice}");
    assert_eq!(awaited(&service), json!([]));
    drop(service);
    let live = Service::start(here);
    assert_eq!(
        awaited(&live),
        json!([]),
        "the stamp must not be in the live store"
    );
    drop(live);
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path();
    fs::copy(here.join("copy.db"), there.join("store.db")).unwrap();
    fs::copy(
        here.join("store.db.master-key"),
        there.join("store.db.master-key"),
    )
    .unwrap();
    fs::copy(
        here.join("store.db.demo-keys.json"),
        there.join("store.db.demo-keys.json"),
    )
    .unwrap();
    let restored = Service::start(there);
    let agent = agent_of(there);
    assert_eq!(awaited(&restored)[0]["agent_id"], agent.as_str());
    let revoked = said(there, &["agent", "revoke", &agent]);
    let note = String::from_utf8(revoked.stderr).unwrap();
    assert!(note.contains("still waits for this agent"), "{note}");
    assert_eq!(awaited(&restored)[0]["agent_id"], agent.as_str());
    let retired = said(there, &["agent", "retire", &agent, "--confirm", &agent]);
    let note = String::from_utf8(retired.stderr).unwrap();
    assert!(note.contains("had not heard this agent"), "{note}");
    assert_eq!(awaited(&restored), json!([]));
}

/// Runs a command that must succeed, with everything it says.
fn said(folder: &Path, arguments: &[&str]) -> Output {
    let output = run(folder, &[arguments, &COMMON].concat());
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn a_copy_made_otherwise_is_restored_when_the_operator_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    drop(Service::start(here));
    let restored = Service::start_with(here, &["--restored"], &[]);
    assert_eq!(awaited(&restored)[0]["agent_id"], agent_of(here).as_str());
    drop(restored);
    // It stays restored until the agent was heard or retired, whoever starts it.
    let later = Service::start(here);
    assert_eq!(awaited(&later)[0]["agent_id"], agent_of(here).as_str());
}

/// By the program beside the service, as the operator does it. How long it takes is told and decides nothing.
#[tokio::test]
async fn a_revoked_token_ends_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let service = Service::start(here);
    let mut agent = Agent::connect(&service).await;
    let id = agent_of(here);
    let listed = answer(here, &["agent", "list"]);
    assert!(listed[0]["connected_since"].is_string(), "{listed}");
    let revoke = {
        let (here, id) = (here.to_owned(), id.clone());
        move || answer(&here, &["agent", "revoke", &id])
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "what is told to people is the true time"
    )]
    let begun = Instant::now();
    let revoking = tokio::task::spawn_blocking(revoke);
    let bye = agent.bye().await;
    println!(
        "from the command's start to the session's end: {:?}",
        begun.elapsed()
    );
    assert_eq!(bye["reason"], "revoked", "{bye}");
    assert_eq!(revoking.await.unwrap()["revoked"], id.as_str());
    drop(agent);
    let listed = answer(here, &["agent", "list"]);
    assert!(listed[0]["revoked_at"].is_string(), "{listed}");
}

#[tokio::test]
async fn whoever_is_connected_is_so_only_while_the_service_runs() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let service = Service::start(here);
    let mut agent = Agent::connect(&service).await;
    agent.list_encoder().await;
    let encoder = || answer(here, &["encoder", "list"])[0].clone();
    assert_eq!(encoder()["state"], "present");
    // Killed, so that it says no more of its sessions.
    drop(service);
    let gone = answer(here, &["agent", "list"]);
    assert_eq!(gone[0]["connected_since"], Value::Null);
    assert_eq!(encoder()["state"], "agent_offline");
    let again = Service::start(here);
    assert_eq!(encoder()["state"], "agent_offline");
    drop(again);
}

#[test]
fn codes_are_shown_with_the_fingerprint_of_a_service_that_encrypts() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/encryption/testdata");
    let [certificate, key] = ["desk.pem", "desk.key"].map(|name| testdata.join(name));
    let encrypting = [
        "--tls-certificate",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let fingerprint = || answer(here, &["pairing", "code"])["fingerprint"].clone();
    drop(Service::start_with(here, &encrypting, &[]));
    // As openssl and sha256sum tell it of the file.
    assert_eq!(fingerprint(), FINGERPRINT);
    drop(Service::start(here));
    assert_eq!(fingerprint(), Value::Null);
}
