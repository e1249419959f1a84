//! An emulated PN532 on a pseudo terminal.

mod bench;
mod command;

use std::path::PathBuf;

use encoder_protocols::{
    card::{Uid, virtual_card::CardKind},
    pn532::emulator::{Fault, Pace, Stats},
};

use super::{Emulated, EmulationError, station::Station};
use bench::Bench;

pub use bench::KnownCard;
pub use command::HELP;

/// How an emulated PN532 is started.
#[derive(Clone, Debug, Default)]
pub struct EmulationOptions {
    /// Where to put a symbolic link to the pseudo terminal.
    pub link: Option<PathBuf>,
    /// Whether it takes the time that a real one takes.
    pub pace: Pace,
}

/// An emulated PN532 behind a pseudo terminal, on a thread of its own. Dropping it ends the thread and removes the link.
#[derive(Debug)]
pub struct PtyEncoder {
    station: Station<Bench>,
}

impl PtyEncoder {
    /// Opens the pseudo terminal and starts the emulator, without a card.
    ///
    /// # Errors
    /// [`EmulationError`] when the system grants no pseudo terminal or thread, or the link cannot be made.
    pub fn start(options: &EmulationOptions) -> Result<Self, EmulationError> {
        let station = Station::start(Bench::open(options)?)?;
        Ok(Self { station })
    }

    /// The port to open: the link if there is one, else the pseudo terminal; none while it is unplugged.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn path(&self) -> Result<Option<PathBuf>, EmulationError> {
        self.station.ask(|bench| bench.path())
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
        self.station
            .ask(move |bench| bench.create(&name, kind, uid))?
    }

    /// Places a new card, named by a number, beside those that lie there.
    ///
    /// # Errors
    /// When the UID does not fit the kind.
    pub fn place_new(&self, kind: CardKind, uid: Option<Uid>) -> Result<KnownCard, EmulationError> {
        self.station.ask(move |bench| bench.place_new(kind, uid))?
    }

    /// Places a known card beside those that lie there.
    ///
    /// # Errors
    /// When no card has that name.
    pub fn place(&self, name: &str) -> Result<KnownCard, EmulationError> {
        let name = name.to_owned();
        self.station.ask(move |bench| bench.place(&name))?
    }

    /// Takes all cards away and answers which lay there.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn remove(&self) -> Result<Vec<KnownCard>, EmulationError> {
        self.station.ask(Bench::remove_all)
    }

    /// The cards in the field.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn cards(&self) -> Result<Vec<KnownCard>, EmulationError> {
        self.station.ask(|bench| bench.placed())
    }

    /// The memory of a card, wherever it is; without a name that of the only card in the field. Keys are in clear.
    ///
    /// # Errors
    /// When no card, or more than one, is meant.
    pub fn memory(&self, name: Option<&str>) -> Result<Vec<u8>, EmulationError> {
        let name = name.map(str::to_owned);
        self.station
            .ask(move |bench| bench.memory(name.as_deref()))?
    }

    /// How many blocks or pages of a card were written since it was made.
    ///
    /// # Errors
    /// When no card, or more than one, is meant.
    pub fn writes(&self, name: Option<&str>) -> Result<u64, EmulationError> {
        let name = name.map(str::to_owned);
        self.station
            .ask(move |bench| bench.writes(name.as_deref()))?
    }

    /// Lets something go wrong.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn inject(&self, fault: Fault) -> Result<(), EmulationError> {
        self.station.ask(move |bench| bench.inject(fault))
    }

    /// Ends all faults.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn clear_faults(&self) -> Result<(), EmulationError> {
        self.station.ask(Bench::clear_faults)
    }

    /// Closes the pseudo terminal and removes the link, as when the encoder is unplugged.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn unplug(&self) -> Result<(), EmulationError> {
        self.station.ask(Bench::unplug)
    }

    /// Opens a new pseudo terminal with the same link; the chip comes up as after power-up. Does nothing while plugged.
    ///
    /// # Errors
    /// As [`PtyEncoder::start`].
    pub fn plug(&self) -> Result<(), EmulationError> {
        self.station.ask(Bench::plug)?
    }

    /// What went over the line so far.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn stats(&self) -> Result<Stats, EmulationError> {
        self.station.ask(|bench| bench.stats())
    }

    /// Carries out one line of text as [`HELP`] describes it, and answers in words.
    ///
    /// # Errors
    /// What the command says.
    pub fn command(&self, line: &str) -> Result<String, EmulationError> {
        let line = line.to_owned();
        self.station.ask(move |bench| command::run(bench, &line))?
    }
}

impl Emulated for PtyEncoder {
    fn path(&self) -> Result<Option<PathBuf>, EmulationError> {
        self.path()
    }

    fn command(&self, line: &str) -> Result<String, EmulationError> {
        self.command(line)
    }
}

#[cfg(test)]
mod tests;
