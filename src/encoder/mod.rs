//! One task per attached encoder: it owns the port and the driver and does one thing at a time.

mod message;
mod settings;
mod task;

pub use message::{
    CardOperation, EncoderCommand, EncoderEvent, EncoderId, EncoderIdentity, OperationError,
    OperationResult, Poll, Signal,
};
pub use settings::EncoderSettings;
pub use task::spawn;
