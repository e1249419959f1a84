//! What passes over the agent's own socket.

use encoder_protocols::{
    card::{
        CardDescription, CardImage,
        magstripe::{Coercivity, TrackContents},
    },
    wire::{EncoderKey, ErrorCode, JobError, JobId, Touched},
};
use serde::{Deserialize, Serialize};

use crate::status::Status;

/// The longest request of an administrator, in bytes: an image of every block of the largest card, with keys to try.
pub(super) const LONGEST_REQUEST: usize = 256 * 1024;

/// The longest request of anybody else.
pub(super) const LONGEST_SHORT_REQUEST: usize = 1024;

/// The longest answer, in bytes.
pub(super) const LONGEST_REPLY: usize = 1024 * 1024;

/// What is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// How the agent is.
    Status,
    /// To free an encoder.
    Cancel {
        /// Its name, key or port; none where only one has a job.
        #[serde(default)]
        encoder: Option<String>,
    },
    /// To read a card; for administrators.
    Scan {
        /// The encoder's name, key or port; none where there is only one.
        #[serde(default)]
        encoder: Option<String>,
        /// How long to wait for the card, in seconds.
        wait_s: u64,
    },
    /// To write a card; for administrators.
    Encode {
        /// The encoder's name, key or port; none where there is only one.
        #[serde(default)]
        encoder: Option<String>,
        /// How long to wait for the card, in seconds.
        wait_s: u64,
        /// What to write.
        image: Box<CardImage>,
    },
    /// To write a spare card, read it back, and put back what stood there; for administrators.
    Accept {
        /// The encoder's name, key or port; none where there is only one.
        #[serde(default)]
        encoder: Option<String>,
        /// How long to wait for the card, in seconds.
        wait_s: u64,
        /// How.
        terms: Terms,
    },
}

/// How a spare card may be used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// Also one that is not blank, where what stands on it can be put back.
    pub overwrite: bool,
    /// What its stripe is made of, if it has one.
    pub coercivity: Coercivity,
}

/// What is answered. All but [`Reply::Progress`] and [`Reply::Keep`] end the request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// How the agent is.
    Status(Box<Status>),
    /// What is to be done now, for people.
    Progress {
        /// In words.
        text: String,
    },
    /// What stands on a card that is about to be overwritten: it puts the card back, should the agent be unable to.
    Keep {
        /// The card.
        card: CardDescription,
        /// What puts it back.
        image: Box<CardImage>,
    },
    /// The job was cancelled, and this came of it.
    Cancelled(Cancelled),
    /// The card was read.
    Scanned(Scanned),
    /// The card was written and read back.
    Encoded(Encoded),
    /// A spare card was written, read back and put back.
    Accepted(Accepted),
    /// A card could not be read or written.
    Failed(JobError),
    /// It cannot be done.
    Refused {
        /// Why, and what to do.
        message: String,
    },
}

/// What came of a job that was cancelled.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cancelled {
    /// The job, which is also the action attempt.
    pub job_id: JobId,
    /// Its encoder.
    pub encoder_key: EncoderKey,
    /// How it ended: none where it had succeeded before.
    pub error: Option<ErrorCode>,
    /// What it did to cards.
    pub touched: Touched,
}

/// A card that was read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Scanned {
    /// The card.
    pub card: CardDescription,
    /// What stands on its stripe, payment data masked; none for a card that lies there.
    pub tracks: Option<Vec<TrackContents>>,
}

/// A card that was written.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Encoded {
    /// The card.
    pub card: CardDescription,
    /// Its number: the UID, or what the image assigns.
    pub card_number: Option<String>,
}

/// A spare card that was written, read back and put back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Accepted {
    /// The card.
    pub card: CardDescription,
    /// What of it was written.
    pub place: String,
    /// Whether it was blank before, and is again.
    pub is_blank: bool,
    /// How long reading the whole card took, in milliseconds. Where it is drawn through, the waits for the swipes are in all three.
    pub read_ms: u64,
    /// How long writing a pattern and reading it back took.
    pub written_ms: u64,
    /// How long putting back what stood there, and comparing the card with it, took.
    pub restored_ms: u64,
}

impl Reply {
    /// A refusal in the words of an error.
    pub(super) fn refused(why: impl ToString) -> Self {
        Self::Refused {
            message: why.to_string(),
        }
    }
}
