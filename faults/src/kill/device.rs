//! The encoder: an emulated PN532 behind a pseudo terminal, every byte of which passes here, so that the agent can be
//! killed at any of them.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::PathBuf,
    sync::mpsc::{self, Receiver, TryRecvError},
    thread::JoinHandle,
    time::Duration,
};

use encoder_agent::clock::Clock;
use encoder_protocols::{
    card::{
        Uid,
        virtual_card::{CardKind, VirtualCard},
    },
    moment::Moment,
    pn532::emulator::{Emulator, Pace},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, fcntl_setfl, open},
    io::ioctl_fionread,
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, QueueSelector, ioctl_tiocnxcl, tcflush, tcgetattr, tcsetattr},
};

use super::{HarnessError, pause};

/// More than the longest frame.
const READ_AT_ONCE: usize = 4096;

/// How long the agent may take to take bytes that were handed to it, in pauses.
const TAKING: u32 = 500;

/// The bytes that have gone over the line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Exchanged {
    pub(super) to_device: u32,
    pub(super) to_agent: u32,
}

/// Kills the agent once so many bytes have passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trap {
    pub(super) at: Exchanged,
    pub(super) victim: Pid,
}

/// Every byte of every card, by the card's UID.
pub(super) type Memories = BTreeMap<Uid, Vec<u8>>;

type Call = Box<dyn FnOnce(&mut Line) + Send>;

/// The encoder with its cards, on a thread of its own.
pub(super) struct Device {
    calls: mpsc::Sender<Call>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
    pub(super) port: PathBuf,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Device {
    /// An encoder with nothing on it, and new MIFARE Classic 1K cards with these UIDs beside it.
    pub(super) fn start(cards: &[Uid]) -> Result<Self, HarnessError> {
        let (line, port) = Line::open(cards).map_err(HarnessError::system("a pseudo terminal"))?;
        let (wake, woken) = UnixStream::pair().map_err(HarnessError::system("a socket pair"))?;
        for end in [&wake, &woken] {
            end.set_nonblocking(true)
                .map_err(HarnessError::system("a socket pair"))?;
        }
        let (calls, received) = mpsc::channel();
        let thread = std::thread::spawn(move || line.run(&received, &woken));
        Ok(Self {
            calls,
            wake,
            thread: Some(thread),
            port,
        })
    }

    /// From now on bytes count.
    pub(super) fn arm(&self) {
        self.ask(|line| line.exchanged = Exchanged::default());
    }

    pub(super) fn set(&self, trap: Trap) {
        self.ask(move |line| line.trap = Some(trap));
    }

    pub(super) fn exchanged(&self) -> Exchanged {
        self.ask(|line| line.exchanged)
    }

    /// How many looks for cards the encoder was asked for and has answered.
    pub(super) fn answers(&self) -> u64 {
        self.ask(|line| line.answers)
    }

    /// Forgets what was on its way to or from a dead agent, and lets another one open the port.
    pub(super) fn reconnect(&self) {
        self.ask(Line::reconnect);
    }

    /// Takes the supply away and gives it back.
    pub(super) fn power_cycle(&self) {
        self.ask(|line| line.emulator.power_cycle());
    }

    /// Lets this card, and no other, lie on the encoder.
    pub(super) fn lay(&self, card: Option<Uid>) {
        self.ask(move |line| line.lay(card));
    }

    pub(super) fn memories(&self) -> Memories {
        self.ask(|line| line.memories())
    }

    /// How often blocks of any card were written.
    pub(super) fn writes(&self) -> u64 {
        self.ask(|line| line.cards().map(VirtualCard::writes).sum())
    }

    #[allow(
        clippy::expect_used,
        reason = "the thread ends only when this handle is dropped"
    )]
    fn ask<R: Send + 'static>(&self, call: impl FnOnce(&mut Line) -> R + Send + 'static) -> R {
        let (answer, answered) = mpsc::sync_channel(1);
        let call = Box::new(move |line: &mut Line| {
            // A caller that has gone away needs no answer.
            let _ = answer.send(call(line));
        });
        self.calls.send(call).expect("the thread waits for calls");
        // A full buffer wakes the thread just as well.
        let _ = (&self.wake).write(&[0]);
        answered.recv().expect("the thread answers every call")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel();
        drop(std::mem::replace(&mut self.calls, closed));
        let _ = (&self.wake).write(&[0]);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// The pseudo terminal, the chip, and the cards on and beside it.
struct Line {
    clock: Clock,
    emulator: Emulator,
    shelf: BTreeMap<Uid, VirtualCard>,
    master: OwnedFd,
    /// Held open so that the agent may close and open the port as often as it likes.
    slave: OwnedFd,
    exchanged: Exchanged,
    answers: u64,
    trap: Option<Trap>,
    /// The agent was killed: what is still on its way is lost.
    cut_off: bool,
}

impl Line {
    fn open(cards: &[Uid]) -> io::Result<(Self, PathBuf)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let port = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = open(&port, flags, Mode::empty())?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let card = |uid: &Uid| {
            let card = VirtualCard::new(CardKind::Classic1k, Some(*uid));
            Ok((*uid, card.map_err(io::Error::other)?))
        };
        let line = Self {
            clock: Clock::start(),
            emulator: Emulator::new(Pace::INSTANT),
            shelf: cards.iter().map(card).collect::<io::Result<_>>()?,
            master,
            slave,
            exchanged: Exchanged::default(),
            answers: 0,
            trap: None,
            cut_off: false,
        };
        Ok((line, port))
    }

    fn run(mut self, calls: &Receiver<Call>, woken: &UnixStream) {
        loop {
            loop {
                match calls.try_recv() {
                    Ok(call) => call(&mut self),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.take_input();
            self.give_output();
            self.wait(woken);
        }
    }

    fn take_input(&mut self) {
        let mut buffer = [0; READ_AT_ONCE];
        let count = rustix::io::read(&self.master, &mut buffer).unwrap_or(0);
        for byte in &buffer[..count] {
            if self.cut_off {
                return;
            }
            self.emulator.handle_input(self.clock.now(), &[*byte]);
            self.exchanged.to_device += 1;
            if self.is_trapped(|at| at.to_device, self.exchanged.to_device) {
                self.kill();
            }
            self.give_output();
        }
    }

    fn give_output(&mut self) {
        let now = self.clock.now();
        self.emulator.handle_timeout(now);
        while let Some(bytes) = self.emulator.poll_transmit(now) {
            self.answers += 1;
            let mut bytes = bytes.as_slice();
            while !self.cut_off && !bytes.is_empty() {
                let left = self.left_to_agent().unwrap_or(bytes.len());
                let (now, later) = bytes.split_at(left.clamp(1, bytes.len()));
                self.hand_over(now);
                bytes = later;
            }
        }
    }

    /// How many bytes the agent still gets before it is killed.
    fn left_to_agent(&self) -> Option<usize> {
        let at = self
            .trap?
            .at
            .to_agent
            .checked_sub(self.exchanged.to_agent)?;
        usize::try_from(at).ok().filter(|left| *left > 0)
    }

    fn hand_over(&mut self, bytes: &[u8]) {
        // There is always room: no answer is as long as the terminal's buffer.
        let _ = rustix::io::write(&self.master, bytes);
        self.exchanged.to_agent += u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if self.is_trapped(|at| at.to_agent, self.exchanged.to_agent) {
            for _ in 0..TAKING {
                if ioctl_fionread(&self.slave).is_ok_and(|waiting| waiting == 0) {
                    break;
                }
                pause(Duration::from_micros(200));
            }
            self.kill();
        }
    }

    fn is_trapped(&self, of: impl Fn(&Exchanged) -> u32, passed: u32) -> bool {
        self.trap.is_some_and(|trap| of(&trap.at) == passed)
    }

    fn kill(&mut self) {
        if let Some(trap) = self.trap.take() {
            // One that has just died by itself is noticed by whoever waits for it.
            let _ = kill_process(trap.victim, Signal::KILL);
            self.cut_off = true;
        }
    }

    fn reconnect(&mut self) {
        let mut buffer = [0; READ_AT_ONCE];
        while rustix::io::read(&self.master, &mut buffer).is_ok_and(|count| count > 0) {}
        // The killed agent's claim outlives it while our end is open; root passes it anyway.
        let _ = ioctl_tiocnxcl(&self.slave);
        let _ = tcflush(&self.slave, QueueSelector::IOFlush);
        self.trap = None;
        self.cut_off = false;
    }

    fn lay(&mut self, card: Option<Uid>) {
        let now = self.clock.now();
        for (_, lifted) in self.emulator.remove_all(now) {
            self.shelf.insert(lifted.uid(), lifted);
        }
        if let Some(card) = card.and_then(|uid| self.shelf.remove(&uid)) {
            self.emulator.place(now, &card.uid().to_string(), card);
        }
        self.give_output();
    }

    fn memories(&self) -> Memories {
        self.cards()
            .map(|card| (card.uid(), card.memory().to_vec()))
            .collect()
    }

    fn cards(&self) -> impl Iterator<Item = &VirtualCard> {
        let placed = self.emulator.cards().map(|(_, card)| card);
        placed.chain(self.shelf.values())
    }

    fn wait(&self, woken: &UnixStream) {
        let now = self.clock.now();
        let limit = self
            .emulator
            .poll_timeout()
            .map(|due: Moment| timespec(due.since(now)));
        let mut sources = [
            PollFd::new(woken, PollFlags::IN),
            PollFd::new(&self.master, PollFlags::IN),
        ];
        // An interrupted wait is an early end.
        let _ = poll(&mut sources, limit.as_ref());
        let mut wakes = [0; 64];
        while (&mut &*woken)
            .read(&mut wakes)
            .is_ok_and(|count| count == wakes.len())
        {}
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}
