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

/// What is known of an encoder's field.
#[derive(Debug)]
pub(super) struct Field {
    /// What the last poll found; none before the first, and after anything that may have moved cards unseen.
    pub(super) lies: Option<Poll>,
    /// The card that must leave first.
    guard: Option<Guard>,
    absence: Option<Absence>,
    /// The card that the job at the head was told to ignore, until it leaves.
    ignored: Option<Uid>,
    /// How many polls span [`LEFT_AFTER`] at this encoder's pace: polls that waited in a channel arrive together.
    polls_to_leave: u32,
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
    pub(super) fn new(guard: Option<Guard>, poll_interval: Duration) -> Self {
        let pace = poll_interval.as_millis().max(1);
        let polls = LEFT_AFTER.as_millis().div_ceil(pace) + 1;
        Self {
            lies: None,
            guard,
            absence: None,
            ignored: None,
            polls_to_leave: u32::try_from(polls).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn guard(&self) -> Option<Guard> {
        self.guard
    }

    pub(super) fn set_guard(&mut self, guard: Guard) {
        self.guard = Some(guard);
        self.absence = None;
    }

    /// Cards may have moved unseen: an operation ran, or the encoder was away. None of this is leaving.
    pub(super) fn lose_sight(&mut self) {
        self.lies = None;
        self.absence = None;
    }

    pub(super) fn ignore(&mut self, uid: Option<Uid>) {
        self.ignored = uid;
    }

    /// Takes a poll. True if the guard changed.
    pub(super) fn see(&mut self, now: Moment, poll: Poll) -> bool {
        self.lies = Some(poll);
        if self.ignored.is_some() && seen_uid(poll) != self.ignored {
            self.ignored = None;
        }
        match (self.guard, poll) {
            (None, _) => false,
            (Some(_), Poll::Several) => {
                self.absence = None;
                false
            }
            (Some(Guard::Any), Poll::Card(CardDescription { uid: Some(uid), .. })) => {
                self.absence = None;
                self.guard = Some(Guard::Written {
                    uid,
                    credential_id: None,
                });
                true
            }
            (Some(Guard::Written { uid, .. }), _) if seen_uid(poll) == Some(uid) => {
                self.absence = None;
                false
            }
            (Some(_), Poll::Empty | Poll::Card(_)) => self.miss(now),
        }
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
        match self.guard {
            None => Standing::Takes(card),
            Some(Guard::Any) => Standing::MustLift,
            Some(Guard::Written {
                uid,
                credential_id: written,
            }) if card.uid == Some(uid) => {
                if written.is_some() && written == credential_id {
                    Standing::Takes(card)
                } else {
                    Standing::MustLift
                }
            }
            Some(Guard::Written { .. }) => Standing::GoOnWaiting,
        }
    }

    fn miss(&mut self, now: Moment) -> bool {
        let absence = self.absence.get_or_insert(Absence {
            since: now,
            polls: 0,
        });
        absence.polls += 1;
        let left =
            absence.polls >= self.polls_to_leave.max(2) && now.since(absence.since) >= LEFT_AFTER;
        if left {
            self.guard = None;
            self.absence = None;
        }
        left
    }
}

fn seen_uid(poll: Poll) -> Option<Uid> {
    match poll {
        Poll::Card(card) => card.uid,
        Poll::Empty | Poll::Several => None,
    }
}
