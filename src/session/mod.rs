//! The websocket conversation with the coordinator.

mod message;

pub use message::{Outgoing, SessionEvent};
