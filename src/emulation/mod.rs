//! Emulated encoders on pseudo terminals: what `emulate` runs, and what tests, examples and benches use instead of
//! hardware.
//!
//! [`PtyEncoder::start`] opens a pseudo terminal and puts an emulated PN532 behind it. Cards are made, placed and taken
//! away while it runs; each has a name, and one that was taken away keeps its memory and can be placed again.

mod bench;
mod command;
mod pty;
mod pump;

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
};

use encoder_protocols::{
    card::{Uid, virtual_card::CardKind},
    pn532::emulator::{Fault, Pace, Stats},
};

use bench::Bench;

pub use bench::KnownCard;
pub use command::HELP;

/// How an emulated encoder is started.
#[derive(Clone, Debug, Default)]
pub struct EmulationOptions {
    /// Where to put a symbolic link to the pseudo terminal.
    pub link: Option<PathBuf>,
    /// Whether it takes the time that a real one takes.
    pub pace: Pace,
}

/// Why an emulated encoder does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EmulationError {
    /// The pseudo terminal cannot be made or used.
    #[error("cannot open a pseudo terminal: {0}")]
    Terminal(#[source] io::Error),
    /// The link cannot be made.
    #[error(
        "cannot link {path} to the pseudo terminal: {source}; remove what is there or give another path"
    )]
    Link {
        /// The link.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The link's name is taken by something that is in use.
    #[error("{0} exists and is no left-over link; remove it or give another path")]
    LinkTaken(PathBuf),
    /// The thread cannot be started.
    #[error("cannot start the emulator's thread: {0}")]
    Thread(#[source] io::Error),
    /// The emulator has ended.
    #[error("the emulator has ended")]
    Ended,
    /// Nobody knows this card.
    #[error(
        "no card is named {0:?}; `cards` lists those that are known, `new NAME KIND` makes one"
    )]
    UnknownCard(String),
    /// A card of this name exists, or the name is that of a kind.
    #[error("the name {0:?} is taken; choose another one")]
    NameTaken(String),
    /// It must be said which card is meant.
    #[error("expected one card in the field, found {0}; name the card")]
    WhichCard(usize),
    /// No kind of card has this name.
    #[error(transparent)]
    Kind(#[from] encoder_protocols::card::virtual_card::UnknownCardKind),
    /// The UID does not fit the kind.
    #[error(transparent)]
    UidLength(#[from] encoder_protocols::card::virtual_card::WrongUidLength),
    /// The text is no UID.
    #[error(transparent)]
    Uid(#[from] encoder_protocols::card::BadUid),
    /// The bytes do not fit the card.
    #[error(transparent)]
    Memory(#[from] encoder_protocols::card::virtual_card::WrongMemorySize),
    /// The text names no fault.
    #[error(transparent)]
    Fault(#[from] encoder_protocols::pn532::emulator::UnknownFault),
    /// A dump cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The line is no command.
    #[error("unknown command {0:?}; `help` lists the commands")]
    UnknownCommand(String),
}

/// What the emulator's thread is asked to do.
type Call = Box<dyn FnOnce(&mut Bench) + Send>;

/// An emulated PN532 behind a pseudo terminal, on a thread of its own. Dropping it ends the thread and removes the link.
#[derive(Debug)]
pub struct PtyEncoder {
    calls: mpsc::Sender<Call>,
    /// Interrupts the thread's waiting.
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl PtyEncoder {
    /// Opens the pseudo terminal and starts the emulator, without a card.
    ///
    /// # Errors
    /// [`EmulationError`] when the system grants no pseudo terminal or thread, or the link cannot be made.
    pub fn start(options: &EmulationOptions) -> Result<Self, EmulationError> {
        let bench = Bench::open(options)?;
        let (wake, woken) = UnixStream::pair().map_err(EmulationError::Terminal)?;
        for end in [&wake, &woken] {
            end.set_nonblocking(true)
                .map_err(EmulationError::Terminal)?;
        }
        let (calls, received) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("emulated-encoder".to_owned())
            .spawn(move || pump::run(bench, &received, &woken))
            .map_err(EmulationError::Thread)?;
        Ok(Self {
            calls,
            wake,
            thread: Some(thread),
        })
    }

    /// The port to open: the link if there is one, else the pseudo terminal; none while it is unplugged.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn path(&self) -> Result<Option<PathBuf>, EmulationError> {
        self.ask(|bench| bench.path())
    }

    /// Makes a card and keeps it beside the encoder. Without `uid` the first card of a kind has the kind's fixed UID,
    /// each further one the next.
    ///
    /// # Errors
    /// When the name is taken or the UID does not fit the kind.
    pub fn create(
        &self,
        name: &str,
        kind: CardKind,
        uid: Option<Uid>,
    ) -> Result<KnownCard, EmulationError> {
        let name = name.to_owned();
        self.ask(move |bench| bench.create(&name, kind, uid))?
    }

    /// Places a new card, named by a number, beside those that lie there.
    ///
    /// # Errors
    /// When the UID does not fit the kind.
    pub fn place_new(&self, kind: CardKind, uid: Option<Uid>) -> Result<KnownCard, EmulationError> {
        self.ask(move |bench| bench.place_new(kind, uid))?
    }

    /// Places a known card beside those that lie there.
    ///
    /// # Errors
    /// When no card has that name.
    pub fn place(&self, name: &str) -> Result<KnownCard, EmulationError> {
        let name = name.to_owned();
        self.ask(move |bench| bench.place(&name))?
    }

    /// Takes all cards away and answers which lay there.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn remove(&self) -> Result<Vec<KnownCard>, EmulationError> {
        self.ask(Bench::remove_all)
    }

    /// The cards in the field.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn cards(&self) -> Result<Vec<KnownCard>, EmulationError> {
        self.ask(|bench| bench.placed())
    }

    /// The memory of a card, wherever it is; without a name that of the only card in the field. Keys are in clear.
    ///
    /// # Errors
    /// When no card, or more than one, is meant.
    pub fn memory(&self, name: Option<&str>) -> Result<Vec<u8>, EmulationError> {
        let name = name.map(str::to_owned);
        self.ask(move |bench| bench.memory(name.as_deref()))?
    }

    /// How many blocks or pages of a card were written since it was made.
    ///
    /// # Errors
    /// When no card, or more than one, is meant.
    pub fn writes(&self, name: Option<&str>) -> Result<u64, EmulationError> {
        let name = name.map(str::to_owned);
        self.ask(move |bench| bench.writes(name.as_deref()))?
    }

    /// Lets something go wrong.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn inject(&self, fault: Fault) -> Result<(), EmulationError> {
        self.ask(move |bench| bench.inject(fault))
    }

    /// Ends all faults.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn clear_faults(&self) -> Result<(), EmulationError> {
        self.ask(Bench::clear_faults)
    }

    /// Closes the pseudo terminal and removes the link, as when the encoder is unplugged.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn unplug(&self) -> Result<(), EmulationError> {
        self.ask(Bench::unplug)
    }

    /// Opens a new pseudo terminal with the same link; the chip comes up as after power-up. Does nothing while plugged.
    ///
    /// # Errors
    /// As [`PtyEncoder::start`].
    pub fn plug(&self) -> Result<(), EmulationError> {
        self.ask(Bench::plug)?
    }

    /// What went over the line so far.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn stats(&self) -> Result<Stats, EmulationError> {
        self.ask(|bench| bench.stats())
    }

    /// Carries out one line of text as [`HELP`] describes it, and answers in words.
    ///
    /// # Errors
    /// What the command says.
    pub fn command(&self, line: &str) -> Result<String, EmulationError> {
        let line = line.to_owned();
        self.ask(move |bench| command::run(bench, &line))?
    }

    /// Runs on the emulator's thread and waits for the answer.
    fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Bench) -> R + Send + 'static,
    ) -> Result<R, EmulationError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let call = Box::new(move |bench: &mut Bench| {
            // A caller that has gone away needs no answer.
            let _ = answer.send(call(bench));
        });
        self.calls.send(call).map_err(|_| EmulationError::Ended)?;
        self.wake();
        answered.recv().map_err(|_| EmulationError::Ended)
    }

    fn wake(&self) {
        // A full buffer wakes the thread just as well.
        let _ = (&self.wake).write(&[0]);
    }
}

impl Drop for PtyEncoder {
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel();
        drop(std::mem::replace(&mut self.calls, closed));
        self.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// The text of an error or answer on one line.
pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> EmulationError {
    let path = path.to_owned();
    |source| EmulationError::File { path, source }
}

#[cfg(test)]
mod tests;
