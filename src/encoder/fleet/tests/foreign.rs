//! Devices that are nobody's encoders, or may be.

use super::*;

/// A pseudo terminal in the place of a foreign device.
struct Foreign {
    device: std::fs::File,
    path: PathBuf,
}

fn foreign() -> Foreign {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    rustix::fs::fcntl_setfl(&master, rustix::fs::OFlags::NONBLOCK).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    Foreign {
        device: std::fs::File::from(master),
        path: PathBuf::from(path.into_string().unwrap()),
    }
}

/// Serial and HID devices of all kinds, and whatever happens to them.
struct Strangers {
    devices: Vec<Foreign>,
    watch: rustix::fd::OwnedFd,
}

impl Strangers {
    fn plug_into(tree: &Tree) -> Self {
        let serial = [
            "067b:23a3",
            "2341:0043",
            "0403:6015",
            "10c4:8a2a",
            "1a86:55d4",
            "0451:bef3",
            "2e8a:000a",
            "1d50:6018",
            "239a:8022",
            "9710:7840",
        ];
        // A MagTek insert reader bears the id of an encoder.
        let hid = [
            "046d:c31c",
            "046d:c077",
            "0801:0003",
            "0801:0002",
            "05ac:024f",
            "0c27:3bfa",
            "1050:0407",
            "08ff:0009",
            "0764:0501",
            "051d:0002",
        ];
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let mut devices = Vec::new();
        for (index, id) in serial.into_iter().chain(hid).enumerate() {
            let stick = UsbStick {
                id,
                socket: Box::leak(format!("2-{}", index + 1).into_boxed_str()),
                serial: Some("S12345"),
                manufacturer: Some("Stranger"),
            };
            let device = foreign();
            if index < serial.len() {
                tree.plug_serial(&format!("ttyACM{index}"), stick, &device.path);
            } else {
                tree.plug_hid(&format!("hidraw{index}"), stick, MAGTEK, &device.path);
            }
            inotify::add_watch(&watch, &device.path, inotify::WatchFlags::OPEN).unwrap();
            devices.push(device);
        }
        Self { devices, watch }
    }

    fn assert_untouched(mut self) {
        assert_eq!(self.devices.len(), 20);
        for device in &mut self.devices {
            let mut bytes = Vec::new();
            // EIO: nobody has the other end open.
            let _ = device.device.read_to_end(&mut bytes);
            assert_eq!(bytes, [0_u8; 0], "{}", device.path.display());
        }
        let mut opened = [0; 64];
        let looked = rustix::io::read(&self.watch, &mut opened);
        assert_eq!(looked, Err(rustix::io::Errno::AGAIN), "a device was opened");
    }
}

/// A vendor's collection with reports of 337 bytes in and 24 feature: what MagTek's readers show.
const MAGTEK: &[u8] = &[
    0x06, 0x00, 0xFF, 0x09, 0x01, 0xA1, 0x01, 0x75, 0x08, 0x96, 0x51, 0x01, 0x81, 0x02, 0x95, 0x18,
    0xB1, 0x02, 0xC0,
];

#[tokio::test]
async fn foreign_devices_get_not_one_byte_and_are_not_even_opened() {
    let (_board, path) = board();
    let tree = Tree::new();
    let strangers = Strangers::plug_into(&tree);
    let mut bench = Bench::new(tree, asking());
    // Everything was looked at, and looked at again because of this one.
    bench.tree.plug_serial("ttyUSB0", FTDI, &path);
    bench.joined().await;
    bench.stop().await;
    strangers.assert_untouched();
}

#[tokio::test]
async fn a_bridge_chip_is_left_alone_unless_asking_is_allowed() {
    let device = foreign();
    let tree = Tree::new();
    tree.plug_serial("ttyUSB0", FTDI, &device.path);
    let peers = Peers::default();
    let mut bench = Bench::with(tree, DiscoverySettings::default(), FAMILIES, peers.opener());
    bench
        .tree
        .plug_hid("hidraw0", SWIPER, SIXTY_FOUR, Path::new("/dev/null"));
    bench.joined().await;
    bench.stop().await;
    assert_eq!(*peers.opened.lock().unwrap(), ["hidraw0"]);
}
