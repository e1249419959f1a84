//! One job at the head of its queue: rules 1, 3 and the ends that need no other job.

use std::time::Duration;

use encoder_protocols::wire::{ErrorCode, Outcome, Plan, Progress, Touched};

use super::bench::{Bench, card, error, image, nothing_read, uid};
use crate::encoder::{EncoderCommand, OperationResult, Poll};

#[test]
fn an_encode_goes_from_its_offer_to_a_tombstone() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.poll(Poll::Empty);
    assert_eq!(bench.progress(), [Progress::WaitingForCard]);
    bench.put(1);
    let [presented] = bench.presented().try_into().unwrap();
    assert_eq!((presented.n, presented.card), (1, card(1)));
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    assert_eq!(
        bench.progress(),
        [Progress::Writing {
            uid: Some(uid(1)),
            n: 1
        }]
    );
    bench.advance(Duration::from_millis(300));
    bench.operation(job, Ok(OperationResult::Written));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.sequence, 1);
    assert_eq!(finished.outcome, Outcome::Success);
    assert_eq!(finished.touched, Touched::Written);
    assert_eq!(finished.card_number.as_deref(), Some("0401aa55"));
    assert_eq!(finished.issued_at, Some(bench.now.utc));
    bench.acknowledge(1);
    bench.clear();
    bench.advance(Duration::from_secs(1));
    assert!(bench.journal.contents().unacknowledged.is_empty());
    assert!(bench.journal.contents().guards.is_empty());
    assert!(matches!(
        bench.take_commands().last(),
        Some(EncoderCommand::Rest)
    ));
}

#[test]
fn people_are_told_each_time_a_card_is_seen() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.put(1);
    bench.poll(Poll::Empty);
    bench.put(2);
    let told = bench.progress();
    let seen = told.iter().filter(|told| **told == Progress::CardPresented);
    assert_eq!(seen.count(), 2, "{told:?}");
}

#[test]
fn an_encode_costs_three_flushes_of_the_disk_until_its_outcome_goes_out() {
    let mut bench = Bench::new();
    bench.advance(Duration::from_secs(1));
    let before = bench.persists;
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    assert_eq!(bench.finished().len(), 1);
    assert_eq!(bench.persists - before, 3);
}

#[test]
fn a_scan_reads_and_leaves_its_contents_to_the_acknowledgement() {
    let mut bench = Bench::new();
    let job = bench.scan(1);
    bench.put(1);
    bench.plan_read(job, 1, uid(1));
    bench.operation(job, Ok(nothing_read()));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.touched, Touched::Untouched);
    assert!(finished.contents.is_some() && finished.issued_at.is_none());
    assert!(
        bench.journal.contents().unacknowledged[0]
            .finished
            .contents
            .is_some()
    );
    bench.acknowledge(1);
    bench.advance(Duration::from_secs(1));
    let recalled = bench.journal.recall(crate::journal::Recall::Job(job));
    assert!(recalled[0].contents.is_none());
}

#[test]
fn promise_rule_1_a_plan_of_another_presentation_or_card_is_dropped() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.put(2);
    bench.plan_write(job, 1, uid(1));
    bench.plan_write(job, 1, uid(2));
    bench.plan_write(job, 2, uid(1));
    bench.take_sent();
    assert_eq!(bench.operating(super::bench::DESK), None);
    bench.plan_write(job, 2, uid(2));
    assert_eq!(bench.operating(super::bench::DESK), Some((job, false)));
}

#[test]
fn promise_rule_1_a_card_that_comes_back_is_presented_anew() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.poll(Poll::Empty);
    assert!(bench.progress().contains(&Progress::CardRemoved));
    bench.plan_write(job, 1, uid(1));
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    assert_eq!(bench.operating(super::bench::DESK), None);
    let [presented] = bench.presented().try_into().unwrap();
    assert_eq!(presented.n, 2);
}

#[test]
fn trace_b_presentations_go_on_after_a_restart_and_a_late_plan_finds_no_card() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.put(2);
    bench.restart_and_open();
    bench.take_sent();
    bench.put(1);
    let [presented] = bench.presented().try_into().unwrap();
    assert_eq!(presented.n, 3);
    bench.plan_write(job, 1, uid(1));
    assert_eq!(bench.operating(super::bench::DESK), None);
}

#[test]
fn promise_rule_1_a_crash_right_after_the_first_presentation_spends_its_number() {
    let mut bench = Bench::new();
    let _job = bench.encode(1, 1);
    bench.put(1);
    bench.restart_and_open();
    bench.take_sent();
    bench.put(1);
    assert_eq!(bench.presented()[0].n, 2);
}

#[test]
fn promise_rule_1_the_sixth_card_ends_the_job() {
    let mut bench = Bench::new();
    let _job = bench.encode(1, 1);
    for number in 1..=5 {
        bench.put(number);
    }
    bench.put(3);
    assert_eq!(bench.presented().len(), 6);
    bench.put(6);
    let failure = bench.failure();
    assert_eq!(failure.code, ErrorCode::UncategorizedError);
    assert!(failure.message.contains("too many different cards"));
    assert_eq!(failure.touched, Touched::Untouched);
}

#[test]
fn an_ignored_card_is_not_presented_again_until_it_was_lifted() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan(job, 1, uid(1), Plan::Ignore);
    bench.put(1);
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
    bench.poll(Poll::Empty);
    bench.put(1);
    assert_eq!(bench.presented()[0].n, 2);
}

#[test]
fn a_refused_card_ends_the_job_untouched() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    let plan = Plan::Refuse {
        code: ErrorCode::CredentialCannotBeReissued,
        message: "on another card".into(),
    };
    bench.plan(job, 1, uid(1), plan);
    let failure = bench.failure();
    assert_eq!(failure.code, ErrorCode::CredentialCannotBeReissued);
    assert_eq!(failure.touched, Touched::Untouched);
}

#[test]
fn a_plan_of_the_wrong_kind_ends_the_job_untouched() {
    let mut bench = Bench::new();
    let job = bench.scan(1);
    bench.put(1);
    bench.plan(job, 1, uid(1), Plan::Write { image: image() });
    assert_eq!(bench.failure().touched, Touched::Untouched);
}

#[test]
fn a_random_uid_is_refused_for_an_encode_and_read_by_a_scan() {
    let random = encoder_protocols::card::Uid::new(&[0x08, 1, 2, 3]).unwrap();
    let mut lying = card(1);
    lying.uid = Some(random);
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.poll(Poll::Card(lying));
    assert_eq!(bench.failure().code, ErrorCode::IncompatibleCardFormat);
    let scan = bench.scan(2);
    bench.poll(Poll::Card(lying));
    bench.plan_read(scan, 1, random);
    bench.operation(scan, Ok(nothing_read()));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(
        (finished.outcome, finished.card_number),
        (Outcome::Success, None)
    );
}

#[test]
fn several_cards_are_waited_out() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.poll(Poll::Several);
    bench.poll(Poll::Several);
    assert_eq!(bench.progress(), [Progress::SeveralCards]);
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn the_card_wait_ends_the_job_at_the_head() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.poll(Poll::Empty);
    bench.advance(Duration::from_millis(29_800));
    assert_eq!(bench.finished().len(), 0);
    bench.advance(Duration::from_millis(200));
    let failure = bench.failure();
    assert_eq!(failure.code, ErrorCode::NoCardOnEncoder);
    assert!(failure.message.contains("30 s"));
}

#[test]
fn the_card_wait_rests_while_a_presented_card_lies_there() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.put(1);
    bench.advance(Duration::from_secs(40));
    assert_eq!(bench.finished().len(), 0);
    bench.poll(Poll::Empty);
    bench.advance(Duration::from_secs(15));
    assert_eq!(bench.finished().len(), 0);
    bench.advance(Duration::from_secs(10));
    assert_eq!(bench.failure().code, ErrorCode::ActionAttemptExpired);
}

#[test]
fn no_write_starts_that_cannot_end_before_the_deadline() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.advance(Duration::from_millis(59_800));
    bench.plan_write(job, 1, uid(1));
    assert_eq!(bench.failure().code, ErrorCode::ActionAttemptExpired);
}

#[test]
fn the_deadline_is_looked_at_again_when_everything_is_prepared() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.advance(Duration::from_millis(59_400));
    bench.plan_write(job, 1, uid(1));
    bench.advance(Duration::from_millis(400));
    bench.operation(job, Ok(OperationResult::Prepared));
    let failure = bench.failure();
    assert_eq!(failure.code, ErrorCode::ActionAttemptExpired);
    assert_eq!(failure.touched, Touched::Untouched);
    let aborted = bench.take_commands();
    assert!(
        aborted
            .iter()
            .any(|command| matches!(command, EncoderCommand::Abort { .. }))
    );
}

#[test]
fn the_deadline_does_not_end_a_running_write() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.advance(Duration::from_secs(100));
    bench.operation(job, Ok(OperationResult::Written));
    assert_eq!(bench.finished()[0].outcome, Outcome::Success);
}

#[test]
fn a_card_lifted_before_the_first_byte_costs_nothing() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(
        job,
        Err(error(
            ErrorCode::EncodingInterrupted,
            Touched::Untouched,
            true,
        )),
    );
    assert!(bench.progress().contains(&Progress::CardRemoved));
    bench.write_card(job, 2, 1);
    assert_eq!(bench.finished()[0].touched, Touched::Written);
}

#[test]
fn wrong_keys_end_the_job_untouched() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(
        job,
        Err(error(
            ErrorCode::UncategorizedError,
            Touched::Untouched,
            false,
        )),
    );
    assert_eq!(bench.failure().touched, Touched::Untouched);
}

#[test]
fn promise_rule_3_an_encoder_lost_during_the_write_is_an_interruption_of_unknown_effect() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.gone(super::bench::DESK);
    bench.operation(
        job,
        Err(error(ErrorCode::EncoderNotOnline, Touched::Unknown, false)),
    );
    let failure = bench.failure();
    assert_eq!(failure.code, ErrorCode::EncodingInterrupted);
    assert_eq!(failure.touched, Touched::Unknown);
}

#[test]
fn promise_rule_3_only_a_write_that_was_read_back_is_a_success() {
    for result in [
        OperationResult::Prepared,
        OperationResult::Verified,
        nothing_read(),
    ] {
        let mut bench = Bench::new();
        let job = bench.encode(1, 1);
        bench.put(1);
        bench.plan_write(job, 1, uid(1));
        bench.operation(job, Ok(OperationResult::Prepared));
        bench.operation(job, Ok(result));
        assert_eq!(bench.failure().touched, Touched::Unknown);
    }
}

#[test]
fn promise_rule_11_a_cancel_ends_a_waiting_job_and_not_a_started_one() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.cancel(job);
    let failure = bench.failure();
    assert_eq!(
        (failure.code, failure.touched),
        (ErrorCode::CredentialDeleted, Touched::Untouched)
    );
    bench.operation(
        job,
        Err(error(
            ErrorCode::UncategorizedError,
            Touched::Untouched,
            false,
        )),
    );
    let started = bench.encode(2, 2);
    bench.put(1);
    bench.plan_write(started, 1, uid(1));
    bench.operation(started, Ok(OperationResult::Prepared));
    bench.cancel(started);
    assert_eq!(bench.finished().len(), 0);
    bench.operation(started, Ok(OperationResult::Written));
    assert_eq!(bench.finished()[0].outcome, Outcome::Success);
}

#[test]
fn a_job_cancelled_while_it_is_prepared_leaves_the_encoder_to_end_first() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    let second = bench.encode(2, 2);
    bench.put(1);
    bench.plan_write(first, 1, uid(1));
    bench.cancel(first);
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
    bench.operation(first, Ok(OperationResult::Prepared));
    bench.write_card(second, 1, 1);
    assert_eq!(bench.finished().len(), 1);
}

#[test]
fn promise_rule_10_an_encoder_gone_for_three_seconds_ends_waiting_jobs() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.encode(2, 2);
    bench.put(1);
    bench.gone(super::bench::DESK);
    bench.advance(Duration::from_millis(2_900));
    assert_eq!(bench.finished().len(), 0);
    bench.advance(Duration::from_millis(100));
    let codes: Vec<_> = bench
        .finished()
        .into_iter()
        .map(|f| f.error.unwrap().code)
        .collect();
    assert_eq!(codes, [ErrorCode::EncoderNotOnline; 2]);
}

#[test]
fn an_encoder_that_comes_back_in_time_is_waited_for() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.gone(super::bench::DESK);
    bench.operation(
        job,
        Err(error(
            ErrorCode::EncoderNotOnline,
            Touched::Untouched,
            false,
        )),
    );
    bench.advance(Duration::from_secs(2));
    bench.ready(super::bench::DESK);
    bench.write_card(job, 2, 1);
    assert_eq!(bench.finished()[0].touched, Touched::Written);
}
