//! What an encoder is recognised by when it moves.

use super::*;

#[tokio::test]
async fn an_encoder_keeps_its_place_when_it_comes_back_under_another_name() {
    let (board, path) = board();
    let mut bench = Bench::new(Tree::new(), asking());
    bench.tree.plug_serial("ttyUSB0", FTDI, &path);
    let (first, settings) = bench.joined().await;
    bench.tree.unplug("tty", "ttyUSB0", FTDI);
    board.unplug().unwrap();
    assert_eq!(bench.left().await, first);
    board.plug().unwrap();
    let path = board.path().unwrap().unwrap();
    let elsewhere = UsbStick {
        socket: "1-4",
        ..FTDI
    };
    bench.tree.plug_serial("ttyUSB1", elsewhere, &path);
    let (again, settled) = bench.joined().await;
    assert_eq!(again, first);
    assert_eq!(settled.key, settings.key);
    assert_eq!(settled.port, bench.tree.node("ttyUSB1"));
    bench.stop().await;
}

#[tokio::test]
async fn adapters_without_serial_numbers_are_told_apart_by_their_sockets() {
    let (_one, one) = board();
    let (_two, two) = board();
    let tree = Tree::new();
    let other = UsbStick {
        socket: "1-5.2",
        ..CH340
    };
    tree.plug_serial("ttyUSB0", CH340, &one);
    tree.plug_serial("ttyUSB1", other, &two);
    let discovery = DiscoverySettings {
        adopt: Adopt::Listed,
        ..asking()
    };
    let mut bench = Bench::new(tree, discovery);
    let mut keys = Vec::new();
    while keys.len() < 2 {
        if let (_, EncoderEvent::Attached(attachment)) = bench.event().await {
            assert_eq!(attachment.settings.key_scope, KeyScope::Agent);
            assert!(!attachment.settings.adopted);
            keys.push(attachment.settings.key.0);
            bench
                .commands
                .insert(EncoderId(keys.len()), attachment.commands);
        }
    }
    keys.sort();
    let expected = ["socket:0000:00:14.0/2:1.0", "socket:0000:00:14.0/5.2:1.0"];
    assert_eq!(keys, expected);
    bench.stop().await;
}

#[tokio::test]
async fn two_devices_with_one_serial_number_are_reported_and_not_guessed() {
    let (_one, one) = board();
    let (_two, two) = board();
    let tree = Tree::new();
    tree.plug_serial("ttyUSB0", FTDI, &one);
    let mut bench = Bench::new(tree, asking());
    let (first, _) = bench.joined().await;
    let clone = UsbStick {
        socket: "1-6",
        ..FTDI
    };
    bench.tree.plug_serial("ttyUSB1", clone, &two);
    let (second, settings) = bench.joined().await;
    assert_ne!(first, second);
    assert_eq!(settings.key.0, "socket:0000:00:14.0/6:1.0");
    bench.problem("bear the same serial number").await;
    bench.stop().await;
}
