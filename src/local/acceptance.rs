//! A spare card that is written, read back and put back as it was: the check for a real desk.
//!
//! As with `encode`, no job and no credential is behind it. Once the pattern is on a card that lies there, nothing but its absence
//! keeps the agent from putting it back: neither a job that waits, nor that whoever asked has gone. Where a card is drawn through,
//! a person has to do that, and a job that waits goes before.

use std::time::Duration;

use encoder_protocols::{
    card::{CardContents, CardDescription, CardImage, ReadPlan, magstripe::TrackFound},
    wire::{ErrorCode, JobError, Touched},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    message::{Accepted, Reply, Terms},
    spare::{Original, Trial, Unfit, plan, trial},
    work::{Work, failed, gone, interrupted, strange},
};
use crate::{
    encoder::{CardOperation, OperationResult, Poll},
    jobs::LoanEvent,
};

impl Work {
    /// Waits for a spare card, writes a pattern, reads it back, and puts back what stood there.
    pub(super) async fn accept(mut self, terms: Terms) -> Reply {
        match self.accepted(terms).await {
            Ok(accepted) => Reply::Accepted(accepted),
            Err(error) => Reply::Failed(error),
        }
    }

    async fn accepted(&mut self, terms: Terms) -> Result<Accepted, JobError> {
        self.say("lay a SPARE card on it, which holds nothing that anybody needs");
        let card = self.card(true).await?;
        let is_swiped = card.technology.is_swiped();
        if card.uid.is_none_or(|uid| uid.is_random()) && !is_swiped {
            let what = "the card shows no uid of its own, so that it cannot be told from another; take another card";
            return Err(failed(ErrorCode::IncompatibleCardFormat, what));
        }
        let plan = plan(card.technology).map_err(unfit)?;
        let begun = Instant::now();
        let before = self
            .contents(
                &card,
                &plan,
                "draw a SPARE card through, which holds nothing that anybody needs",
            )
            .await?;
        let read = begun.elapsed();
        let trial = self.fit(&before, terms)?;
        if let Original::Image(image) = &trial.original {
            let image = Box::new(image.clone());
            if self
                .replies
                .send(Reply::Keep { card, image })
                .await
                .is_err()
            {
                return Err(interrupted());
            }
        }
        let begun = Instant::now();
        let written = self.put(&card, trial.pattern.clone()).await;
        match &written {
            Err(error) if error.touched == Touched::Untouched => return Err(error.clone()),
            Ok(()) | Err(_) => {}
        }
        let took = begun.elapsed();
        let begun = Instant::now();
        let restored = self.restored(&card, &trial, &plan, &before, terms).await;
        match (written, restored) {
            (_, Err(error)) => Err(left(&error)),
            (Err(error), Ok(())) => Err(JobError {
                message: format!("{}; what stood on the card was put back", error.message),
                touched: Touched::Untouched,
                ..error
            }),
            (Ok(()), Ok(())) => Ok(Accepted {
                card,
                place: trial.place,
                is_blank: trial.is_blank,
                read_ms: milliseconds(read),
                written_ms: milliseconds(took),
                restored_ms: milliseconds(begun.elapsed()),
            }),
        }
    }

    /// What to do with the card, where that may be done.
    fn fit(&self, before: &CardContents, terms: Terms) -> Result<Trial, JobError> {
        let mut fresh = [0; 6];
        for (to, from) in fresh.iter_mut().zip(Uuid::new_v4().into_bytes()) {
            *to = from;
        }
        let trial = trial(before, terms.coercivity, fresh).map_err(unfit)?;
        if !trial.is_blank && !terms.overwrite {
            return Err(unfit(Unfit::NotBlank));
        }
        Ok(trial)
    }

    /// Reads the card; `swipe` is what to do where it is drawn through.
    async fn contents(
        &mut self,
        card: &CardDescription,
        plan: &ReadPlan,
        swipe: &str,
    ) -> Result<CardContents, JobError> {
        let is_swiped = card.technology.is_swiped();
        if is_swiped {
            self.say(swipe);
        }
        let operation = CardOperation::Read(plan.clone());
        self.loan.operate(card.uid, operation).await;
        match self.ended(is_swiped.then_some(self.wait)).await? {
            OperationResult::Read(contents) => Ok(contents),
            OperationResult::Prepared | OperationResult::Written | OperationResult::Verified => {
                Err(strange(Touched::Untouched))
            }
        }
    }

    /// Puts back what stood on the card, and compares the whole card with what was read at first.
    async fn restored(
        &mut self,
        card: &CardDescription,
        trial: &Trial,
        plan: &ReadPlan,
        before: &CardContents,
        terms: Terms,
    ) -> Result<(), JobError> {
        match &trial.original {
            Original::Image(image) if card.technology.is_swiped() => {
                self.say("what stood on the card is put back now");
                self.put(card, image.clone()).await
            }
            Original::Image(image) => {
                self.put_back(card, image).await?;
                let after = self.contents(card, plan, "").await;
                // Taken away in the meantime, it is right all the same: every byte was read back.
                let is_same = |after| is_as_before(before, &after, trial, terms);
                if !after.map_or(true, is_same) {
                    let what = "the card is not as it was before";
                    return Err(failed(ErrorCode::EncodingInterrupted, what));
                }
                Ok(())
            }
            Original::Erased(tracks) => {
                self.say("draw the same card through: it is erased");
                let operation = CardOperation::Erase(tracks.clone());
                self.loan.operate(None, operation).await;
                self.ended(Some(self.wait)).await?;
                let after = self.contents(card, plan, "draw it through once more: it is read");
                if is_erased(&after.await?) {
                    return Ok(());
                }
                let what = "the stripe is not blank although the encoder says that it was erased";
                Err(failed(ErrorCode::EncodingInterrupted, what))
            }
        }
    }

    /// Writes an image to the card that lies there, or that was taken away and is laid down again in time.
    async fn put_back(
        &mut self,
        card: &CardDescription,
        image: &CardImage,
    ) -> Result<(), JobError> {
        let until = Instant::now() + self.wait;
        loop {
            let operation = CardOperation::Prepare(image.clone());
            self.loan.operate(card.uid, operation).await;
            let mut result = self.written().await;
            if matches!(result, Ok(OperationResult::Prepared)) {
                self.loan.commit().await;
                result = self.written().await;
            }
            let error = match result {
                Ok(OperationResult::Written) => return Ok(()),
                Ok(_) => strange(Touched::Unknown),
                Err(error) => error,
            };
            if error.code == ErrorCode::EncoderNotOnline {
                return Err(error);
            }
            self.say(
                "the card holds a test pattern: lay the same card down again, and leave it there, so that it is put back",
            );
            self.card_back(card, until)
                .await
                .map_err(|why| why.unwrap_or(error))?;
        }
    }

    /// Waits until the card lies there; the error is none where time is up.
    async fn card_back(
        &mut self,
        card: &CardDescription,
        until: Instant,
    ) -> Result<(), Option<JobError>> {
        loop {
            let recalled = self.loan.recalled().clone();
            let stopped = self.gone.clone();
            let event = tokio::select! {
                biased;
                event = self.loan.event() => event,
                () = stopped.cancelled() => return Err(None),
                () = recalled.cancelled() => return Err(None),
                () = tokio::time::sleep_until(until) => return Err(None),
            };
            match event {
                LoanEvent::Polled {
                    poll: Poll::Card(found),
                    ..
                } if found.uid == card.uid => return Ok(()),
                LoanEvent::Gone(problem) => return Err(Some(gone(&problem))),
                LoanEvent::Polled { .. } | LoanEvent::Verifying | LoanEvent::Ended(_) => {}
            }
        }
    }
}

/// Whether the card is as it was; a pattern that an earlier acceptance had left is rightly gone.
fn is_as_before(before: &CardContents, after: &CardContents, trial: &Trial, terms: Terms) -> bool {
    let again = super::spare::trial(after, terms.coercivity, [0; 6]);
    before == after
        || again
            .is_ok_and(|again| trial.is_blank && again.is_blank && again.original == trial.original)
}

fn is_erased(contents: &CardContents) -> bool {
    let CardContents::Magstripe { tracks } = contents else {
        return false;
    };
    tracks.iter().all(|track| track.found == TrackFound::Blank)
}

/// The pattern is still on the card, or nobody knows.
fn left(error: &JobError) -> JobError {
    JobError {
        code: ErrorCode::EncodingInterrupted,
        message: format!(
            "the card holds a test pattern, and was not put back: {}",
            error.message
        ),
        touched: Touched::Written,
        hardware: None,
    }
}

fn unfit(unfit: Unfit) -> JobError {
    failed(ErrorCode::IncompatibleCardFormat, &unfit.to_string())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
