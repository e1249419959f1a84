//! The encoder on its line, and the cards that are at hand or beside it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use encoder_protocols::{
    moment::Moment,
    msr605::emulator::{Emulator, Fault, Habits, Pace, Stats, StripeCard, StripeKind, Swiped},
};

use super::super::{
    EmulationError,
    line::{Device, Line, Wired},
};

/// What a card's tracks can hold, in words.
const CHARACTERS: &str =
    "with its sentinels (`%…?`, `;…?`, `;…?`) and characters that the track has";
const HEX: &str = "bytes in hex, the track's first bit highest";

pub(super) struct Bench {
    line: Line<Emulator>,
    habits: Habits,
    /// The cards that are not at hand.
    shelf: BTreeMap<String, StripeCard>,
    /// How many cards were named by a number.
    numbered: u32,
}

/// A card by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownStripe {
    /// The name.
    pub name: String,
    /// What kind of card it is.
    pub kind: StripeKind,
}

impl KnownStripe {
    fn of(name: &str, card: &StripeCard) -> Self {
        Self {
            name: name.to_owned(),
            kind: card.kind(),
        }
    }
}

impl fmt::Display for KnownStripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind.name())
    }
}

impl Wired for Bench {
    type Device = Emulator;

    fn line(&mut self) -> &mut Line<Emulator> {
        &mut self.line
    }
}

impl Device for Emulator {
    const BAUD: u32 = 9_600;

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
    pub(super) fn open(link: Option<&Path>, pace: Pace) -> Result<Self, EmulationError> {
        Ok(Self {
            line: Line::open(Emulator::new(pace), link, pace.wire)?,
            habits: Habits::default(),
            shelf: BTreeMap::new(),
            numbered: 0,
        })
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.line.path()
    }

    pub(super) fn create(
        &mut self,
        name: &str,
        kind: StripeKind,
    ) -> Result<KnownStripe, EmulationError> {
        if self.card(Some(name)).is_ok() || name.parse::<StripeKind>().is_ok() {
            return Err(EmulationError::NameTaken(name.to_owned()));
        }
        let card = StripeCard::blank(kind);
        let known = KnownStripe::of(name, &card);
        self.shelf.insert(name.to_owned(), card);
        Ok(known)
    }

    pub(super) fn place_new(&mut self, kind: StripeKind) -> KnownStripe {
        let name = loop {
            self.numbered += 1;
            let name = format!("card-{}", self.numbered);
            if self.card(Some(&name)).is_err() {
                break name;
            }
        };
        self.keep_at_hand(&name, StripeCard::blank(kind))
    }

    pub(super) fn place(&mut self, name: &str) -> Result<KnownStripe, EmulationError> {
        let Some(card) = self.shelf.remove(name) else {
            // A card that is at hand already stays there.
            return self
                .card(Some(name))
                .map(|card| KnownStripe::of(name, card));
        };
        Ok(self.keep_at_hand(name, card))
    }

    fn keep_at_hand(&mut self, name: &str, card: StripeCard) -> KnownStripe {
        let known = KnownStripe::of(name, &card);
        let now = self.line.now();
        let before = self.line.device.place(now, name, card);
        self.shelf.extend(before);
        known
    }

    pub(super) fn remove(&mut self) -> Option<KnownStripe> {
        let now = self.line.now();
        let (name, card) = self.line.device.remove(now)?;
        let known = KnownStripe::of(&name, &card);
        self.shelf.insert(name, card);
        Some(known)
    }

    pub(super) fn swipe(&mut self, name: &str) -> Result<Swiped, EmulationError> {
        let now = self.line.now();
        // What is at hand is drawn through by itself: nothing waits for it any more.
        if self.is_at_hand(name) {
            return Ok(Swiped::Ignored);
        }
        let card = self.shelf.get_mut(name);
        let card = card.ok_or_else(|| EmulationError::UnknownCard(name.to_owned()))?;
        Ok(self.line.device.swipe(now, card))
    }

    pub(super) fn waits(&self) -> bool {
        self.line.device.waits()
    }

    pub(super) fn at_hand(&self) -> Option<KnownStripe> {
        let at_hand = self.line.device.at_hand();
        at_hand.map(|(name, card)| KnownStripe::of(name, card))
    }

    pub(super) fn shelved(&self) -> Vec<KnownStripe> {
        let cards = self.shelf.iter();
        cards
            .map(|(name, card)| KnownStripe::of(name, card))
            .collect()
    }

    /// The card of this name; without one the card at hand.
    pub(super) fn card(&self, name: Option<&str>) -> Result<&StripeCard, EmulationError> {
        let at_hand = self.line.device.at_hand();
        let Some(name) = name else {
            let card = at_hand.map(|(_, card)| card);
            return card.ok_or(EmulationError::WhichCard(0));
        };
        let card = at_hand
            .filter(|(other, _)| *other == name)
            .map(|(_, card)| card);
        card.or_else(|| self.shelf.get(name))
            .ok_or_else(|| EmulationError::UnknownCard(name.to_owned()))
    }

    pub(super) fn set_texts(&mut self, name: &str, texts: [&str; 3]) -> Result<(), EmulationError> {
        self.change(name, CHARACTERS, |card| {
            let mut tracks = texts.into_iter().enumerate();
            tracks.all(|(track, text)| card.set_text(track, text))
        })
    }

    /// Puts bits on the tracks, each as bytes in hex.
    pub(super) fn set_bits(&mut self, name: &str, tracks: [&str; 3]) -> Result<(), EmulationError> {
        self.change(name, HEX, |card| {
            let mut tracks = tracks.into_iter().enumerate();
            tracks.all(|(track, hex)| bits(hex).is_some_and(|bits| card.set_bits(track, &bits)))
        })
    }

    pub(super) fn wear_out(&mut self, name: &str) -> Result<(), EmulationError> {
        self.change(name, CHARACTERS, |card| {
            card.wear_out();
            true
        })
    }

    /// Changes a card as a whole or not at all.
    fn change(
        &mut self,
        name: &str,
        expected: &'static str,
        change: impl FnOnce(&mut StripeCard) -> bool,
    ) -> Result<(), EmulationError> {
        let mut changed = self.card(Some(name))?.clone();
        if !change(&mut changed) {
            return Err(EmulationError::Tracks { expected });
        }
        match self.line.device.at_hand_mut() {
            Some((other, card)) if other == name => *card = changed,
            _ => drop(self.shelf.insert(name.to_owned(), changed)),
        }
        Ok(())
    }

    fn is_at_hand(&self, name: &str) -> bool {
        let at_hand = self.line.device.at_hand();
        at_hand.is_some_and(|(other, _)| other == name)
    }

    pub(super) fn habits(&mut self) -> &mut Habits {
        &mut self.habits
    }

    pub(super) fn take_habits(&mut self) {
        self.line.device.set_habits(self.habits);
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        self.line.device.inject(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.line.device.clear_faults();
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
}

/// The bits of bytes in hex, the highest of each byte first.
fn bits(hex: &str) -> Option<Vec<bool>> {
    let digits = hex.chars().map(|digit| digit.to_digit(16));
    let bits = digits.map(|digit| {
        let digit = digit?;
        Some((0..4).rev().map(move |bit| digit >> bit & 1 == 1))
    });
    let bits: Option<Vec<_>> = bits.collect();
    Some(bits?.into_iter().flatten().collect())
}
