//! What is asked at the desk, and the encoders that are lent to who asks.

use encoder_protocols::wire::JobId;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Running;
use crate::{
    encoder::{EncoderEvent, EncoderId},
    jobs::{
        Now,
        action::JobEnd,
        desk::{NotCancelled, NotLent},
        loan::{DeskRequest, Loan, LoanEvent},
    },
};

impl Running {
    /// Answers a request. Whoever asked may have gone, which is no matter: a loan that nobody takes is given back at once.
    pub(super) async fn ask(&mut self, now: Now, request: DeskRequest) {
        match request {
            DeskRequest::Status(answer) => {
                let _ = answer.send((self.runner.jobs.status(now), self.tally.clone()));
            }
            DeskRequest::Cancel { encoder, answer } => {
                let _ = answer.send(self.cancel(encoder.as_deref()));
            }
            DeskRequest::Borrow { encoder, answer } => {
                let _ = answer.send(self.lend(now, encoder.as_deref()));
            }
            DeskRequest::Guard { id, uid, answer } => {
                self.runner.jobs.guard_lent(id, uid);
                self.carry_out().await;
                // Records that failed go first with the next: as soon as one is written, all before it are.
                let written = match &self.journal_problem {
                    None => Ok(()),
                    Some(problem) => Err(problem.to_string()),
                };
                let _ = answer.send(written);
            }
            DeskRequest::Rename(renamed) => {
                for settings in &renamed {
                    self.runner.jobs.rename(settings);
                }
            }
        }
    }

    /// Takes an encoder's event: for the jobs, for whoever has borrowed it, or for both.
    pub(super) fn encoder_event(&mut self, now: Now, id: EncoderId, event: EncoderEvent) {
        let is_lent = self.loans.contains_key(&id);
        let loan_event = is_lent.then(|| event.clone());
        match &event {
            EncoderEvent::Operation { .. } if is_lent => self.runner.jobs.lose_sight(id),
            EncoderEvent::Verifying { .. } if is_lent => {}
            EncoderEvent::Attached(_)
            | EncoderEvent::Detached
            | EncoderEvent::Ready(_)
            | EncoderEvent::Fault { .. }
            | EncoderEvent::Polled(_)
            | EncoderEvent::Verifying { .. }
            | EncoderEvent::Operation { .. } => self.runner.jobs.handle_encoder(now, id, event),
        }
        let must_lift = self.runner.jobs.must_lift(id);
        let told = loan_event.and_then(|event| LoanEvent::of(event, must_lift));
        if let (Some(told), Some(lent)) = (told, self.loans.get(&id)) {
            // Who borrowed it may be about to give it back.
            let _ = lent.events.send(told);
        }
    }

    /// The encoders that jobs wait for are wanted back.
    pub(super) fn recall_wanted(&self) {
        for (id, lent) in &self.loans {
            if self.runner.jobs.is_wanted(*id) {
                lent.recalled.cancel();
            }
        }
    }

    /// All of them are.
    pub(super) fn recall_loans(&self) {
        self.loans.values().for_each(|lent| lent.recalled.cancel());
    }

    fn cancel(&mut self, encoder: Option<&str>) -> Result<oneshot::Receiver<JobEnd>, NotCancelled> {
        let job_id = self.runner.jobs.cancel_at_desk(encoder)?;
        let (ended, end) = oneshot::channel();
        self.ends.insert(job_id, ended);
        Ok(end)
    }

    fn lend(&mut self, now: Now, encoder: Option<&str>) -> Result<Loan, NotLent> {
        let (id, settings) = self.runner.jobs.lend(encoder)?;
        let commands = self.roads.get(id.0).and_then(|road| road.commands.clone());
        let Some(commands) = commands else {
            self.runner.jobs.give_back(now, id);
            return Err(NotLent::NotReady {
                name: settings.name,
                problem: "it was unplugged".to_owned(),
            });
        };
        let operation_id = JobId(Uuid::new_v4());
        let returns = self.returns.0.clone();
        let (loan, lent) = Loan::new(id, settings, operation_id, commands, returns);
        self.loans.insert(id, lent);
        Ok(loan)
    }
}
