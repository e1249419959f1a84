//! What passes between the session and the jobs.
//!
//! Each websocket connection has a number of its own, counted up from 1 within this process, so that a message made
//! for an earlier connection is never sent into a later one, nor taken from it.

use encoder_protocols::wire::{AgentMessage, ServiceMessage};

/// What the session tells the jobs.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// The upgrade is done: `hello` is wanted, and nothing else before `welcome`.
    Connected {
        /// The connection's number.
        connection: u64,
    },
    /// A message came in; the first one of a connection is `welcome`.
    Message {
        /// The connection's number.
        connection: u64,
        /// The message.
        message: ServiceMessage,
    },
    /// The connection is over.
    Disconnected {
        /// The connection's number.
        connection: u64,
    },
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The connection that it was made for; it is dropped when that one is over.
    pub connection: u64,
    /// The message.
    pub message: AgentMessage,
}
