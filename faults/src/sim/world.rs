//! The run: what happens when, until everything has come to rest.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use encoder_agent::session::{ConnectError, ConnectionEnd};
use encoder_coordinator::jobs::{
    AgentId, AgentRecord, Attempt, CredentialId, EncoderId, SessionId, SystemId,
};
use encoder_protocols::{
    card::virtual_card::CardKind,
    wire::{AgentMessage, JobId, KeyScope, ServiceMessage, WireMessage},
};
use uuid::Uuid;

use super::{
    common::{Aim, Common, Coverage, MILLISECOND, Micros, SECOND, moment, utc},
    desk::{Coordinator, HEARTBEAT, Input, Out, in_use},
    network::{Connection, Frame, PROBE_TIME, Side, Way},
    pc::{Pc, Wish},
    store::Store,
    table::{Hardware, lock},
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
/// How long everything may take to come to rest once nothing fails any more.
const LONGEST_CALM: Micros = 3600 * SECOND;
/// How long a desk may take for one key when nothing fails.
const ONE_KEY: Micros = 40 * SECOND;

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
    events: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    order: u64,
    next_connection: usize,
    /// When each PC, and the coordinator, wants to run.
    wakes: [Micros; 4],
    /// Everything was given the time to come to rest.
    rested: bool,
    /// An agent that was retired although its PC runs.
    pub(super) retired: Option<AgentId>,
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

    fn new(seed: u64, traced: bool) -> Self {
        let place = |pc| Hardware { pc, generation: 0 };
        let encoders = vec![
            place(Some(0)),
            place(Some(0)),
            place(Some(1)),
            place(Some(CLONE)),
        ];
        let mut common = Common::new(seed, traced, encoders);
        let weather = format!("{:?}", common.weather);
        common.note(|| weather);
        let keys = [("mobile", KeyScope::System), ("desk", KeyScope::Agent)];
        let mut pcs = Vec::new();
        for (index, agent, fixed) in [(0, 0, 1), (1, 1, 2), (CLONE, 0, 3)] {
            pcs.push(Pc::new(
                index,
                agent,
                vec![MOBILE, fixed],
                &keys,
                &mut common,
            ));
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
        }
    }

    fn storm(&mut self) {
        self.coordinator.start(&mut self.common);
        for pc in self.pcs.iter_mut().take(2) {
            pc.start(&mut self.common);
        }
        for encoder in 0..3 {
            self.after(SECOND, Event::Clerk(encoder));
        }
        self.after(500 * MILLISECOND, Event::Property);
        self.after(SECOND, Event::Chaos);
        let end = self.common.weather.storm;
        self.run_until(end, |_| false);
    }

    /// Nothing fails any more: everything must come to rest, and the desks must work.
    fn calm(&mut self) {
        self.heal();
        let end = self.common.now + LONGEST_CALM;
        // What stands still goes on after 90 s; encoders are tried again every 10 s.
        let settled = self.common.now + 120 * SECOND;
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
        for encoder in 0..3 {
            self.write_a_key(encoder);
        }
        self.observe_ties();
    }

    fn verdict(self) -> Verdict {
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
    fn run_until(&mut self, end: Micros, done: impl Fn(&Self) -> bool) -> bool {
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

    fn schedule_aims(&mut self) {
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

    fn run_node(&mut self, node: usize) {
        let wake = if node == 3 {
            self.run_coordinator()
        } else {
            self.run_pc(node)
        };
        if let Some(wakes) = self.wakes.get_mut(node) {
            *wakes = wake;
        }
    }

    fn run_coordinator(&mut self) -> Micros {
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

    fn run_pc(&mut self, index: usize) -> Micros {
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

    /// The connection that this process holds.
    fn connection_of(&self, pc: usize, boot: Option<Uuid>) -> Option<usize> {
        self.connections
            .iter()
            .find(|(_, connection)| {
                connection.pc == pc && Some(connection.boot) == boot && connection.agent_open
            })
            .map(|(id, _)| *id)
    }

    fn obey(&mut self, pc: usize, boot: Option<Uuid>, wish: Wish) {
        match wish {
            Wish::Connect => {
                let longest = if self.common.calm {
                    MILLISECOND
                } else {
                    300 * MILLISECOND
                };
                let delay = self.common.up_to(longest);
                if let Some(boot) = boot {
                    self.after(delay, Event::Connected(pc, boot));
                }
            }
            Wish::Disconnect => {
                if let Some(id) = self.connection_of(pc, boot) {
                    self.send(id, Way::ToCoordinator, Frame::End);
                    self.close_agent_side(id);
                }
            }
            Wish::Text(text) => {
                if let Some(id) = self.connection_of(pc, boot) {
                    self.send(id, Way::ToCoordinator, Frame::Text(text));
                }
            }
            Wish::Ping => {
                if let Some(id) = self.connection_of(pc, boot) {
                    self.send(id, Way::ToCoordinator, Frame::Ping);
                }
            }
        }
    }

    pub(super) fn send(&mut self, id: usize, way: Way, frame: Frame) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Some(at) = connection.send(&mut self.common, way, frame) {
            let delay = at - self.common.now;
            self.after(delay, Event::Frame(id, way));
        }
    }

    pub(super) fn close_agent_side(&mut self, id: usize) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.agent_open = false;
            if connection.is_over() {
                self.connections.remove(&id);
            }
        }
    }

    /// The coordinator's side is over; the desk hears of it.
    pub(super) fn close_side(&mut self, id: usize) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let side = std::mem::replace(&mut connection.side, Side::Over);
        if connection.is_over() {
            self.connections.remove(&id);
        }
        if let Side::Live(agent, session) | Side::Opening(agent, session) = side
            && let Some(desk) = &mut self.coordinator.desk
        {
            desk.inputs.push_back(Input::Lost(agent, session));
            self.wake_coordinator();
        }
    }

    /// Closes from the coordinator's side, and tells the other one.
    fn hang_up(&mut self, id: usize) {
        self.send(id, Way::ToAgent, Frame::End);
        self.close_side(id);
    }

    fn put_out(&mut self, out: Out) {
        let say = |message: &ServiceMessage| Frame::Text(message.encode());
        match out {
            Out::Opened(id, agent, session) => {
                let now = self.common.now;
                match self.connections.get_mut(&id) {
                    Some(connection) if matches!(connection.side, Side::Opening(..)) => {
                        connection.side = Side::Live(agent, session);
                        connection.heard_until = now + 2 * HEARTBEAT;
                    }
                    Some(_) | None => self.tell_lost(agent, session),
                }
            }
            Out::TurnedAway(id, first) => {
                self.probe(first);
                let bye = ServiceMessage::Bye(in_use());
                self.send(id, Way::ToAgent, say(&bye));
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.side = Side::Over;
                }
            }
            Out::Message(session, message) => {
                if let Some(id) = self.live(session) {
                    self.send(id, Way::ToAgent, say(&message));
                }
            }
            Out::End(session, bye) => {
                if let Some(id) = self.live(session) {
                    self.send(id, Way::ToAgent, say(&ServiceMessage::Bye(bye)));
                    self.hang_up(id);
                }
            }
        }
    }

    fn tell_lost(&mut self, agent: AgentId, session: SessionId) {
        if let Some(desk) = &mut self.coordinator.desk {
            desk.inputs.push_back(Input::Lost(agent, session));
            self.wake_coordinator();
        }
    }

    fn live(&self, session: SessionId) -> Option<usize> {
        let is_live = |side: Side| matches!(side, Side::Live(_, live) if live == session);
        self.connections
            .iter()
            .find(|(_, connection)| is_live(connection.side))
            .map(|(id, _)| *id)
    }

    fn probe(&mut self, session: SessionId) {
        let Some(id) = self.live(session) else { return };
        let soon = self.common.now + PROBE_TIME;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.heard_until = connection.heard_until.min(soon);
        }
        self.send(id, Way::ToAgent, Frame::Ping);
        self.after(PROBE_TIME, Event::Side(id));
    }

    fn happen(&mut self, event: Event) {
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
            Event::Retire(pc) => self.retire_for_good(pc),
        }
    }

    fn connected(&mut self, index: usize, boot: Uuid) {
        let now = self.common.now;
        let reachable = self.coordinator.desk.is_some() && self.coordinator.frozen_until <= now;
        let Some(pc) = self.pcs.get_mut(index) else {
            return;
        };
        if pc.frozen_until > now {
            let delay = pc.frozen_until - now;
            return self.after(delay, Event::Connected(index, boot));
        }
        let at = pc.moment(now);
        let retired = AGENTS.get(pc.agent).is_some_and(|agent| {
            let row = self.coordinator.store.agents.get(agent);
            row.is_some_and(|row| row.retired)
        });
        let Some(process) = pc.process.as_mut().filter(|process| process.boot == boot) else {
            return;
        };
        let url = String::new();
        if retired && reachable {
            let refused = ConnectError::TokenRefused { url, status: 401 };
            process.session.handle_connect_failed(at, &refused);
        } else if reachable {
            process.session.handle_connected(at);
            let id = self.next_connection;
            self.next_connection += 1;
            self.connections
                .insert(id, Connection::new(index, boot, now));
            self.common.count("connected");
            self.after(HEARTBEAT / 2, Event::Side(id));
        } else {
            let problem = String::new();
            let unreachable = ConnectError::Unreachable { url, problem };
            process.session.handle_connect_failed(at, &unreachable);
        }
        self.wake(index);
    }

    fn frame(&mut self, id: usize, way: Way) {
        let now = self.common.now;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pc = connection.pc;
        let frozen = match way {
            Way::ToCoordinator => self.coordinator.frozen_until,
            Way::ToAgent => self.pcs.get(pc).map_or(0, |pc| pc.frozen_until),
        };
        let later = frozen.max(connection.stalled_until);
        if later > now {
            return self.after(later - now, Event::Frame(id, way));
        }
        let Some(frame) = connection.arrived(now, way) else {
            return;
        };
        match way {
            Way::ToCoordinator => self.heard(id, frame),
            Way::ToAgent => self.hand_to_agent(id, frame),
        }
    }

    fn hand_to_agent(&mut self, id: usize, frame: Frame) {
        let Some(connection) = self.connections.get(&id).filter(|at| at.agent_open) else {
            return;
        };
        let (index, boot) = (connection.pc, connection.boot);
        let now = self.common.now;
        let Some(pc) = self.pcs.get_mut(index) else {
            return;
        };
        let at = pc.moment(now);
        let Some(process) = pc.process.as_mut().filter(|process| process.boot == boot) else {
            return;
        };
        self.common
            .note(|| format!("to pc{index}: {}", short(&frame)));
        match frame {
            Frame::Text(text) => process.session.handle_text(at, &text),
            Frame::Ping => {
                process.session.handle_heartbeat(at);
                self.send(id, Way::ToCoordinator, Frame::Pong);
            }
            Frame::Pong => process.session.handle_heartbeat(at),
            Frame::End => {
                let end = ConnectionEnd::Broken(String::new());
                process.session.handle_end(at, &end);
                self.close_agent_side(id);
            }
        }
        self.wake(index);
    }

    /// A frame came to the coordinator.
    fn heard(&mut self, id: usize, frame: Frame) {
        let now = self.common.now;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.side == Side::Over {
            return;
        }
        if connection.side != Side::Greeting {
            connection.heard_until = now + 2 * HEARTBEAT;
        }
        let (pc, side) = (connection.pc, connection.side);
        self.common
            .note(|| format!("from pc{pc}: {}", short(&frame)));
        match frame {
            Frame::End => self.close_side(id),
            Frame::Ping => self.send(id, Way::ToAgent, Frame::Pong),
            Frame::Pong => {}
            Frame::Text(text) => match (AgentMessage::decode(&text), side) {
                (Ok(AgentMessage::Hello(hello)), Side::Greeting) => self.hello(id, pc, hello),
                (Ok(message), Side::Live(agent, session) | Side::Opening(agent, session)) => {
                    if let Some(desk) = &mut self.coordinator.desk {
                        let said = Input::Said(agent, session, Box::new(message));
                        desk.inputs.push_back(said);
                        self.wake_coordinator();
                    }
                }
                (Ok(_) | Err(_), _) => {
                    self.common
                        .ledger
                        .waits("an agent sent what is no message of the protocol");
                }
            },
        }
    }

    fn hello(&mut self, id: usize, pc: usize, hello: encoder_protocols::wire::Hello) {
        let session = SessionId(Uuid::from_u128(self.common.fresh()));
        let agent = self
            .pcs
            .get(pc)
            .and_then(|pc| AGENTS.get(pc.agent))
            .copied();
        let (Some(agent), Some(desk)) = (agent, &mut self.coordinator.desk) else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.side = Side::Opening(agent, session);
            connection.heard_until = self.common.now + 2 * HEARTBEAT;
        }
        desk.inputs.push_back(Input::Opened {
            connection: id,
            agent,
            session,
            hello: Box::new(hello),
        });
        self.wake_coordinator();
    }

    /// The coordinator's side of a connection looks at its clock.
    fn side(&mut self, id: usize) {
        let now = self.common.now;
        let frozen = self.coordinator.frozen_until;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if frozen > now {
            return self.after(frozen - now, Event::Side(id));
        }
        if connection.side == Side::Over {
            return;
        }
        if connection.heard_until <= now {
            self.common.count("session ended for silence");
            return self.hang_up(id);
        }
        if connection.next_ping <= now {
            connection.next_ping = now + HEARTBEAT;
            self.send(id, Way::ToAgent, Frame::Ping);
        }
        let next = self.connections.get(&id).map_or(now, Connection::wakes_at);
        self.after(next.saturating_sub(now).max(MILLISECOND), Event::Side(id));
    }

    /// What still waits.
    fn unrest(&self) -> Vec<String> {
        let mut unrest = Vec::new();
        for pc in self.pcs.iter().filter(|pc| !pc.gone) {
            let mut connections = self.connections.values();
            let is_live = |at: &Connection| at.pc == pc.index && matches!(at.side, Side::Live(..));
            if !connections.any(is_live) {
                unrest.push(format!("pc{} is not connected", pc.index));
            }
            let contents = pc.disk.journal.contents();
            for job in contents.open_jobs {
                unrest.push(format!(
                    "pc{} holds job {} open",
                    pc.index, job.facts.job_id
                ));
            }
            for owed in contents.unacknowledged {
                let sequence = owed.finished.sequence;
                unrest.push(format!("pc{} owes outcome {sequence}", pc.index));
            }
        }
        for job in self.coordinator.store.jobs.values() {
            if job.attempt == Attempt::Pending {
                unrest.push(format!("the attempt of job {} is pending", job.id));
            }
        }
        unrest
    }

    fn observe_ties(&mut self) {
        for (credential, holds) in &self.coordinator.store.holds {
            for hold in holds {
                self.common.ledger.tied(credential.0, hold.job, hold.uid);
            }
        }
    }

    /// A new key on a new card must succeed on every encoder that is there.
    fn write_a_key(&mut self, hardware: usize) {
        let plugged = lock(&self.common.table)
            .encoders
            .get(hardware)
            .and_then(|at| at.pc);
        let Some(pc) = plugged.filter(|pc| self.pcs.get(*pc).is_some_and(|pc| !pc.gone)) else {
            return;
        };
        let Some(encoder) = self.encoder_at(hardware, pc) else {
            return self
                .common
                .ledger
                .waits(format!("encoder {hardware} is never listed"));
        };
        let credential = self.new_credential();
        let job = self.ask(encoder, Some(credential));
        let card = lock(&self.common.table).add(CardKind::ClassicMini);
        lock(&self.common.table).put(card, hardware);
        let end = self.common.now + ONE_KEY;
        let ended = |world: &Self| {
            let row = world.coordinator.store.jobs.get(&job);
            row.is_some_and(|row| row.attempt != Attempt::Pending)
        };
        self.run_until(end, ended);
        let row = self.coordinator.store.jobs.get(&job);
        let attempt = row.map(|row| row.attempt.clone());
        if !matches!(attempt, Some(Attempt::Success { .. })) {
            let words = format!("encoder {hardware} writes no key when nothing fails: {attempt:?}");
            self.common.ledger.waits(words);
        }
        let end = self.common.now + SECOND;
        self.run_until(end, |_| false);
        lock(&self.common.table).lift(card);
    }

    /// The coordinator's name for an encoder.
    pub(super) fn encoder_at(&self, hardware: usize, pc: usize) -> Option<EncoderId> {
        let agent = AGENTS.get(self.pcs.get(pc)?.agent)?;
        let key = if hardware == MOBILE { "mobile" } else { "desk" };
        let mut known = self.coordinator.store.encoders.values();
        let found = known.find(|row| {
            row.key.0 == key
                && (hardware == MOBILE || row.places.iter().any(|at| at.agent == *agent))
        });
        found.map(|row| row.id)
    }

    pub(super) fn new_credential(&mut self) -> CredentialId {
        let id = Uuid::from_u128(self.common.fresh());
        let now = self.coordinator.utc(&self.common);
        self.coordinator.change_store(|store| {
            store.add_credential(id, now);
        });
        CredentialId(id)
    }

    /// Asks for an encode, or a scan. Nothing comes of it while the coordinator is away.
    pub(super) fn ask(&mut self, encoder: EncoderId, credential: Option<CredentialId>) -> JobId {
        let job = JobId(Uuid::from_u128(self.common.fresh()));
        self.common
            .note(|| format!("property: job {job}: {credential:?} on {encoder}"));
        if let Some(desk) = &mut self.coordinator.desk {
            self.common.count("asked");
            desk.inputs.push_back(Input::Asked {
                job,
                encoder,
                credential,
            });
            self.wake_coordinator();
        }
        job
    }
}

/// A frame in a trace.
fn short(frame: &Frame) -> String {
    match frame {
        Frame::Text(text) => text.chars().take(260).collect(),
        Frame::Ping => "ping".to_owned(),
        Frame::Pong => "pong".to_owned(),
        Frame::End => "end".to_owned(),
    }
}

/// A process's moment.
impl Pc {
    fn moment(&self, now: Micros) -> encoder_protocols::moment::Moment {
        moment(
            self.process
                .as_ref()
                .map_or(0, |process| process.clock(now)),
        )
    }
}
