//! The samples that are handed out, and the least file.

use super::*;

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
    let sample = include_str!("../../../packaging/windows/agent.toml");
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
    let sample = include_str!("../../../systemd/agent.toml");
    let settings = Settings::parse(sample, &layers()).unwrap();
    assert_eq!(settings.require_encoders().unwrap(), []);
    assert_eq!(settings.discovery, DiscoverySettings::default());
    let keys = [
        ROOT_KEYS,
        coordinator::KEYS,
        log::KEYS,
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
