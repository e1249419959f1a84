//! A desk on which everything works, and each fault that may befall it: the doctor names that fault and nothing else.

use std::{any::Any, os::unix::fs::symlink, path::PathBuf, process::Command};

use futures_util::future::LocalBoxFuture;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    discovery::tree::{Tree, UsbStick},
    drivers,
    emulation::{EmulationOptions, PtyEncoder},
    encoder::EncoderSettings,
    transport::Opener,
};

const FTDI: UsbStick = UsbStick {
    id: "0403:6001",
    socket: "1-1",
    serial: Some("A9XK01"),
    manufacturer: Some("FTDI"),
};

const CP2102: UsbStick = UsbStick {
    id: "10c4:ea60",
    socket: "1-2",
    serial: None,
    manufacturer: None,
};

const ACR122U: UsbStick = UsbStick {
    id: "072f:2200",
    socket: "1-3",
    serial: None,
    manufacturer: None,
};

/// The adapter's port, in the tree and to the kernel.
const PORT: &str = "1-1:1.0/ttyUSB0";

/// A desk on which everything works: an encoder behind an adapter, and a coordinator that takes every agent.
struct Desk {
    bench: Bench,
    tree: Tree,
    board: PtyEncoder,
    system: System,
    /// The lines of `[coordinator]`.
    coordinator: String,
    /// More settings.
    more: String,
    /// Whether the settings say where the token is; else the pairing has it.
    has_token_file: bool,
    /// What must not end before the doctor has looked.
    kept: Vec<Box<dyn Any>>,
}

impl Desk {
    async fn new() -> Self {
        let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
        let tree = Tree::new();
        tree.plug_serial("ttyUSB0", FTDI, &board.path().unwrap().unwrap());
        tree.set(FTDI, "dev", "189:1");
        tree.set(FTDI, &format!("{PORT}/tty/ttyUSB0/dev"), "188:0");
        tree.set(FTDI, &format!("{PORT}/latency_timer"), "1");
        tree.set(FTDI, "power/control", "on");
        let bench = Bench::new();
        let system = System {
            udev: bench.directory.path().join("udev"),
            processes: bench.directory.path().join("processes"),
        };
        fs::create_dir(&system.udev).unwrap();
        fs::create_dir(&system.processes).unwrap();
        let server = serve(Server::Takes { date: None }).await;
        Self {
            bench,
            tree,
            board,
            system,
            coordinator: format!("url = \"http://{server}\""),
            more: String::new(),
            has_token_file: true,
            kept: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.directory.path().join(name)
    }

    /// Writes the settings, where the fault is none of theirs.
    fn settle(&self) {
        let token = if self.has_token_file {
            "token_file = \"token\""
        } else {
            ""
        };
        self.bench.put(
            "agent.toml",
            &format!(
                "state_dir = \"state\"\n[coordinator]\n{token}\n{}\n[discovery]\nprobe = true\nsys = {:?}\ndev = {:?}\n{}\n",
                self.coordinator,
                self.tree.sys(),
                self.tree.dev(),
                self.more
            ),
        );
    }

    async fn findings(&self) -> Vec<Finding> {
        let args = SettingsArgs {
            config: self.path("agent.toml"),
            overrides: Vec::new(),
        };
        examine_on(&self.system, &args, &Output::standard()).await
    }

    async fn coordinator_says(&mut self, answer: &'static str) {
        let server = serve(Server::Says(answer)).await;
        self.coordinator = format!("url = \"http://{server}\"");
    }

    /// A pairing with this coordinator, in place of the token's file.
    fn pair(&mut self, url: &str, machine: Option<&str>, pins: Option<Pins>) {
        pair(&self.bench, url, machine, pins, "");
        self.coordinator.clear();
        self.has_token_file = false;
    }

    /// Runs a program of that name, as far as the system tells.
    fn run(&mut self, name: &str) {
        let program = self.path(name);
        fs::copy("/bin/sleep", &program).unwrap();
        let child = Command::new(&program).arg("600").spawn().unwrap();
        let id = child.id().to_string();
        symlink(format!("/proc/{id}"), self.system.processes.join(&id)).unwrap();
        self.kept.push(Box::new(Ends(child)));
    }

    /// Something else answers at the adapter's port.
    fn replace_encoder(&self, port: &Path) {
        self.tree.unplug("tty", "ttyUSB0", FTDI);
        self.tree.plug_serial("ttyUSB0", FTDI, port);
    }
}

/// A process that ends with its owner.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Stage = for<'a> fn(&'a mut Desk) -> LocalBoxFuture<'a, ()>;

/// A fault, and what the doctor says of it.
struct Row {
    fault: &'static str,
    stage: Stage,
    part: &'static str,
    state: State,
    says: &'static str,
    /// What mends it, where the doctor says so besides.
    fix: &'static str,
    /// What else cannot work then.
    also: &'static [&'static str],
}

const fn broken_row(
    fault: &'static str,
    part: &'static str,
    says: &'static str,
    stage: Stage,
) -> Row {
    Row {
        fault,
        stage,
        part,
        state: State::Broken,
        says,
        fix: "",
        also: &[],
    }
}

const fn device_row(
    fault: &'static str,
    says: &'static str,
    fix: &'static str,
    stage: Stage,
) -> Row {
    Row {
        fault,
        stage,
        part: "device",
        state: State::Warning,
        says,
        fix,
        also: &[],
    }
}

const OF_SETTINGS: &[Row] = &[
    broken_row(
        "no settings",
        "configuration",
        "give its path with --config",
        |desk| Box::pin(async { fs::remove_file(desk.path("agent.toml")).unwrap() }),
    ),
    broken_row(
        "settings that are no TOML",
        "configuration",
        "line 1",
        |desk| Box::pin(async { desk.bench.put("agent.toml", "state_dir = ") }),
    ),
    broken_row("a mistyped key", "configuration", "unknown key", |desk| {
        Box::pin(async { desk.bench.put("agent.toml", "state_dri = \"state\"") })
    }),
    broken_row(
        "no encryption to another machine",
        "configuration",
        "is not encrypted",
        |desk| {
            Box::pin(async {
                desk.bench.put(
                    "agent.toml",
                    "state_dir = \"state\"\n[coordinator]\nurl = \"ws://192.0.2.1\"",
                )
            })
        },
    ),
];

const OF_THIS_PC: &[Row] = &[
    Row {
        fix: "encoder-agent pair URL",
        ..broken_row(
            "never paired",
            "pairing",
            "this agent is not paired",
            |desk| {
                Box::pin(async {
                    desk.has_token_file = false;
                    desk.coordinator.clear();
                })
            },
        )
    },
    Row {
        fix: "encoder-agent pair ws://",
        ..broken_row("a copied disk", "pairing", "this disk was copied", |desk| {
            Box::pin(async {
                let server = serve(Server::Takes { date: None }).await;
                desk.pair(&format!("ws://{server}"), Some("another"), None);
            })
        })
    },
    broken_row(
        "a file where the state directory should be",
        "this pc",
        "state_dir",
        |desk| Box::pin(async { desk.bench.put("state", "") }),
    ),
    broken_row("a damaged journal", "this pc", "journal", |desk| {
        Box::pin(async {
            fs::create_dir(desk.path("state")).unwrap();
            desk.bench
                .put("state/journal.sqlite", &"no journal at all ".repeat(20));
        })
    }),
    Row {
        also: &["websocket"],
        ..broken_row(
            "a token's file that is gone",
            "this pc",
            "token_file",
            |desk| Box::pin(async { fs::remove_file(desk.path("token")).unwrap() }),
        )
    },
    Row {
        also: &[],
        ..broken_row(
            "an authority's file that is gone",
            "this pc",
            "extra_ca_file",
            |desk| Box::pin(async { desk.coordinator.push_str("\nextra_ca_file = \"none.pem\"") }),
        )
    },
];

const OF_THE_ROAD: &[Row] = &[
    broken_row(
        "a name that nobody knows",
        "name lookup",
        "no-such-host.invalid",
        |desk| {
            Box::pin(async {
                desk.coordinator = "url = \"https://no-such-host.invalid\"".to_owned()
            })
        },
    ),
    broken_row(
        "a coordinator that does not run",
        "connection",
        "is the coordinator running there",
        |desk| {
            Box::pin(async {
                let closed = TcpListener::bind("127.0.0.1:0")
                    .await
                    .unwrap()
                    .local_addr()
                    .unwrap();
                desk.coordinator = format!("url = \"http://{closed}\"");
            })
        },
    ),
    broken_row(
        "a proxy that wants a password",
        "proxy",
        "it wants a user name and password",
        |desk| {
            Box::pin(async {
                let proxy = serve(Server::Says("HTTP/1.1 407 x\r\n\r\n")).await;
                desk.coordinator =
                    format!("url = \"https://192.0.2.1\"\nproxy = \"http://{proxy}\"");
            })
        },
    ),
    broken_row(
        "a proxy that is none",
        "proxy",
        "is it an http proxy?",
        |desk| {
            Box::pin(async {
                let proxy = serve(Server::Says("SSH-2.0-OpenSSH_9.2\r\n\r\n")).await;
                desk.coordinator =
                    format!("url = \"https://192.0.2.1\"\nproxy = \"http://{proxy}\"");
            })
        },
    ),
    broken_row(
        "a server that does not encrypt",
        "encryption",
        "no trusted encryption",
        |desk| {
            Box::pin(async {
                let plain = serve(Server::Says("HTTP/1.1 400 x\r\n\r\n")).await;
                desk.coordinator = format!("url = \"https://{plain}\"");
            })
        },
    ),
    broken_row(
        "an authority that nobody trusts",
        "encryption",
        "belongs into `extra_ca_file`",
        |desk| {
            Box::pin(async {
                let server = serve_encrypted(Server::Takes { date: None }).await;
                desk.coordinator = format!("url = \"https://{server}\"");
            })
        },
    ),
    broken_row(
        "a certificate of another name",
        "encryption",
        "its certificate is for another name",
        |desk| {
            Box::pin(async {
                let proxy = lead_to(serve_encrypted(Server::Takes { date: None }).await).await;
                let authority = authority();
                desk.coordinator = format!(
                    "url = \"https://keys.example\"\nproxy = \"http://{proxy}\"\nextra_ca_file = '{authority}'"
                );
            })
        },
    ),
    Row {
        fix: "encoder-agent pair wss://",
        ..broken_row(
            "a proxy that opens connections",
            "encryption",
            "is not the one that this agent was paired with",
            |desk| {
                Box::pin(async {
                    let server = serve_encrypted(Server::Takes { date: None }).await;
                    desk.pair(&format!("https://{server}"), None, Some(Pins::default()));
                })
            },
        )
    },
    broken_row(
        "a token that is refused",
        "websocket",
        "refused the token",
        |desk| Box::pin(desk.coordinator_says("HTTP/1.1 401 x\r\ncontent-length: 0\r\n\r\n")),
    ),
    broken_row(
        "another server at that address",
        "websocket",
        "the coordinator's base url",
        |desk| Box::pin(desk.coordinator_says("HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n")),
    ),
    broken_row(
        "a coordinator that has stopped",
        "websocket",
        "is not available now",
        |desk| Box::pin(desk.coordinator_says("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n")),
    ),
    Row {
        state: State::Warning,
        fix: "timedatectl",
        ..broken_row(
            "a clock that is wrong",
            "clock",
            "s ahead of the coordinator's",
            |desk| {
                Box::pin(async {
                    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
                    let server = serve(Server::Takes { date }).await;
                    desk.coordinator = format!("url = \"http://{server}\"");
                })
            },
        )
    },
];

const OF_ENCODERS: &[Row] = &[
    broken_row(
        "a port that is not there",
        "encoder",
        "Spa: there is no port",
        |desk| {
            Box::pin(async {
                desk.more =
                    "[[encoder]]\nname = \"Spa\"\ndriver = \"pn532\"\nport = \"/dev/no-port\""
                        .to_owned()
            })
        },
    ),
    broken_row(
        "an encoder that is not plugged in",
        "encoder",
        "no device with this key is plugged in",
        |desk| {
            Box::pin(async {
                desk.more =
                    "[[encoder]]\nname = \"Spa\"\ndriver = \"pn532\"\nkey = \"usb:0403:6001:OTHER\""
                        .to_owned()
            })
        },
    ),
    broken_row(
        "a port that somebody else has",
        "encoder",
        "is in use by",
        |desk| {
            Box::pin(async {
                let port = desk.board.path().unwrap().unwrap();
                desk.more =
                    format!("[[encoder]]\nname = \"Bar\"\ndriver = \"pn532\"\nport = {port:?}");
                let settings = EncoderSettings::unlisted(
                    encoder_protocols::wire::EncoderKey("port:test".to_owned()),
                    encoder_protocols::wire::KeyScope::Agent,
                    "pn532",
                    port,
                );
                let cancel = CancellationToken::new();
                let held = drivers::open(&Opener::system(), &settings, Clock::start(), &cancel)
                    .await
                    .unwrap();
                desk.kept.push(Box::new(held));
            })
        },
    ),
    broken_row("an encoder that is silent", "encoder", "Bar: ", |desk| {
        Box::pin(async {
            let silent = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&silent).unwrap();
            unlockpt(&silent).unwrap();
            let port = ptsname(&silent, Vec::new()).unwrap().into_string().unwrap();
            desk.replace_encoder(Path::new(&port));
            desk.kept.push(Box::new(silent));
            desk.more =
                "[[encoder]]\nname = \"Bar\"\ndriver = \"pn532\"\nkey = \"usb:0403:6001:A9XK01\""
                    .to_owned();
        })
    }),
    Row {
        state: State::Warning,
        fix: "encoder-agent devices",
        ..broken_row(
            "no encoder at all",
            "encoder",
            "no encoder answers",
            |desk| Box::pin(async { desk.tree.unplug("tty", "ttyUSB0", FTDI) }),
        )
    },
    device_row(
        "ModemManager",
        "ModemManager runs, and no rule of udev keeps it off",
        "ID_MM_DEVICE_IGNORE",
        |desk| {
            Box::pin(async {
                desk.run("ModemManager");
                fs::write(
                    desk.system.udev.join("c188:0"),
                    "S:serial/by-id/x\nE:ID_MODEL=x\n",
                )
                .unwrap();
            })
        },
    ),
    Row {
        state: State::Broken,
        ..device_row(
            "brltty",
            "brltty has taken the chip 10c4:ea60 at usb 1-2:1.0",
            "mask --now brltty",
            |desk| {
                Box::pin(async {
                    desk.run("brltty");
                    desk.tree.plug_taken(CP2102, "usbfs");
                })
            },
        )
    },
    device_row(
        "the kernel's NFC driver",
        "pn533_usb has the reader 072f:2200",
        "modprobe -r pn533_usb",
        |desk| Box::pin(async { desk.tree.plug_taken(ACR122U, "pn533_usb") }),
    ),
    device_row(
        "a latency of 16 ms",
        "keeps what the encoder says for 16 ms",
        "latency_timer",
        |desk| Box::pin(async { desk.tree.set(FTDI, &format!("{PORT}/latency_timer"), "16") }),
    ),
    device_row(
        "a device that may sleep",
        "fall asleep",
        "power/control",
        |desk| Box::pin(async { desk.tree.set(FTDI, "power/control", "auto") }),
    ),
];

#[tokio::test]
async fn a_desk_without_faults_has_no_findings_but_good_ones() {
    let mut desk = Desk::new().await;
    // Told to leave the adapter alone, ModemManager is in nobody's way; nor is a program that has another chip.
    desk.run("ModemManager");
    fs::write(desk.system.udev.join("c189:1"), "E:ID_MM_DEVICE_IGNORE=1\n").unwrap();
    desk.tree.plug_taken(ACR122U, "usbfs");
    desk.settle();
    let findings = desk.findings().await;
    assert_eq!(exit(&findings), Exit::Done, "{findings:#?}");
    let parts: Vec<_> = findings
        .iter()
        .map(|finding| finding.part.as_str())
        .collect();
    assert!(
        parts.contains(&"encoder") && parts.contains(&"websocket"),
        "{parts:?}"
    );
}

#[tokio::test]
async fn each_fault_is_named_and_no_other() {
    let mut count = 0;
    let rows = [OF_SETTINGS, OF_THIS_PC, OF_THE_ROAD, OF_ENCODERS];
    for row in rows.into_iter().flatten() {
        let mut desk = Desk::new().await;
        if OF_SETTINGS.iter().any(|other| std::ptr::eq(other, row)) {
            desk.settle();
            (row.stage)(&mut desk).await;
        } else {
            (row.stage)(&mut desk).await;
            desk.settle();
        }
        let findings = desk.findings().await;
        let fault = row.fault;
        let mut culprits = findings
            .iter()
            .filter(|finding| finding.state >= State::Warning);
        let culprit = culprits
            .next()
            .unwrap_or_else(|| panic!("{fault}: {findings:#?}"));
        assert_eq!(
            (culprit.part.as_str(), culprit.state),
            (row.part, row.state),
            "{fault}: {culprit:?}"
        );
        let said = format!(
            "{} {}",
            culprit.what,
            culprit.fix.as_deref().unwrap_or_default()
        );
        assert!(
            said.contains(row.says) && said.contains(row.fix),
            "{fault}: {said}"
        );
        assert!(!said.contains("agent-token"), "{fault}: {said}");
        let also: Vec<_> = culprits.map(|finding| finding.part.as_str()).collect();
        assert_eq!(also, row.also, "{fault}: {findings:#?}");
        count += 1;
    }
    assert!(count >= 20, "{count} faults");
}
