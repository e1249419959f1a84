//! The connections: who is reached, what arrives where, and who is found dead.

use encoder_agent::session::{ConnectError, ConnectionEnd};
use encoder_coordinator::jobs::{AgentId, SessionId};
use encoder_protocols::wire::{AgentMessage, ServiceMessage, WireMessage};
use uuid::Uuid;

use super::{
    common::{MILLISECOND, Micros, moment},
    desk::{HEARTBEAT, Input, Out, in_use},
    network::{Connection, Frame, PROBE_TIME, Side, Way},
    pc::{Pc, Wish},
    world::{AGENTS, Event, World},
};

impl World {
    /// The connection that this process holds.
    pub(super) fn connection_of(&self, pc: usize, boot: Option<Uuid>) -> Option<usize> {
        self.connections
            .iter()
            .find(|(_, connection)| {
                connection.pc == pc && Some(connection.boot) == boot && connection.agent_open
            })
            .map(|(id, _)| *id)
    }

    pub(super) fn obey(&mut self, pc: usize, boot: Option<Uuid>, wish: Wish) {
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
    pub(super) fn hang_up(&mut self, id: usize) {
        self.send(id, Way::ToAgent, Frame::End);
        self.close_side(id);
    }

    pub(super) fn put_out(&mut self, out: Out) {
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

    pub(super) fn tell_lost(&mut self, agent: AgentId, session: SessionId) {
        if let Some(desk) = &mut self.coordinator.desk {
            desk.inputs.push_back(Input::Lost(agent, session));
            self.wake_coordinator();
        }
    }

    pub(super) fn live(&self, session: SessionId) -> Option<usize> {
        let is_live = |side: Side| matches!(side, Side::Live(_, live) if live == session);
        self.connections
            .iter()
            .find(|(_, connection)| is_live(connection.side))
            .map(|(id, _)| *id)
    }

    pub(super) fn probe(&mut self, session: SessionId) {
        let Some(id) = self.live(session) else { return };
        let soon = self.common.now + PROBE_TIME;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.heard_until = connection.heard_until.min(soon);
        }
        self.send(id, Way::ToAgent, Frame::Ping);
        self.after(PROBE_TIME, Event::Side(id));
    }

    pub(super) fn connected(&mut self, index: usize, boot: Uuid) {
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

    pub(super) fn frame(&mut self, id: usize, way: Way) {
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

    pub(super) fn hand_to_agent(&mut self, id: usize, frame: Frame) {
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
    pub(super) fn heard(&mut self, id: usize, frame: Frame) {
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

    pub(super) fn hello(&mut self, id: usize, pc: usize, hello: encoder_protocols::wire::Hello) {
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
    pub(super) fn side(&mut self, id: usize) {
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
}

/// A frame in a trace.
pub(super) fn short(frame: &Frame) -> String {
    match frame {
        Frame::Text(text) => text.chars().take(260).collect(),
        Frame::Ping => "ping".to_owned(),
        Frame::Pong => "pong".to_owned(),
        Frame::End => "end".to_owned(),
    }
}

/// A process's moment.
impl Pc {
    pub(super) fn moment(&self, now: Micros) -> encoder_protocols::moment::Moment {
        moment(
            self.process
                .as_ref()
                .map_or(0, |process| process.clock(now)),
        )
    }
}
