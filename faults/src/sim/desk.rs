//! The coordinator in virtual time: turns over the real book, one transaction each, and the conversations with agents.

use std::collections::{BTreeMap, VecDeque};

use encoder_coordinator::{
    access_system::AccessSystem,
    jobs::{AgentId, Book, Change, CredentialId, EncoderId, Greeting, SessionId},
};
use encoder_protocols::{
    card::key_record::{SiteKey, VersionedSiteKey},
    wire::{AgentMessage, Bye, ByeReason, Hello, JobId, ServiceMessage},
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    common::{Common, MILLISECOND, Micros, SECOND, utc},
    round::Round,
    store::Store,
};

/// How often each side of a session pings.
pub(super) const HEARTBEAT: Micros = 20 * SECOND;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Input {
    Asked {
        job: JobId,
        encoder: EncoderId,
        credential: Option<CredentialId>,
    },
    CredentialDeleted(CredentialId),
    Lost(AgentId, SessionId),
    Opened {
        connection: usize,
        agent: AgentId,
        session: SessionId,
        hello: Box<Hello>,
    },
    Said(AgentId, SessionId, Box<AgentMessage>),
    /// The operator says that every card which holds the credential is destroyed.
    Released(CredentialId),
    /// The operator says that the agent never comes back.
    Retired(AgentId),
}

/// What goes to a connection once the turn is committed.
#[derive(Debug)]
pub(super) enum Out {
    Message(SessionId, Box<ServiceMessage>),
    End(SessionId, Bye),
    /// The session stands: from now on it is this connection's.
    Opened(usize, AgentId, SessionId),
    /// Another one is alive, which is asked for a sign of life.
    TurnedAway(usize, SessionId),
}

pub(super) struct Turn {
    pub(super) changes: Vec<Change>,
    pub(super) out: Vec<Out>,
    pub(super) done_at: Micros,
    /// What the store was before, if it changes.
    pub(super) before: Option<Store>,
}

/// A run of the coordinator's program.
pub(super) struct Desk {
    pub(super) inputs: VecDeque<Input>,
    pub(super) book: Option<Book>,
    pub(super) sessions: BTreeMap<SessionId, AgentId>,
    pub(super) turn: Option<Turn>,
    /// How far the clock was off when the last turn began.
    pub(super) skew: i64,
}

/// The coordinator.
pub(super) struct Coordinator {
    pub(super) store: Store,
    pub(super) copies: Vec<Store>,
    pub(super) desk: Option<Desk>,
    pub(super) frozen_until: Micros,
    pub(super) skew: i64,
    pub(super) starts_at: Option<Micros>,
    /// How many settled jobs stay at hand.
    pub(super) at_hand: usize,
    pub(super) system: AccessSystem,
    pub(super) greeting: Greeting,
}

impl Coordinator {
    pub(super) fn new(store: Store, common: &mut Common) -> Self {
        let key = VersionedSiteKey {
            version: 1,
            key: SiteKey::new([7; 32]),
        };
        Self {
            store,
            copies: Vec::new(),
            desk: None,
            frozen_until: 0,
            skew: 0,
            starts_at: None,
            at_hand: common.dice.index(20),
            system: AccessSystem::new([key]),
            greeting: Greeting {
                store_id: Uuid::from_u128(common.fresh()),
                heartbeat_ms: HEARTBEAT / MILLISECOND,
            },
        }
    }

    pub(super) fn utc(&self, common: &Common) -> Timestamp {
        utc(common.now, self.skew)
    }

    /// Starts the coordinator's program.
    pub(super) fn start(&mut self, common: &mut Common) {
        self.starts_at = None;
        let book = self.store.load(self.utc(common));
        common.note(|| "coordinator: starts".to_owned());
        common.count("coordinator started");
        self.desk = Some(Desk {
            inputs: VecDeque::new(),
            book: Some(book),
            sessions: BTreeMap::new(),
            turn: None,
            skew: self.skew,
        });
    }

    /// The process is gone at once; a commit that was under way happened or not.
    pub(super) fn kill(&mut self, common: &mut Common) {
        let Some(desk) = self.desk.take() else { return };
        if let Some(turn) = desk.turn {
            common.count("coordinator killed in a turn");
            if common.dice.chance(500) {
                common.count("coordinator killed after a commit");
                self.observe(common, &turn.changes);
            } else {
                self.store = turn
                    .before
                    .unwrap_or_else(|| std::mem::take(&mut self.store));
            }
        }
    }

    /// The property's software, or a restore, writes rows of its own.
    pub(super) fn change_store(&mut self, change: impl Fn(&mut Store)) {
        change(&mut self.store);
        let turn = self.desk.as_mut().and_then(|desk| desk.turn.as_mut());
        if let Some(before) = turn.and_then(|turn| turn.before.as_mut()) {
            change(before);
        }
    }

    /// Takes a copy of what is committed.
    pub(super) fn take_copy(&mut self) {
        let turn = self.desk.as_ref().and_then(|desk| desk.turn.as_ref());
        let before = turn.and_then(|turn| turn.before.as_ref());
        let committed = before.unwrap_or(&self.store);
        self.copies.push(committed.clone());
    }

    /// When it wants to run without any input.
    pub(super) fn wakes_at(&self, common: &Common) -> Micros {
        let Some(desk) = &self.desk else {
            return self.starts_at.unwrap_or(Micros::MAX);
        };
        if let Some(turn) = &desk.turn {
            return turn.done_at;
        }
        if !desk.inputs.is_empty() || desk.skew != self.skew {
            return common.now;
        }
        let due = desk.book.as_ref().and_then(Book::next_due);
        let left = due.map(|due| due.duration_since(self.utc(common)).as_micros());
        left.map_or(Micros::MAX, |left| {
            common.now + u64::try_from(left.max(0)).unwrap_or(0)
        })
    }

    /// Runs what is due; returns what goes out.
    pub(super) fn run(&mut self, common: &mut Common) -> Vec<Out> {
        let mut out = Vec::new();
        loop {
            let Some(desk) = &mut self.desk else {
                return out;
            };
            if let Some(turn) = desk.turn.take_if(|turn| turn.done_at <= common.now) {
                self.observe(common, &turn.changes);
                out.extend(self.release(common, turn.out));
                let some = self.copies.len() < 8 && common.dice.chance(50);
                if some && common.weather.restores {
                    self.copies.push(self.store.clone());
                }
                continue;
            }
            if desk.turn.is_some() || self.wakes_at(common) > common.now {
                return out;
            }
            self.begin_turn(common);
        }
    }

    pub(super) fn observe(&self, common: &mut Common, changes: &[Change]) {
        for change in changes {
            common.note(|| {
                let text = format!("store: {change:?}");
                text.chars().take(2500).collect()
            });
            self.store.observe(common, change);
        }
    }

    /// Everything that came in, in one transaction.
    pub(super) fn begin_turn(&mut self, common: &mut Common) {
        let now = self.utc(common);
        let Some(desk) = &mut self.desk else { return };
        let mut book = match desk.book.take() {
            Some(book) => book,
            None => self.store.load(now),
        };
        let batch = std::mem::take(&mut desk.inputs);
        let mut round = Round {
            now,
            store: &mut self.store,
            system: &self.system,
            greeting: self.greeting,
            sessions: &mut desk.sessions,
            before: None,
            changes: Vec::new(),
            out: Vec::new(),
            common,
            planned: false,
        };
        let moved = self.skew - std::mem::replace(&mut desk.skew, self.skew);
        if moved != 0 {
            let moved = book.clock_moved(SignedDuration::from_micros(moved));
            round.carry_out(moved);
        }
        let due = book.tick(now);
        round.carry_out(due);
        for input in batch {
            round.take(&mut book, input);
        }
        let (before, changes, out, planned) =
            (round.before, round.changes, round.out, round.planned);
        book.forget_settled(self.at_hand);
        desk.book = Some(book);
        let longest = if common.calm {
            MILLISECOND
        } else if planned && common.dice.chance(common.weather.slow_plans) {
            common.count("slow plan");
            40 * SECOND
        } else {
            common.weather.commit
        };
        let time = if changes.is_empty() {
            0
        } else {
            common.up_to(longest)
        };
        desk.turn = Some(Turn {
            changes,
            out,
            done_at: common.now + time,
            before,
        });
        common.step_of(None);
    }

    /// Lets messages go, after the commit.
    pub(super) fn release(&mut self, common: &Common, out: Vec<Out>) -> Vec<Out> {
        let now = self.utc(common);
        let Some(desk) = &mut self.desk else {
            return Vec::new();
        };
        let mut released = Vec::new();
        for out in out {
            let session = match &out {
                Out::Message(session, _) | Out::End(session, _) => Some(*session),
                Out::Opened(..) | Out::TurnedAway(..) => None,
            };
            if let Some(session) = session {
                let Some(agent) = desk.sessions.get(&session).copied() else {
                    continue;
                };
                if matches!(out, Out::End(..)) {
                    if let Some(book) = &mut desk.book {
                        book.session_lost(now, agent, session);
                    }
                    desk.sessions.remove(&session);
                }
            }
            released.push(out);
        }
        released
    }
}

/// What a coordinator says to whom it turns away.
pub(super) fn in_use() -> Bye {
    Bye {
        reason: ByeReason::AgentInUse,
        message: "another live session uses this agent's token".to_owned(),
    }
}
