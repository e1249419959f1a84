//! A bundle of a desk that is full of secrets.

use super::*;

const SECRETS: [&str; 9] = [
    "config-token-1",
    "file-token-2",
    "rotated-token-3",
    "proxy-user-4",
    "proxy pass/5",
    "proxy%20pass%2F5",
    "mistyped-6",
    "variable-7",
    "commented-8",
];

fn args(directory: &Path, settings: &str) -> SettingsArgs {
    fs::create_dir_all(directory.join("state")).unwrap();
    fs::write(directory.join("agent.toml"), settings).unwrap();
    fs::write(directory.join("token"), "file-token-2\n").unwrap();
    let rotated =
        r#"{"url":"ws://127.0.0.1:1","replaces":"file-token-2","token":"rotated-token-3"}"#;
    fs::write(directory.join("state/token.json"), rotated).unwrap();
    SettingsArgs {
        config: directory.join("agent.toml"),
        overrides: Vec::new(),
    }
}

async fn bundle(settings: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let args = args(directory.path(), settings);
    let now = "2026-11-22T08:00:00Z".parse().unwrap();
    gather(&args, now, &Output::standard()).await
}

#[tokio::test]
async fn a_bundle_tells_everything_but_secrets() {
    // A socket of its own: on Windows every agent of the PC has the same, and other tests run some.
    let least = "state_dir = \"state\"\n[local]\nsocket = \"no-agent\"\n[discovery]\nenabled = false\n# commented-8\n\
                 [[encoder]]\nname = \"Front Desk\"\ndriver = \"pn532\"\nport = \"no-port\"\n[coordinator]\nurl = \"http://127.0.0.1:1\"\n";
    let proxy = "proxy = \"http://proxy-user-4:proxy%20pass%2F5@127.0.0.1:2\"\n";
    for settings in [
        format!("{least}{proxy}token = \"config-token-1\"\n"),
        format!("{least}{proxy}token_file = \"token\"\n"),
        // One that cannot be used.
        format!("{least}{proxy}tokn = \"mistyped-6\"\n"),
        format!("{least}{proxy}token = config-token-1\n"),
    ] {
        let bundle = bundle(&settings).await;
        for section in ["version", "system", "settings", "status", "doctor", "log"] {
            assert!(
                bundle.contains(&format!("== {section} ==\n")),
                "{section}: {bundle}"
            );
        }
        for secret in SECRETS {
            assert!(!bundle.contains(secret), "{secret}: {bundle}");
        }
    }
    let sound = bundle(&format!("{least}token_file = \"token\"\n")).await;
    for expected in [
        env!("CARGO_PKG_VERSION"),
        "no agent runs here",
        "\"name\": \"Front Desk\"",
        "\"part\":\"encoder\"",
        "token.json 7",
    ] {
        assert!(sound.contains(expected), "{expected}: {sound}");
    }
}

#[test]
fn a_secret_is_taken_out_wherever_it_turns_up() {
    let directory = tempfile::tempdir().unwrap();
    let settings = "state_dir = \"state\"\n[coordinator]\nurl = \"http://127.0.0.1:1\"\ntoken_file = \"token\"\n\
                    proxy = \"http://proxy-user-4:proxy%20pass%2F5@127.0.0.1:2\"\n";
    let args = args(directory.path(), settings);
    // As the agent keeps it: on Windows encrypted.
    let paired = serde_json::json!({ "token": crate::platform::sealed("paired-10").unwrap() });
    fs::write(
        directory.path().join("state/pairing.json"),
        paired.to_string(),
    )
    .unwrap();
    let environment = [
        ("ENCODER_AGENT__COORDINATOR__TOKEN", "variable-7"),
        ("HTTPS_PROXY", "http://someone:elses-9@proxy.example"),
        ("HOME", "/root"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let redaction = Redaction::gather(Some(settings), args.load().ok().as_ref(), &environment);
    let told = "file-token-2 rotated-token-3 (proxy pass/5) variable-7 elses-9 proxy%20pass%2F5 paired-10 /root";
    assert_eq!(
        redaction.apply(told),
        "[secret] [secret] ([secret]) [secret] [secret] [secret] [secret] /root"
    );
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_a_bundle_and_nothing_is_overwritten() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle.txt");
    write_private(&path, "one").unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(write_private(&path, "two").is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
}
