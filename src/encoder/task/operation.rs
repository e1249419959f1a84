//! Operations on cards: prepared, held, written, verified, read, given up.

use std::{future::Future, time::Duration};

use encoder_protocols::{
    card::{CardError, CardImage, CardLinkError, Uid, WriteError, WriteRules, job_error},
    wire::{ErrorCode, JobError, JobId, Touched},
};
use tokio_util::sync::CancellationToken;

use super::{EncoderTask, Left};
use crate::{
    drivers::{Encoder, EncoderError, no_stripe},
    encoder::{CardOperation, EncoderCommand, EncoderEvent, OperationError, OperationResult},
    transport::PortError,
};

/// How long a prepared card is held for its commit.
const HOLD: Duration = Duration::from_secs(10);

/// Operations on cards.
impl<O> EncoderTask<O> {
    pub(super) async fn operate(
        &mut self,
        encoder: &mut dyn Encoder,
        job_id: JobId,
        uid: Option<Uid>,
        operation: CardOperation,
    ) -> Result<(), Left> {
        if uid.is_none() {
            return self.operate_swipe(encoder, job_id, operation).await;
        }
        let cancel = CancellationToken::new();
        let result = match &operation {
            CardOperation::Prepare(image) => {
                let work = encoder.prepare(uid, image, self.rules(), &cancel);
                match self.watch_over(job_id, work, &cancel, Begun::Nothing).await {
                    Ok(()) => {
                        drop(operation);
                        self.finish(job_id, Ok(OperationResult::Prepared)).await;
                        return self.hold(encoder, job_id, None).await;
                    }
                    Err(error) => Err(error),
                }
            }
            CardOperation::Verify(image) => {
                let work = encoder.verify(uid, image, &cancel);
                let verified = self.watch_over(job_id, work, &cancel, Begun::Nothing).await;
                verified.map(|()| OperationResult::Verified)
            }
            CardOperation::Read(plan) => {
                let work = encoder.read(uid, plan, &cancel);
                let read = self.watch_over(job_id, work, &cancel, Begun::Nothing).await;
                read.map(OperationResult::Read)
            }
            CardOperation::Erase(_) => Err(no_stripe()),
        };
        self.conclude(job_id, result).await
    }

    pub(super) fn rules(&self) -> WriteRules {
        WriteRules {
            allow_irreversible: self.settings.allow_irreversible,
        }
    }

    /// Runs `work` until its end; the command that gives it up, or the end of the task, makes it end early.
    pub(super) async fn watch_over<T>(
        &mut self,
        job_id: JobId,
        work: impl Future<Output = T>,
        cancel: &CancellationToken,
        begun: Begun,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                never = self.sign.answer() => match never {},
                () = self.shutdown.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
                command = self.commands.recv(), if !cancel.is_cancelled() => match command {
                    Some(command) if begun.is_given_up_by(&command, job_id) => cancel.cancel(),
                    Some(command) => self.deferred.push_back(command),
                    None => cancel.cancel(),
                },
            }
        }
    }

    /// Keeps the prepared card until its commit, at most for [`HOLD`]. A card that is `to_swipe` is compared with that image
    /// when it is swiped again.
    pub(super) async fn hold(
        &mut self,
        encoder: &mut dyn Encoder,
        job_id: JobId,
        to_swipe: Option<CardImage>,
    ) -> Result<(), Left> {
        let until = self.clock.now() + HOLD;
        let clock = self.clock;
        loop {
            let (given_up, next) = tokio::select! {
                biased;
                never = self.sign.answer() => match never {},
                () = self.shutdown.cancelled() => (cancelled(), Err(Left::Over)),
                command = self.commands.recv() => match command {
                    Some(EncoderCommand::Commit { job_id: committed }) if committed == job_id => {
                        return match to_swipe {
                            Some(image) => self.commit_swipe(encoder, job_id, &image).await,
                            None => self.commit(encoder, job_id).await,
                        };
                    }
                    Some(EncoderCommand::Abort { job_id: aborted }) if aborted == job_id => (cancelled(), Ok(())),
                    Some(command) => {
                        self.deferred.push_back(command);
                        continue;
                    }
                    None => (cancelled(), Err(Left::Over)),
                },
                error = encoder.lost() => {
                    (untouched(error.code(), error.to_string()), Err(Left::Failed(error)))
                }
                () = clock.sleep_until(until) => (hold_ended(), Ok(())),
            };
            self.finish(job_id, Err(given_up)).await;
            return next;
        }
    }

    /// Writes. Commands wait meanwhile: nothing may stop it.
    async fn commit(&mut self, encoder: &mut dyn Encoder, job_id: JobId) -> Result<(), Left> {
        let (events, id) = (self.events.clone(), self.id);
        let mut verifying = move || {
            // Only for people to look at: a full channel may lose it.
            let _ = events.try_send((id, EncoderEvent::Verifying { job_id }));
        };
        let never = CancellationToken::new();
        // However long it takes: whoever ends the agent now tears it.
        let written = self.sign.during(encoder.write(&mut verifying, &never));
        match written.await {
            Ok(()) => self.conclude(job_id, Ok(OperationResult::Written)).await,
            Err(WriteError { error, changed }) => self.fail(job_id, &error, changed).await,
        }
    }

    pub(super) async fn conclude(
        &mut self,
        job_id: JobId,
        result: Result<OperationResult, CardError>,
    ) -> Result<(), Left> {
        match result {
            Ok(result) => {
                self.finish(job_id, Ok(result)).await;
                Ok(())
            }
            Err(error) => self.fail(job_id, &error, false).await,
        }
    }

    async fn fail(&mut self, job_id: JobId, error: &CardError, changed: bool) -> Result<(), Left> {
        self.finish(job_id, Err(operation_error(error, changed)))
            .await;
        self.after(error)
    }

    /// Whether the encoder can still be used after this error.
    pub(super) fn after(&self, error: &CardError) -> Result<(), Left> {
        if is_from(error, |source| matches!(source, CardLinkError::PortGone(_))) {
            return Err(Left::Failed(EncoderError::Port(PortError::Gone {
                path: self.settings.port.clone(),
            })));
        }
        Ok(())
    }
}

/// How much of an operation has begun, and thus what gives it up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Begun {
    /// Nothing was written.
    Nothing,
    /// The card was written, and is to be swiped again.
    Verifying,
}

impl Begun {
    fn is_given_up_by(self, command: &EncoderCommand, job_id: JobId) -> bool {
        match (self, command) {
            (Self::Nothing, EncoderCommand::Abort { job_id: aborted }) => *aborted == job_id,
            (Self::Verifying, EncoderCommand::StopVerifying { job_id: stopped }) => {
                *stopped == job_id
            }
            (
                Self::Nothing | Self::Verifying,
                EncoderCommand::Watch
                | EncoderCommand::Rest
                | EncoderCommand::Operate { .. }
                | EncoderCommand::Commit { .. }
                | EncoderCommand::Abort { .. }
                | EncoderCommand::StopVerifying { .. }
                | EncoderCommand::Signal(_),
            ) => false,
        }
    }
}

fn operation_error(error: &CardError, changed: bool) -> OperationError {
    let several = is_from(error, |source| *source == CardLinkError::SeveralCards);
    OperationError {
        error: job_error(error, changed),
        card_left: !changed && (several || error.card_left()),
    }
}

pub(super) fn is_from(error: &CardError, test: impl FnOnce(&CardLinkError) -> bool) -> bool {
    matches!(error, CardError::Link { source, .. } if test(source))
}

pub(super) fn untouched(code: ErrorCode, message: String) -> OperationError {
    OperationError {
        error: JobError {
            code,
            message,
            touched: Touched::Untouched,
            hardware: None,
        },
        card_left: false,
    }
}

fn cancelled() -> OperationError {
    untouched(
        ErrorCode::UncategorizedError,
        "cancelled before a byte was written".to_owned(),
    )
}

/// What was prepared was given up, and that news crossed the commit.
pub(super) fn unprepared() -> OperationError {
    untouched(
        ErrorCode::UncategorizedError,
        "the card is no longer prepared and is unchanged: encode again".to_owned(),
    )
}

fn hold_ended() -> OperationError {
    let message = format!(
        "no commit came within {} s; the card is unchanged: encode again",
        HOLD.as_secs()
    );
    untouched(ErrorCode::UncategorizedError, message)
}
