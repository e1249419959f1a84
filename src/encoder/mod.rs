//! One task per attached encoder: it owns the port and the driver and does one thing at a time. The fleet of them changes
//! as devices come and go.

mod closed;
mod fleet;
mod message;
mod settings;
mod task;

pub use fleet::{Fleet, FleetChange, FleetParts};
pub use message::{
    Attachment, CardOperation, EncoderCommand, EncoderEvent, EncoderId, EncoderIdentity,
    OperationError, OperationResult, Poll, Signal,
};
pub use settings::{EncoderSettings, POLL_INTERVAL};
pub use task::{Start, spawn};
