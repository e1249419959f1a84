mod pairings;
mod refusals;
mod samples;

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
