//! How a job's end is put into words: one function per way to end.

use std::time::Duration;

use encoder_protocols::{
    card::{CardContents, CardDescription},
    wire::{ErrorCode, JobError, JobFinished, JobId, JobKind, MAX_CARDS_PER_JOB, Outcome, Touched},
};
use jiff::Timestamp;

use super::{
    attached::{Attached, GONE_AFTER, Link},
    job::Job,
};

/// What stands between a waiting job and a card that lies there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InTheWay {
    /// The card was written just before.
    WrittenCard,
    /// There is more than one.
    SeveralCards,
}

impl InTheWay {
    fn advice(self) -> &'static str {
        match self {
            Self::WrittenCard => {
                "the card that lies on the encoder was written just before: lift the card and put down another, or the same one again"
            }
            Self::SeveralCards => {
                "more than one card lies on the encoder: leave one card there and ask again"
            }
        }
    }
}

/// What is left to do where a card without a UID may carry the credential: there is no card to go back to.
const NEW_CREDENTIAL: &str = "destroy the card and create a new credential: without a uid no card can be told to be the same";

/// What a job achieved.
#[derive(Debug)]
pub(super) enum Done {
    /// The whole image is on the card and was read back.
    Written,
    /// The card was read.
    Read(CardContents),
}

/// The outcome of a job that did what was asked.
pub(super) fn success(
    job: &Job,
    sequence: u64,
    card: CardDescription,
    done: Done,
    utc: Timestamp,
) -> JobFinished {
    let assigned = job.assigned_number.clone();
    let (touched, issued_at, contents) = match done {
        Done::Written => (Touched::Written, Some(utc), None),
        Done::Read(contents) => (Touched::Untouched, None, Some(contents)),
    };
    JobFinished {
        sequence,
        job_id: job.id(),
        kind: job.facts.kind,
        credential_id: job.facts.credential_id,
        outcome: Outcome::Success,
        touched,
        card: Some(card),
        card_number: card.card_number().or(assigned),
        issued_at,
        contents,
        error: None,
    }
}

/// The outcome of a job that failed.
pub(super) fn failure(job: &Job, sequence: u64, error: JobError) -> JobFinished {
    JobFinished {
        kind: job.facts.kind,
        credential_id: job.facts.credential_id,
        card: job.last_card,
        card_number: job.last_card.and_then(|card| card.card_number()),
        ..failure_of_unknown(job.id(), sequence, error)
    }
}

/// The outcome of a job that never came here.
pub(super) fn failure_of_unknown(job_id: JobId, sequence: u64, error: JobError) -> JobFinished {
    JobFinished {
        sequence,
        job_id,
        // What is not known counts as the kind that could have changed a card.
        kind: JobKind::Encode,
        credential_id: None,
        outcome: Outcome::Error,
        touched: error.touched,
        card: None,
        card_number: None,
        issued_at: None,
        contents: None,
        error: Some(error),
    }
}

pub(super) fn expired(in_the_way: Option<InTheWay>) -> JobError {
    let code = ErrorCode::ActionAttemptExpired;
    if let Some(obstacle) = in_the_way {
        let message = format!("the attempt's time is over; {}", obstacle.advice());
        return untouched(code, message);
    }
    untouched(code, "the attempt's time is over; ask again")
}

pub(super) fn no_card(wait: Duration, in_the_way: Option<InTheWay>) -> JobError {
    let code = ErrorCode::NoCardOnEncoder;
    if let Some(obstacle) = in_the_way {
        return untouched(code, obstacle.advice());
    }
    let seconds = wait.as_secs_f32();
    let message =
        format!("no card was put on the encoder within {seconds} s; ask again and put one on it");
    untouched(code, message)
}

pub(super) fn no_swipe(wait: Duration) -> JobError {
    let seconds = wait.as_secs_f32();
    let message = format!(
        "no card was drawn through the encoder within {seconds} s; ask again and draw one through"
    );
    untouched(ErrorCode::NoCardOnEncoder, message)
}

pub(super) fn stopped() -> JobError {
    untouched(
        ErrorCode::EncodingInterrupted,
        "the agent was stopped before a card was drawn through the encoder; nothing was written: ask again",
    )
}

/// The card was written, as the encoder says, and nothing shows it.
pub(super) fn not_swiped_again(why: &str) -> JobError {
    let message = format!(
        "the card was written, but {why}, so that nothing proves what stands on it; {NEW_CREDENTIAL}"
    );
    interrupted_without_uid(message)
}

/// The card was written and swiped again, and does not show what was written.
pub(super) fn reading_back_failed(error: JobError) -> JobError {
    JobError {
        hardware: error.hardware,
        ..interrupted_without_uid(error.message)
    }
}

/// The encoder was unplugged before it began.
pub(super) fn unplugged() -> JobError {
    untouched(
        ErrorCode::EncoderNotOnline,
        "the encoder was unplugged: plug it in again",
    )
}

pub(super) fn unplugged_while_writing() -> JobError {
    JobError {
        code: ErrorCode::EncodingInterrupted,
        touched: Touched::Unknown,
        ..unplugged()
    }
}

pub(super) fn unplugged_while_armed() -> JobError {
    let message = format!(
        "the encoder was unplugged while a card was to be drawn through it, and nothing tells whether one was written; {NEW_CREDENTIAL}"
    );
    interrupted_without_uid(message)
}

pub(super) fn not_verified_without_uid() -> JobError {
    let message = format!(
        "the agent stopped while a card was to be drawn through the encoder, and nothing tells whether one was written; {NEW_CREDENTIAL}"
    );
    interrupted_without_uid(message)
}

fn interrupted_without_uid(message: String) -> JobError {
    JobError {
        touched: Touched::Unknown,
        ..untouched(ErrorCode::EncodingInterrupted, message)
    }
}

pub(super) fn encoder_gone(encoder: &Attached) -> JobError {
    let problem = match &encoder.link {
        Link::Gone { problem, .. } => problem,
        Link::Starting { .. } | Link::Up => "it has not answered yet",
    };
    let message = format!(
        "the encoder {} has been gone for {} s: {problem}",
        encoder.name(),
        GONE_AFTER.as_secs()
    );
    untouched(ErrorCode::EncoderNotOnline, message)
}

pub(super) fn random_uid() -> JobError {
    untouched(
        ErrorCode::IncompatibleCardFormat,
        "the card draws a random uid each time, so that no key can be bound to it; take another card",
    )
}

pub(super) fn no_uid() -> JobError {
    untouched(
        ErrorCode::IncompatibleCardFormat,
        "the card shows no uid, so that no key can be bound to it; take another card",
    )
}

pub(super) fn too_many_cards() -> JobError {
    let message = format!(
        "too many different cards: more than {MAX_CARDS_PER_JOB} were presented; ask again and leave one card on the encoder"
    );
    untouched(ErrorCode::UncategorizedError, message)
}

pub(super) fn refused(code: ErrorCode, message: String) -> JobError {
    untouched(code, message)
}

pub(super) fn plan_does_not_fit() -> JobError {
    untouched(
        ErrorCode::UncategorizedError,
        "the coordinator's plan does not fit the job: expected a write for an encode, a read for a scan",
    )
}

pub(super) fn not_durable(problem: &str) -> JobError {
    let message = format!("the write was not begun: {problem}");
    untouched(ErrorCode::UncategorizedError, message)
}

pub(super) fn cancelled(code: ErrorCode, message: String, touched: Touched) -> JobError {
    JobError {
        touched,
        ..untouched(code, message)
    }
}

pub(super) fn strange_result(touched: Touched) -> JobError {
    JobError {
        touched,
        ..untouched(
            ErrorCode::UncategorizedError,
            "the encoder ended another operation than it was asked for; report this",
        )
    }
}

/// A write that had begun and failed. That the encoder went away tells nothing about the card.
pub(super) fn write_failed(error: JobError) -> JobError {
    match error.code {
        ErrorCode::EncoderNotOnline | ErrorCode::EncoderCommunicationTimeout
            if error.touched != Touched::Untouched =>
        {
            JobError {
                code: ErrorCode::EncodingInterrupted,
                message: format!("the write was interrupted: {}", error.message),
                ..error
            }
        }
        ErrorCode::EncoderNotOnline
        | ErrorCode::EncoderCommunicationTimeout
        | ErrorCode::ActionAttemptExpired
        | ErrorCode::BridgeDisconnected
        | ErrorCode::CredentialCannotBeReissued
        | ErrorCode::CredentialDeleted
        | ErrorCode::EncodingInterrupted
        | ErrorCode::IncompatibleCardFormat
        | ErrorCode::NoCardOnEncoder
        | ErrorCode::UncategorizedError => error,
    }
}

pub(super) fn not_verified(reason: &str) -> JobError {
    JobError {
        code: ErrorCode::EncodingInterrupted,
        message: format!(
            "the agent stopped during the write and could not verify the card: {reason}; encode the same card again"
        ),
        touched: Touched::Unknown,
        hardware: None,
    }
}

pub(super) fn not_verified_by(error: JobError) -> JobError {
    JobError {
        hardware: error.hardware,
        ..not_verified(&error.message)
    }
}

fn untouched(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError {
        code,
        message: message.into(),
        touched: Touched::Untouched,
        hardware: None,
    }
}
