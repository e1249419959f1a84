mod foreign;
mod listed;
mod places;
mod swiper;

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
use swiper::Swiper;

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
            pulse: Pulse::default(),
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
