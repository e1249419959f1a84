//! The road from the commands of this PC to the jobs: what they ask, and the encoder that they borrow.

use encoder_protocols::{card::Uid, wire::JobId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    action::JobEnd,
    desk::{NotCancelled, NotLent},
};
use crate::{
    encoder::{
        CardOperation, EncoderCommand, EncoderEvent, EncoderId, EncoderSettings, OperationError,
        OperationResult, Poll,
    },
    status::{JobsStatus, Tally},
};

/// What is asked of the jobs at the desk.
#[derive(Debug)]
pub enum DeskRequest {
    /// How things stand.
    Status(oneshot::Sender<(JobsStatus, Tally)>),
    /// End the job at the head of an encoder's queue. Its end is answered once it has ended.
    Cancel {
        /// The encoder's name, key or port; none where only one has a job.
        encoder: Option<String>,
        /// The job, and later its end.
        answer: oneshot::Sender<Result<oneshot::Receiver<JobEnd>, NotCancelled>>,
    },
    /// Lend an encoder.
    Borrow {
        /// Its name, key or port; none where there is only one.
        encoder: Option<String>,
        /// The encoder, until it is dropped.
        answer: oneshot::Sender<Result<Loan, NotLent>>,
    },
    /// A borrowed encoder is about to write this card.
    Guard {
        /// Which encoder.
        id: EncoderId,
        /// The card.
        uid: Uid,
        /// Whether that is durable; else why not.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Encoders have other names now.
    Rename(Vec<EncoderSettings>),
}

/// What a lent encoder reports.
#[derive(Debug)]
pub enum LoanEvent {
    /// What a look for cards found.
    Polled {
        /// What lies there.
        poll: Poll,
        /// It was written just before, and must be lifted before anything else is written.
        must_lift: bool,
    },
    /// The write is over and reading back begins.
    Verifying,
    /// The operation ended.
    Ended(Result<OperationResult, OperationError>),
    /// The encoder went away; nothing more comes.
    Gone(String),
}

/// A borrowed encoder, which is looking for cards. It is given back when this is dropped, which must not be while it works.
#[derive(Debug)]
pub struct Loan {
    id: EncoderId,
    settings: EncoderSettings,
    /// What its operations go by: no job has this id, and none ever will.
    operation_id: JobId,
    commands: mpsc::Sender<EncoderCommand>,
    events: mpsc::UnboundedReceiver<LoanEvent>,
    recalled: CancellationToken,
    returns: mpsc::UnboundedSender<EncoderId>,
}

/// The runner's end of a loan.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) events: mpsc::UnboundedSender<LoanEvent>,
    pub(super) recalled: CancellationToken,
}

impl Loan {
    pub(super) fn new(
        id: EncoderId,
        settings: EncoderSettings,
        operation_id: JobId,
        commands: mpsc::Sender<EncoderCommand>,
        returns: mpsc::UnboundedSender<EncoderId>,
    ) -> (Self, Lent) {
        let (sender, events) = mpsc::unbounded_channel();
        let recalled = CancellationToken::new();
        let lent = Lent {
            events: sender,
            recalled: recalled.clone(),
        };
        let loan = Self {
            id,
            settings,
            operation_id,
            commands,
            events,
            recalled,
            returns,
        };
        (loan, lent)
    }

    /// The encoder's place in the fleet.
    pub const fn id(&self) -> EncoderId {
        self.id
    }

    /// How it is driven.
    pub const fn settings(&self) -> &EncoderSettings {
        &self.settings
    }

    /// Cancelled when a job waits for the encoder, or the agent stops: what has not begun to write should end.
    pub const fn recalled(&self) -> &CancellationToken {
        &self.recalled
    }

    /// What it reports next. Dropping the future loses nothing.
    pub async fn event(&mut self) -> LoanEvent {
        let event = self.events.recv().await;
        event.unwrap_or_else(|| LoanEvent::Gone("the agent has stopped".to_owned()))
    }

    /// Asks it to work on a card; answered by [`LoanEvent::Ended`].
    pub async fn operate(&self, uid: Option<Uid>, operation: CardOperation) {
        let job_id = self.operation_id;
        self.command(EncoderCommand::Operate {
            job_id,
            uid,
            operation,
        })
        .await;
    }

    /// Writes what was prepared; answered by [`LoanEvent::Ended`].
    pub async fn commit(&self) {
        let job_id = self.operation_id;
        self.command(EncoderCommand::Commit { job_id }).await;
    }

    /// Gives up what has not begun to write.
    pub async fn abort(&self) {
        let job_id = self.operation_id;
        self.command(EncoderCommand::Abort { job_id }).await;
    }

    /// Waits no longer for the swipe that verifies.
    pub async fn stop_verifying(&self) {
        let job_id = self.operation_id;
        self.command(EncoderCommand::StopVerifying { job_id }).await;
    }

    async fn command(&self, command: EncoderCommand) {
        // A task that is gone has said so, or will: its events end.
        let _ = self.commands.send(command).await;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Nobody listens any more only when the agent has ended.
        let _ = self.returns.send(self.id);
    }
}

impl LoanEvent {
    /// What of an encoder's event concerns who borrowed it.
    pub(super) fn of(event: EncoderEvent, must_lift: bool) -> Option<Self> {
        match event {
            EncoderEvent::Polled(poll) => Some(Self::Polled { poll, must_lift }),
            EncoderEvent::Verifying { .. } => Some(Self::Verifying),
            EncoderEvent::Operation { result, .. } => Some(Self::Ended(result)),
            EncoderEvent::Fault { problem, .. } => Some(Self::Gone(problem)),
            EncoderEvent::Detached => Some(Self::Gone("it was unplugged".to_owned())),
            EncoderEvent::Attached(_) | EncoderEvent::Ready(_) => None,
        }
    }
}
