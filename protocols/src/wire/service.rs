//! What the coordination service says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EncoderKey, ErrorCode, JobContent, JobId, JobKind, WireMessage};
use crate::card::{CardImage, ReadPlan, Uid};

/// A message from the coordinator to an agent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServiceMessage {
    /// The answer to `hello`.
    Welcome(Welcome),
    /// A job for one of the agent's encoders.
    Job(Job),
    /// What to do with the card that was presented.
    CardPlan(CardPlan),
    /// The outcome with this sequence is stored.
    FinishedAck {
        /// Which outcome.
        #[serde(deserialize_with = "super::count::read")]
        sequence: u64,
    },
    /// The job is not wanted any more; always answered by `job_finished`.
    Cancel {
        /// Which job.
        job_id: JobId,
        /// The code that its outcome carries, unless it was started.
        code: ErrorCode,
        /// The reason in words.
        message: String,
    },
    /// What the coordinator has decided about an encoder.
    EncoderSettings(EncoderSettings),
    /// A new token; the old one counts until the new one was used.
    Token {
        /// The new token.
        token: SecretText,
    },
    /// The session ends.
    Bye(Bye),
    /// A message of the agent was of a type that this coordinator does not know.
    Unsupported {
        /// The unknown `type`.
        message_type: String,
    },
}

impl WireMessage for ServiceMessage {
    const TYPES: &'static [&'static str] = &[
        "welcome",
        "job",
        "card_plan",
        "finished_ack",
        "cancel",
        "encoder_settings",
        "token",
        "bye",
        "unsupported",
    ];
}

/// A secret that never shows itself when it is formatted.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// The session stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Welcome {
    /// This session's id, for both logs.
    pub session_id: Uuid,
    /// The id of the coordinator's store; another one means another coordinator or a new store.
    pub store_id: Uuid,
    /// The last sequence of this agent that the store holds; everything later is to be sent again.
    #[serde(deserialize_with = "super::count::read_stored")]
    pub last_sequence: u64,
    /// The store knows of something that this agent's journal has forgotten: a card that lies on one of its encoders may
    /// be one that was just written.
    #[serde(default)]
    pub journal_behind: bool,
    /// How often each side pings, in milliseconds. Silence for two intervals is a dead link.
    pub heartbeat_ms: u64,
    /// The coordinator's time.
    pub server_time: Timestamp,
    /// What it will be known by besides; none where no change is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_pins: Option<NextPins>,
}

/// What a coordinator will be known by, besides what it is known by now: its next certificate, or that one's authority. Only
/// an agent that knows for certain whom it speaks with may believe it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NextPins {
    /// SHA-256 of public keys (`SubjectPublicKeyInfo`), in hexadecimal digits.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Certificates of authorities, as DER in base64.
    #[serde(default)]
    pub authorities: Vec<String>,
}

/// Something to do on one encoder.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Job {
    /// The job's id, and its action attempt's.
    pub job_id: JobId,
    /// On which encoder.
    pub encoder_key: EncoderKey,
    /// What to do.
    pub kind: JobKind,
    /// The credential to encode; none for a scan.
    pub credential_id: Option<Uuid>,
    /// When it was asked for, by the coordinator's clock.
    pub created_at: Timestamp,
    /// When it must have ended, by the coordinator's clock.
    pub deadline: Timestamp,
    /// The coordinator's time as it sends this.
    pub server_time: Timestamp,
    /// How long to wait for a card once the job is at the head of its encoder's queue, in milliseconds.
    pub card_wait_ms: u64,
    /// The credential's content, for encoders that make keys themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Box<JobContent>>,
}

/// The answer to `card_presented` and `plan_request`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CardPlan {
    /// For which job.
    pub job_id: JobId,
    /// For which presentation.
    #[serde(deserialize_with = "super::count::read")]
    pub n: u64,
    /// For which card; none where the medium has no UID.
    pub uid: Option<Uid>,
    /// What to do.
    pub plan: Plan,
}

/// What to do with a card.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Plan {
    /// Write this image and read it back.
    Write {
        /// Every byte that goes onto the card.
        image: CardImage,
    },
    /// Compare the card with this image; write nothing.
    Verify {
        /// Every byte that should be there.
        image: CardImage,
    },
    /// Read this.
    Read {
        /// What to read, and with which keys.
        plan: ReadPlan,
    },
    /// Go on waiting for another card.
    Ignore,
    /// End the job.
    Refuse {
        /// The outcome's code.
        code: ErrorCode,
        /// Why, in words.
        message: String,
    },
}

/// What the coordinator has decided about an encoder.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EncoderSettings {
    /// Which encoder.
    pub encoder_key: EncoderKey,
    /// The name to show to people, if it was renamed.
    pub display_name: Option<String>,
    /// Whether it may take jobs.
    pub adopted: bool,
}

/// Why the coordinator ends a session.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Bye {
    /// The closed reason.
    pub reason: ByeReason,
    /// The reason in words, with what to do.
    pub message: String,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// Another live session uses this agent's token.
    AgentInUse,
    /// The agent broke the protocol, for example named another agent's job.
    ProtocolError,
    /// The coordinator stops or restarts; come back.
    Restart,
    /// The agent was retired for good.
    Retired,
    /// The token was revoked.
    Revoked,
}
