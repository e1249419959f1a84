//! An emulated PN532 behind a pseudo terminal.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use encoder_agent::clock::Clock;
use encoder_protocols::{
    card::{
        Uid,
        virtual_card::{CardKind, VirtualCard},
    },
    pn532::emulator::{Emulator, Fault, Pace},
};
use rustix::{fs::OFlags, pty, termios};
use tokio::{io::unix::AsyncFd, sync::Notify, task::JoinHandle};

/// The largest piece that is read at once, in bytes.
const PIECE: usize = 512;

/// The device, its line and what lies on it. Dropping it unplugs it.
pub(crate) struct Bench {
    device: Arc<Device>,
    path: PathBuf,
    pump: JoinHandle<()>,
    /// Kept open so that the line stays up while the agent is away.
    line: Option<File>,
}

struct Device {
    emulator: Mutex<Emulator>,
    clock: Clock,
    moved: Notify,
}

impl Bench {
    /// Plugs a device in. Its line is pumped on the test's own runtime.
    pub(crate) fn plug_in(pace: Pace) -> Self {
        let flags = pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY;
        let master = pty::openpt(flags).unwrap();
        pty::grantpt(&master).unwrap();
        pty::unlockpt(&master).unwrap();
        let path = PathBuf::from(
            pty::ptsname(&master, Vec::new())
                .unwrap()
                .into_string()
                .unwrap(),
        );
        let line = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        make_raw(&line);
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        let device = Arc::new(Device {
            emulator: Mutex::new(Emulator::new(pace)),
            clock: Clock::start(),
            moved: Notify::new(),
        });
        let pump = tokio::spawn(pump(master, Arc::clone(&device)));
        Self {
            device,
            path,
            pump,
            line: Some(line),
        }
    }

    /// The device node for the settings.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a card down; its name is its UID in hex.
    pub(crate) fn place(&self, kind: CardKind, uid: &str) {
        let uid: Uid = uid.parse().unwrap();
        self.put_back(VirtualCard::new(kind, Some(uid)).unwrap());
    }

    /// Puts a card down that was there before.
    pub(crate) fn put_back(&self, card: VirtualCard) {
        let name = card.uid().to_string();
        let now = self.device.clock.now();
        self.emulator(|emulator| emulator.place(now, &name, card));
    }

    /// Lifts a card.
    pub(crate) fn lift(&self, uid: &str) -> VirtualCard {
        let now = self.device.clock.now();
        self.emulator(|emulator| emulator.remove(now, uid)).unwrap()
    }

    /// The bytes of a block of a Classic card that lies there.
    pub(crate) fn block(&self, uid: &str, block: usize) -> [u8; 16] {
        self.emulator(|emulator| {
            let memory = emulator.card_mut(uid).unwrap().memory();
            memory[block * 16..block * 16 + 16].try_into().unwrap()
        })
    }

    /// How many writes a card that lies there has carried out.
    pub(crate) fn writes(&self, uid: &str) -> u64 {
        self.emulator(|emulator| emulator.card_mut(uid).unwrap().writes())
    }

    /// Lets something go wrong.
    pub(crate) fn inject(&self, fault: Fault) {
        self.emulator(|emulator| emulator.inject(fault));
    }

    /// Takes the device away from its line for good.
    pub(crate) fn unplug(&mut self) {
        self.pump.abort();
        self.line = None;
    }

    fn emulator<T>(&self, act: impl FnOnce(&mut Emulator) -> T) -> T {
        let result = act(&mut self.device.emulator.lock().unwrap());
        self.device.moved.notify_one();
        result
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

fn make_raw(line: &File) {
    let mut mode = termios::tcgetattr(line).unwrap();
    mode.make_raw();
    termios::tcsetattr(line, termios::OptionalActions::Now, &mode).unwrap();
}

async fn pump(master: OwnedFd, device: Arc<Device>) {
    #[allow(
        deprecated,
        reason = "its safe successor is none; a file keeps its descriptor for as long as it lives"
    )]
    let line = AsyncFd::new(File::from(master)).unwrap();
    loop {
        let due = device.emulator.lock().unwrap().poll_timeout();
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(device.clock.instant(due)).await,
                None => std::future::pending().await,
            }
        };
        let mut piece = [0; PIECE];
        let read = line.async_io(tokio::io::Interest::READABLE, |mut line: &File| {
            line.read(&mut piece)
        });
        let heard = tokio::select! {
            () = timer => 0,
            () = device.moved.notified() => 0,
            heard = read => match heard {
                Ok(heard) => heard,
                Err(_) => return,
            },
        };
        let mut answer = Vec::new();
        {
            let mut emulator = device.emulator.lock().unwrap();
            let now = device.clock.now();
            emulator.handle_input(now, &piece[..heard]);
            while let Some(bytes) = emulator.poll_transmit(now) {
                answer.extend(bytes);
            }
        }
        if write_all(&line, &answer).await.is_err() {
            return;
        }
    }
}

async fn write_all(line: &AsyncFd<File>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = line
            .async_io(tokio::io::Interest::WRITABLE, |mut line: &File| {
                line.write(bytes)
            })
            .await?;
        bytes = &bytes[written..];
    }
    Ok(())
}
