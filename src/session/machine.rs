//! The session as a state machine: no socket, no clock, no dice of its own.
//!
//! Feed it with the `handle_…` methods; after each, take every [`Action`] from [`Machine::poll_action`] and call
//! [`Machine::handle_timeout`] at [`Machine::poll_timeout`].

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use encoder_protocols::{
    moment::Moment,
    wire::{
        AgentMessage, Bye, ByeReason, DEAD_INTERVALS, DecodeError, MAX_HEARTBEAT, ServiceMessage,
        Welcome, WireMessage,
    },
};

use super::{
    SessionEvent,
    action::{Action, Farewell, Notice, NoticeLevel},
    backoff::{Backoff, Jitter},
    error::{ConnectError, ConnectionEnd},
};
use crate::status::SessionState;

/// How long the coordinator may take for `welcome`.
pub(super) const WELCOME_LIMIT: Duration = Duration::from_secs(10);

/// The shortest heartbeat interval that `welcome` may set.
const MIN_HEARTBEAT: Duration = Duration::from_millis(50);

/// How many unknown message types are remembered, so that each is logged once.
const MAX_REMEMBERED_TYPES: usize = 32;

/// The session as a state machine. [`super::Session`] is the task around it.
pub struct Machine {
    state: State,
    connection: u64,
    backoff: Backoff,
    actions: VecDeque<Action>,
    last_trouble: Option<String>,
    unknown_types: BTreeSet<String>,
}

#[derive(Debug)]
enum State {
    Waiting { until: Moment },
    Connecting,
    AwaitingWelcome { deadline: Moment },
    Open(Heartbeat),
    Stopped,
}

#[derive(Debug)]
struct Heartbeat {
    opened: Moment,
    interval: Duration,
    next_ping: Moment,
    last_received: Moment,
}

impl Heartbeat {
    fn dead_at(&self) -> Moment {
        self.last_received + self.interval * DEAD_INTERVALS
    }
}

impl Machine {
    /// A machine that connects at its first timeout, which is `now`.
    pub fn new(now: Moment, jitter: Jitter) -> Self {
        Self {
            state: State::Waiting { until: now },
            connection: 0,
            backoff: Backoff::new(jitter),
            actions: VecDeque::new(),
            last_trouble: None,
            unknown_types: BTreeSet::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Machine::handle_timeout`] is wanted.
    pub fn poll_timeout(&self) -> Option<Moment> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::AwaitingWelcome { deadline } => Some(*deadline),
            State::Open(heartbeat) => Some(heartbeat.next_ping.min(heartbeat.dead_at())),
            State::Connecting | State::Stopped => None,
        }
    }

    /// Whether a message that was made for `connection` may go out now.
    pub fn takes(&self, connection: u64) -> bool {
        self.is_connected() && connection == self.connection
    }

    /// Whether it waits because the token was refused, so that another one need not wait.
    pub fn awaits_token(&self) -> bool {
        matches!(self.state, State::Waiting { .. }) && self.backoff.refusals() > 0
    }

    /// Another token was configured: what was said of the old one counts no more.
    pub fn handle_new_token(&mut self, now: Moment) {
        if self.awaits_token() {
            self.backoff.token_was_changed();
            self.log(
                NoticeLevel::Info,
                "another token is configured; connecting at once".to_owned(),
            );
            self.state = State::Waiting { until: now };
        }
    }

    /// How it stands, for people.
    pub fn standing(&self) -> SessionState {
        match &self.state {
            State::Open(_) => SessionState::Connected,
            State::Connecting | State::AwaitingWelcome { .. } => SessionState::Connecting,
            State::Waiting { .. } | State::Stopped => SessionState::Waiting,
        }
    }

    /// Whether there is no more to do, ever.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// How long the other side may take nothing before it counts as stalled.
    pub fn stall_limit(&self) -> Duration {
        match &self.state {
            State::Open(heartbeat) => heartbeat.interval * DEAD_INTERVALS,
            State::Waiting { .. }
            | State::Connecting
            | State::AwaitingWelcome { .. }
            | State::Stopped => WELCOME_LIMIT,
        }
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Moment) {
        match &mut self.state {
            State::Waiting { until } if now >= *until => {
                self.state = State::Connecting;
                let refusals = self.backoff.refusals();
                self.actions.push_back(Action::Connect { refusals });
            }
            State::AwaitingWelcome { deadline } if now >= *deadline => {
                let limit = WELCOME_LIMIT.as_secs();
                self.breach(
                    now,
                    format!("the coordinator sent no `welcome` within {limit} s of the upgrade"),
                );
            }
            State::Open(heartbeat) if now >= heartbeat.dead_at() => {
                let silence = now.since(heartbeat.last_received).as_secs_f32();
                self.lose(
                    now,
                    format!(
                        "nothing came from the coordinator for {silence:.1} s: the link is dead"
                    ),
                    None,
                );
            }
            State::Open(heartbeat) if now >= heartbeat.next_ping => {
                heartbeat.next_ping = now + heartbeat.interval;
                self.actions.push_back(Action::Ping);
            }
            State::Waiting { .. }
            | State::Connecting
            | State::AwaitingWelcome { .. }
            | State::Open(_)
            | State::Stopped => {}
        }
    }

    /// The upgrade is done.
    pub fn handle_connected(&mut self, now: Moment) {
        if !matches!(self.state, State::Connecting) {
            return;
        }
        self.connection += 1;
        self.state = State::AwaitingWelcome {
            deadline: now + WELCOME_LIMIT,
        };
        self.event(SessionEvent::Connected {
            connection: self.connection,
        });
    }

    /// The attempt failed.
    pub fn handle_connect_failed(&mut self, now: Moment, error: &ConnectError) {
        if !matches!(self.state, State::Connecting) {
            return;
        }
        let (delay, level) = match error {
            ConnectError::TokenRefused { .. } => (self.backoff.after_refusal(), NoticeLevel::Error),
            ConnectError::Unavailable {
                retry_after: Some(retry_after),
                ..
            } => (
                self.backoff.after_invitation(*retry_after),
                NoticeLevel::Warn,
            ),
            ConnectError::Token(_)
            | ConnectError::NoClientCertificate { .. }
            | ConnectError::NotFound { .. }
            | ConnectError::SubProtocol { .. } => {
                (self.backoff.after_failure(), NoticeLevel::Error)
            }
            ConnectError::Unavailable { .. }
            | ConnectError::Status { .. }
            | ConnectError::Unreachable { .. }
            | ConnectError::Proxy { .. }
            | ConnectError::Tls { .. }
            | ConnectError::Handshake { .. }
            | ConnectError::Timeout { .. } => (self.backoff.after_failure(), NoticeLevel::Warn),
        };
        self.trouble(level, error.to_string());
        self.wait(now, delay);
    }

    /// A ping or pong came.
    pub fn handle_heartbeat(&mut self, now: Moment) {
        if let State::Open(heartbeat) = &mut self.state {
            heartbeat.last_received = now;
        }
    }

    /// A text frame came.
    pub fn handle_text(&mut self, now: Moment, text: &str) {
        if !self.is_connected() {
            return;
        }
        self.handle_heartbeat(now);
        match ServiceMessage::decode(text) {
            Ok(message) => self.handle_message(now, message),
            Err(DecodeError::UnknownType(message_type)) => self.answer_unknown(message_type),
            Err(error @ (DecodeError::NotAMessage | DecodeError::Malformed { .. })) => {
                self.breach(now, format!("the coordinator broke the protocol: {error}"));
            }
        }
    }

    /// The connection is over, or has to be.
    pub fn handle_end(&mut self, now: Moment, end: &ConnectionEnd) {
        match end {
            ConnectionEnd::Closed(_) | ConnectionEnd::Broken(_) | ConnectionEnd::Stalled => {
                self.lose(now, end.to_string(), None);
            }
            ConnectionEnd::Binary | ConnectionEnd::Oversize { .. } => {
                self.breach(now, end.to_string());
            }
        }
    }

    /// The agent stops: says farewell and does nothing more.
    pub fn stop(&mut self) {
        self.disconnect(Some(Farewell::Leaving));
        self.state = State::Stopped;
    }

    fn handle_message(&mut self, now: Moment, message: ServiceMessage) {
        let is_open = matches!(self.state, State::Open(_));
        match message {
            ServiceMessage::Bye(bye) => self.handle_bye(now, &bye),
            ServiceMessage::Welcome(welcome) if !is_open => self.open(now, welcome),
            ServiceMessage::Welcome(_) => {
                self.breach(now, "the coordinator sent `welcome` twice".to_owned());
            }
            _ if !is_open => self.breach(
                now,
                "the coordinator's first message was not `welcome`".to_owned(),
            ),
            ServiceMessage::Token { token } => self.actions.push_back(Action::StoreToken(token)),
            ServiceMessage::Unsupported { message_type } => self.log_once(
                format!(
                    "the coordinator does not know our message type `{}`",
                    short(&message_type)
                ),
                message_type,
            ),
            message @ (ServiceMessage::Job(_)
            | ServiceMessage::CardPlan(_)
            | ServiceMessage::FinishedAck { .. }
            | ServiceMessage::Cancel { .. }
            | ServiceMessage::EncoderSettings(_)) => self.event(SessionEvent::Message {
                connection: self.connection,
                message,
            }),
        }
    }

    fn open(&mut self, now: Moment, welcome: Welcome) {
        let interval =
            Duration::from_millis(welcome.heartbeat_ms).clamp(MIN_HEARTBEAT, MAX_HEARTBEAT);
        self.state = State::Open(Heartbeat {
            opened: now,
            interval,
            next_ping: now + interval,
            last_received: now,
        });
        self.backoff.token_was_changed();
        self.last_trouble = None;
        self.log(
            NoticeLevel::Info,
            format!("connected; session {}", welcome.session_id),
        );
        if let Some(next) = &welcome.next_pins {
            self.actions.push_back(Action::StorePins(next.clone()));
        }
        self.event(SessionEvent::Message {
            connection: self.connection,
            message: ServiceMessage::Welcome(welcome),
        });
    }

    fn handle_bye(&mut self, now: Moment, bye: &Bye) {
        self.end_of_good_connection(now);
        let (delay, level, remedy) = match bye.reason {
            ByeReason::AgentInUse => (
                self.backoff.after_in_use(),
                NoticeLevel::Error,
                "another agent uses this token; give each PC a token of its own",
            ),
            ByeReason::Revoked => (
                self.backoff.after_refusal(),
                NoticeLevel::Error,
                "the token was revoked; pair again with `encoder-agent pair`, or put a new one into the settings",
            ),
            ByeReason::Retired => (
                self.backoff.after_refusal(),
                NoticeLevel::Error,
                "this agent was retired; pair again with `encoder-agent pair`, or stop and disable the service",
            ),
            ByeReason::Restart => (
                self.backoff.after_restart(),
                NoticeLevel::Info,
                "the coordinator restarts",
            ),
            ByeReason::ProtocolError => (
                self.backoff.after_failure(),
                NoticeLevel::Error,
                "the coordinator does not take what this agent says; if it does not say what to do, compare the versions",
            ),
        };
        self.trouble(level, format!("{remedy} ({})", short(&bye.message)));
        self.disconnect(Some(Farewell::Leaving));
        self.wait(now, delay);
    }

    fn answer_unknown(&mut self, message_type: String) {
        self.log_once(
            format!("the coordinator sent a message of unknown type `{message_type}`; is it newer than this agent?"),
            message_type.clone(),
        );
        self.actions
            .push_back(Action::Send(AgentMessage::Unsupported { message_type }));
    }

    /// The other side broke the protocol: the connection ends.
    fn breach(&mut self, now: Moment, text: String) {
        self.lose(now, text, Some(Farewell::ProtocolBreach));
    }

    /// The connection is lost for a reason that waiting may mend.
    fn lose(&mut self, now: Moment, text: String, farewell: Option<Farewell>) {
        if !self.is_connected() {
            return;
        }
        self.end_of_good_connection(now);
        self.trouble(NoticeLevel::Warn, text);
        self.disconnect(farewell);
        let delay = self.backoff.after_failure();
        self.wait(now, delay);
    }

    fn end_of_good_connection(&mut self, now: Moment) {
        if let State::Open(heartbeat) = &self.state {
            self.backoff.connection_lasted(now.since(heartbeat.opened));
        }
    }

    fn disconnect(&mut self, farewell: Option<Farewell>) {
        if self.is_connected() {
            self.actions.push_back(Action::Disconnect { farewell });
            self.event(SessionEvent::Disconnected {
                connection: self.connection,
            });
        }
    }

    fn wait(&mut self, now: Moment, delay: Duration) {
        self.log(
            NoticeLevel::Debug,
            format!("connecting again in {:.1} s", delay.as_secs_f32()),
        );
        self.state = State::Waiting { until: now + delay };
    }

    fn is_connected(&self) -> bool {
        matches!(self.state, State::AwaitingWelcome { .. } | State::Open(_))
    }

    fn event(&mut self, event: SessionEvent) {
        self.actions.push_back(Action::Event(event));
    }

    fn log(&mut self, level: NoticeLevel, text: String) {
        self.actions.push_back(Action::Log(Notice { level, text }));
    }

    /// Says what is wrong once, until something else is wrong or all is well again.
    fn trouble(&mut self, level: NoticeLevel, text: String) {
        let is_new = self.last_trouble.as_ref() != Some(&text);
        self.log(
            if is_new { level } else { NoticeLevel::Debug },
            text.clone(),
        );
        self.last_trouble = Some(text);
    }

    /// Says something about a message type once for as long as the process lives.
    fn log_once(&mut self, text: String, message_type: String) {
        let has_room = self.unknown_types.len() < MAX_REMEMBERED_TYPES;
        let is_new = has_room && self.unknown_types.insert(short(&message_type));
        let level = if is_new {
            NoticeLevel::Warn
        } else {
            NoticeLevel::Debug
        };
        self.log(level, text);
    }
}

/// The other side's words, cut to what fits a log line.
fn short(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests;
