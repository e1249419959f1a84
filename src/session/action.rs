//! What the session's state machine wants done.

use encoder_protocols::wire::{AgentMessage, NextPins, SecretText};

use super::SessionEvent;

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Try to connect; ends with `handle_connected` or `handle_connect_failed`.
    Connect {
        /// How many attempts in a row were refused for their token.
        refusals: u32,
    },
    /// End the connection; nothing is reported back.
    Disconnect {
        /// The reason for the other side; none where it would not hear it.
        farewell: Option<Farewell>,
    },
    /// Send this message.
    Send(AgentMessage),
    /// Send a websocket ping.
    Ping,
    /// Keep this token for the next connection.
    StoreToken(SecretText),
    /// Believe a coordinator that is known by this, too.
    StorePins(NextPins),
    /// Tell the jobs.
    Event(SessionEvent),
    /// Tell the log.
    Log(Notice),
}

/// Why the agent ends a connection, as the close frame tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Farewell {
    /// The agent stops, or was told `bye`.
    Leaving,
    /// What came was against the protocol.
    ProtocolBreach,
}

/// A line for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// How much it matters.
    pub level: NoticeLevel,
    /// What happened and what to do.
    pub text: String,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoticeLevel {
    /// A person must do something.
    Error,
    /// It may mend itself.
    Warn,
    /// It is as it should be.
    Info,
    /// It was said before.
    Debug,
}
