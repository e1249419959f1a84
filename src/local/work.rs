//! Cards read and written for a command of this PC, on a borrowed encoder.
//!
//! Such a write is no job: it has no credential and no attempt, the coordinator hears nothing of it, and the journal keeps only
//! that its card must leave the encoder before a credential is put on one. That is durable before the first byte changes.

use std::time::Duration;

use encoder_protocols::{
    card::{
        CardContents, CardDescription, CardImage, ReadPlan,
        magstripe::{MagstripeRead, Track, TrackForm},
    },
    wire::{ErrorCode, JobError, Touched},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    desk::Desk,
    message::{Encoded, Reply, Scanned},
};
use crate::{
    encoder::{CardOperation, OperationError, OperationResult, Poll},
    jobs::{Loan, LoanEvent},
};

/// How long the swipe that verifies is awaited at least.
const SWIPE_AGAIN_FOR: Duration = Duration::from_secs(30);

/// One piece of work on a borrowed encoder.
pub(super) struct Work {
    pub(super) loan: Loan,
    desk: Desk,
    /// Who asked has gone, or the agent stops: what has not begun to write ends.
    pub(super) gone: CancellationToken,
    pub(super) replies: mpsc::Sender<Reply>,
    pub(super) wait: Duration,
}

impl Work {
    pub(super) fn new(
        loan: Loan,
        desk: Desk,
        gone: CancellationToken,
        replies: mpsc::Sender<Reply>,
        wait: Duration,
    ) -> Self {
        Self {
            loan,
            desk,
            gone,
            replies,
            wait,
        }
    }

    /// Waits for one card and tells what it is.
    pub(super) async fn scan(mut self) -> Reply {
        match self.scanned().await {
            Ok(scanned) => Reply::Scanned(scanned),
            Err(error) => Reply::Failed(error),
        }
    }

    /// Waits for one card, writes the image and reads it back.
    pub(super) async fn encode(mut self, image: CardImage) -> Reply {
        match self.encoded(image).await {
            Ok(encoded) => Reply::Encoded(encoded),
            Err(error) => Reply::Failed(error),
        }
    }

    async fn scanned(&mut self) -> Result<Scanned, JobError> {
        let card = self.card(false).await?;
        if !card.technology.is_swiped() {
            return Ok(Scanned { card, tracks: None });
        }
        let plan = ReadPlan::Magstripe(MagstripeRead {
            form: TrackForm::Iso,
            tracks: Track::ALL.to_vec(),
        });
        self.say("draw the card through the encoder");
        self.loan.operate(None, CardOperation::Read(plan)).await;
        match self.ended(Some(self.wait)).await? {
            OperationResult::Read(CardContents::Magstripe { tracks }) => Ok(Scanned {
                card,
                tracks: Some(tracks),
            }),
            OperationResult::Read(_)
            | OperationResult::Prepared
            | OperationResult::Written
            | OperationResult::Verified => Err(strange(Touched::Untouched)),
        }
    }

    async fn encoded(&mut self, image: CardImage) -> Result<Encoded, JobError> {
        let card = self.card(true).await?;
        let is_swiped = card.technology.is_swiped();
        if card.uid.is_none() && !is_swiped {
            let what =
                "the card shows no uid, so that it cannot be told from another; take another card";
            return Err(failed(ErrorCode::IncompatibleCardFormat, what));
        }
        let assigned = image.card_number().map(str::to_owned);
        self.put(&card, image).await?;
        Ok(Encoded {
            card,
            card_number: card.card_number().or(assigned),
        })
    }

    /// Writes an image to the card and reads it back; its guard is durable before the first byte changes.
    pub(super) async fn put(
        &mut self,
        card: &CardDescription,
        image: CardImage,
    ) -> Result<(), JobError> {
        let operation = CardOperation::Prepare(image);
        self.loan.operate(card.uid, operation).await;
        match self.ended(None).await? {
            OperationResult::Prepared => {}
            OperationResult::Written => return Err(strange(Touched::Unknown)),
            OperationResult::Verified | OperationResult::Read(_) => {
                return Err(strange(Touched::Untouched));
            }
        }
        if let Some(error) = self.unwanted() {
            return self.give_up(error).await;
        }
        if let Some(uid) = card.uid
            && let Err(error) = self.desk.guard(self.loan.id(), uid).await
        {
            let error = failed(ErrorCode::UncategorizedError, &error.to_string());
            return self.give_up(error).await;
        }
        self.loan.commit().await;
        let result = if card.technology.is_swiped() {
            self.say("draw the card through the encoder");
            self.swiped().await?
        } else {
            self.say("writing: leave the card there");
            self.written().await?
        };
        match result {
            OperationResult::Written => Ok(()),
            OperationResult::Prepared | OperationResult::Verified | OperationResult::Read(_) => {
                Err(strange(Touched::Unknown))
            }
        }
    }

    /// Waits until one card lies there alone that may be taken.
    pub(super) async fn card(&mut self, writes: bool) -> Result<CardDescription, JobError> {
        let patience = tokio::time::sleep(self.wait);
        tokio::pin!(patience);
        let mut said = "";
        let mut in_the_way = None;
        loop {
            let recalled = self.loan.recalled().clone();
            let event = tokio::select! {
                biased;
                () = self.gone.cancelled() => return Err(interrupted()),
                () = recalled.cancelled() => return Err(recalled_by_a_job()),
                event = self.loan.event() => event,
                () = &mut patience => return Err(no_card(self.wait, in_the_way)),
            };
            let advice = match event {
                LoanEvent::Polled {
                    poll: Poll::Card(_),
                    must_lift: true,
                } if writes => {
                    "the card was written just before: lift it and lay down another, or the same one again"
                }
                LoanEvent::Polled {
                    poll: Poll::Card(card),
                    ..
                } => return Ok(card),
                LoanEvent::Polled {
                    poll: Poll::Several,
                    ..
                } => "more than one card lies there: leave one",
                LoanEvent::Polled {
                    poll: Poll::Empty, ..
                } => {
                    in_the_way = None;
                    continue;
                }
                LoanEvent::Gone(problem) => return Err(gone(&problem)),
                LoanEvent::Verifying | LoanEvent::Ended(_) => continue,
            };
            in_the_way = Some(advice);
            if said != advice {
                said = advice;
                self.say(advice);
            }
        }
    }

    /// The end of an operation that changes nothing; it is given up after `patience`, or when nobody wants it any more.
    pub(super) async fn ended(
        &mut self,
        patience: Option<Duration>,
    ) -> Result<OperationResult, JobError> {
        let over = tokio::time::sleep(patience.unwrap_or(Duration::MAX));
        tokio::pin!(over);
        let mut given_up = None;
        loop {
            let recalled = self.loan.recalled().clone();
            let why = tokio::select! {
                biased;
                event = self.loan.event() => match event {
                    LoanEvent::Ended(Ok(OperationResult::Prepared)) if given_up.is_some() => {
                        // It crossed the abort, whose own answer follows.
                        continue;
                    }
                    LoanEvent::Ended(result) => return settle(result, given_up),
                    LoanEvent::Gone(problem) => return Err(gone(&problem)),
                    LoanEvent::Polled { .. } | LoanEvent::Verifying => continue,
                },
                () = self.gone.cancelled(), if given_up.is_none() => interrupted(),
                () = recalled.cancelled(), if given_up.is_none() => recalled_by_a_job(),
                () = &mut over, if given_up.is_none() => no_swipe(self.wait),
            };
            given_up = Some(why);
            self.loan.abort().await;
        }
    }

    /// The end of a write to a card that lies there. Nothing stops it.
    pub(super) async fn written(&mut self) -> Result<OperationResult, JobError> {
        loop {
            match self.loan.event().await {
                LoanEvent::Ended(result) => return settle(result, None),
                LoanEvent::Gone(problem) => return Err(gone_while_writing(&problem)),
                LoanEvent::Polled { .. } | LoanEvent::Verifying => {}
            }
        }
    }

    /// The end of a write to a card that is drawn through: once to be written, once more to be read back.
    async fn swiped(&mut self) -> Result<OperationResult, JobError> {
        let over = tokio::time::sleep(self.wait);
        tokio::pin!(over);
        let mut is_written = false;
        let mut given_up = None;
        loop {
            let recalled = self.loan.recalled().clone();
            let why = tokio::select! {
                biased;
                event = self.loan.event() => match event {
                    LoanEvent::Ended(result) => return settle(result, given_up),
                    LoanEvent::Gone(problem) => return Err(gone_while_writing(&problem)),
                    LoanEvent::Verifying => {
                        is_written = true;
                        given_up = None;
                        let wait = self.wait.max(SWIPE_AGAIN_FOR);
                        over.as_mut().reset(tokio::time::Instant::now() + wait);
                        self.say("written: draw the same card through once more");
                        continue;
                    }
                    LoanEvent::Polled { .. } => continue,
                },
                () = self.gone.cancelled(), if given_up.is_none() => interrupted(),
                () = recalled.cancelled(), if given_up.is_none() && !is_written => recalled_by_a_job(),
                () = &mut over, if given_up.is_none() => no_swipe(self.wait),
            };
            if is_written {
                given_up = Some(not_swiped_again());
                self.loan.stop_verifying().await;
            } else {
                given_up = Some(why);
                self.loan.abort().await;
            }
        }
    }

    /// Why the work should end before anything is written.
    fn unwanted(&self) -> Option<JobError> {
        if self.gone.is_cancelled() {
            Some(interrupted())
        } else {
            let is_recalled = self.loan.recalled().is_cancelled();
            is_recalled.then(recalled_by_a_job)
        }
    }

    /// Gives up what is prepared, and waits until the encoder has let go.
    async fn give_up<T>(&mut self, error: JobError) -> Result<T, JobError> {
        self.loan.abort().await;
        loop {
            match self.loan.event().await {
                LoanEvent::Ended(_) | LoanEvent::Gone(_) => return Err(error),
                LoanEvent::Polled { .. } | LoanEvent::Verifying => {}
            }
        }
    }

    /// Tells who asked what to do; who does not listen is not waited for.
    pub(super) fn say(&self, text: &str) {
        let _ = self.replies.try_send(Reply::Progress {
            text: text.to_owned(),
        });
    }
}

/// An operation's end; that it was given up is why it failed, unless a card may have changed.
fn settle(
    result: Result<OperationResult, OperationError>,
    given_up: Option<JobError>,
) -> Result<OperationResult, JobError> {
    result.map_err(|error| match given_up {
        Some(given_up) if error.is_untouched() || given_up.touched != Touched::Untouched => {
            given_up
        }
        Some(_) | None => error.error,
    })
}

pub(super) fn failed(code: ErrorCode, message: &str) -> JobError {
    JobError {
        code,
        message: message.to_owned(),
        touched: Touched::Untouched,
        hardware: None,
    }
}

pub(super) fn strange(touched: Touched) -> JobError {
    let message = "the encoder ended another operation than it was asked for; report this";
    JobError {
        touched,
        ..failed(ErrorCode::UncategorizedError, message)
    }
}

pub(super) fn gone(problem: &str) -> JobError {
    let message = format!("the encoder went away: {problem}");
    failed(ErrorCode::EncoderNotOnline, &message)
}

fn gone_while_writing(problem: &str) -> JobError {
    JobError {
        touched: Touched::Unknown,
        code: ErrorCode::EncodingInterrupted,
        ..gone(problem)
    }
}

pub(super) fn interrupted() -> JobError {
    failed(
        ErrorCode::UncategorizedError,
        "interrupted; nothing was written",
    )
}

fn recalled_by_a_job() -> JobError {
    failed(
        ErrorCode::UncategorizedError,
        "a job of the coordinator needs the encoder, or the agent stops; nothing was written: try again afterwards",
    )
}

fn no_card(wait: Duration, in_the_way: Option<&str>) -> JobError {
    let seconds = wait.as_secs();
    let message = match in_the_way {
        Some(advice) => advice.to_owned(),
        None => format!("no card within {seconds} s: lay one card on the encoder and try again"),
    };
    failed(ErrorCode::NoCardOnEncoder, &message)
}

fn no_swipe(wait: Duration) -> JobError {
    let seconds = wait.as_secs();
    let message =
        format!("no card was drawn through within {seconds} s: try again and draw one through");
    failed(ErrorCode::NoCardOnEncoder, &message)
}

fn not_swiped_again() -> JobError {
    JobError {
        touched: Touched::Unknown,
        ..failed(
            ErrorCode::EncodingInterrupted,
            "the card was written, but not drawn through once more, so that nothing proves what stands on it: write it again",
        )
    }
}
