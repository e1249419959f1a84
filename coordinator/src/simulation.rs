//! What comes of jobs on simulated encoders, which no agent has. Such an encoder lets integrators try everything that the
//! API tells of cards without one: the attempts, their errors, the events and the webhooks are those of any encoder.

use encoder_protocols::wire::ErrorCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What comes of a job.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum Simulation {
    /// An encode writes its card; a scan finds the card that was issued last, or an empty one.
    #[default]
    Success,
    /// The job fails.
    Failure {
        /// As what.
        code: ErrorCode,
        /// Only if it is about this credential.
        credential: Option<Uuid>,
    },
    /// A scan finds a card.
    Found(Found),
}

/// What a simulated scan finds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    /// A card with this credential, or the one that was issued last, as the service has it.
    Known {
        /// Which.
        credential: Option<Uuid>,
    },
    /// The same, but the card carries other times than the service has.
    OutOfSync {
        /// Which.
        credential: Option<Uuid>,
    },
    /// A card with a credential that the service does not know.
    Unknown,
    /// A card with nothing on it.
    Empty,
}

impl Simulation {
    /// Whether it is about a job with this credential.
    pub fn is_about(&self, job: Option<Uuid>) -> bool {
        match self {
            Self::Failure {
                credential: Some(credential),
                ..
            } => job.is_none_or(|job| job == *credential),
            Self::Success | Self::Failure { .. } | Self::Found(_) => true,
        }
    }
}
