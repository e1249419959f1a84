//! Encoders, agents, entrances and key servers, as the operator makes and changes them.

use std::path::Path;

use serde_json::{Value, json};

use super::program::{Service, answer, complaint};

const COMMON: [&str; 2] = ["--database", "sqlite:store.db"];
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What a command that must fail complains of.
fn refused(here: &Path, arguments: &[&str]) -> String {
    complaint(here, &[arguments, &COMMON].concat())
}

/// The words of an attempt's end.
fn ended(service: &Service, answer: &Value) -> Value {
    let attempt = &answer["action_attempt"]["action_attempt_id"];
    let path = format!("/action_attempts/get?action_attempt_id={}", text(attempt));
    loop {
        let (_, body) = service.get(&path, &service.demo["api_key"]);
        let attempt = &body["action_attempt"];
        if attempt["status"] != "pending" {
            return attempt.clone();
        }
    }
}

#[test]
fn a_simulated_encoder_is_made_renamed_and_taken_out_of_use() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    answer(here, &["workspace", "create", "--name", "Hotel"]);
    answer(here, &["system", "create", "--name", "Site"]);
    let real = refused(here, &["encoder", "create", "--simulated"]);
    assert!(real.contains("sandbox"), "{real}");
    let sandbox = answer(here, &["workspace", "create", "--name", "Try", "--sandbox"]);
    assert_eq!(sandbox["is_sandbox"], true);
    let workspace = text(&sandbox["workspace_id"]);
    let system = [
        "system",
        "create",
        "--name",
        "Play",
        "--workspace",
        workspace,
    ];
    let system = answer(here, &system);
    let system = text(&system["acs_system_id"]);
    let made = ["encoder", "create", "--simulated", "--system", system];
    let made = answer(here, &[&made[..], &["--name", "Desk"]].concat());
    assert_eq!(made["name"], "Desk");
    let id = text(&made["acs_encoder_id"]);
    let listed = || answer(here, &["encoder", "list"])[0].clone();
    assert_eq!(listed()["acs_encoder_id"], id);
    assert_eq!(listed()["state"], "simulated");
    assert_eq!(listed()["adopted"], true);

    let renamed = answer(here, &["encoder", "rename", id, "Lobby"]);
    assert_eq!(renamed["changed"], id);
    assert_eq!(listed()["name"], "Lobby");
    for (word, adopted) in [("disown", false), ("adopt", true)] {
        assert_eq!(answer(here, &["encoder", word, id])["changed"], id);
        assert_eq!(listed()["adopted"], adopted, "{word}");
    }
    for unknown in [
        &["encoder", "rename", NOBODY, "x"][..],
        &["encoder", "adopt", NOBODY],
        &["encoder", "disown", NOBODY],
    ] {
        let told = refused(here, unknown);
        assert!(told.contains(NOBODY), "{unknown:?}: {told}");
    }
}

#[test]
fn a_held_credential_is_listed_and_goes_onto_another_card_once_it_was_released() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let service = Service::start(here);
    let encoder = answer(here, &["encoder", "create", "--simulated"]);
    let system = &service.demo["acs_system_id"];
    let user = json!({"acs_system_id": system, "full_name": "Jane Doe"});
    let user = service.post("/acs/users/create", &user);
    let wanted = json!({"acs_user_id": user["acs_user"]["acs_user_id"], "access_method": "card"});
    let credential = service.post("/acs/credentials/create", &wanted);
    let credential = text(&credential["acs_credential"]["acs_credential_id"]);
    let encode = || {
        let body = json!({
            "acs_encoder_id": encoder["acs_encoder_id"],
            "acs_credential_id": credential,
        });
        ended(
            &service,
            &service.post("/acs/encoders/encode_credential", &body),
        )
    };
    let first = encode();
    assert_eq!(first["status"], "success", "{first}");
    assert_eq!(answer(here, &["credential", "holds"]), json!([]));
    let held = answer(here, &["credential", "holds", "--all"]);
    assert_eq!(held[0]["acs_credential_id"], credential);
    assert_eq!(held[0]["state"], "written");
    let card = &first["result"]["card_number"];
    assert_eq!(held[0]["card"], *card);
    assert_eq!(encode()["error"]["type"], "credential_cannot_be_reissued");

    let release = ["credential", "release", credential, "--confirm", credential];
    let released = answer(here, &release);
    assert_eq!(released[0]["released"], true);
    assert_eq!(released[0]["cards"], json!([card]));
    assert_eq!(answer(here, &["credential", "holds", "--all"]), json!([]));
    let second = encode();
    assert_eq!(second["status"], "success", "{second}");
    assert_ne!(second["result"]["card_number"], *card);
}

#[test]
fn an_agents_token_is_renewed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    answer(here, &["workspace", "create", "--name", "Hotel"]);
    answer(here, &["system", "create", "--name", "Site"]);
    let made = answer(here, &["agent", "create", "--name", "Desk"]);
    let id = text(&made["agent_id"]);
    let renewed = answer(here, &["agent", "token", id]);
    assert_eq!(renewed["agent_id"], id);
    assert_ne!(renewed["agent_token"], made["agent_token"]);
    let listed = answer(here, &["agent", "list"]);
    let token = text(&renewed["agent_token"]);
    assert!(token.starts_with(text(&listed[0]["prefix"])), "{listed}");
    assert_eq!(listed[0]["revoked_at"], Value::Null);
    let revoked = answer(here, &["agent", "revoke", id]);
    assert_eq!(revoked, json!({"revoked": id, "still_awaited": false}));
    assert!(answer(here, &["agent", "list"])[0]["revoked_at"].is_string());
    for word in ["token", "revoke"] {
        let told = refused(here, &["agent", word, NOBODY]);
        assert!(told.contains(NOBODY), "{word}: {told}");
    }
}

#[test]
fn an_entrance_for_everybody_shows_as_a_common_one() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let service = Service::start(here);
    let workspace = answer(here, &["workspace", "list"]);
    let workspace = text(&workspace[0]["workspace_id"]);
    let system = [
        "system",
        "create",
        "--name",
        "Tower",
        "--kind",
        "visionline",
    ];
    let system = answer(here, &[&system[..], &["--workspace", workspace]].concat());
    let system = text(&system["acs_system_id"]);
    for (name, further) in [("Room 101", None), ("Pool", Some("--common"))] {
        let create = ["entrance", "create", "--system", system, "--name", name];
        answer(here, &[&create[..], further.as_slice()].concat());
    }
    let path = format!("/acs/entrances/list?acs_system_id={system}");
    let (_, body) = service.get(&path, &service.demo["api_key"]);
    let doors = body["acs_entrances"].as_array().unwrap().iter();
    let doors: Vec<_> = doors
        .map(|door| {
            (
                &door["display_name"],
                &door["visionline_metadata"]["door_category"],
            )
        })
        .collect();
    assert_eq!(doors[0], (&json!("Room 101"), &json!("guest")));
    assert_eq!(doors[1], (&json!("Pool"), &json!("common")));
}

#[test]
fn a_key_server_is_moved_and_its_secret_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    answer(here, &["workspace", "create", "--name", "Hotel"]);
    let external = ["system", "create", "--name", "Locks", "--kind", "external"];
    let none = refused(here, &external);
    assert!(none.contains("--key-server URL"), "{none}");
    let url = "https://keys.example/image";
    let with = |kind: &str, url: &str| {
        let system = ["system", "create", "--name", "x", "--kind", kind];
        refused(here, &[&system[..], &["--key-server", url]].concat())
    };
    assert!(with("brivo", url).contains("nothing for a key server to make"));
    assert!(with("external", "not a url").contains("--key-server"));
    let made = answer(here, &[&external[..], &["--key-server", url]].concat());
    assert_eq!(made["key_server"], url);
    let first = text(&made["key_server_secret"]);
    assert!(first.starts_with("whsec_"));

    let elsewhere = "https://keys.example/new";
    let moved = answer(here, &["system", "key-server", elsewhere]);
    assert_eq!(moved["key_server"], elsewhere);
    let renew = ["system", "key-server-secret"];
    let with = |option: &'static str| [&renew[..], &[option]].concat();
    let one = refused(here, &with("--end-old"));
    assert!(one.contains("no old one to end"), "{one}");
    let second = answer(here, &renew);
    assert_eq!(second["key_server"], elsewhere);
    assert_eq!(second["secrets_in_use"], 2);
    assert_ne!(text(&second["key_server_secret"]), first);
    let two = refused(here, &renew);
    assert!(two.contains("--end-old"), "{two}");
    let ended = answer(here, &with("--end-old"));
    assert_eq!(ended["secrets_in_use"], 1);
    assert_eq!(ended["key_server_secret"], Value::Null);
    answer(here, &renew);
    let third = answer(here, &with("--at-once"));
    assert_eq!(third["secrets_in_use"], 1);
    let third = text(&third["key_server_secret"]);
    assert_ne!(third, first);
    let database = std::fs::read(here.join("store.db")).unwrap();
    let bytes = third.as_bytes();
    assert!(!database.windows(bytes.len()).any(|window| window == bytes));

    let system = answer(here, &["system", "create", "--name", "Doors"]);
    let doors = text(&system["acs_system_id"]);
    for command in [&["system", "key-server", url][..], &renew] {
        let told = refused(here, &[command, &["--system", doors]].concat());
        assert!(told.contains("without a key server"), "{told}");
    }
}

#[test]
fn codes_and_fleet_tokens_are_made_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    answer(here, &["workspace", "create", "--name", "Hotel"]);
    let system = answer(here, &["system", "create", "--name", "Site"]);
    let code = answer(here, &["pairing", "code"]);
    assert_eq!(code["acs_system_id"], system["acs_system_id"]);
    let shown = code["pairing_code"].as_str().unwrap();
    assert_eq!((shown.len(), shown.find('-')), (9, Some(4)));
    let made = answer(
        here,
        &[
            "pairing",
            "fleet-token",
            "create",
            "--uses",
            "40",
            "--expires",
            "30d",
        ],
    );
    let token = made["fleet_token"].as_str().unwrap();
    assert!(token.starts_with("fleet_"));
    let id = made["fleet_token_id"].as_str().unwrap();
    let listed = answer(here, &["pairing", "fleet-token", "list"]);
    assert_eq!(
        (&listed[0]["uses"], &listed[0]["used"]),
        (&json!(40), &json!(0))
    );
    assert!(listed[0].get("fleet_token").is_none());
    answer(here, &["pairing", "fleet-token", "revoke", id]);
    let listed = answer(here, &["pairing", "fleet-token", "list"]);
    assert!(listed[0]["revoked_at"].is_string());
    let again = [
        "pairing",
        "fleet-token",
        "revoke",
        id,
        "--database",
        "sqlite:store.db",
    ];
    assert!(complaint(here, &again).contains("`encoder-coordinator pairing fleet-token list`"));
    let over = [
        "pairing",
        "fleet-token",
        "create",
        "--uses",
        "1",
        "--expires",
        "2020-01-01T00:00:00Z",
        "--database",
        "sqlite:store.db",
    ];
    assert!(complaint(here, &over).contains("expected a time to come"));
    let database = std::fs::read(here.join("store.db")).unwrap();
    for secret in [token, &shown.replace('-', "")] {
        let bytes = secret.as_bytes();
        assert!(!database.windows(bytes.len()).any(|window| window == bytes));
    }
}
