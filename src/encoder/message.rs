//! What the job runner asks of an encoder task, and what the task reports.

use encoder_protocols::{
    card::{CardContents, CardDescription, CardImage, ReadPlan, Uid, magstripe::Track},
    wire::{Abilities, ErrorCode, JobError, JobId, Touched},
};
use tokio::sync::mpsc;

use super::EncoderSettings;

/// An encoder within this process: its place in the fleet, which it keeps when it is unplugged and comes back.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EncoderId(pub usize);

/// What an encoder says of itself once it is open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EncoderIdentity {
    /// The device's model.
    pub model: Option<String>,
    /// The device's serial number, where it has one.
    pub serial: Option<String>,
    /// The device's firmware, as it prints it.
    pub firmware: Option<String>,
    /// What it can do.
    pub abilities: Abilities,
}

/// What the job runner asks of an encoder task.
///
/// The task polls for cards from [`EncoderCommand::Watch`] on until [`EncoderCommand::Rest`]; the first poll comes at
/// once. Every operation ends with exactly one [`EncoderEvent::Operation`], also when the encoder goes away in the
/// middle. While an operation runs no poll is reported.
///
/// Where cards are swiped, operations wait for a swipe until they are given up: an abort ends the wait for the swipe that
/// writes, too, as long as none came.
#[derive(Clone, Debug)]
pub enum EncoderCommand {
    /// Look for cards and report every poll.
    Watch,
    /// Look for cards no longer; the field may be switched off.
    Rest,
    /// Work on the card that lies there.
    Operate {
        /// For which job.
        job_id: JobId,
        /// The card that was presented; the task selects it again before anything else. None where it is to be swiped.
        uid: Option<Uid>,
        /// What to do.
        operation: CardOperation,
    },
    /// *Started* is durable: write what was prepared. Comes only after [`OperationResult::Prepared`], for the same job.
    /// Always answered by an [`EncoderEvent::Operation`], by `untouched` where nothing is prepared any more.
    Commit {
        /// For which job.
        job_id: JobId,
    },
    /// Give up what the job had prepared, or an operation that has not begun to write; either is answered by an
    /// [`EncoderEvent::Operation`] that says `untouched`. A write goes on to its end; one that still waits for its swipe is
    /// given up as well, and its end tells whether the swipe had come. Nothing to give up is no error and is not answered.
    Abort {
        /// For which job.
        job_id: JobId,
    },
    /// Wait no longer for the swipe that verifies. Nothing to give up is no error and is not answered.
    StopVerifying {
        /// For which job.
        job_id: JobId,
    },
    /// Show people how it went, where the device can.
    Signal(Signal),
}

/// What to do with a card.
#[derive(Clone, Debug)]
pub enum CardOperation {
    /// Select the card again, check that the image fits, and authenticate everything the image will need; change
    /// nothing. Ends with [`OperationResult::Prepared`]; the card then waits for [`EncoderCommand::Commit`] or
    /// [`EncoderCommand::Abort`].
    Prepare(CardImage),
    /// Compare the card with the image; change nothing. Ends with [`OperationResult::Verified`].
    Verify(CardImage),
    /// Read. Ends with [`OperationResult::Read`].
    Read(ReadPlan),
    /// Erase these tracks of the next card that is swiped. Ends with [`OperationResult::Written`], and is not read back.
    Erase(Vec<Track>),
}

/// Lights and sounds, where the device has any.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// A card is awaited.
    Waiting,
    /// The card is worked on.
    Working,
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// All off.
    Off,
}

/// What one look for cards found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Poll {
    /// No card.
    Empty,
    /// One card.
    Card(CardDescription),
    /// More than one card.
    Several,
}

/// An encoder that was found, and the road to its task.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// How it is driven.
    pub settings: EncoderSettings,
    /// Where its commands go.
    pub commands: mpsc::Sender<EncoderCommand>,
}

/// What an encoder task, or the fleet about it, reports.
#[derive(Clone, Debug)]
pub enum EncoderEvent {
    /// It was found; its task begins. The first event of an encoder that is not configured.
    Attached(Box<Attachment>),
    /// It was unplugged and its task has ended; nothing more comes before it is attached again.
    Detached,
    /// The device is open and answered; also after it came back.
    Ready(EncoderIdentity),
    /// The device cannot be opened, does not answer, or is gone; the task keeps trying.
    Fault {
        /// [`ErrorCode::EncoderNotOnline`] or [`ErrorCode::EncoderCommunicationTimeout`].
        code: ErrorCode,
        /// What is wrong and what to do, in words.
        problem: String,
    },
    /// What a poll found.
    Polled(Poll),
    /// The write is over and reading back begins. Where the card lies on the encoder this is for people to look at and may
    /// be lost; where it must be swiped again it never is.
    Verifying {
        /// For which job.
        job_id: JobId,
    },
    /// An operation ended.
    Operation {
        /// For which job.
        job_id: JobId,
        /// How.
        result: Result<OperationResult, OperationError>,
    },
}

/// How an operation ended well.
#[derive(Clone, Debug)]
pub enum OperationResult {
    /// Everything is authenticated and nothing was changed; the card waits for 10 s. One more
    /// [`EncoderEvent::Operation`] follows: the end of the write, or that it was given up.
    Prepared,
    /// The whole image was written and read back.
    Written,
    /// The card carries every byte of the image.
    Verified,
    /// What was read.
    Read(CardContents),
}

/// How an operation failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OperationError {
    /// The error as the job reports it, with what it did to the card.
    pub error: JobError,
    /// The card left, or another one lies there, before anything changed: a job may go on waiting.
    pub card_left: bool,
}

impl OperationError {
    /// Whether not one byte of any card changed.
    pub fn is_untouched(&self) -> bool {
        self.error.touched == Touched::Untouched
    }
}
