use std::ffi::OsString;

use super::*;

const LEAST: &str = r#"
state_dir = "/var/lib/encoder-agent"
[coordinator]
url = "ws://127.0.0.1:8480"
token = "agent-token"
[[encoder]]
name = "Front Desk"
driver = "pn532"
port = "/dev/ttyUSB0"
"#;

fn layers() -> Layers {
    Layers {
        file: PathBuf::from("/etc/a.toml"),
        ..Layers::default()
    }
}

fn with_environment(name: &str, value: &str) -> Layers {
    Layers {
        environment: vec![
            (OsString::from("PATH"), OsString::from("/bin")),
            (OsString::from(name), OsString::from(value)),
        ],
        ..layers()
    }
}

fn with_override(text: &str) -> Layers {
    Layers {
        overrides: vec![text.to_owned()],
        ..layers()
    }
}

fn message(text: &str) -> String {
    Settings::parse(text, &layers()).unwrap_err().to_string()
}

fn edited(from: &str, to: &str) -> String {
    assert!(LEAST.contains(from), "{from}");
    LEAST.replace(from, to)
}

fn token(settings: &Settings) -> String {
    let TokenSetting::Text(secret) = &settings.coordinator.as_ref().unwrap().token else {
        panic!("{settings:?}");
    };
    secret.expose().to_owned()
}

fn proxy(settings: &str, layers: &Layers) -> Option<String> {
    let settings = Settings::parse(settings, layers).unwrap();
    let proxy = settings.coordinator.unwrap().proxy;
    proxy.map(|proxy| proxy.to_string())
}

#[test]
fn a_listed_proxy_wins_over_the_environment() {
    let elsewhere = edited("ws://127.0.0.1:8480", "wss://keys.example");
    let listed = |proxy| elsewhere.replace("token =", &format!("proxy = \"{proxy}\"\ntoken ="));
    let environment = with_environment("HTTPS_PROXY", "http://shared:3128");
    let shared = Some("shared:3128".to_owned());
    assert_eq!(proxy(&elsewhere, &layers()), None);
    assert_eq!(proxy(&elsewhere, &environment), shared);
    let own = Some("own:8080".to_owned());
    assert_eq!(proxy(&listed("http://own:8080"), &environment), own);
    assert_eq!(proxy(&listed("none"), &environment), None);
    // This very machine is not asked for through a proxy.
    assert_eq!(proxy(LEAST, &environment), None);
    let error = message(&listed("socks5://hush@own"));
    assert!(
        error.contains("`coordinator.proxy`: its scheme is not http"),
        "{error}"
    );
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn the_least_file_gets_every_default() {
    let settings = Settings::parse(LEAST, &layers()).unwrap();
    assert_eq!(
        settings.require_state_dir().unwrap(),
        Path::new("/var/lib/encoder-agent")
    );
    assert_eq!(
        settings.require_coordinator().unwrap().url.to_string(),
        "ws://127.0.0.1:8480"
    );
    assert_eq!(token(&settings), "agent-token");
    assert_eq!(settings.log, LogSettings::default());
    assert_eq!(
        settings.require_encoders().unwrap(),
        [EncoderSettings {
            key: encoder_protocols::wire::EncoderKey("port:/dev/ttyUSB0".to_owned()),
            key_scope: encoder_protocols::wire::KeyScope::Agent,
            name: "Front Desk".to_owned(),
            driver: "pn532".to_owned(),
            port: PathBuf::from("/dev/ttyUSB0"),
            baud: None,
            dtr: None,
            rts: None,
            named: true,
            adopted: true,
            lift_between_cards: true,
            allow_irreversible: false,
            poll_interval: std::time::Duration::from_millis(200),
            simulated: false,
        }]
    );
}

#[test]
fn the_sample_for_windows_is_accepted() {
    let sample = include_str!("../../packaging/windows/agent.toml");
    // A sign alone takes a setting out; before a comment it has a space behind it.
    let taken_in = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
        Some(_) | None => format!("{line}\n"),
    };
    let listed: String = sample.lines().map(taken_in).collect();
    for (text, encoders) in [(sample, 0), (listed.as_str(), 1)] {
        let settings = Settings::parse(text, &layers()).unwrap();
        assert_eq!(settings.require_encoders().unwrap().len(), encoders);
        assert_eq!(settings.require_coordinator().is_ok(), encoders > 0);
        assert!(settings.require_state_dir().unwrap().ends_with("state"));
    }
}

#[test]
fn the_sample_file_is_accepted() {
    let sample = include_str!("../../systemd/agent.toml");
    let settings = Settings::parse(sample, &layers()).unwrap();
    assert_eq!(settings.require_encoders().unwrap(), []);
    assert_eq!(settings.discovery, DiscoverySettings::default());
    let keys = [
        ROOT_KEYS,
        COORDINATOR_KEYS,
        LOG_KEYS,
        discovery::KEYS,
        local::KEYS,
        encoder::KEYS,
    ]
    .concat();
    for key in keys {
        assert!(sample.contains(key), "the sample does not show `{key}`");
    }
    let mut everything = sample.replace("#= ", "");
    if !cfg!(target_os = "linux") {
        everything = everything.replace("\nsys = ", "\n# ");
        everything = everything.replace("\ndev = ", "\n# ");
    }
    let everything = Settings::parse(&everything, &layers()).unwrap();
    assert_eq!(everything.encoders.len(), 1);
    let [listed] = everything.discovery.listed.as_slice() else {
        panic!("{everything:?}");
    };
    assert_eq!(listed.key.0, "usb:0403:6001:A9XK01");
    assert_eq!(
        everything.local.http,
        Some("127.0.0.1:9180".parse().unwrap())
    );
    let rest = DiscoverySettings {
        listed: Vec::new(),
        ..everything.discovery
    };
    assert_eq!(rest, DiscoverySettings::default());
}

#[test]
fn how_encoders_are_found_can_be_set() {
    let text = "[discovery]\nprobe = true\nadopt = \"listed\"";
    let settings = Settings::parse(text, &layers()).unwrap();
    let expected = DiscoverySettings {
        probe: true,
        adopt: crate::discovery::Adopt::Listed,
        ..DiscoverySettings::default()
    };
    assert_eq!(settings.discovery, expected);
    assert_eq!(
        message("[discovery]\nadopt = \"all\""),
        "/etc/a.toml: `discovery.adopt`: got \"all\"; expected auto or listed"
    );
}

#[test]
fn an_encoder_can_be_listed_by_its_key() {
    let by_key =
        |key: &str| format!("[[encoder]]\nname = \"Bar\"\ndriver = \"msr605\"\nkey = \"{key}\"\n");
    let text = by_key("socket:0000:00:14.0/2.3:1.0") + "lift_between_cards = false\n";
    let settings = Settings::parse(&text, &layers()).unwrap();
    assert_eq!(settings.encoders, []);
    let [listed] = settings.discovery.listed.as_slice() else {
        panic!("{settings:?}");
    };
    assert_eq!(listed.name, "Bar");
    assert_eq!(listed.key_scope, encoder_protocols::wire::KeyScope::Agent);
    assert!(listed.named && listed.adopted && !listed.lift_between_cards);
    let usb = by_key("usb:0403:6001:A9XK01");
    for (text, expected) in [
        (
            by_key("A9XK01"),
            "/etc/a.toml: `encoder[0].key`: \"A9XK01\" is no key of a device; expected a device's key such as \"usb:0403:6001:A9XK01\" or \"socket:0000:00:14.0/2:1.0\", as `encoder-agent devices` prints it",
        ),
        (
            usb.clone() + "port = \"/dev/ttyUSB0\"\n",
            "/etc/a.toml: `encoder[0].key`: `key` and `port` are both given; keep `key` for an encoder that is found wherever it is plugged in, or `port` for one that always has the same port",
        ),
        (
            usb.clone() + &usb.replace("Bar", "Spa"),
            "/etc/a.toml: `encoder[1].key`: usb:0403:6001:A9XK01 is the key of encoder[0] too; give each encoder a key of its own",
        ),
        (
            format!("[discovery]\nenabled = false\n{usb}"),
            "/etc/a.toml: `discovery.enabled`: is false, and the encoder \"Bar\" has a `key` that it is to be found by; leave it out, or list the encoder's `port`",
        ),
        (
            "[[encoder]]\nname = \"Bar\"\ndriver = \"msr605\"\n".to_owned(),
            "/etc/a.toml: `encoder[0].port`: missing; expected `port` with the encoder's port, or `key` with what `encoder-agent devices` prints as its key",
        ),
    ] {
        assert_eq!(message(&text), expected);
    }
}

#[test]
fn environment_wins_over_file_and_command_line_over_both() {
    let environment = with_environment("ENCODER_AGENT__LOG__LEVEL", "debug");
    assert_eq!(
        Settings::parse(LEAST, &environment).unwrap().log.level,
        LogLevel::Debug
    );
    let both = Layers {
        overrides: vec!["log.level=trace".to_owned()],
        ..environment
    };
    assert_eq!(
        Settings::parse(LEAST, &both).unwrap().log.level,
        LogLevel::Trace
    );
}

#[test]
fn a_token_of_digits_in_the_environment_stays_a_text() {
    let layers = with_environment("ENCODER_AGENT__COORDINATOR__TOKEN", "12345");
    assert_eq!(token(&Settings::parse(LEAST, &layers).unwrap()), "12345");
}

#[test]
fn text_layers_give_booleans() {
    let text = edited("ws://127.0.0.1:8480", "ws://keys.example:8480");
    let layers = with_environment("ENCODER_AGENT__COORDINATOR__INSECURE", "true");
    Settings::parse(&text, &layers).unwrap();
    let layers = with_environment("ENCODER_AGENT__COORDINATOR__INSECURE", "yes");
    assert_eq!(
        Settings::parse(&text, &layers).unwrap_err().to_string(),
        "environment variable ENCODER_AGENT__COORDINATOR__INSECURE: expected true or false, got `yes`"
    );
}

#[test]
fn relative_paths_begin_at_the_file() {
    let text = edited("token = \"agent-token\"", "token_file = \"token\"");
    let settings = Settings::parse(&text, &layers()).unwrap();
    let TokenSetting::File(path) = &settings.coordinator.as_ref().unwrap().token else {
        panic!("{settings:?}");
    };
    assert_eq!(path, Path::new("/etc/token"));
}

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

const NOT_PAIRED: &str = if cfg!(windows) {
    "this agent is not paired: run `encoder-agent pair URL` as an administrator, with a code of `encoder-coordinator pairing code`"
} else {
    "this agent is not paired: run `encoder-agent pair URL` as root, with a code of `encoder-coordinator pairing code`"
};

#[test]
fn what_a_command_needs_is_asked_for() {
    let settings = Settings::parse("[discovery]\nenabled = false", &layers()).unwrap();
    for (error, expected) in [
        (
            settings.require_state_dir().unwrap_err(),
            "/etc/a.toml: `state_dir`: missing; expected the path of a directory such as \"/var/lib/encoder-agent\"",
        ),
        (settings.require_coordinator().unwrap_err(), NOT_PAIRED),
        (
            settings.require_encoders().unwrap_err(),
            "/etc/a.toml: `encoder`: missing; expected a table [[encoder]] with `name`, `driver` and `port`, or discovery.enabled = true",
        ),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn settings_do_not_show_the_token() {
    let settings = Settings::parse(LEAST, &layers()).unwrap();
    assert!(!format!("{settings:?}").contains("agent-token"));
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

#[test]
fn a_client_certificate_has_a_key() {
    let with = |text: &str| edited("token = ", &format!("{text}\ntoken = "));
    let both = with("client_certificate = \"a.pem\"\nclient_key = \"a.key\"");
    let settings = Settings::parse(&both, &layers()).unwrap();
    let certificate = settings.coordinator.unwrap().client_certificate.unwrap();
    assert_eq!(certificate.key, Path::new("/etc/a.key"));
    for half in ["client_certificate = \"a.pem\"", "client_key = \"a.key\""] {
        let text = message(&with(half));
        assert!(
            text.contains("missing; expected the path of a PEM file"),
            "{text}"
        );
    }
}
