//! Emulated encoders on pseudo terminals: what `emulate` runs, and what tests, examples and benches use instead of
//! hardware.
//!
//! [`PtyEncoder::start`] opens a pseudo terminal and puts an emulated PN532 behind it, [`PtyMsr605::start`] an emulated MSR605. Cards
//! are made, placed and taken away while they run; each has a name, and one that was taken away keeps its memory and can be
//! placed again.

mod line;
pub mod msr605;
pub mod pn532;
mod pty;
mod pump;
mod station;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use msr605::PtyMsr605;
pub use pn532::{EmulationOptions, HELP, KnownCard, PtyEncoder};

/// What every emulated encoder on a pseudo terminal can do.
pub trait Emulated {
    /// The port to open: the link if there is one, else the pseudo terminal; none while it is unplugged.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    fn path(&self) -> Result<Option<PathBuf>, EmulationError>;

    /// Carries out one line of text, and answers in words.
    ///
    /// # Errors
    /// What the command says.
    fn command(&self, line: &str) -> Result<String, EmulationError>;
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
    /// No kind of stripe has this name.
    #[error(transparent)]
    Stripe(#[from] encoder_protocols::msr605::emulator::UnknownStripe),
    /// The text names no fault of an MSR encoder.
    #[error(transparent)]
    StripeFault(#[from] encoder_protocols::msr605::emulator::UnknownFault),
    /// What was to be put on a stripe cannot stand there.
    #[error("expected three tracks with `|` between, each {expected}, or empty for a blank one")]
    Tracks {
        /// What each must be.
        expected: &'static str,
    },
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

/// The text of an error or answer on one line.
pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> EmulationError {
    let path = path.to_owned();
    |source| EmulationError::File { path, source }
}
