//! An emulated encoder, its terminal, and the cards that lie in its field or beside it.

use std::{collections::BTreeMap, fmt, os::fd::OwnedFd, path::PathBuf, time::Duration};

use encoder_protocols::{
    card::{
        Uid,
        virtual_card::{CardKind, VirtualCard},
    },
    moment::Moment,
    pn532::emulator::{Emulator, Fault, Pace, Stats},
};

use super::{EmulationError, EmulationOptions, pty::Pty};
use crate::clock::Clock;

/// More than the longest frame, so that one written at once is read at once.
const READ_AT_ONCE: usize = 4096;
/// More lateness than this is not made up for: the machine was away, not merely slow.
const LONGEST_CATCHING_UP: Duration = Duration::from_millis(5);

pub(super) struct Bench {
    clock: Clock,
    emulator: Emulator,
    pace: Pace,
    /// How much later than due the last output was handed over.
    late: Duration,
    link: Option<PathBuf>,
    terminal: Option<Pty>,
    /// The cards that do not lie in the field.
    shelf: BTreeMap<String, VirtualCard>,
    /// How many cards of each kind were made.
    made: BTreeMap<&'static str, u8>,
    /// How many cards were named by a number.
    numbered: u32,
}

/// A card by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownCard {
    /// The name.
    pub name: String,
    /// What kind of card it is.
    pub kind: CardKind,
    /// Its UID.
    pub uid: Uid,
}

impl KnownCard {
    fn of(name: &str, card: &VirtualCard) -> Self {
        Self {
            name: name.to_owned(),
            kind: card.kind(),
            uid: card.uid(),
        }
    }
}

impl fmt::Display for KnownCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} uid {}", self.name, self.kind, self.uid)
    }
}

impl Bench {
    pub(super) fn open(options: &EmulationOptions) -> Result<Self, EmulationError> {
        Ok(Self {
            clock: Clock::start(),
            emulator: Emulator::new(options.pace),
            pace: options.pace,
            late: Duration::ZERO,
            link: options.link.clone(),
            terminal: Some(Pty::open(options.link.as_deref())?),
            shelf: BTreeMap::new(),
            made: BTreeMap::new(),
            numbered: 0,
        })
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.terminal
            .as_ref()
            .map(|terminal| terminal.path().to_owned())
    }

    pub(super) fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().map(|terminal| &terminal.master)
    }

    pub(super) fn paces_wire(&self) -> bool {
        self.pace.wire
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        self.emulator.poll_timeout()
    }

    /// Takes what the host has written; false when there is nothing.
    pub(super) fn take_input(&mut self) -> bool {
        let Some(terminal) = &self.terminal else {
            return false;
        };
        let mut buffer = [0; READ_AT_ONCE];
        let input = terminal.read(&mut buffer);
        let now = self.clock.now();
        if input.is_empty() {
            return false;
        }
        if self.pace.wire
            && let Some(baud) = terminal.baud()
        {
            self.emulator.set_line_baud(baud);
        }
        // What the host does next it does as much later as it got the output late; dated back, the line's own time is
        // kept over many exchanges.
        let late = std::mem::take(&mut self.late);
        self.emulator.handle_input(now - late, input);
        true
    }

    /// Gives the host what is due; false when nothing is.
    pub(super) fn give_output(&mut self) -> bool {
        let now = self.clock.now();
        self.emulator.handle_timeout(now);
        let mut gave = false;
        while let Some((due, bytes)) = self.emulator.poll_frames(now) {
            if let Some(terminal) = &self.terminal {
                terminal.write(&bytes);
            }
            self.late = self.clock.now().since(due).min(LONGEST_CATCHING_UP);
            gave = true;
        }
        self.shelf.extend(self.emulator.take_lifted());
        gave
    }

    pub(super) fn end_exclusive_use(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.end_exclusive_use();
        }
    }

    pub(super) fn create(
        &mut self,
        name: &str,
        kind: CardKind,
        uid: Option<Uid>,
    ) -> Result<KnownCard, EmulationError> {
        if self.find(name).is_some() || name.parse::<CardKind>().is_ok() {
            return Err(EmulationError::NameTaken(name.to_owned()));
        }
        let card = self.make(kind, uid)?;
        let known = KnownCard::of(name, &card);
        self.shelf.insert(name.to_owned(), card);
        Ok(known)
    }

    pub(super) fn place_new(
        &mut self,
        kind: CardKind,
        uid: Option<Uid>,
    ) -> Result<KnownCard, EmulationError> {
        let card = self.make(kind, uid)?;
        let name = self.next_number();
        let known = KnownCard::of(&name, &card);
        self.emulator.place(self.clock.now(), &name, card);
        Ok(known)
    }

    pub(super) fn place(&mut self, name: &str) -> Result<KnownCard, EmulationError> {
        let Some(card) = self.shelf.remove(name) else {
            // A card that lies there already stays as it is.
            return self
                .find(name)
                .map(|card| KnownCard::of(name, card))
                .ok_or_else(|| EmulationError::UnknownCard(name.to_owned()));
        };
        let known = KnownCard::of(name, &card);
        self.emulator.place(self.clock.now(), name, card);
        Ok(known)
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<KnownCard, EmulationError> {
        let card = self
            .emulator
            .remove(self.clock.now(), name)
            .ok_or_else(|| EmulationError::UnknownCard(name.to_owned()))?;
        let known = KnownCard::of(name, &card);
        self.shelf.insert(name.to_owned(), card);
        Ok(known)
    }

    pub(super) fn remove_all(&mut self) -> Vec<KnownCard> {
        let removed = self.emulator.remove_all(self.clock.now());
        let known = removed
            .iter()
            .map(|(name, card)| KnownCard::of(name, card))
            .collect();
        self.shelf.extend(removed);
        known
    }

    pub(super) fn placed(&self) -> Vec<KnownCard> {
        self.emulator
            .cards()
            .map(|(name, card)| KnownCard::of(name, card))
            .collect()
    }

    /// The cards that lie beside the encoder.
    pub(super) fn shelved(&self) -> Vec<KnownCard> {
        self.shelf
            .iter()
            .map(|(name, card)| KnownCard::of(name, card))
            .collect()
    }

    pub(super) fn memory(&self, name: Option<&str>) -> Result<Vec<u8>, EmulationError> {
        self.meant(name).map(|(_, card)| card.memory().to_vec())
    }

    pub(super) fn writes(&self, name: Option<&str>) -> Result<u64, EmulationError> {
        self.meant(name).map(|(_, card)| card.writes())
    }

    pub(super) fn load(
        &mut self,
        name: Option<&str>,
        memory: &[u8],
    ) -> Result<KnownCard, EmulationError> {
        let name = self.meant(name)?.0.to_owned();
        let card = match self.shelf.get_mut(&name) {
            Some(card) => Some(card),
            None => self.emulator.card_mut(&name),
        };
        let Some(card) = card else {
            return Err(EmulationError::UnknownCard(name));
        };
        card.load(memory)?;
        Ok(KnownCard::of(&name, card))
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        self.emulator.inject(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.emulator.clear_faults();
    }

    pub(super) fn exchanged(&self) -> u64 {
        self.emulator.exchanged()
    }

    pub(super) fn stats(&self) -> Stats {
        self.emulator.stats()
    }

    pub(super) fn unplug(&mut self) {
        self.terminal = None;
        self.emulator.power_cycle();
    }

    pub(super) fn plug(&mut self) -> Result<(), EmulationError> {
        if self.terminal.is_none() {
            self.terminal = Some(Pty::open(self.link.as_deref())?);
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&VirtualCard> {
        let placed = self.emulator.cards().find(|(other, _)| *other == name);
        placed
            .map(|(_, card)| card)
            .or_else(|| self.shelf.get(name))
    }

    /// The card of this name; without one the only card in the field.
    fn meant<'a>(
        &'a self,
        name: Option<&'a str>,
    ) -> Result<(&'a str, &'a VirtualCard), EmulationError> {
        if let Some(name) = name {
            let card = self.find(name);
            return card
                .map(|card| (name, card))
                .ok_or_else(|| EmulationError::UnknownCard(name.to_owned()));
        }
        let mut placed = self.emulator.cards();
        match (placed.next(), placed.count()) {
            (Some(card), 0) => Ok(card),
            (first, others) => Err(EmulationError::WhichCard(
                others + usize::from(first.is_some()),
            )),
        }
    }

    fn make(&mut self, kind: CardKind, uid: Option<Uid>) -> Result<VirtualCard, EmulationError> {
        if let Some(uid) = uid {
            return Ok(VirtualCard::new(kind, Some(uid))?);
        }
        let made = self.made.entry(kind.name()).or_default();
        let mut uid = VirtualCard::new(kind, None)?.uid().as_bytes().to_vec();
        if let Some(last) = uid.last_mut() {
            *last = last.wrapping_add(*made);
        }
        *made = made.wrapping_add(1);
        Ok(VirtualCard::new(kind, Some(Uid::new(&uid)?))?)
    }

    fn next_number(&mut self) -> String {
        loop {
            self.numbered += 1;
            let name = format!("card-{}", self.numbered);
            if self.find(&name).is_none() {
                return name;
            }
        }
    }
}
