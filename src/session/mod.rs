//! The websocket conversation with the coordinator.

mod message;
mod tls;

pub use message::{Outgoing, SessionEvent};
pub use tls::{TlsSetupError, read_certificates};
