//! The session's private parsers and its machine, for the fuzz targets.

use std::time::Duration;

use encoder_protocols::{moment::Moment, wire::AgentMessage};
use futures_util::FutureExt as _;
use jiff::Timestamp;

use super::{
    SessionEvent,
    action::Action,
    error::{ConnectError, ConnectionEnd},
    machine::Machine,
};

/// How long a `Retry-After` asks to wait.
pub fn retry_after(value: &str, date: Option<&str>, utc: Timestamp) -> Option<Duration> {
    super::retry_after::parse(value, date, utc)
}

/// The session's state machine with a socket that always connects.
pub struct Conversation(Machine);

impl Conversation {
    /// Connects at the first timeout, which is `now`.
    pub fn new(now: Moment) -> Self {
        Self(Machine::new(now, Box::new(|longest| longest)))
    }

    /// When [`Conversation::handle_timeout`] is wanted.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.0.poll_timeout()
    }

    /// Lets time come; an attempt to connect ends well at once, or as `refusal` says.
    pub fn handle_timeout(&mut self, now: Moment, refusal: Option<Duration>) -> Said {
        self.0.handle_timeout(now);
        let mut said = self.take();
        if said.connects {
            match refusal {
                None => self.0.handle_connected(now),
                Some(retry_after) => {
                    let unavailable = ConnectError::Unavailable {
                        url: "ws://localhost".to_owned(),
                        status: 503,
                        retry_after: Some(retry_after),
                    };
                    self.0.handle_connect_failed(now, &unavailable);
                }
            }
            said.add(self.take());
        }
        said
    }

    /// Takes a text frame.
    pub fn handle_text(&mut self, now: Moment, text: &str) -> Said {
        self.0.handle_text(now, text);
        self.take()
    }

    /// The link breaks.
    pub fn handle_loss(&mut self, now: Moment) -> Said {
        self.0
            .handle_end(now, &ConnectionEnd::Broken("reset".to_owned()));
        self.take()
    }

    /// Whether a message that was made for `connection` may go out now.
    pub fn takes(&self, connection: u64) -> bool {
        self.0.takes(connection)
    }

    fn take(&mut self) -> Said {
        let mut said = Said::default();
        while let Some(action) = self.0.poll_action() {
            match action {
                Action::Event(event) => said.events.push(event),
                Action::Send(message) => said.messages.push(message),
                Action::Connect { .. } => said.connects = true,
                Action::Disconnect { .. }
                | Action::Ping
                | Action::StorePins(_)
                | Action::StoreToken(_)
                | Action::Log(_) => {}
            }
        }
        said
    }
}

/// What the machine wanted.
#[derive(Debug, Default)]
pub struct Said {
    /// For the jobs.
    pub events: Vec<SessionEvent>,
    /// For the coordinator.
    pub messages: Vec<AgentMessage>,
    connects: bool,
}

impl Said {
    fn add(&mut self, later: Self) {
        self.events.extend(later.events);
        self.messages.extend(later.messages);
    }
}

/// The status and the body of the answer to a small request, if these bytes are one.
pub fn http_answer(mut bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    // Bytes that are there are never waited for.
    let answer = super::post::answer(&mut bytes).now_or_never()?.ok()?;
    Some((answer.status, answer.body.to_vec()))
}
