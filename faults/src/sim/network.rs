//! The network between agents and coordinator: ordered within a connection, with delays, stalls and half-open links.

use std::collections::VecDeque;

use encoder_coordinator::jobs::{AgentId, SessionId};
use uuid::Uuid;

use super::{
    common::{Common, MILLISECOND, Micros, SECOND},
    desk::HEARTBEAT,
};

/// How long an agent may take for its first message.
pub(super) const HELLO_TIME: Micros = 10 * SECOND;
/// How long a session has to show that it is alive once another one has come.
pub(super) const PROBE_TIME: Micros = 3 * SECOND;

/// What travels.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    Text(String),
    Ping,
    Pong,
    /// The connection was closed, or broke.
    End,
}

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Way {
    ToCoordinator,
    ToAgent,
}

/// Where the coordinator's side stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Greeting,
    Opening(AgentId, SessionId),
    Live(AgentId, SessionId),
    Over,
}

#[derive(Default)]
struct Line {
    frames: VecDeque<(Micros, Frame)>,
    last: Micros,
}

/// One websocket connection.
pub(super) struct Connection {
    pub(super) pc: usize,
    /// The process that opened it.
    pub(super) boot: Uuid,
    pub(super) agent_open: bool,
    pub(super) side: Side,
    /// When the coordinator's side counts as dead unless something is heard.
    pub(super) heard_until: Micros,
    pub(super) next_ping: Micros,
    /// Everything that is sent vanishes, and nobody is told.
    pub(super) half_open: bool,
    /// Frames were lost: as on a stream none of the later ones arrives either, only the connection's end.
    is_cut: bool,
    /// What is sent arrives only then.
    pub(super) stalled_until: Micros,
    lines: [Line; 2],
}

impl Connection {
    pub(super) fn new(pc: usize, boot: Uuid, now: Micros) -> Self {
        Self {
            pc,
            boot,
            agent_open: true,
            side: Side::Greeting,
            heard_until: now + HELLO_TIME,
            next_ping: now + HEARTBEAT,
            half_open: false,
            is_cut: false,
            stalled_until: 0,
            lines: Default::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        !self.agent_open && self.side == Side::Over
    }

    /// Sends a frame; returns when it arrives, unless it never does.
    pub(super) fn send(&mut self, common: &mut Common, way: Way, frame: Frame) -> Option<Micros> {
        if self.half_open || (self.is_cut && !matches!(frame, Frame::End)) {
            common.count("message swallowed by a half-open link");
            return None;
        }
        let longest = if common.calm {
            5 * MILLISECOND
        } else {
            common.weather.network
        };
        let delay = common.up_to(longest);
        let line = self.line(way);
        let at = (common.now + delay).max(line.last);
        line.last = at;
        line.frames.push_back((at, frame));
        Some(at)
    }

    /// The next frame that has arrived by now.
    pub(super) fn arrived(&mut self, now: Micros, way: Way) -> Option<Frame> {
        if self.half_open {
            self.line(way).frames.clear();
            return None;
        }
        if self.stalled_until > now {
            return None;
        }
        let line = self.line(way);
        let due = line.frames.front().is_some_and(|(at, _)| *at <= now);
        line.frames.pop_front_if(|_| due).map(|(_, frame)| frame)
    }

    /// Everything on its way is lost, and so is what follows.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
        for line in &mut self.lines {
            line.frames.clear();
        }
    }

    /// When the coordinator's side wants to be looked at.
    pub(super) fn wakes_at(&self) -> Micros {
        match self.side {
            Side::Over => Micros::MAX,
            Side::Greeting => self.heard_until,
            Side::Opening(..) | Side::Live(..) => self.heard_until.min(self.next_ping),
        }
    }

    fn line(&mut self, way: Way) -> &mut Line {
        let [up, down] = &mut self.lines;
        match way {
            Way::ToCoordinator => up,
            Way::ToAgent => down,
        }
    }
}
