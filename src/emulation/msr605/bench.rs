//! The encoder on its line, and the cards that are at hand or beside it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use encoder_protocols::msr605::emulator::{Fault, Habits, Stats, StripeCard, StripeKind, Swiped};

use super::{
    super::{
        EmulationError,
        line::{Line, Wired},
    },
    unit::Unit,
};

/// What a card's tracks can hold, in words.
const CHARACTERS: &str =
    "with its sentinels (`%…?`, `;…?`, `;…?`) and characters that the track has";
const HEX: &str = "bytes in hex, the track's first bit highest";

pub(super) struct Bench {
    line: Line<Unit>,
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
    type Device = Unit;

    fn line(&mut self) -> &mut Line<Unit> {
        &mut self.line
    }
}

impl Bench {
    pub(super) fn open(
        unit: Unit,
        link: Option<&Path>,
        is_paced: bool,
    ) -> Result<Self, EmulationError> {
        Ok(Self {
            line: Line::open(unit, link, is_paced)?,
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
        let before = self.line.device.encoder_mut().place(now, name, card);
        self.shelf.extend(before);
        known
    }

    pub(super) fn remove(&mut self) -> Option<KnownStripe> {
        let now = self.line.now();
        let (name, card) = self.line.device.encoder_mut().remove(now)?;
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
        Ok(self.line.device.encoder_mut().swipe(now, card))
    }

    pub(super) fn waits(&self) -> bool {
        self.line.device.encoder().waits()
    }

    pub(super) fn at_hand(&self) -> Option<KnownStripe> {
        let at_hand = self.line.device.encoder().at_hand();
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
        let at_hand = self.line.device.encoder().at_hand();
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
        match self.line.device.encoder_mut().at_hand_mut() {
            Some((other, card)) if other == name => *card = changed,
            _ => drop(self.shelf.insert(name.to_owned(), changed)),
        }
        Ok(())
    }

    fn is_at_hand(&self, name: &str) -> bool {
        let at_hand = self.line.device.encoder().at_hand();
        at_hand.is_some_and(|(other, _)| other == name)
    }

    pub(super) fn habits(&mut self) -> &mut Habits {
        &mut self.habits
    }

    pub(super) fn take_habits(&mut self) {
        self.line.device.encoder_mut().set_habits(self.habits);
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        self.line.device.encoder_mut().inject(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.line.device.encoder_mut().clear_faults();
    }

    pub(super) fn stats(&self) -> Stats {
        self.line.device.encoder().stats()
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
