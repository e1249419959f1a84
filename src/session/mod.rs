//! The websocket conversation with the coordinator: a pure state machine, the socket, and the task that joins them.

mod action;
mod backoff;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod machine;
mod message;
mod pair;
mod post;
mod retry_after;
mod road;
mod socket;
mod status;
mod task;
mod tls;
mod token;
mod tunnel;

pub use action::{Action, Farewell, Notice, NoticeLevel};
pub use backoff::Jitter;
pub use error::{ConnectError, ConnectionEnd};
#[cfg(feature = "fuzzing")]
pub use fuzzing::{Conversation, Said, http_answer, retry_after};
pub use machine::Machine;
pub use message::{Outgoing, SessionEvent};
pub use pair::{PairFailure, Paired, pair, report_clone};
pub use road::{Hop, Road, Walked, walk};
pub use status::SessionStatus;
pub use task::Session;
pub use tls::{TlsProblem, TlsSetupError, read_certificates};
