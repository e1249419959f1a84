//! What the stripe encoder is armed for, and what the swipes bring.

use encoder_agent::encoder::{EncoderEvent, OperationResult};
use encoder_protocols::{
    card::{CardContents, CardLinkError},
    wire::{ErrorCode, JobId},
};

use super::{
    super::{
        common::{Common, MILLISECOND, Micros},
        encoder::{finish, unplaced, untouched},
        stripe::{Arm, Reply},
        table::{fault, lock},
    },
    Reading, State, StripeTask,
};

/// How often a card may be swiped in vain for one reading.
const SWIPES: u32 = 3;
/// How long a device needs to be reset.
const RESET: Micros = 600 * MILLISECOND;

impl StripeTask {
    pub(super) fn await_swipe(
        &mut self,
        common: &mut Common,
        job: JobId,
        reading: Reading,
        swipes: u32,
    ) {
        let mut table = lock(&common.table);
        table.stripes.reset();
        table.stripes.arm = Some(Arm::Read);
        self.state = State::Swiping {
            job,
            reading,
            swipes,
        };
    }

    pub(super) fn commit(
        &mut self,
        common: &mut Common,
        job_id: JobId,
        events: &mut Vec<EncoderEvent>,
    ) {
        let image = match &self.state {
            State::Holding { job, image, .. } if *job == job_id => image.clone(),
            State::Opening { .. }
            | State::Pausing { .. }
            | State::Idle { .. }
            | State::Preparing { .. }
            | State::Holding { .. }
            | State::Armed { .. }
            | State::Swiping { .. } => {
                let error = untouched(ErrorCode::UncategorizedError, "nothing is prepared");
                return finish(events, job_id, Err(error));
            }
        };
        common.count("stripe encoder armed");
        common.ledger.assigned(job_id, image.card_number.clone());
        common.write_began(self.pc, self.hardware);
        let mut table = lock(&common.table);
        table.stripes.reset();
        table.stripes.arm = Some(Arm::Write(job_id, image.clone()));
        self.state = State::Armed {
            job: job_id,
            image,
            reset_at: None,
        };
    }

    pub(super) fn abort(
        &mut self,
        common: &mut Common,
        job_id: JobId,
        events: &mut Vec<EncoderEvent>,
    ) {
        let now = common.now;
        let reset = common.up_to(RESET);
        match &mut self.state {
            State::Armed { job, reset_at, .. } if *job == job_id => {
                reset_at.get_or_insert(now + reset);
            }
            State::Preparing { job, .. } | State::Holding { job, .. } if *job == job_id => {
                let error = untouched(ErrorCode::UncategorizedError, "cancelled");
                self.end(now, job_id, Err(error), events);
            }
            State::Swiping {
                job,
                reading: Reading::Read | Reading::Verify(_),
                ..
            } if *job == job_id => {
                lock(&common.table).stripes.reset();
                let error = untouched(ErrorCode::UncategorizedError, "cancelled");
                self.end(now, job_id, Err(error), events);
            }
            State::Opening { .. }
            | State::Pausing { .. }
            | State::Idle { .. }
            | State::Preparing { .. }
            | State::Holding { .. }
            | State::Armed { .. }
            | State::Swiping { .. } => {}
        }
    }

    pub(super) fn stop_verifying(
        &mut self,
        common: &mut Common,
        job_id: JobId,
        events: &mut Vec<EncoderEvent>,
    ) {
        let stops = matches!(
            &self.state,
            State::Swiping { job, reading: Reading::VerifyWritten(_), .. } if *job == job_id
        );
        if stops {
            lock(&common.table).stripes.reset();
            common.count("stripe not swiped again");
            self.fail(
                common.now,
                job_id,
                &unplaced(CardLinkError::Cancelled),
                true,
                events,
            );
        }
    }

    pub(super) fn await_write(
        &mut self,
        common: &mut Common,
        events: &mut Vec<EncoderEvent>,
    ) -> bool {
        let State::Armed {
            job,
            image,
            reset_at,
        } = &self.state
        else {
            return false;
        };
        let (job, image, reset_at) = (*job, image.clone(), *reset_at);
        let reply = lock(&common.table).stripes.reply.take();
        match reply {
            Some(Reply::Written) if reset_at.is_some() && common.dice.chance(500) => {
                // The device's answer was lost in its reset.
                common.count("stripe written while given up");
                let error = unplaced(CardLinkError::Cancelled);
                self.fail(common.now, job, &error, true, events);
            }
            Some(Reply::Written) => {
                events.push(EncoderEvent::Verifying { job_id: job });
                self.await_swipe(common, job, Reading::VerifyWritten(image), 1);
            }
            Some(Reply::WriteFailed | Reply::Read(_)) => {
                common.count("stripe write failed");
                let error = unplaced(CardLinkError::Refused(fault("0x31")));
                self.fail(common.now, job, &error, true, events);
            }
            None if reset_at.is_some_and(|at| at <= common.now) => {
                lock(&common.table).stripes.reset();
                let error = unplaced(CardLinkError::Cancelled);
                self.fail(common.now, job, &error, false, events);
            }
            None => return false,
        }
        true
    }

    pub(super) fn await_reading(
        &mut self,
        common: &mut Common,
        events: &mut Vec<EncoderEvent>,
    ) -> bool {
        let reply = lock(&common.table).stripes.reply.take();
        let Some(Reply::Read(read)) = reply else {
            return false;
        };
        let idle = State::Idle { due: common.now };
        let State::Swiping {
            job,
            reading,
            swipes,
        } = std::mem::replace(&mut self.state, idle)
        else {
            return false;
        };
        let (image, changed) = match &reading {
            Reading::Read => {
                let contents = CardContents::Magstripe { tracks: read };
                finish(events, job, Ok(OperationResult::Read(contents)));
                return true;
            }
            Reading::VerifyWritten(image) => (image, true),
            Reading::Verify(image) => (image, false),
        };
        match image.compare(&read) {
            Ok(()) => {
                common.note_cards();
                common.ledger.read_back(job);
                let result = if changed {
                    common.count("stripe written and read back");
                    OperationResult::Written
                } else {
                    OperationResult::Verified
                };
                finish(events, job, Ok(result));
            }
            Err(_) if swipes < SWIPES => self.await_swipe(common, job, reading, swipes + 1),
            Err(error) => self.fail(common.now, job, &error, changed, events),
        }
        true
    }
}
