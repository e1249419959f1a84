use std::path::PathBuf;

use encoder_protocols::wire::{Abilities, EncoderKey, KeyScope};

use super::*;

#[test]
fn a_working_encoder_is_told_with_its_firmware() {
    let answer = Ok(EncoderIdentity {
        model: Some("PN532".to_owned()),
        serial: None,
        firmware: Some("1.6".to_owned()),
        abilities: Abilities::default(),
    });
    let mut report = Report::configured(&settings("/dev/ttyUSB0"), None);
    report.take_answer(&answer);
    assert_eq!(
        report.lines(),
        [
            "Front Desk",
            "  state      ready",
            "  driver     pn532",
            "  port       /dev/ttyUSB0",
            "  key        port:/dev/ttyUSB0",
            "  why        its port is configured",
            "  model      PN532",
            "  firmware   1.6",
        ]
    );
}

#[test]
fn a_missing_port_is_told_with_what_to_do() {
    let settings = settings("/dev/no-such-port");
    let runtime = super::super::runtime().unwrap();
    let answer = runtime.block_on(ask(&settings));
    let mut report = Report::configured(&settings, None);
    report.take_answer(&answer);
    assert_eq!(report.state, State::Fault);
    assert_eq!(
        report.problem.as_deref(),
        Some(
            "there is no port /dev/no-such-port: plug the encoder in, or correct `port` in the configuration"
        )
    );
    let told = serde_json::to_value(&report).unwrap();
    assert_eq!(told["model"], serde_json::Value::Null);
    assert_eq!(told["state"], "fault");
}

#[cfg(target_os = "linux")]
mod attached {
    use std::path::Path;

    use super::*;
    use crate::{
        config::Layers,
        discovery::tree::{SIXTY_FOUR, Tree, UsbStick},
        emulation::{EmulationOptions, PtyEncoder},
    };

    const FTDI: UsbStick = UsbStick {
        id: "0403:6001",
        socket: "1-1",
        serial: Some("A9XK01"),
        manufacturer: Some("FTDI"),
    };

    const KEYBOARD: UsbStick = UsbStick {
        id: "046d:c31c",
        socket: "1-2",
        serial: None,
        manufacturer: Some("Logitech"),
    };

    fn looked(tree: &Tree, more: &str, dry_run: bool) -> Vec<Report> {
        let text = format!(
            "[discovery]\nsys = \"{}\"\ndev = \"{}\"\n{more}",
            tree.sys().display(),
            tree.dev().display()
        );
        let settings = Settings::parse(&text, &Layers::default()).unwrap();
        let runtime = super::super::super::runtime().unwrap();
        runtime.block_on(look(&settings, dry_run, None, &Output::standard()))
    }

    #[test]
    fn every_device_is_told_with_why_and_what_to_do() {
        let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
        let port = board.path().unwrap().unwrap();
        let tree = Tree::new();
        tree.plug_serial("ttyUSB0", FTDI, &port);
        tree.plug_hid("hidraw0", KEYBOARD, SIXTY_FOUR, Path::new("/dev/null"));
        let reports = looked(&tree, "", false);
        let [keyboard, adapter] = reports.as_slice() else {
            panic!("{reports:?}");
        };
        assert_eq!(keyboard.state, State::NoEncoder);
        assert_eq!(
            keyboard.why.as_deref(),
            Some("no driver knows USB devices 046d:c31c")
        );
        assert_eq!(keyboard.maker.as_deref(), Some("Logitech"));
        assert_eq!(adapter.state, State::LeftAlone);
        assert!(adapter.driver.as_deref().unwrap().starts_with("pn532"));
        assert!(adapter.fix.as_deref().unwrap().contains("probe = true"));
        let reports = looked(&tree, "probe = true", false);
        assert_eq!(reports[1].state, State::Ready);
        assert_eq!(reports[1].key.as_deref(), Some("usb:0403:6001:A9XK01"));
        assert_eq!(reports[1].model.as_deref(), Some("PN532"));
    }

    #[test]
    fn a_device_that_is_listed_by_its_key_is_asked_and_named_and_a_missing_one_told() {
        let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
        let port = board.path().unwrap().unwrap();
        let tree = Tree::new();
        tree.plug_serial("ttyUSB0", FTDI, &port);
        let left_alone = looked(&tree, "", false).remove(0);
        assert_eq!(left_alone.state, State::LeftAlone);
        let key = left_alone.key.unwrap();
        assert!(
            left_alone
                .fix
                .unwrap()
                .contains(&format!("key = \"{key}\""))
        );
        let listed = |name: &str, key: &str| {
            format!("[[encoder]]\nname = \"{name}\"\ndriver = \"pn532\"\nkey = \"{key}\"\n")
        };
        let more = listed("Bar", &key) + &listed("Spa", "usb:0403:6001:OTHER");
        for dry_run in [true, false] {
            let reports = looked(&tree, &more, dry_run);
            let [bar, spa] = reports.as_slice() else {
                panic!("{reports:?}");
            };
            assert_eq!(bar.name.as_deref(), Some("Bar"));
            assert_eq!(bar.key.as_ref(), Some(&key));
            assert!(bar.configured);
            let expected = if dry_run {
                State::WouldBeOpened
            } else {
                State::Ready
            };
            assert_eq!(bar.state, expected);
            assert_eq!(spa.name.as_deref(), Some("Spa"));
            assert_eq!(spa.state, State::Fault);
            assert!(
                spa.problem
                    .as_ref()
                    .unwrap()
                    .contains("no device with this key")
            );
        }
    }

    #[test]
    fn a_dry_run_shows_the_first_bytes_and_sends_none() {
        let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
        let port = board.path().unwrap().unwrap();
        let tree = Tree::new();
        tree.plug_serial("ttyUSB0", FTDI, &port);
        for (more, state) in [
            ("", State::LeftAlone),
            ("probe = true", State::WouldBeOpened),
        ] {
            let reports = looked(&tree, more, true);
            assert_eq!(reports[0].state, state);
            let words = &reports[0].would_send[0];
            // The wake-up of the PN532's manual (UM0701-02, 7.2.11), then SAMConfiguration.
            assert!(words.starts_with("pn532 at 115200 baud: 55 55"), "{words}");
            assert!(words.contains("d4 14 01"), "{words}");
        }
        assert_eq!(board.stats().unwrap().bytes_in, 0);
    }

    #[tokio::test]
    async fn an_encoder_that_works_is_ready_and_one_that_is_held_in_use() {
        let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
        let port = board.path().unwrap().unwrap();
        let settings = settings(&port.display().to_string());
        let mut report = Report::configured(&settings, None);
        report.take_answer(&ask(&settings).await);
        assert_eq!(report.state, State::Ready);
        let cancel = CancellationToken::new();
        let opener = Opener::system();
        let held = drivers::open(&opener, &settings, Clock::start(), &cancel).await;
        report.take_answer(&ask(&settings).await);
        assert_eq!(report.state, State::InUse);
        assert_eq!(
            report.held_by.as_deref(),
            Some("another encoder of this agent")
        );
        assert!(report.problem.is_some() && report.fix.is_some());
        assert!(held.is_ok());
    }
}

fn settings(port: &str) -> EncoderSettings {
    EncoderSettings {
        key: EncoderKey(format!("port:{port}")),
        key_scope: KeyScope::Agent,
        name: "Front Desk".to_owned(),
        named: true,
        adopted: true,
        driver: "pn532".to_owned(),
        port: PathBuf::from(port),
        baud: None,
        dtr: None,
        rts: None,
        lift_between_cards: true,
        allow_irreversible: false,
        poll_interval: Duration::from_millis(200),
        simulated: false,
    }
}
