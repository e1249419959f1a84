use std::{
    io::Read,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use encoder_protocols::{
    card::{CardContents, CardError, CardImage, ReadPlan, Uid, WriteError, WriteRules},
    msr605::emulator::Pace,
    wire::{Abilities, EncoderKey, KeyScope},
};
use rustix::fs::inotify;

use super::*;
use crate::{
    discovery::{
        Adopt, Sysfs,
        tree::{SIXTY_FOUR, Tree, UsbStick},
    },
    drivers::{Claim, CommandCost, DRIVERS, Encoder, EncoderError, HidSign, Probing, Sign, UsbId},
    emulation::{EmulationOptions, PtyEncoder, PtyMsr605},
    encoder::{EncoderIdentity, Poll, Signal},
    transport::{HidPeer, HidPort, Port},
};

/// How long a test waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(20);

const FTDI: UsbStick = UsbStick {
    id: "0403:6001",
    socket: "1-1",
    serial: Some("A9XK01"),
    manufacturer: Some("FTDI"),
};

/// A bridge chip without a serial number.
const CH340: UsbStick = UsbStick {
    id: "1a86:7523",
    socket: "1-2",
    serial: None,
    manufacturer: None,
};

const SWIPER: UsbStick = UsbStick {
    id: "0801:0003",
    socket: "1-3",
    serial: None,
    manufacturer: None,
};

/// A running fleet on a device tree, and what it reports.
struct Bench {
    tree: Tree,
    events: mpsc::Receiver<(EncoderId, EncoderEvent)>,
    problems: watch::Receiver<Vec<String>>,
    change: mpsc::Sender<FleetChange>,
    leave: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    /// What the encoders found are asked.
    commands: BTreeMap<EncoderId, mpsc::Sender<EncoderCommand>>,
}

impl Bench {
    fn new(tree: Tree, discovery: DiscoverySettings) -> Self {
        Self::with(tree, discovery, DRIVERS, Opener::system())
    }

    fn with(
        tree: Tree,
        mut discovery: DiscoverySettings,
        drivers: &'static [&'static dyn Driver],
        opener: Opener,
    ) -> Self {
        discovery.sysfs = Sysfs {
            sys: tree.sys(),
            dev: tree.dev(),
        };
        let (reported, events) = mpsc::channel(64);
        let (problems, told) = watch::channel(Vec::new());
        let (change, changes) = mpsc::channel(1);
        let leave = CancellationToken::new();
        let fleet = Fleet::new(FleetParts {
            configured: Vec::new(),
            keys: Vec::new(),
            drivers,
            lister: Lister::system(&discovery),
            discovery,
            opener,
            clock: Clock::start(),
            hostname: "desk".to_owned(),
            events: reported,
            changes,
            problems,
        });
        Self {
            tree,
            events,
            problems: told,
            change,
            running: tokio::spawn(fleet.run(leave.clone())),
            leave,
            commands: BTreeMap::new(),
        }
    }

    async fn event(&mut self) -> (EncoderId, EncoderEvent) {
        let event = tokio::time::timeout(PATIENCE, self.events.recv());
        event.await.unwrap().unwrap()
    }

    /// Waits until an encoder joins, and works.
    async fn joined(&mut self) -> (EncoderId, EncoderSettings) {
        let (id, event) = self.event().await;
        let EncoderEvent::Attached(attachment) = event else {
            panic!("{event:?}");
        };
        self.commands.insert(id, attachment.commands);
        let ready = self.event().await;
        assert!(
            matches!(ready, (other, EncoderEvent::Ready(_)) if other == id),
            "{ready:?}"
        );
        (id, attachment.settings)
    }

    /// Waits until an encoder has left; it may say before that its port is gone.
    async fn left(&mut self) -> EncoderId {
        loop {
            match self.event().await {
                (id, EncoderEvent::Detached) => {
                    self.commands.remove(&id);
                    return id;
                }
                (_, EncoderEvent::Fault { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn problem(&mut self, words: &str) {
        let told = self
            .problems
            .wait_for(|problems| problems.iter().any(|problem| problem.contains(words)));
        tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
    }

    async fn stop(self) -> Tree {
        self.leave.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running);
        ended.await.unwrap().unwrap();
        self.tree
    }
}

fn asking() -> DiscoverySettings {
    DiscoverySettings {
        probe: true,
        ..DiscoverySettings::default()
    }
}

fn board() -> (PtyEncoder, PathBuf) {
    let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
    let path = board.path().unwrap().unwrap();
    (board, path)
}

#[tokio::test]
async fn an_encoder_behind_a_bridge_chip_is_found_where_asking_is_allowed() {
    let (_board, path) = board();
    let tree = Tree::new();
    tree.plug_serial("ttyUSB0", FTDI, &path);
    let mut bench = Bench::new(tree, asking());
    let (id, settings) = bench.joined().await;
    assert_eq!(id, EncoderId(0));
    assert_eq!(settings.key.0, "usb:0403:6001:A9XK01");
    assert_eq!(settings.key_scope, KeyScope::System);
    assert_eq!(settings.name, "desk – PN532");
    assert_eq!(settings.port, bench.tree.node("ttyUSB0"));
    assert!(settings.adopted && !settings.named);
    bench.stop().await;
}

#[tokio::test]
async fn each_family_asks_in_its_own_way_and_at_its_own_speed_until_one_is_answered() {
    let encoder = PtyMsr605::start(None, Pace::INSTANT).unwrap();
    let path = encoder.path().unwrap().unwrap();
    let tree = Tree::new();
    let pl2303 = UsbStick {
        id: "067b:2303",
        ..CH340
    };
    tree.plug_serial("ttyUSB0", pl2303, &path);
    let mut bench = Bench::new(tree, asking());
    let (_, settings) = bench.joined().await;
    assert_eq!(settings.driver, "msr605");
    assert_eq!(*bench.problems.borrow(), Vec::<String>::new());
    bench.stop().await;
}

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

#[tokio::test]
async fn a_hid_encoder_that_is_told_by_its_reports_needs_no_leave() {
    let peers = Peers::default();
    let mut bench = Bench::with(
        Tree::new(),
        DiscoverySettings::default(),
        FAMILIES,
        peers.opener(),
    );
    bench
        .tree
        .plug_hid("hidraw0", SWIPER, SIXTY_FOUR, Path::new("/dev/null"));
    let (id, settings) = bench.joined().await;
    assert_eq!(settings.key.0, "socket:0000:00:14.0/3:1.0");
    assert_eq!(settings.name, "desk – Swiper");
    bench.tree.unplug("hidraw", "hidraw0", SWIPER);
    peers.unplug();
    assert_eq!(bench.left().await, id);
    bench
        .tree
        .plug_hid("hidraw4", SWIPER, SIXTY_FOUR, Path::new("/dev/null"));
    assert_eq!(bench.joined().await.0, id);
    bench.stop().await;
}

// In virtual time: it is told only when udev had its time.
#[tokio::test(start_paused = true)]
async fn an_encoder_that_may_not_be_opened_is_a_problem_that_goes_with_it() {
    let opener = Opener::new(|settings| {
        Box::pin(async move {
            Err(crate::transport::PortError::NotPermitted {
                path: settings.path,
                group: Some("encoder-agent".to_owned()),
            })
        })
    });
    let tree = Tree::new();
    tree.plug_hid("hidraw0", SWIPER, SIXTY_FOUR, Path::new("/dev/null"));
    let mut bench = Bench::with(tree, DiscoverySettings::default(), FAMILIES, opener);
    bench.problem("usermod -aG encoder-agent").await;
    bench.tree.unplug("hidraw", "hidraw0", SWIPER);
    let none = bench.problems.wait_for(Vec::is_empty);
    tokio::time::timeout(PATIENCE, none).await.unwrap().unwrap();
    bench.stop().await;
}

#[tokio::test]
async fn a_device_that_vanishes_while_it_is_opened_is_forgotten_and_found_again() {
    let peers = Peers::default();
    peers.fail.store(1, std::sync::atomic::Ordering::SeqCst);
    let tree = Tree::new();
    tree.plug_hid("hidraw0", SWIPER, SIXTY_FOUR, Path::new("/dev/null"));
    let mut bench = Bench::with(tree, DiscoverySettings::default(), FAMILIES, peers.opener());
    bench.problem("is gone").await;
    bench.tree.unplug("hidraw", "hidraw0", SWIPER);
    bench
        .tree
        .plug_hid("hidraw0", SWIPER, SIXTY_FOUR, Path::new("/dev/null"));
    bench.joined().await;
    assert_eq!(*bench.problems.borrow(), Vec::<String>::new());
    bench.stop().await;
}

/// What this process holds: memory in KiB, threads and open files.
fn held() -> [usize; 3] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.unwrap().trim().trim_end_matches(" kB");
    let count = |directory: &str| std::fs::read_dir(directory).unwrap().count();
    [
        resident.parse().unwrap(),
        count("/proc/self/task"),
        count("/proc/self/fd"),
    ]
}

/// A few cycles as a test among others; with `ENDURANCE_CYCLES=1000` and alone
/// (`cargo test --lib plugging_in_and_out -- --nocapture`) also what they leave behind is judged.
#[tokio::test]
async fn plugging_in_and_out_leaves_nothing_behind() {
    const WARM_UP: usize = 5;
    let wanted = std::env::var("ENDURANCE_CYCLES").ok();
    let cycles = wanted.as_ref().map_or(0, |cycles| cycles.parse().unwrap());
    let peers = Peers::default();
    let mut bench = Bench::with(
        Tree::new(),
        DiscoverySettings::default(),
        FAMILIES,
        peers.opener(),
    );
    let mut begin = held();
    for cycle in 0..WARM_UP + cycles {
        if cycle == WARM_UP {
            begin = held();
        }
        bench
            .tree
            .plug_hid("hidraw0", SWIPER, SIXTY_FOUR, Path::new("/dev/null"));
        assert_eq!(bench.joined().await.0, EncoderId(0));
        bench.tree.unplug("hidraw", "hidraw0", SWIPER);
        peers.unplug();
        bench.left().await;
    }
    assert_eq!(peers.opened.lock().unwrap().len(), WARM_UP + cycles);
    if wanted.is_some() {
        let end = held();
        println!("KiB, threads, files: {begin:?}, after {cycles} cycles {end:?}");
        let [memory, threads, files] =
            [0, 1, 2].map(|which| end[which] as f64 / begin[which] as f64);
        assert!(
            memory < 1.2 && threads <= 1.0 && files <= 1.0,
            "{begin:?} {end:?}"
        );
    }
    bench.stop().await;
}

const FAMILIES: &[&dyn Driver] = &[DRIVERS[0], &Swiper];

/// The far ends of the HID devices that were opened.
#[derive(Clone, Default)]
struct Peers {
    opened: Arc<Mutex<Vec<String>>>,
    ends: Arc<Mutex<Vec<HidPeer>>>,
    /// How many devices vanish while they are opened.
    fail: Arc<std::sync::atomic::AtomicU32>,
}

impl Peers {
    fn opener(&self) -> Opener {
        let peers = self.clone();
        Opener::new(move |settings| {
            use std::sync::atomic::Ordering::SeqCst;

            let name = settings
                .path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            peers.opened.lock().unwrap().push(name);
            let gone = peers
                .fail
                .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                .is_ok();
            let opened = if gone {
                Err(crate::transport::PortError::Gone {
                    path: settings.path.clone(),
                })
            } else {
                let (port, peer) = HidPort::memory(&settings.path);
                peers.ends.lock().unwrap().push(peer);
                Ok(Port::Hid(port))
            };
            Box::pin(std::future::ready(opened))
        })
    }

    fn unplug(&self) {
        self.ends.lock().unwrap().clear();
    }
}

/// A family of HID devices that are there once they are open.
struct Swiper;

const CLAIMS: &[Claim] = &[Claim {
    usb: UsbId {
        vendor: 0x0801,
        product: 0x0003,
    },
    sign: Sign::Hid(HidSign {
        report_bytes: 64,
        strangers: &[],
    }),
}];

impl Driver for Swiper {
    fn name(&self) -> &'static str {
        "swiper"
    }

    fn claims(&self) -> &'static [Claim] {
        CLAIMS
    }

    fn probing(&self) -> Probing {
        Probing::Intrusive
    }

    fn baud(&self) -> u32 {
        9_600
    }

    fn command_cost(&self) -> CommandCost {
        CommandCost {
            framing: 0,
            pause: Duration::ZERO,
        }
    }

    fn start<'a>(
        &'a self,
        port: Port,
        _clock: Clock,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Box<dyn Encoder>, EncoderError>> {
        let encoder: Box<dyn Encoder> = Box::new(OpenSwiper(port));
        Box::pin(std::future::ready(Ok(encoder)))
    }
}

struct OpenSwiper(Port);

impl Encoder for OpenSwiper {
    fn identity(&self) -> EncoderIdentity {
        EncoderIdentity {
            model: Some("Swiper".to_owned()),
            serial: None,
            firmware: None,
            abilities: Abilities::default(),
        }
    }

    fn poll<'a>(
        &'a mut self,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Poll, EncoderError>> {
        Box::pin(std::future::ready(Ok(Poll::Empty)))
    }

    fn rest(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn prepare<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _image: &'a CardImage,
        _rules: WriteRules,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        unreachable!("no card is ever seen")
    }

    fn write<'a>(
        &'a mut self,
        _verifying: &'a mut (dyn FnMut() + Send),
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        unreachable!("no card is ever seen")
    }

    fn verify<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _image: &'a CardImage,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        unreachable!("no card is ever seen")
    }

    fn read<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _plan: &'a ReadPlan,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<CardContents, CardError>> {
        unreachable!("no card is ever seen")
    }

    fn signal(&mut self, _signal: Signal) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn health(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn lost(&mut self) -> BoxFuture<'_, EncoderError> {
        Box::pin(async move { EncoderError::Port(self.0.closed().await) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
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
