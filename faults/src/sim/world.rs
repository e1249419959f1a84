//! The run: what happens when, until everything has come to rest.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use encoder_coordinator::jobs::{AgentId, AgentRecord, SystemId};
use encoder_protocols::wire::KeyScope;
use uuid::Uuid;

use super::{
    common::{Aim, Common, Coverage, MILLISECOND, Micros, SECOND, utc},
    desk::Coordinator,
    network::{Connection, Way},
    pc::Pc,
    store::Store,
    table::Hardware,
};
use crate::invariants::Violation;

/// The agents' ids, by their place.
pub(super) const AGENTS: [AgentId; 2] = [
    AgentId(Uuid::from_u128(0xa1)),
    AgentId(Uuid::from_u128(0xa2)),
];
/// The encoder that moves between the PCs.
pub(super) const MOBILE: usize = 0;
/// The PC that is a copy of the first one.
pub(super) const CLONE: usize = 2;
/// The encoder that cards are drawn through.
pub(super) const STRIPES: usize = 4;
/// The encoders of the two desks.
pub(super) const ENCODERS: [usize; 4] = [MOBILE, 1, 2, STRIPES];
/// How long everything may take to come to rest once nothing fails any more.
pub(super) const LONGEST_CALM: Micros = 3600 * SECOND;

/// What happens at a time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Event {
    /// A frame may have arrived.
    Frame(usize, Way),
    /// An attempt of this PC's process to connect ends.
    Connected(usize, Uuid),
    /// The coordinator's side of a connection.
    Side(usize),
    /// Somebody does something with cards at this encoder.
    Clerk(usize),
    /// A card is put on this encoder, as it was asked for.
    Put(usize),
    /// The property's software asks for something.
    Property,
    /// Something fails.
    Chaos,
    /// A fault that was aimed.
    Aim(u8, usize),
    /// An encoder is plugged in again.
    Plug(usize, usize),
    /// A disk has room again.
    Room(usize),
    /// The next guest stands at this encoder.
    NextGuest(usize),
    /// The operator retires the agent of a PC that is out of service.
    Retire(usize),
}

/// What came of a run.
#[derive(Debug)]
pub struct Verdict {
    /// The invariants that did not hold.
    pub violations: Vec<Violation>,
    /// How often what happened.
    pub coverage: Coverage,
    /// What happened, if that was asked for.
    pub trace: Vec<String>,
}

/// Everything.
pub(super) struct World {
    pub(super) common: Common,
    pub(super) pcs: Vec<Pc>,
    pub(super) coordinator: Coordinator,
    pub(super) connections: BTreeMap<usize, Connection>,
    pub(super) events: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    pub(super) order: u64,
    pub(super) next_connection: usize,
    /// When each PC, and the coordinator, wants to run.
    pub(super) wakes: [Micros; 4],
    /// Everything was given the time to come to rest.
    pub(super) rested: bool,
    /// An agent that was retired although its PC runs.
    pub(super) retired: Option<AgentId>,
    /// An encoder that is never plugged in again.
    pub(super) broken: Option<usize>,
}

impl World {
    /// Runs a seed.
    pub(super) fn run(seed: u64, traced: bool) -> Verdict {
        let mut world = Self::new(seed, traced);
        world.storm();
        if world.common.ledger.violations().is_empty() {
            world.calm();
        }
        world.verdict()
    }

    pub(super) fn new(seed: u64, traced: bool) -> Self {
        let place = |pc| Hardware { pc, generation: 0 };
        let encoders = vec![
            place(Some(0)),
            place(Some(0)),
            place(Some(1)),
            place(Some(CLONE)),
            place(Some(1)),
        ];
        let mut common = Common::new(seed, traced, encoders);
        let weather = format!("{:?}", common.weather);
        common.note(|| weather);
        let keys = [
            ("mobile", KeyScope::System),
            ("desk", KeyScope::Agent),
            ("stripes", KeyScope::Agent),
        ];
        let mut pcs = Vec::new();
        let hardware = [
            (0, 0, vec![MOBILE, 1]),
            (1, 1, vec![MOBILE, 2, STRIPES]),
            (CLONE, 0, vec![MOBILE, 3]),
        ];
        for (index, agent, hardware) in hardware {
            pcs.push(Pc::new(index, agent, hardware, &keys, &mut common));
        }
        let now = utc(0, 0);
        let mut store = Store::default();
        for (index, id) in AGENTS.into_iter().enumerate() {
            let record = AgentRecord {
                id,
                system: SystemId(Uuid::nil()),
                name: format!("pc{index}"),
                own_id: None,
                last_sequence: 0,
                session: None,
                away_since: now,
                retired: false,
            };
            store.agents.insert(id, std::rc::Rc::new(record));
        }
        let coordinator = Coordinator::new(store, &mut common);
        Self {
            common,
            pcs,
            coordinator,
            connections: BTreeMap::new(),
            events: BinaryHeap::new(),
            order: 0,
            next_connection: 0,
            wakes: [0; 4],
            rested: false,
            retired: None,
            broken: None,
        }
    }

    pub(super) fn storm(&mut self) {
        self.coordinator.start(&mut self.common);
        for pc in self.pcs.iter_mut().take(2) {
            pc.start(&mut self.common);
        }
        for encoder in ENCODERS {
            self.after(SECOND, Event::Clerk(encoder));
        }
        self.after(500 * MILLISECOND, Event::Property);
        self.after(SECOND, Event::Chaos);
        let end = self.common.weather.storm;
        self.run_until(end, |_| false);
    }

    /// Nothing fails any more: everything must come to rest, and the desks must work.
    pub(super) fn calm(&mut self) {
        self.heal();
        let end = self.common.now + LONGEST_CALM;
        // A half-open connection is found after 45 s; encoders are tried again every 10 s.
        let settled = self.common.now + 60 * SECOND;
        self.run_until(settled, |_| false);
        let mut rested = false;
        while !rested && self.common.now < end {
            let next = self.common.now + 10 * SECOND;
            self.run_until(next, |_| false);
            rested = self.unrest().is_empty();
        }
        if !self.common.ledger.violations().is_empty() {
            return;
        }
        self.rested = true;
        for what in self.unrest() {
            self.common.ledger.waits(what);
        }
        for encoder in ENCODERS {
            self.write_a_key(encoder);
        }
        self.observe_ties();
    }

    pub(super) fn verdict(self) -> Verdict {
        // A run ends at once where an invariant breaks in its middle: nothing has come to rest then.
        let broken = self.common.ledger.violations().to_vec();
        let violations = if self.rested {
            self.common.ledger.settle()
        } else {
            broken
        };
        Verdict {
            violations,
            coverage: self.common.coverage,
            trace: self.common.trace.unwrap_or_default(),
        }
    }

    /// Runs until `end`, or until `done`.
    pub(super) fn run_until(&mut self, end: Micros, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            let (node, wake) = self
                .wakes
                .iter()
                .copied()
                .enumerate()
                .min_by_key(|(_, at)| *at)
                .unwrap_or((0, Micros::MAX));
            let event = self
                .events
                .peek()
                .map_or(Micros::MAX, |Reverse((at, ..))| *at);
            let at = wake.min(event);
            if at > end {
                self.common.now = end.max(self.common.now);
                return false;
            }
            self.common.now = at.max(self.common.now);
            if wake <= event {
                self.run_node(node);
            } else if let Some(Reverse((_, _, event))) = self.events.pop() {
                self.happen(event);
            }
            self.common.note_cards();
            self.schedule_aims();
            if !self.common.ledger.violations().is_empty() || done(self) {
                return true;
            }
        }
    }

    pub(super) fn after(&mut self, delay: Micros, event: Event) {
        self.order += 1;
        let at = self.common.now + delay;
        self.events.push(Reverse((at, self.order, event)));
    }

    pub(super) fn schedule_aims(&mut self) {
        for (at, aim) in std::mem::take(&mut self.common.aims) {
            let (which, whom) = match aim {
                Aim::KillAgent(pc) => (0, pc),
                Aim::PowerCut(pc) => (1, pc),
                Aim::KillCoordinator => (2, 0),
                Aim::CutLink(pc) => (3, pc),
                Aim::Unplug(encoder) => (4, encoder),
                Aim::Lift(encoder) => (5, encoder),
                Aim::Swap(encoder) => (6, encoder),
                Aim::Freeze(pc) => (7, pc),
                Aim::LoseJournal(pc) => (8, pc),
                Aim::OldImage(pc) => (9, pc),
                Aim::Restore => (10, 0),
            };
            self.after(at.saturating_sub(self.common.now), Event::Aim(which, whom));
        }
    }

    /// Something may have changed for this PC; the coordinator is number 3.
    pub(super) fn wake(&mut self, node: usize) {
        if let Some(wake) = self.wakes.get_mut(node) {
            *wake = self.common.now;
        }
    }

    pub(super) fn wake_coordinator(&mut self) {
        self.wake(3);
    }

    pub(super) fn run_node(&mut self, node: usize) {
        let wake = if node == 3 {
            self.run_coordinator()
        } else {
            self.run_pc(node)
        };
        if let Some(wakes) = self.wakes.get_mut(node) {
            *wakes = wake;
        }
    }

    pub(super) fn run_coordinator(&mut self) -> Micros {
        let now = self.common.now;
        let coordinator = &mut self.coordinator;
        if coordinator.frozen_until > now {
            return coordinator.frozen_until;
        }
        if coordinator.desk.is_none() && coordinator.starts_at.is_some_and(|at| at <= now) {
            coordinator.start(&mut self.common);
        }
        for out in self.coordinator.run(&mut self.common) {
            self.put_out(out);
        }
        self.coordinator.wakes_at(&self.common)
    }

    pub(super) fn run_pc(&mut self, index: usize) -> Micros {
        let now = self.common.now;
        let Some(pc) = self.pcs.get_mut(index) else {
            return Micros::MAX;
        };
        if pc.frozen_until > now {
            return pc.frozen_until;
        }
        if pc.process.is_none() {
            match pc.starts_at.filter(|_| !pc.gone) {
                Some(at) if at <= now => pc.start(&mut self.common),
                Some(at) => return at,
                None => return Micros::MAX,
            }
        }
        let boot = pc.process.as_ref().map(|process| process.boot);
        let (wishes, ended) = pc.run(&mut self.common);
        for wish in wishes {
            self.obey(index, boot, wish);
        }
        let now = self.common.now;
        let pause = self.common.up_to(10 * SECOND);
        let Some(pc) = self.pcs.get_mut(index) else {
            return Micros::MAX;
        };
        if ended && !pc.gone {
            pc.starts_at = Some(now + pause);
        }
        match &pc.process {
            Some(process) => process.wakes_at().max(now),
            None => pc.starts_at.unwrap_or(Micros::MAX),
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Frame(id, way) => self.frame(id, way),
            Event::Connected(pc, boot) => self.connected(pc, boot),
            Event::Side(id) => self.side(id),
            Event::Clerk(encoder) => self.clerk(encoder),
            Event::Put(encoder) => self.put_card(encoder),
            Event::Property => self.property(),
            Event::Chaos => self.chaos(),
            Event::Aim(which, whom) => self.aimed(which, whom),
            Event::Plug(encoder, pc) => self.plug(encoder, pc),
            Event::Room(pc) => self.room(pc),
            Event::NextGuest(encoder) => self.next_guest(encoder),
            Event::Retire(pc) => self.retire_for_good(pc),
        }
    }
}
