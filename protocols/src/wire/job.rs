//! What is asked of an encoder and what came of it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fault::HardwareFault;

/// A job's id, which is also its action attempt's id: a version 7 UUID made by the coordinator.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The two things an encoder can be asked to do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Put a credential on a card.
    Encode,
    /// Read a card.
    Scan,
}

/// The content of a credential, for encoders that make keys themselves and take no image. Others ignore it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct JobContent {
    /// The first moment at which the key opens.
    pub starts_at: Option<jiff::Timestamp>,
    /// The last moment at which the key opens.
    pub ends_at: Option<jiff::Timestamp>,
    /// The names of the doors, as the access system prints them.
    pub entrances: Vec<String>,
    /// What the access system's maker adds, in the words of the HTTP API: `{"visionline_metadata": {…}}` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<serde_json::Value>,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The card carries every byte of the image, or was read.
    Success,
    /// The job failed; the message carries the error.
    Error,
}

/// What a job did to cards.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Touched {
    /// Not one byte of any card was changed.
    Untouched,
    /// A byte may have been changed.
    Unknown,
    /// The whole image was on the card and was read back.
    Written,
}

/// Why a job failed, in the vocabulary of the HTTP API's action attempts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The attempt's deadline passed.
    ActionAttemptExpired,
    /// The agent is not connected.
    BridgeDisconnected,
    /// The credential is on a card already and has not changed, or is bound to another card.
    CredentialCannotBeReissued,
    /// The credential was deleted while its job waited.
    CredentialDeleted,
    /// The encoder did not answer in time.
    EncoderCommunicationTimeout,
    /// The encoder is not plugged in or not ready.
    EncoderNotOnline,
    /// The card left the field, or the agent stopped, before the write was verified.
    EncodingInterrupted,
    /// The card is of a technology or size that the image does not fit.
    IncompatibleCardFormat,
    /// No card was presented in time.
    NoCardOnEncoder,
    /// Any other error.
    UncategorizedError,
}

impl ErrorCode {
    /// The code as it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActionAttemptExpired => "action_attempt_expired",
            Self::BridgeDisconnected => "bridge_disconnected",
            Self::CredentialCannotBeReissued => "credential_cannot_be_reissued",
            Self::CredentialDeleted => "credential_deleted",
            Self::EncoderCommunicationTimeout => "encoder_communication_timeout",
            Self::EncoderNotOnline => "encoder_not_online",
            Self::EncodingInterrupted => "encoding_interrupted",
            Self::IncompatibleCardFormat => "incompatible_card_format",
            Self::NoCardOnEncoder => "no_card_on_encoder",
            Self::UncategorizedError => "uncategorized_error",
        }
    }
}

/// A failed job's error: what happened, what it did to the card, and what the hardware said.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct JobError {
    /// The closed code.
    pub code: ErrorCode,
    /// What was expected, what came, and what to do, in lower-case words.
    pub message: String,
    /// What the job did to cards.
    pub touched: Touched,
    /// The hardware's own code, where the hardware spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<HardwareFault>,
}
