//! The chip on its line, and the cards that lie in its field or beside it.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use encoder_protocols::{
    card::{
        Uid,
        virtual_card::{CardKind, VirtualCard},
    },
    moment::Moment,
    pn532::emulator::{Emulator, Fault, Stats},
};

use super::{
    super::{
        EmulationError,
        line::{Device, Line, Wired},
    },
    EmulationOptions,
};

pub(super) struct Bench {
    line: Line<Emulator>,
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

impl Wired for Bench {
    type Device = Emulator;

    fn line(&mut self) -> &mut Line<Emulator> {
        &mut self.line
    }

    fn tidy(&mut self) {
        self.shelf.extend(self.line.device.take_lifted());
    }
}

impl Device for Emulator {
    const BAUD: u32 = 115_200;

    fn handle_input(&mut self, now: Moment, input: &[u8]) {
        self.handle_input(now, input);
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.handle_timeout(now);
    }

    fn poll_frames(&mut self, now: Moment) -> Option<(Moment, Vec<u8>)> {
        self.poll_frames(now)
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.poll_timeout()
    }

    fn set_line_baud(&mut self, baud: u32) {
        self.set_line_baud(baud);
    }

    fn power_cycle(&mut self) {
        self.power_cycle();
    }
}

impl Bench {
    pub(super) fn open(options: &EmulationOptions) -> Result<Self, EmulationError> {
        let EmulationOptions { link, pace } = options;
        Ok(Self {
            line: Line::open(Emulator::new(*pace), link.as_deref(), pace.wire)?,
            shelf: BTreeMap::new(),
            made: BTreeMap::new(),
            numbered: 0,
        })
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.line.path()
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
        self.line.device.place(self.line.now(), &name, card);
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
        self.line.device.place(self.line.now(), name, card);
        Ok(known)
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<KnownCard, EmulationError> {
        let card = self
            .line
            .device
            .remove(self.line.now(), name)
            .ok_or_else(|| EmulationError::UnknownCard(name.to_owned()))?;
        let known = KnownCard::of(name, &card);
        self.shelf.insert(name.to_owned(), card);
        Ok(known)
    }

    pub(super) fn remove_all(&mut self) -> Vec<KnownCard> {
        let removed = self.line.device.remove_all(self.line.now());
        let known = removed
            .iter()
            .map(|(name, card)| KnownCard::of(name, card))
            .collect();
        self.shelf.extend(removed);
        known
    }

    pub(super) fn placed(&self) -> Vec<KnownCard> {
        self.line
            .device
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
            None => self.line.device.card_mut(&name),
        };
        let Some(card) = card else {
            return Err(EmulationError::UnknownCard(name));
        };
        card.load(memory)?;
        Ok(KnownCard::of(&name, card))
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        self.line.device.inject(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.line.device.clear_faults();
    }

    pub(super) fn exchanged(&self) -> u64 {
        self.line.device.exchanged()
    }

    pub(super) fn stats(&self) -> Stats {
        self.line.device.stats()
    }

    pub(super) fn unplug(&mut self) {
        self.line.unplug();
    }

    pub(super) fn plug(&mut self) -> Result<(), EmulationError> {
        self.line.plug()
    }

    fn find(&self, name: &str) -> Option<&VirtualCard> {
        let placed = self.line.device.cards().find(|(other, _)| *other == name);
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
        let mut placed = self.line.device.cards();
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
