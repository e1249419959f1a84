//! What is asked at the desk: to free an encoder, and to lend one.

use std::time::Duration;

use encoder_protocols::wire::{AgentMessage, EncoderState, ErrorCode, Outcome, Progress, Touched};

use super::{
    bench::{Bench, DESK, nothing_read, settings, uid},
    swipe::armed,
};
use crate::{
    encoder::{EncoderCommand, OperationResult, Poll},
    jobs::{CANCELLED_AT_THE_DESK, NoEncoder, NotCancelled, NotLent},
    status::{self, JobStage},
};

impl Bench {
    fn cancel_at_desk(&mut self, name: Option<&str>) -> Result<(), NotCancelled> {
        let result = self.jobs.cancel_at_desk(name).map(drop);
        self.carry_out();
        result
    }

    fn lend(&mut self) -> Result<(), NotLent> {
        let result = self.jobs.lend(None).map(drop);
        self.carry_out();
        result
    }

    fn give_back(&mut self) {
        self.jobs.give_back(self.now, DESK);
        self.carry_out();
    }

    fn desk_status(&self) -> status::EncoderStatus {
        self.jobs.status(self.now).encoders.remove(0)
    }

    fn stage(&self) -> Option<JobStage> {
        self.desk_status().job.map(|job| job.stage)
    }

    /// How the last inventory lists the encoder.
    fn listed(&mut self) -> Option<EncoderState> {
        let sent = self.take_sent().into_iter().rev();
        let mut inventories = sent.filter_map(|message| match message {
            AgentMessage::Inventory { encoders, .. } => Some(encoders[0].state),
            _ => None,
        });
        inventories.next()
    }
}

#[test]
fn a_wait_for_a_card_is_cancelled_and_the_next_job_takes_its_turn() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    let second = bench.encode(2, 2);
    bench.poll(Poll::Empty);
    let told = bench.desk_status();
    assert_eq!(told.waiting, 1);
    assert_eq!(told.job.unwrap().waits_for.as_deref(), Some("a card"));
    bench.cancel_at_desk(None).unwrap();
    let error = bench.failure();
    assert_eq!(error.code, ErrorCode::UncategorizedError);
    assert_eq!(error.message, CANCELLED_AT_THE_DESK);
    assert_eq!(error.touched, Touched::Untouched);
    bench.put(1);
    assert_eq!(bench.presented()[0].job_id, second);
}

#[test]
fn a_presented_card_and_one_being_prepared_or_read_are_let_go_of() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    assert_eq!(bench.stage(), Some(JobStage::Planning));
    bench.cancel_at_desk(Some("DESK")).unwrap();
    assert_eq!(bench.failure().touched, Touched::Untouched);
    // A plan that was on the way finds nobody.
    bench.plan_write(job, 1, uid(1));
    let is_work = |command: &EncoderCommand| matches!(command, EncoderCommand::Operate { .. });
    assert!(!bench.take_commands().iter().any(is_work));

    let job = bench.encode(2, 2);
    bench.clear();
    bench.put(2);
    bench.plan_write(job, 1, uid(2));
    assert_eq!(bench.stage(), Some(JobStage::Preparing));
    bench.cancel_at_desk(None).unwrap();
    assert_eq!(bench.failure().touched, Touched::Untouched);
    // What was prepared meanwhile is given up, and never written.
    bench.operation(job, Ok(OperationResult::Prepared));
    let commands = bench.take_commands();
    let is_commit = |command: &EncoderCommand| matches!(command, EncoderCommand::Commit { .. });
    let is_abort = |command: &EncoderCommand| matches!(command, EncoderCommand::Abort { .. });
    assert!(commands.iter().any(is_abort) && !commands.iter().any(is_commit));

    let job = bench.scan(3);
    bench.put(2);
    bench.plan_read(job, 1, uid(2));
    bench.cancel_at_desk(None).unwrap();
    assert_eq!(bench.failure().touched, Touched::Untouched);
    bench.operation(job, Ok(nothing_read()));
    assert_eq!(bench.finished().len(), 0);
}

#[test]
fn a_write_that_has_begun_is_not_torn() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.take_commands();
    assert_eq!(
        bench.cancel_at_desk(None),
        Err(NotCancelled::Writing("\"desk\"".to_owned()))
    );
    assert_eq!(bench.take_commands().len(), 0);
    bench.operation(job, Ok(OperationResult::Written));
    assert_eq!(bench.finished()[0].outcome, Outcome::Success);
}

#[test]
fn what_is_looked_at_after_a_restart_is_not_cancelled() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.restart_and_open();
    assert_eq!(bench.stage(), Some(JobStage::Looking));
    assert!(matches!(
        bench.cancel_at_desk(None),
        Err(NotCancelled::Looking(_))
    ));
}

#[test]
fn a_cancel_counts_without_a_session_and_over_a_restart() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.disconnect();
    bench.cancel_at_desk(None).unwrap();
    bench.restart_and_open();
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(
        (finished.job_id, finished.touched),
        (job, Touched::Untouched)
    );
    assert_eq!(finished.error.unwrap().message, CANCELLED_AT_THE_DESK);
}

#[test]
fn a_swipe_that_is_awaited_is_given_up_unless_it_was_faster() {
    for swiped in [false, true] {
        let mut bench = Bench::with(vec![settings("desk", true)]);
        let job = armed(&mut bench);
        assert_eq!(bench.stage(), Some(JobStage::AwaitingSwipe));
        bench.cancel_at_desk(None).unwrap();
        assert_eq!(bench.finished().len(), 0);
        if swiped {
            bench.operation(job, Ok(OperationResult::Written));
            assert_eq!(bench.finished()[0].outcome, Outcome::Success);
        } else {
            let code = ErrorCode::UncategorizedError;
            let given_up = super::bench::error(code, Touched::Untouched, false);
            bench.operation(job, Err(given_up));
            assert_eq!(bench.failure().message, CANCELLED_AT_THE_DESK);
        }
    }
}

#[test]
fn which_encoder_is_meant_must_be_plain() {
    let mut bench = Bench::with(vec![settings("desk", true), settings("bar", true)]);
    assert_eq!(
        bench.cancel_at_desk(Some("spa")),
        Err(NotCancelled::NoEncoder(NoEncoder::Unknown {
            name: "spa".to_owned(),
            known: "\"desk\", \"bar\"".to_owned(),
        }))
    );
    assert!(matches!(
        bench.cancel_at_desk(None),
        Err(NotCancelled::NoEncoder(NoEncoder::Several(_)))
    ));
    assert!(matches!(
        bench.cancel_at_desk(Some("bar")),
        Err(NotCancelled::Idle(_))
    ));
    bench.encode(1, 1);
    // The only one that has a job.
    bench.cancel_at_desk(None).unwrap();
    let mut none = Bench::with(vec![]);
    assert!(matches!(
        none.cancel_at_desk(None),
        Err(NotCancelled::NoEncoder(NoEncoder::None))
    ));
}

#[test]
fn jobs_wait_behind_a_loan_and_their_time_begins_after_it() {
    let mut bench = Bench::new();
    bench.lend().unwrap();
    assert_eq!(bench.listed(), Some(EncoderState::Busy));
    assert!(matches!(bench.take_commands()[..], [EncoderCommand::Watch]));
    assert_eq!(bench.lend(), Err(NotLent::Busy("\"desk\"".to_owned())));
    assert!(!bench.jobs.is_wanted(DESK));
    let job = bench.encode(1, 1);
    assert!(bench.jobs.is_wanted(DESK));
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
    // Longer than its wait for a card; nobody could have given it one.
    bench.advance(Duration::from_secs(40));
    assert_eq!(bench.finished().len(), 0);
    bench.give_back();
    bench.put(1);
    assert_eq!(bench.presented()[0].job_id, job);
    bench.write_card(job, 2, 1);
}

#[test]
fn a_job_behind_a_loan_keeps_its_deadline() {
    let mut bench = Bench::new();
    bench.lend().unwrap();
    bench.encode(1, 1);
    bench.advance(Duration::from_secs(61));
    assert_eq!(bench.failure().code, ErrorCode::ActionAttemptExpired);
    bench.give_back();
}

#[test]
fn an_encoder_with_a_job_or_none_behind_it_is_not_lent() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    assert!(matches!(bench.lend(), Err(NotLent::Busy(_))));
    let mut gone = Bench::new();
    gone.gone(DESK);
    let Err(NotLent::NotReady { problem, .. }) = gone.lend() else {
        panic!("lent");
    };
    assert_eq!(problem, "unplugged");
    let mut stopping = Bench::new();
    stopping.drain();
    assert_eq!(stopping.lend(), Err(NotLent::Stopping));
}

#[test]
fn a_card_that_a_job_has_written_is_not_for_a_loan_before_it_has_left() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    bench.lend().unwrap();
    bench.put(1);
    assert!(bench.jobs.must_lift(DESK));
    bench.clear();
    bench.put(2);
    assert!(!bench.jobs.must_lift(DESK));
}

#[test]
fn promise_rule_7_a_card_written_on_a_loan_is_taken_by_no_credential_before_it_has_left() {
    for restart in [false, true] {
        let mut bench = Bench::new();
        bench.lend().unwrap();
        bench.put(1);
        bench.jobs.guard_lent(DESK, uid(1));
        bench.carry_out();
        if restart {
            bench.restart_and_open();
        } else {
            bench.jobs.lose_sight(DESK);
            bench.give_back();
        }
        bench.take_sent();
        let job = bench.encode(1, 1);
        bench.put(1);
        let said = bench.take_sent();
        let lift = |message: &AgentMessage| {
            matches!(
                message,
                AgentMessage::JobProgress {
                    progress: Progress::LiftCard,
                    ..
                }
            )
        };
        assert!(said.iter().any(lift), "{said:?}");
        bench.clear();
        bench.put(1);
        assert_eq!(bench.presented()[0].job_id, job);
    }
}

#[test]
fn a_dispensers_cards_need_not_leave_after_a_loan_either() {
    let mut bench = Bench::with(vec![settings("desk", false)]);
    bench.lend().unwrap();
    let before = bench.persists;
    bench.jobs.guard_lent(DESK, uid(1));
    bench.carry_out();
    assert_eq!(bench.persists, before);
}

#[test]
fn another_name_counts_at_once() {
    let mut bench = Bench::new();
    let renamed = crate::encoder::EncoderSettings {
        name: "Reception".to_owned(),
        ..settings("desk", true)
    };
    bench.jobs.rename(&renamed);
    bench.carry_out();
    let sent = bench.take_sent();
    let [AgentMessage::Inventory { encoders, .. }] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!(encoders[0].name, "Reception");
    assert_eq!(bench.desk_status().name, "Reception");
}
