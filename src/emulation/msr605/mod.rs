//! An emulated MSR605 on a pseudo terminal.

mod bench;
mod command;
mod unit;

use std::path::{Path, PathBuf};

use encoder_protocols::msr605::emulator::{Fault, Pace, Reading, Stats, StripeKind, Swiped};

use super::{Emulated, EmulationError, station::Station};
use bench::Bench;
use unit::Unit;

pub use bench::KnownStripe;
pub use command::HELP;

/// An emulated MSR605 behind a pseudo terminal, on a thread of its own. Dropping it ends the thread and removes the link.
#[derive(Debug)]
pub struct PtyMsr605 {
    station: Station<Bench>,
}

impl PtyMsr605 {
    /// Opens the pseudo terminal, with a link to it where one is given, and starts the emulator, without a card.
    ///
    /// # Errors
    /// [`EmulationError`] when the system grants no pseudo terminal or thread, or the link cannot be made.
    pub fn start(link: Option<&Path>, pace: Pace) -> Result<Self, EmulationError> {
        Self::put(Unit::bytes(pace), link, pace)
    }

    /// The same with an MSR605X: its HID reports, [`REPORT_BYTES`](encoder_protocols::msr605::report::REPORT_BYTES) each and without
    /// report id, stand one behind the other on the pseudo terminal.
    ///
    /// # Errors
    /// As [`PtyMsr605::start`].
    pub fn start_reporting(link: Option<&Path>, pace: Pace) -> Result<Self, EmulationError> {
        Self::put(Unit::reports(pace), link, pace)
    }

    fn put(unit: Unit, link: Option<&Path>, pace: Pace) -> Result<Self, EmulationError> {
        let station = Station::start(Bench::open(unit, link, pace.wire)?)?;
        Ok(Self { station })
    }

    /// The port to open: the link if there is one, else the pseudo terminal; none while it is unplugged.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn path(&self) -> Result<Option<PathBuf>, EmulationError> {
        self.station.ask(|bench| bench.path())
    }

    /// Makes a blank card and keeps it beside the encoder.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn create(&self, name: &str, kind: StripeKind) -> Result<KnownStripe, EmulationError> {
        let name = name.to_owned();
        self.station.ask(move |bench| bench.create(&name, kind))?
    }

    /// Keeps a new blank card, named by a number, at hand: it is drawn through each time that the encoder waits for one.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn place_new(&self, kind: StripeKind) -> Result<KnownStripe, EmulationError> {
        self.station.ask(move |bench| bench.place_new(kind))
    }

    /// Keeps a known card at hand, in place of the one that was.
    ///
    /// # Errors
    /// When no card has that name.
    pub fn place(&self, name: &str) -> Result<KnownStripe, EmulationError> {
        let name = name.to_owned();
        self.station.ask(move |bench| bench.place(&name))?
    }

    /// Takes the card at hand away.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn remove(&self) -> Result<Option<KnownStripe>, EmulationError> {
        self.station.ask(Bench::remove)
    }

    /// Draws a known card through once.
    ///
    /// # Errors
    /// When no card has that name.
    pub fn swipe(&self, name: &str) -> Result<Swiped, EmulationError> {
        let name = name.to_owned();
        self.station.ask(move |bench| bench.swipe(&name))?
    }

    /// Whether the encoder waits for a card.
    ///
    /// # Errors
    /// [`EmulationError::Ended`].
    pub fn waits(&self) -> Result<bool, EmulationError> {
        self.station.ask(|bench| bench.waits())
    }

    /// The characters on a card's tracks, with sentinels; without a name those of the card at hand.
    ///
    /// # Errors
    /// When no card is meant.
    pub fn texts(
        &self,
        name: Option<&str>,
    ) -> Result<[Result<String, Reading>; 3], EmulationError> {
        let name = name.map(str::to_owned);
        let card = move |bench: &mut Bench| bench.card(name.as_deref()).map(|card| card.texts());
        self.station.ask(card)?
    }

    /// Puts characters on a card's tracks as another encoder would have; sentinels are part of them, and an empty text blanks
    /// the track.
    ///
    /// # Errors
    /// When no card has that name, or the tracks cannot hold the characters.
    pub fn set_texts(&self, name: &str, texts: [&str; 3]) -> Result<(), EmulationError> {
        let (name, texts) = (name.to_owned(), texts.map(str::to_owned));
        self.station.ask(move |bench| {
            let [one, two, three] = &texts;
            bench.set_texts(&name, [one, two, three])
        })?
    }

    /// How many swipes have changed a card; without a name the one at hand.
    ///
    /// # Errors
    /// When no card is meant.
    pub fn writes(&self, name: Option<&str>) -> Result<u64, EmulationError> {
        let name = name.map(str::to_owned);
        let card = move |bench: &mut Bench| bench.card(name.as_deref()).map(|card| card.writes());
        self.station.ask(card)?
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

    /// Opens a new pseudo terminal with the same link; the device comes up as after power-up. Does nothing while plugged.
    ///
    /// # Errors
    /// As [`PtyMsr605::start`].
    pub fn plug(&self) -> Result<(), EmulationError> {
        self.station.ask(Bench::plug)?
    }

    /// What went over the line and through the slot so far.
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

impl Emulated for PtyMsr605 {
    fn path(&self) -> Result<Option<PathBuf>, EmulationError> {
        self.path()
    }

    fn command(&self, line: &str) -> Result<String, EmulationError> {
        self.command(line)
    }
}

#[cfg(test)]
mod tests;
