use super::*;
use crate::discovery::tree::{SIXTY_FOUR, Tree, UsbStick};

const ADAPTER: UsbStick = UsbStick {
    id: "0403:6001",
    socket: "1-2.3",
    serial: Some("A9XK01"),
    manufacturer: Some("FTDI"),
};

const SWIPER: UsbStick = UsbStick {
    id: "0801:0003",
    socket: "1-4",
    serial: None,
    manufacturer: None,
};

#[test]
fn a_usb_adapter_is_described_without_being_opened() {
    let tree = Tree::new();
    tree.console("tty1");
    tree.solder_serial("ttyS0", "4");
    tree.solder_serial("ttyS1", "0");
    tree.plug_serial("ttyUSB0", ADAPTER, Path::new("/dev/null"));
    let found = sysfs(&tree).list().unwrap();
    let ports: Vec<_> = found
        .iter()
        .map(|candidate| candidate.port.clone())
        .collect();
    assert_eq!(ports, [tree.node("ttyS0"), tree.node("ttyUSB0")]);
    let [board, adapter] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(board.usb, None);
    assert_eq!(board.socket, None);
    let expected = UsbFacts {
        id: UsbId {
            vendor: 0x0403,
            product: 0x6001,
        },
        serial: Some("A9XK01".to_owned()),
        manufacturer: Some("FTDI".to_owned()),
        product: None,
        interface: 0,
    };
    assert_eq!(adapter.usb.as_ref(), Some(&expected));
    assert_eq!(adapter.kind, PortKind::Serial);
    assert_eq!(adapter.socket.as_deref(), Some("0000:00:14.0/2.3:1.0"));
    assert_eq!(adapter.access, Access::Permitted);
}

#[test]
fn a_hid_device_is_described_with_its_reports() {
    let tree = Tree::new();
    tree.plug_hid("hidraw3", SWIPER, SIXTY_FOUR, Path::new("/dev/null"));
    let found = sysfs(&tree).list().unwrap();
    let [swiper] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(swiper.kind, PortKind::Hid);
    let reports = swiper.reports.unwrap();
    assert!(reports.is_vendor_defined());
    assert_eq!((reports.input_bytes, reports.feature_bytes), (64, 64));
    assert_eq!(swiper.socket.as_deref(), Some("0000:00:14.0/4:1.0"));
}

#[test]
fn plugging_in_again_is_another_instance_in_the_same_socket() {
    let tree = Tree::new();
    let mut instances = Vec::new();
    for _ in 0..3 {
        tree.plug_serial("ttyUSB0", ADAPTER, Path::new("/dev/null"));
        let found = sysfs(&tree).list().unwrap().remove(0);
        assert_eq!(found.socket.as_deref(), Some("0000:00:14.0/2.3:1.0"));
        instances.push(found.instance);
        tree.unplug("tty", "ttyUSB0", ADAPTER);
        assert_eq!(sysfs(&tree).list().unwrap(), []);
    }
    instances.dedup();
    assert_eq!(instances.len(), 3, "{instances:?}");
}

#[test]
fn a_node_that_is_not_there_yet_and_a_tree_that_is_none_are_told() {
    let tree = Tree::new();
    tree.plug_serial("ttyUSB0", ADAPTER, Path::new("/dev/null"));
    fs::remove_file(tree.node("ttyUSB0")).unwrap();
    assert_eq!(sysfs(&tree).list().unwrap()[0].access, Access::Missing);
    let nowhere = Sysfs {
        sys: PathBuf::from("/no/such/tree"),
        ..Sysfs::default()
    };
    assert!(nowhere.list().is_err());
}

#[test]
fn hid_ids_of_other_buses_are_passed_over() {
    let swiper = UsbId {
        vendor: 0x0801,
        product: 3,
    };
    assert_eq!(hid_id("0003:00000801:00000003"), Some(swiper));
    for text in ["0005:00000801:00000003", "0003:10801:3", "0003:801", "x"] {
        assert_eq!(hid_id(text), None, "{text}");
    }
}

fn sysfs(tree: &Tree) -> Sysfs {
    Sysfs {
        sys: tree.sys(),
        dev: tree.dev(),
    }
}
