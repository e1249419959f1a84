//! Encoders that the settings name by their keys.

use super::*;

/// An `[[encoder]]` with this key.
fn listed(key: &str, driver: &str) -> EncoderSettings {
    EncoderSettings {
        name: "Concierge".to_owned(),
        named: true,
        lift_between_cards: false,
        ..EncoderSettings::unlisted(
            EncoderKey(key.to_owned()),
            KeyScope::Agent,
            driver,
            PathBuf::new(),
        )
    }
}

#[tokio::test]
async fn an_encoder_listed_by_its_key_is_asked_without_leave_and_has_its_name_in_any_socket() {
    let (_one, one) = board();
    let (stranger_board, two) = board();
    let discovery = DiscoverySettings {
        adopt: Adopt::Listed,
        listed: vec![listed("usb:0403:6001:A9XK01", "pn532")],
        ..DiscoverySettings::default()
    };
    let tree = Tree::new();
    // Another adapter of that kind is none of those that may be asked.
    let stranger = UsbStick {
        socket: "1-5",
        serial: Some("B70000"),
        ..FTDI
    };
    tree.plug_serial("ttyUSB0", stranger, &two);
    let elsewhere = UsbStick {
        socket: "1-7",
        ..FTDI
    };
    tree.plug_serial("ttyUSB1", elsewhere, &one);
    let mut bench = Bench::new(tree, discovery);
    let (_, settings) = bench.joined().await;
    assert_eq!(settings.key.0, "usb:0403:6001:A9XK01");
    assert_eq!(settings.key_scope, KeyScope::System);
    assert_eq!(settings.name, "Concierge");
    assert_eq!(settings.port, bench.tree.node("ttyUSB1"));
    assert!(settings.named && settings.adopted && !settings.lift_between_cards);
    assert_eq!(stranger_board.stats().unwrap().bytes_in, 0);
    bench.stop().await;
}

#[tokio::test]
async fn a_listed_socket_counts_more_than_what_is_plugged_into_it() {
    let (_board, path) = board();
    let key = "socket:0000:00:14.0/1:1.0";
    let discovery = DiscoverySettings {
        listed: vec![listed(key, "pn532")],
        ..DiscoverySettings::default()
    };
    let tree = Tree::new();
    tree.plug_serial("ttyUSB0", FTDI, &path);
    let mut bench = Bench::new(tree, discovery);
    let (_, settings) = bench.joined().await;
    assert_eq!(settings.key.0, key);
    assert_eq!(settings.key_scope, KeyScope::Agent);
    assert_eq!(settings.name, "Concierge");
    bench.stop().await;
}

#[tokio::test]
async fn a_listed_key_of_another_family_is_asked_in_that_ones_way_alone_and_told() {
    let (_board, path) = board();
    let discovery = DiscoverySettings {
        listed: vec![listed("usb:0403:6001:A9XK01", "msr605")],
        ..DiscoverySettings::default()
    };
    let tree = Tree::new();
    tree.plug_serial("ttyUSB0", FTDI, &path);
    let mut bench = Bench::new(tree, discovery);
    bench.problem("msr605:").await;
    assert!(
        bench
            .problems
            .borrow()
            .iter()
            .all(|told| !told.contains("pn532:"))
    );
    bench.stop().await;
}

#[tokio::test]
async fn an_encoder_that_is_listed_later_joins_and_one_that_may_be_asked_later_is_found() {
    let (_asked, asked_at) = board();
    let (_listed, listed_at) = board();
    let tree = Tree::new();
    tree.plug_serial("ttyUSB0", FTDI, &asked_at);
    let mut bench = Bench::new(tree, DiscoverySettings::default());
    let listed = EncoderSettings {
        name: "Bar".to_owned(),
        ..EncoderSettings::unlisted(
            EncoderKey("port:bar".to_owned()),
            KeyScope::Agent,
            "pn532",
            listed_at,
        )
    };
    let change = FleetChange {
        discovery: None,
        added: vec![listed],
    };
    bench.change.send(change).await.unwrap();
    let (id, settings) = bench.joined().await;
    assert_eq!((id, settings.name.as_str()), (EncoderId(0), "Bar"));
    let discovery = DiscoverySettings {
        probe: true,
        sysfs: Sysfs {
            sys: bench.tree.sys(),
            dev: bench.tree.dev(),
        },
        ..DiscoverySettings::default()
    };
    let change = FleetChange {
        discovery: Some(discovery),
        added: Vec::new(),
    };
    bench.change.send(change).await.unwrap();
    let (id, settings) = bench.joined().await;
    assert_eq!(id, EncoderId(1));
    assert_eq!(settings.key.0, "usb:0403:6001:A9XK01");
    bench.stop().await;
}
