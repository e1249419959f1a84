//! Why an encoder does not work.

use encoder_protocols::{fault::HardwareFault, wire::ErrorCode};

use crate::transport::PortError;

/// Why an encoder could not be brought up, or failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EncoderError {
    /// The configuration names a driver that does not exist.
    #[error("there is no driver `{name}`: expected one of {known}")]
    UnknownDriver {
        /// The name.
        name: String,
        /// The drivers there are, with commas between.
        known: String,
    },
    /// The port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The device does not answer.
    #[error(
        "the {device} did not answer within {waited_ms} ms: check its cable and power, and that `port` names it"
    )]
    Silent {
        /// The device, as its vendor calls it.
        device: &'static str,
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// Something else answers.
    #[error(
        "expected a {expected}, got {got}: check `port` and `driver` in the configuration, and the cable"
    )]
    WrongDevice {
        /// The device that was expected, as its vendor calls it.
        expected: &'static str,
        /// What answered.
        got: String,
    },
    /// The device answers, but not as its protocol wants.
    #[error(
        "the answers of the {device} are damaged ({fault}): check its cable, and that no other program uses it"
    )]
    Garbled {
        /// The device, as its vendor calls it.
        device: &'static str,
        /// What is wrong with them.
        fault: HardwareFault,
    },
    /// The device reports a fault.
    #[error("the encoder reports a fault ({0}): unplug it, wait a moment, and plug it in again")]
    Faulty(HardwareFault),
    /// It was stopped.
    #[error("cancelled")]
    Cancelled,
}

impl EncoderError {
    /// How a job reports it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownDriver { .. } | Self::Port(_) | Self::WrongDevice { .. } => {
                ErrorCode::EncoderNotOnline
            }
            Self::Silent { .. } | Self::Garbled { .. } | Self::Faulty(_) | Self::Cancelled => {
                ErrorCode::EncoderCommunicationTimeout
            }
        }
    }
}
