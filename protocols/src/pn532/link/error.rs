//! Why a command has no answer.

use std::time::Duration;

use super::super::{
    command::ReplyError,
    frame::{FrameError, PayloadTooLong},
    status::{fault, syntax_error_fault},
};
use crate::fault::HardwareFault;

/// Why the chip gave no answer. Unless it is [`LinkError::TooLong`] the chip may have carried out the command all the same.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// Not one ACK came: the chip is gone, asleep or confused. Reset the link and set the chip up anew.
    #[error("the chip acknowledged none of {sent} transmissions: set it up anew")]
    Silent {
        /// How often the command was sent.
        sent: u8,
    },
    /// The chip took the command but no response came, not even when asked again. It was told to abort.
    #[error("the chip acknowledged the command but gave no response within {0:?}")]
    NoResponse(Duration),
    /// Every response was broken on the line.
    #[error("every response was broken: {0}")]
    Checksum(FrameError),
    /// The chip does not know the command or finds it ill-formed; or it is no PN532.
    #[error("the chip does not understand the command")]
    SyntaxError,
    /// Only responses to other commands came.
    #[error("expected response code {expected:#04x}, got {got:#04x}")]
    UnexpectedReply {
        /// The response code of the command.
        expected: u8,
        /// The code of the last response.
        got: u8,
    },
    /// A response came whole, but its contents are not those of an answer to the command.
    #[error(transparent)]
    MalformedReply(ReplyError),
    /// The command does not fit a frame; nothing was sent.
    #[error(transparent)]
    TooLong(PayloadTooLong),
}

impl LinkError {
    /// The error as a fault that names the chip.
    pub fn fault(&self) -> HardwareFault {
        let code = match self {
            Self::SyntaxError => return syntax_error_fault(),
            Self::Silent { .. } => "no-acknowledge",
            Self::NoResponse(_) => "no-response",
            Self::Checksum(_) => "checksum",
            Self::UnexpectedReply { .. } => "unexpected-response",
            Self::MalformedReply(_) => "malformed-response",
            Self::TooLong(_) => "command-too-long",
        };
        fault(code.to_owned(), &self.to_string())
    }
}
