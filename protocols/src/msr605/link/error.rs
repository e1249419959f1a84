//! Why a command has no answer.

use std::time::Duration;

use super::super::{reply::ReplyError, report::ReportError, status::fault};
use crate::fault::HardwareFault;

/// Why the device gave no answer. A card may have been written all the same when the command was one that writes. Unless it is
/// [`LinkError::Reply`] with a refusal, the device was told to reset.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// Not one byte of an answer came.
    #[error("the device did not answer the {command} command within {waited:?}")]
    Silent {
        /// The command's name.
        command: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// An answer began and its rest stayed out.
    #[error("the answer to the {command} command breaks off")]
    BreaksOff {
        /// The command's name.
        command: &'static str,
    },
    /// An answer began and does not end.
    #[error("the answer to the {command} command does not end")]
    Endless {
        /// The command's name.
        command: &'static str,
    },
    /// What came is no answer to the command.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A report came that cannot be right, so that the answer may be lost.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl LinkError {
    /// The error as a fault that names the device.
    pub fn fault(&self) -> HardwareFault {
        let code = match self {
            Self::Reply(ReplyError::Refused { status, .. }) => return status.fault(),
            Self::Silent { .. } => "no-response",
            Self::BreaksOff { .. } => "response-breaks-off",
            Self::Endless { .. } => "endless-response",
            Self::Reply(ReplyError::Malformed { .. }) => "malformed-response",
            Self::Reply(ReplyError::UnexpectedBlock { .. }) => "unexpected-response",
            Self::Report(_) => "bad-report",
        };
        fault(code.to_owned(), &self.to_string())
    }
}
