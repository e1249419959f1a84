//! Settings of a paired agent.

use super::*;

/// Settings in a directory where a pairing with this URL lies in the state directory.
fn paired_with(
    paired: &str,
    coordinator: &str,
) -> (tempfile::TempDir, Result<Settings, ConfigError>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    let text = format!("state_dir = \"state\"\n[coordinator]\n{coordinator}\n");
    std::fs::write(&file, text).unwrap();
    let state_dir = directory.path().join("state");
    std::fs::create_dir(&state_dir).unwrap();
    let pairing = crate::pairing::NewPairing {
        url: CoordinatorUrl::parse(paired).unwrap(),
        agent_id: uuid::Uuid::nil(),
        system_name: "Main building".to_owned(),
        token: Secret::new("agent_paired".to_owned()),
        machine: None,
        pins: None,
    };
    pairing.keep(&state_dir).unwrap();
    let settings = Settings::load(&Layers {
        file,
        ..Layers::default()
    });
    (directory, settings)
}

#[test]
fn a_pairing_says_where_the_coordinator_is_and_gives_the_token() {
    for coordinator in ["", "url = \"wss://keys.example\""] {
        let (_directory, settings) = paired_with("wss://keys.example", coordinator);
        let settings = settings.unwrap();
        let found = settings.require_coordinator().unwrap();
        assert_eq!(found.url.host(), "keys.example");
        assert!(matches!(found.token, TokenSetting::Paired(_)), "{found:?}");
        assert!(found.pairing.is_some());
    }
}

#[test]
fn a_token_in_the_settings_wins_over_a_pairing() {
    let listed = "url = \"wss://other.example\"\ntoken = \"agent-token\"";
    let (_directory, settings) = paired_with("wss://keys.example", listed);
    let settings = settings.unwrap();
    assert_eq!(token(&settings), "agent-token");
    assert!(settings.require_coordinator().unwrap().pairing.is_none());
}

#[test]
fn a_pairing_with_another_coordinator_does_not_count() {
    let (_directory, settings) = paired_with("wss://keys.example", "url = \"wss://other.example\"");
    let error = settings.unwrap().require_coordinator().unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("is paired with wss://keys.example:443"),
        "{text}"
    );
    let (_directory, settings) = paired_with("ws://keys.example", "");
    let text = settings.unwrap_err().to_string();
    assert!(text.contains("is not encrypted"), "{text}");
}

#[test]
fn a_damaged_pairing_stops_only_what_needs_it() {
    let (directory, _) = paired_with("wss://keys.example", "");
    let pairing = directory
        .path()
        .join("state")
        .join(crate::pairing::FILE_NAME);
    std::fs::write(pairing, "{").unwrap();
    let settings = Settings::load(&Layers {
        file: directory.path().join("agent.toml"),
        ..Layers::default()
    });
    let error = settings.unwrap().require_coordinator().unwrap_err();
    assert!(error.to_string().contains("pair again"), "{error}");
}
