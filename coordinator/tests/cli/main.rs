//! The commands as people and scripts run them: the built program, its files and its output.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod agent;
mod operator;
mod program;
mod resources;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use serde_json::json;

use program::{Service, answer, complaint, run};

#[test]
fn an_empty_database_is_taken_to_a_first_key() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let workspace = answer(here, &["workspace", "create", "--name", "Hotel"]);
    let system = answer(here, &["system", "create", "--name", "Site"]);
    assert_eq!(system["workspace_id"], workspace["workspace_id"]);
    let door = answer(here, &["entrance", "create", "--name", "101"]);
    assert_eq!(door["acs_system_id"], system["acs_system_id"]);
    assert_eq!(door["number"], 1);
    let key = answer(here, &["key", "create", "--label", "desk"]);
    let secret = key["api_key"].as_str().unwrap();
    assert!(secret.starts_with("seam_"));
    let agent = answer(here, &["agent", "create", "--name", "Front desk"]);
    let token = agent["agent_token"].as_str().unwrap();
    assert!(token.starts_with("agent_"));
    for (what, name) in [
        ("workspace", "Hotel"),
        ("system", "Site"),
        ("entrance", "101"),
        ("agent", "Front desk"),
    ] {
        assert_eq!(answer(here, &[what, "list"])[0]["name"], name);
    }
    assert_eq!(answer(here, &["key", "list"])[0]["label"], "desk");
    let database = std::fs::read(here.join("store.db")).unwrap();
    for secret in [secret, token] {
        let bytes = secret.as_bytes();
        assert!(!database.windows(bytes.len()).any(|window| window == bytes));
    }
}

#[test]
fn plain_output_is_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let common = ["--database", "sqlite:store.db"];
    let made = run(
        folder.path(),
        &[
            ["workspace", "create", "--name", "Hotel"].as_slice(),
            &common,
        ]
        .concat(),
    );
    let made = String::from_utf8(made.stdout).unwrap();
    assert!(made.contains("name          Hotel\n"), "{made}");
    let list = run(
        folder.path(),
        &[["workspace", "list"].as_slice(), &common].concat(),
    );
    let list = String::from_utf8(list.stdout).unwrap();
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].starts_with("workspace_id"), "{list}");
    assert!(lines[1].contains("Hotel"), "{list}");
}

#[test]
fn a_command_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let common = ["--database", "sqlite:store.db"];
    let none = complaint(here, &[["key", "create"].as_slice(), &common].concat());
    assert!(
        none.contains("make one with `encoder-coordinator workspace create`"),
        "{none}"
    );
    answer(here, &["workspace", "create", "--name", "A"]);
    answer(here, &["workspace", "create", "--name", "B"]);
    let several = complaint(here, &[["key", "create"].as_slice(), &common].concat());
    assert!(several.contains("--workspace ID"), "{several}");
    let id = "00000000-0000-7000-8000-000000000000";
    let unknown = ["key", "create", "--workspace", id];
    let unknown = complaint(here, &[unknown.as_slice(), &common].concat());
    assert!(unknown.contains("no workspace with id"), "{unknown}");
    let postgres = complaint(here, &["workspace", "list", "--database", "postgres://x/y"]);
    assert!(postgres.contains("sqlite:PATH"), "{postgres}");
}

#[test]
fn the_demo_serves_at_once_and_again_with_the_same_ids() {
    let folder = tempfile::tempdir().unwrap();
    let first = Service::start(folder.path());
    let demo = first.demo.clone();
    let (status, body) = first.get("/acs/systems/list", &demo["api_key"]);
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(
        body["acs_systems"][0]["acs_system_id"],
        demo["acs_system_id"]
    );
    drop(first);
    let second = Service::start(folder.path());
    for field in [
        "api_key",
        "agent_token",
        "acs_system_id",
        "acs_entrance_ids",
    ] {
        assert_eq!(second.demo[field], demo[field], "{field}");
    }
    let (status, _) = second.get("/workspaces/get", &demo["api_key"]);
    assert_eq!(status, "HTTP/1.1 200 OK");
}

#[test]
fn keys_are_made_and_revoked_while_the_service_runs() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let key = answer(folder.path(), &["key", "create", "--vocabulary", "types"]);
    let (status, _) = service.get("/workspaces/get", &key["api_key"]);
    assert_eq!(status, "HTTP/1.1 200 OK");
    let id = key["api_key_id"].as_str().unwrap();
    answer(folder.path(), &["key", "revoke", id]);
    let (status, body) = service.get("/workspaces/get", &key["api_key"]);
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    assert_eq!(body["error"]["type"], "unauthorized");
}

#[test]
fn personal_access_tokens_are_made_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let first = answer(here, &["workspace", "create", "--name", "Hotel"]);
    let second = answer(here, &["workspace", "create", "--name", "Gym"]);
    let [first, second] =
        [first, second].map(|made| made["workspace_id"].as_str().unwrap().to_owned());
    let several = complaint(here, &["token", "create", "--database", "sqlite:store.db"]);
    assert!(several.contains("--workspace"), "{several}");
    let both = ["--workspace", &first, "--workspace", &second];
    let made = answer(
        here,
        &[&["token", "create", "--label", "Jane"][..], &both].concat(),
    );
    let secret = made["personal_access_token"].as_str().unwrap();
    assert!(secret.starts_with("seam_at"));
    let listed = answer(here, &["token", "list"]);
    assert_eq!(
        listed[0]["workspace_ids"],
        serde_json::json!([first, second])
    );
    assert!(!listed.to_string().contains(secret));
    let id = made["personal_access_token_id"].as_str().unwrap();
    answer(here, &["token", "revoke", id]);
    let again = complaint(
        here,
        &["token", "revoke", id, "--database", "sqlite:store.db"],
    );
    assert!(again.contains("no token with id"), "{again}");
}

/// Takes one delivery and answers it; returns the id that it carries.
fn take_delivery(endpoint: &TcpListener, status: &str) -> String {
    let (mut stream, _) = endpoint.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).unwrap();
        assert_ne!(read, 0);
        request.extend_from_slice(&part[..read]);
    }
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
    let request = String::from_utf8(request).unwrap();
    let id = request
        .lines()
        .find_map(|line| line.strip_prefix("svix-id: "));
    id.unwrap().to_owned()
}

#[test]
fn an_event_is_delivered_listed_and_replayed_while_the_service_runs() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let service = Service::start_with(here, &["--allow-private-targets"], &[]);
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", endpoint.local_addr().unwrap());
    let made = service.post("/webhooks/create", &json!({ "url": url }));
    let webhook = made["webhook"]["webhook_id"].as_str().unwrap();
    let user = json!({"acs_system_id": service.demo["acs_system_id"], "full_name": "Jane Doe"});
    service.post("/acs/users/create", &user);
    let event = take_delivery(&endpoint, "200 OK");
    answer(here, &["webhook", "replay", &event]);
    assert_eq!(take_delivery(&endpoint, "410 Gone"), event);
    answer(here, &["webhook", "replay", &event, "--webhook", webhook]);
    // The second one has failed, and is tried again after five seconds; the third waits for it.
    assert_eq!(take_delivery(&endpoint, "200 OK"), event);
    assert_eq!(take_delivery(&endpoint, "200 OK"), event);
    let listed = answer(here, &["webhook", "deliveries", "--event", &event]);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(listed[2]["state"], "delivered");
    assert_eq!(listed[2]["event_type"], "acs_user.created");
    let webhooks = answer(here, &["webhook", "list"]);
    assert_eq!(webhooks[0]["url"], url.as_str());
    assert!(!webhooks.to_string().contains("whsec_"));
    let common = ["--database", "sqlite:store.db"];
    let id = "00000000-0000-7000-8000-000000000000";
    let unknown = complaint(
        here,
        &[["webhook", "replay", id].as_slice(), &common].concat(),
    );
    assert!(unknown.contains("no event with id"), "{unknown}");
    service.post(
        "/webhooks/update",
        &json!({"webhook_id": webhook, "event_types": []}),
    );
    let nobody = complaint(
        here,
        &[["webhook", "replay", &event].as_slice(), &common].concat(),
    );
    assert!(nobody.contains("--webhook ID"), "{nobody}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_trusted_certificates_serves_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("none").display().to_string();
    let none = [
        ("SSL_CERT_FILE", nothing.as_str()),
        ("SSL_CERT_DIR", nothing.as_str()),
    ];
    let service = Service::start_with(folder.path(), &[], &none);
    let (status, _) = service.get("/workspaces/get", &service.demo["api_key"]);
    assert_eq!(status, "HTTP/1.1 200 OK");
}

#[test]
fn a_private_target_is_refused_unless_the_service_was_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let refused = service.post(
        "/webhooks/create",
        &json!({"url": "https://127.0.0.1/hook"}),
    );
    assert_eq!(refused["error"]["type"], "invalid_input");
    let errors = &refused["error"]["validation_errors"]["url"]["_errors"][0];
    assert!(errors.as_str().unwrap().contains("--allow-private-targets"));
}

#[cfg(unix)]
#[test]
fn a_terminated_service_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    assert!(service.terminate().success());
    assert!(!folder.path().join("store.db-wal").exists());
}

#[cfg(unix)]
#[test]
fn a_socket_that_systemd_holds_takes_the_place_of_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = Service::start_on(folder.path(), listener);
    assert_eq!(service.demo["endpoint"], endpoint);
    let (status, _) = service.get("/workspaces/get", &service.demo["api_key"]);
    assert_eq!(status, "HTTP/1.1 200 OK");
}

#[cfg(unix)]
#[test]
fn systemd_hears_that_the_service_is_up_lives_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let heard = || {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "1200000"),
    ];
    let service = Service::start_with(folder.path(), &[], &variables);
    assert_eq!(heard(), "READY=1\n");
    assert_eq!(heard(), "WATCHDOG=1\n");
    assert_eq!(heard(), "WATCHDOG=1\n");
    assert!(service.terminate().success());
    let last = std::iter::repeat_with(heard).find(|state| state != "WATCHDOG=1\n");
    assert_eq!(last.unwrap(), "STOPPING=1\n");
}

#[test]
fn cards_are_registered_where_they_are_assigned_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    answer(folder, &["workspace", "create", "--name", "Gym"]);
    let encoded = answer(folder, &["system", "create", "--name", "Doors"]);
    assert_eq!(encoded["kind"], "embedded");
    let store = ["--database", "sqlite:store.db"];
    let refused = complaint(folder, &[&["card", "register", "1"][..], &store].concat());
    assert!(refused.contains("are encoded, not registered"), "{refused}");

    let brivo = answer(
        folder,
        &[
            "system",
            "create",
            "--name",
            "Turnstiles",
            "--kind",
            "brivo",
        ],
    );
    assert_eq!(brivo["kind"], "brivo");
    std::fs::write(folder.join("cards.txt"), "1001\n\n 1002 \n1001\n").unwrap();
    let system = brivo["acs_system_id"].as_str().unwrap();
    let register = [
        "card",
        "register",
        "--system",
        system,
        "--file",
        "cards.txt",
    ];
    let made = answer(folder, &register);
    let told: Vec<_> = made
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["card_number"].as_str().unwrap(), row["is_new"] == true))
        .collect();
    assert_eq!(told, [("1001", true), ("1002", true), ("1001", false)]);
    let missing = ["card", "register", "--system", system, "--file", "none.txt"];
    let missing = complaint(folder, &[&missing[..], &store].concat());
    assert!(missing.contains("cannot read none.txt"), "{missing}");
}
