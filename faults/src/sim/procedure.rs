//! The operations of an encoder's task, exchange by exchange, with the real procedures.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use encoder_agent::encoder::{CardOperation, EncoderCommand, EncoderEvent, OperationResult};
use encoder_protocols::{
    card::{self, Uid, WriteError, WriteRules},
    wire::{ErrorCode, JobId},
};

use super::{
    common::Common,
    encoder::{Done, HOLD, State, Task, Work, finish, unplaced, untouched},
    table::{ask, lock},
};

impl Task {
    pub(super) fn operate(
        &mut self,
        common: &mut Common,
        job: JobId,
        uid: Uid,
        operation: CardOperation,
    ) {
        let cancel = Arc::new(AtomicBool::new(false));
        let mut link = self.link(&common.table, job, uid, &cancel);
        let mut kept = None;
        let work: Work<Done> = match operation {
            CardOperation::Prepare(image) => {
                kept = Some(image.clone());
                Box::pin(async move {
                    let prepared = async {
                        link.select().await.map_err(unplaced)?;
                        card::prepare(&mut link, &image, WriteRules::default()).await
                    };
                    let prepared = prepared.await;
                    Done::Prepared(prepared.map(|prepared| (prepared, link.card)))
                })
            }
            CardOperation::Verify(image) => {
                kept = Some(image.clone());
                Box::pin(async move {
                    let verified = async {
                        link.select().await.map_err(unplaced)?;
                        card::verify(&mut link, &image).await
                    };
                    Done::Verified(verified.await)
                })
            }
            CardOperation::Read(plan) => Box::pin(async move {
                let read = async {
                    link.select().await.map_err(unplaced)?;
                    card::read(&mut link, &plan).await
                };
                Done::Read(read.await)
            }),
            // No job asks for it.
            CardOperation::Erase(_) => Box::pin(async move {
                Done::Verified(Err(card::CardError::WrongTechnology {
                    expected: "a magnetic stripe",
                    got: link.card.technology,
                }))
            }),
        };
        self.state = State::Working {
            job,
            uid,
            work,
            image: kept,
            cancel,
            next: common.now,
        };
    }

    pub(super) fn work(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) -> bool {
        let now = common.now;
        let State::Working {
            job,
            uid,
            work,
            image,
            next,
            ..
        } = &mut self.state
        else {
            return false;
        };
        if now < *next {
            return false;
        }
        let Some(done) = ask(work) else {
            *next = now + common.exchange_time();
            return true;
        };
        let (job, uid, image) = (*job, *uid, image.take());
        let result = match done {
            Done::Prepared(Ok((prepared, card))) => {
                self.state = State::Holding {
                    job,
                    image,
                    prepared: Box::new(prepared),
                    card,
                    uid,
                    until: now + HOLD,
                };
                finish(events, job, Ok(OperationResult::Prepared));
                return true;
            }
            Done::Prepared(Err(error)) => Err(error),
            Done::Verified(verified) => verified.map(|()| OperationResult::Verified),
            Done::Read(read) => read.map(OperationResult::Read),
        };
        match result {
            Ok(result) => {
                if let (OperationResult::Verified, Some(image)) = (&result, &image) {
                    lock(&common.table).compare(uid, job, image);
                    common.read_back(job);
                }
                finish(events, job, Ok(result));
                self.state = State::Idle { due: now };
            }
            Err(error) => self.conclude(now, job, &error, false, events),
        }
        true
    }

    pub(super) fn hold(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) -> bool {
        let now = common.now;
        let connected = self.is_connected(&common.table);
        let State::Holding {
            job,
            image,
            prepared,
            card,
            uid,
            until,
        } = &mut self.state
        else {
            return false;
        };
        let job = *job;
        match self.commands.pop_front() {
            Some(EncoderCommand::Commit { job_id }) if job_id == job => {
                common.count("write begun");
                let verifying = Arc::new(AtomicBool::new(false));
                let told = verifying.clone();
                let (prepared, card) = (prepared.clone(), *card);
                let (image, uid) = (image.take(), *uid);
                let never = Arc::new(AtomicBool::new(false));
                let mut link = self.link(&common.table, job, uid, &never);
                link.card = card;
                link.image = image;
                let work: Work<Result<(), WriteError>> = Box::pin(async move {
                    let mut progress = |_| told.store(true, Ordering::Relaxed);
                    card::write(&mut link, &prepared, &mut progress).await
                });
                self.state = State::Writing {
                    job,
                    work,
                    verifying,
                    told: false,
                    next: now,
                };
                common.write_began(self.pc, self.hardware);
                return true;
            }
            Some(EncoderCommand::Abort { job_id }) if job_id == job => {
                finish(
                    events,
                    job,
                    Err(untouched(ErrorCode::UncategorizedError, "cancelled")),
                );
                self.state = State::Idle { due: now };
                return true;
            }
            Some(command) => {
                self.deferred.push_back(command);
                return true;
            }
            None => {}
        }
        if !connected {
            finish(
                events,
                job,
                Err(untouched(ErrorCode::EncoderNotOnline, "the port is gone")),
            );
            self.fail(now, events);
            return true;
        }
        if now >= *until {
            finish(
                events,
                job,
                Err(untouched(ErrorCode::UncategorizedError, "no commit came")),
            );
            self.state = State::Idle { due: now };
            return true;
        }
        false
    }

    pub(super) fn write(&mut self, common: &mut Common, events: &mut Vec<EncoderEvent>) -> bool {
        let now = common.now;
        let State::Writing {
            job,
            work,
            verifying,
            told,
            next,
        } = &mut self.state
        else {
            return false;
        };
        if now < *next {
            return false;
        }
        let done = ask(work);
        let job = *job;
        if !*told && verifying.load(Ordering::Relaxed) {
            *told = true;
            events.push(EncoderEvent::Verifying { job_id: job });
        }
        match done {
            None => *next = now + common.exchange_time(),
            Some(Ok(())) => {
                common.read_back(job);
                finish(events, job, Ok(OperationResult::Written));
                self.state = State::Idle { due: now };
            }
            Some(Err(WriteError { error, changed })) => {
                common.count("write failed");
                self.conclude(now, job, &error, changed, events);
            }
        }
        true
    }
}
