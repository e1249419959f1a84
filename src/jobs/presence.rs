//! What lies on an encoder, and which card must leave it first.

use std::time::Duration;

use encoder_protocols::{
    card::{CardDescription, Uid},
    moment::Moment,
};
use uuid::Uuid;

use crate::{encoder::Poll, journal::Guard};

/// How far apart two polls in a row must be that find no card, or another, for a card to have left (promise, rule 7).
const LEFT_AFTER: Duration = Duration::from_millis(200);

/// Polls that are further apart, and more than so many intervals, are not in a row: the PC slept between them.
const ROW_ENDS_AFTER: Duration = Duration::from_secs(2);
const ROW_INTERVALS: u32 = 4;

/// What is known of an encoder's field.
#[derive(Debug)]
pub(super) struct Field {
    /// What the last poll found; none before the first, and after anything that may have moved cards unseen.
    pub(super) lies: Option<Poll>,
    /// The cards that must leave first.
    guards: Vec<Guarded>,
    /// The card that the job at the head was told to ignore, until it leaves.
    ignored: Option<Uid>,
    /// How many polls span [`LEFT_AFTER`] at this encoder's pace: polls that waited in a channel arrive together.
    polls_to_leave: u32,
    /// The longest time between two polls in a row.
    row_gap: Duration,
    /// When the last poll came.
    seen_at: Option<Moment>,
}

/// A card that must leave first, and since when it was not seen.
#[derive(Debug)]
struct Guarded {
    guard: Guard,
    absence: Option<Absence>,
}

/// The polls in a row that did not find the guarded card.
#[derive(Debug)]
struct Absence {
    since: Moment,
    polls: u32,
}

/// What a waiting job may do with what lies there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Not known: the next poll will tell.
    Unseen,
    /// No card lies there.
    Empty,
    /// More than one card lies there.
    Several,
    /// A card was written just before and must be lifted.
    MustLift,
    /// A card lies there, but the written one has not surely left, or the coordinator wants another one.
    GoOnWaiting,
    /// This card may be taken.
    Takes(CardDescription),
}

impl Field {
    pub(super) fn new(guards: Vec<Guard>, poll_interval: Duration) -> Self {
        let pace = poll_interval.as_millis().max(1);
        let polls = LEFT_AFTER.as_millis().div_ceil(pace) + 1;
        Self {
            lies: None,
            guards: guards.into_iter().map(Guarded::new).collect(),
            ignored: None,
            polls_to_leave: u32::try_from(polls).unwrap_or(u32::MAX).max(2),
            row_gap: ROW_ENDS_AFTER.max(poll_interval.saturating_mul(ROW_INTERVALS)),
            seen_at: None,
        }
    }

    pub(super) fn guards(&self) -> Vec<Guard> {
        self.guards.iter().map(|guarded| guarded.guard).collect()
    }

    pub(super) fn is_guarded(&self) -> bool {
        !self.guards.is_empty()
    }

    /// From now on this card must leave first. It counts as seen, and replaces what was known of the same card.
    pub(super) fn add_guard(&mut self, guard: Guard) {
        self.guards.retain(|other| !other.guard.is_same_card(guard));
        self.guards.push(Guarded::new(guard));
    }

    /// Cards may have moved unseen: an operation ran, or the encoder was away. None of this is leaving.
    pub(super) fn lose_sight(&mut self) {
        self.lies = None;
        for guarded in &mut self.guards {
            guarded.absence = None;
        }
    }

    pub(super) fn ignore(&mut self, uid: Option<Uid>) {
        self.ignored = uid;
    }

    /// Takes a poll. True if the guards changed.
    pub(super) fn see(&mut self, now: Moment, poll: Poll) -> bool {
        let slept = self
            .seen_at
            .replace(now)
            .is_some_and(|seen_at| now.since(seen_at) > self.row_gap);
        if slept {
            self.lose_sight();
        }
        self.lies = Some(poll);
        if self.ignored.is_some() && seen_uid(poll) != self.ignored {
            self.ignored = None;
        }
        let before = self.guards();
        // Nothing ever lies on an encoder that cards are drawn through, so nothing has to leave it first: whoever swipes a
        // card that was just written does so with it in his hand, and each job asks for its own swipe.
        if matches!(poll, Poll::Card(card) if card.technology.is_swiped()) {
            self.guards.clear();
        }
        let polls_to_leave = self.polls_to_leave;
        self.guards.retain_mut(|guarded| {
            guarded.see(poll);
            !(guarded.is_missed_by(poll) && guarded.miss(now, polls_to_leave))
        });
        self.guards() != before
    }

    /// What a scan, or an encode of `credential_id`, may do with what lies there.
    pub(super) fn standing(&self, encodes: bool, credential_id: Option<Uuid>) -> Standing {
        match self.lies {
            None => Standing::Unseen,
            Some(Poll::Empty) => Standing::Empty,
            Some(Poll::Several) => Standing::Several,
            Some(Poll::Card(card)) if self.ignored.is_some() && card.uid == self.ignored => {
                Standing::GoOnWaiting
            }
            Some(Poll::Card(card)) if encodes => self.guarded(card, credential_id),
            Some(Poll::Card(card)) => Standing::Takes(card),
        }
    }

    fn guarded(&self, card: CardDescription, credential_id: Option<Uuid>) -> Standing {
        let standings = self.guards.iter().map(|guarded| match guarded.guard {
            Guard::Any => Standing::MustLift,
            Guard::Written { uid, .. } if card.uid != Some(uid) => Standing::GoOnWaiting,
            Guard::Written {
                credential_id: written,
                ..
            } if written.is_some() && written == credential_id => Standing::Takes(card),
            Guard::Written { .. } => Standing::MustLift,
        });
        // The card is taken only if every guard lets it pass; that it must be lifted is worth saying first.
        standings.fold(Standing::Takes(card), |strictest, standing| {
            match (strictest, standing) {
                (Standing::MustLift, _) | (_, Standing::Takes(_)) => strictest,
                _ => standing,
            }
        })
    }
}

impl Guarded {
    fn new(guard: Guard) -> Self {
        Self {
            guard,
            absence: None,
        }
    }

    /// Whatever lay there first is the card that is guarded.
    fn see(&mut self, poll: Poll) {
        if let (Guard::Any, Some(uid)) = (self.guard, seen_uid(poll)) {
            self.guard = Guard::Written {
                uid,
                credential_id: None,
            };
        }
    }

    /// Whether the poll speaks for the card's absence; if not, the polls in a row begin anew.
    fn is_missed_by(&mut self, poll: Poll) -> bool {
        let is_missed = match (self.guard, poll) {
            (_, Poll::Several) => false,
            (_, Poll::Empty) => true,
            (Guard::Any, Poll::Card(_)) => false,
            (Guard::Written { uid, .. }, Poll::Card(card)) => card.uid != Some(uid),
        };
        if !is_missed {
            self.absence = None;
        }
        is_missed
    }

    /// Counts a poll that missed the card. True once it has left.
    fn miss(&mut self, now: Moment, polls_to_leave: u32) -> bool {
        let absence = self.absence.get_or_insert(Absence {
            since: now,
            polls: 0,
        });
        absence.polls += 1;
        absence.polls >= polls_to_leave && now.since(absence.since) >= LEFT_AFTER
    }
}

fn seen_uid(poll: Poll) -> Option<Uid> {
    match poll {
        Poll::Card(card) => card.uid,
        Poll::Empty | Poll::Several => None,
    }
}
