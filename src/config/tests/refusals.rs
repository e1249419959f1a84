//! What is refused, and how that is told.

use super::*;

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("none.toml");
    let error = Settings::load(&Layers {
        file: file.clone(),
        ..Layers::default()
    })
    .unwrap_err();
    let system = std::fs::read(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: cannot read the configuration: {system}; give its path with --config FILE",
            file.display()
        )
    );
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    for (from, to, expected) in [
        (
            "state_dir",
            "state_dirs",
            "/etc/a.toml: `state_dirs`: unknown key; did you mean `state_dir`?",
        ),
        (
            "url =",
            "uri =",
            "/etc/a.toml: `coordinator.uri`: unknown key; did you mean `url`?",
        ),
        (
            "port = \"/dev/ttyUSB0\"",
            "port = \"/dev/ttyUSB0\"\nlift_between_card = false",
            "/etc/a.toml: `encoder[0].lift_between_card`: unknown key; did you mean `lift_between_cards`?",
        ),
        (
            "[coordinator]",
            "[tls]\n[coordinator]",
            "/etc/a.toml: `tls`: unknown key; known here: state_dir, coordinator, discovery, encoder, local, log",
        ),
    ] {
        assert_eq!(message(&edited(from, to)), expected);
    }
    assert_eq!(
        Settings::parse(
            LEAST,
            &with_environment("ENCODER_AGENT__LOG__LEVL", "debug")
        )
        .unwrap_err()
        .to_string(),
        "environment variable ENCODER_AGENT__LOG__LEVL: unknown key; did you mean `level`?"
    );
    assert_eq!(
        Settings::parse(LEAST, &with_override("log.levl=debug"))
            .unwrap_err()
            .to_string(),
        "--set log.levl: unknown key; did you mean `level`?"
    );
}

#[test]
fn wrong_types_are_refused() {
    for (from, to, expected) in [
        (
            "state_dir = \"/var/lib/encoder-agent\"",
            "state_dir = 3",
            "/etc/a.toml: `state_dir`: expected the path of a directory such as \"/var/lib/encoder-agent\", got a whole number",
        ),
        (
            "token = \"agent-token\"",
            "token = 7777",
            "/etc/a.toml: `coordinator.token`: expected the agent's token as a text, got a whole number",
        ),
        (
            "port = \"/dev/ttyUSB0\"",
            "port = \"/dev/ttyUSB0\"\nbaud = \"fast\"",
            "/etc/a.toml: `encoder[0].baud`: expected a whole number from 1200 to 4000000 baud, got \"fast\"",
        ),
        (
            "port = \"/dev/ttyUSB0\"",
            "port = \"/dev/ttyUSB0\"\nbaud = -1",
            "/etc/a.toml: `encoder[0].baud`: expected a whole number from 1200 to 4000000 baud, got -1",
        ),
        (
            "port = \"/dev/ttyUSB0\"",
            "port = \"/dev/ttyUSB0\"\ndtr = \"true\"",
            "/etc/a.toml: `encoder[0].dtr`: expected true or false, got \"true\"",
        ),
        (
            "[[encoder]]",
            "[encoder]",
            "/etc/a.toml: `encoder`: expected a list of tables, each written [[encoder]] in the file, got a table",
        ),
    ] {
        assert_eq!(message(&edited(from, to)), expected);
    }
    assert_eq!(
        message("coordinator = 5"),
        "/etc/a.toml: `coordinator`: expected a table, written [coordinator], got a whole number"
    );
}

#[test]
fn encoders_cannot_come_from_the_environment() {
    let text = "state_dir = \"/x\"";
    let layers = with_environment("ENCODER_AGENT__ENCODER__NAME", "Front Desk");
    assert_eq!(
        Settings::parse(text, &layers).unwrap_err().to_string(),
        "/etc/a.toml: `encoder`: expected a list of tables, each written [[encoder]] in the file, got a table"
    );
}

#[test]
fn bad_values_are_refused() {
    let unknown_driver = format!(
        "/etc/a.toml: `encoder[0].driver`: no driver is called \"pn533\"; expected one of: {}",
        crate::drivers::names()
    );
    let twice =
        format!("{LEAST}[[encoder]]\nname = \"NAME\"\ndriver = \"pn532\"\nport = \"PORT\"\n");
    for (text, expected) in [
        (
            edited("ws://127.0.0.1:8480", "127.0.0.1:8480"),
            "/etc/a.toml: `coordinator.url`: its scheme is none of ws, wss, http and https; expected the coordinator's base url such as \"wss://keys.example.com\"",
        ),
        (
            edited("ws://127.0.0.1:8480", "http://keys.example"),
            "/etc/a.toml: `coordinator.url`: ws://keys.example:80 is not encrypted, and keys.example is another machine; use wss:// or https://, or set coordinator.insecure = true if the network is trusted",
        ),
        (
            edited("\"agent-token\"", "\"\""),
            "/etc/a.toml: `coordinator.token`: cannot be a token: it is empty; copy the token as the coordinator printed it",
        ),
        (
            edited("token = ", "token_file = \"/t\"\ntoken = "),
            "/etc/a.toml: `coordinator.token`: `token` and `token_file` are both given; keep one of them",
        ),
        (
            edited("url = \"ws://127.0.0.1:8480\"", ""),
            "/etc/a.toml: `coordinator.url`: missing; expected the coordinator's base url such as \"wss://keys.example.com\"",
        ),
        (
            twice
                .replace("NAME", "front desk")
                .replace("PORT", "/dev/ttyUSB1"),
            "/etc/a.toml: `encoder[1].name`: \"front desk\" is the name of encoder[0] too; give each encoder a name of its own",
        ),
        (
            twice.replace("NAME", "Bar").replace("PORT", "/dev/ttyUSB0"),
            "/etc/a.toml: `encoder[1].port`: /dev/ttyUSB0 is the port of encoder[0] too; give each encoder a port of its own",
        ),
        (edited("\"pn532\"", "\"pn533\""), &unknown_driver),
        (
            edited("name = \"Front Desk\"", ""),
            "/etc/a.toml: `encoder[0].name`: missing; expected a name for people such as \"Front Desk\"",
        ),
        (
            edited("\"Front Desk\"", "\" \""),
            "/etc/a.toml: `encoder[0].name`: is empty; expected a name for people such as \"Front Desk\"",
        ),
        (
            format!("{LEAST}[log]\nlevel = \"loud\""),
            "/etc/a.toml: `log.level`: got \"loud\"; expected one of error, warn, info, debug and trace",
        ),
        (
            format!("{LEAST}[log]\nformat = \"xml\""),
            "/etc/a.toml: `log.format`: got \"xml\"; expected text or json",
        ),
        (
            format!("{LEAST}[local]\nhttp = \"9180\""),
            "/etc/a.toml: `local.http`: got \"9180\"; expected a loopback address with a port such as \"127.0.0.1:9180\"",
        ),
        (
            format!("{LEAST}[local]\nhttp = \"0.0.0.0:9180\""),
            "/etc/a.toml: `local.http`: 0.0.0.0:9180 can be reached from other machines; expected a loopback address with a port such as \"127.0.0.1:9180\"",
        ),
    ] {
        assert_eq!(message(&text), expected);
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_by_line_and_never_quoted() {
    let text = "state_dir = \"/x\"\n[coordinator]\ntoken = \"top-secret\n";
    let message = message(text);
    assert!(
        message.starts_with("/etc/a.toml: line 3, column "),
        "{message}"
    );
    assert!(!message.contains("top-secret"), "{message}");
}

#[test]
fn a_token_on_the_command_line_is_refused_and_not_quoted() {
    let error = Settings::parse(LEAST, &with_override("coordinator.token=top-secret")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--set coordinator.token: a token on the command line can be read by every user of this PC; use coordinator.token_file"
    );
}

#[test]
fn a_proxys_password_on_the_command_line_is_refused_and_not_quoted() {
    let with_password = with_override("coordinator.proxy=http://ann:top-secret@proxy:3128");
    let error = Settings::parse(LEAST, &with_password).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--set coordinator.proxy: a password on the command line can be read by every user of this PC; put it into the configuration file"
    );
    let without = with_override("coordinator.proxy=http://proxy:3128");
    Settings::parse(LEAST, &without).unwrap();
}

#[test]
fn an_override_without_a_value_is_refused() {
    for text in ["log.level", "=debug", ""] {
        assert_eq!(
            Settings::parse(LEAST, &with_override(text)).unwrap_err(),
            ConfigError::BadOverride
        );
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused_and_not_quoted() {
    use std::os::unix::ffi::OsStringExt;
    let layers = Layers {
        environment: vec![(
            OsString::from("ENCODER_AGENT__COORDINATOR__TOKEN"),
            OsString::from_vec(b"secret\xff".to_vec()),
        )],
        ..layers()
    };
    assert_eq!(
        Settings::parse(LEAST, &layers).unwrap_err().to_string(),
        "environment variable ENCODER_AGENT__COORDINATOR__TOKEN: expected a text in UTF-8, got other bytes"
    );
}
