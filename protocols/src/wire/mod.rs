//! The messages between agent and coordinator: JSON text frames over one websocket.
//!
//! The rules that these messages follow stand in the README beside this file.

mod agent;
mod count;
mod encoder;
mod job;
mod pairing;
mod service;

pub use agent::{
    AgentMessage, CardPresented, Hello, JobFinished, JobRefused, OpenJob, OpenJobState,
    PlanPurpose, PlanRequest, Progress, RefusalReason,
};
pub use encoder::{Abilities, EncoderDescription, EncoderKey, EncoderState, KeyScope};
pub use job::{ErrorCode, JobContent, JobError, JobId, JobKind, Outcome, Touched};
pub use pairing::{
    CLIENT_CERTIFICATE_REQUIRED, CLONE_PATH, CODE_ALPHABET, CODE_LENGTH, CloneReport,
    FLEET_TOKEN_PREFIX, MAX_PAIRING_BYTES, PAIR_PATH, PairAnswer, PairError, PairRefusal,
    PairRequest, REFUSAL_HEADER,
};
pub use service::{
    Bye, ByeReason, CardPlan, EncoderSettings, Job, NextPins, Plan, SecretText, ServiceMessage,
    Welcome,
};

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

/// The websocket sub-protocol that both ends must agree on at the upgrade.
pub const SUBPROTOCOL: &str = "encoder-agent.v1";

/// The path below the coordinator's base URL where agents connect.
pub const SOCKET_PATH: &str = "/agents/socket";

/// The largest message that either end sends or takes, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Silence for this many heartbeat intervals is a dead link, on either side.
pub const DEAD_INTERVALS: u32 = 2;

/// The longest heartbeat interval: with it a half-open link is found within 45 s.
pub const MAX_HEARTBEAT: Duration = Duration::from_secs(22);

/// The largest number that counts something here, a `sequence` or an `n`: what every reader of JSON holds exactly. Larger
/// ones make a message malformed, so that no count ever overflows.
pub const MAX_COUNT: u64 = (1 << 53) - 1;

/// The largest `last_sequence` that `welcome` carries: an agent that goes on behind it has as much room again.
pub const MAX_STORED_SEQUENCE: u64 = MAX_COUNT / 2;

/// How many accepted jobs may wait on one encoder, the one at the head not counted.
pub const MAX_WAITING_JOBS: usize = 8;

/// How many different cards one job may be presented before it ends.
pub const MAX_CARDS_PER_JOB: usize = 5;

/// Why a text frame is no message of this protocol.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The text is no JSON object, or has no string field `type`.
    #[error("expected a json object with a string field `type`")]
    NotAMessage,
    /// The `type` is one that this version does not know; the answer is `unsupported`.
    #[error("unknown message type `{0}`")]
    UnknownType(String),
    /// The `type` is known, but the rest does not fit it. The reason never quotes the message's values.
    #[error("malformed `{message_type}` message: {reason}")]
    Malformed {
        /// The message's `type`.
        message_type: String,
        /// What is wrong with it, with its place in the text.
        reason: String,
    },
}

/// A message that travels in one direction.
pub trait WireMessage: Serialize + DeserializeOwned {
    /// Every `type` that this direction knows.
    const TYPES: &'static [&'static str];

    /// The message as the text of one websocket frame.
    fn encode(&self) -> String {
        // Every message is a struct of strings, numbers and lists: serialising it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the text of one websocket frame.
    ///
    /// # Errors
    /// [`DecodeError`] when the text is no message, of an unknown type, or malformed.
    fn decode(text: &str) -> Result<Self, DecodeError> {
        #[derive(serde::Deserialize)]
        struct Head {
            #[serde(rename = "type")]
            message_type: String,
        }
        let head: Head = serde_json::from_str(text).map_err(|_| DecodeError::NotAMessage)?;
        if !Self::TYPES.contains(&head.message_type.as_str()) {
            return Err(DecodeError::UnknownType(
                head.message_type.chars().take(64).collect(),
            ));
        }
        serde_json::from_str(text).map_err(|error| DecodeError::Malformed {
            message_type: head.message_type,
            reason: format!("line {} column {}", error.line(), error.column()),
        })
    }
}

#[cfg(test)]
mod tests;
