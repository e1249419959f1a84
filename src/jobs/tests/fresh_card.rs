//! Rule 7: a written card must leave before an encode of another credential.

use std::time::Duration;

use encoder_protocols::{
    moment::Moment,
    wire::{ErrorCode, Progress, Touched},
};

use super::bench::{Bench, DESK, card, credential, error, nothing_read, settings, uid};
use crate::{
    encoder::{EncoderCommand, OperationResult, Poll},
    jobs::presence::{Field, Standing},
    journal::Guard,
};

#[test]
fn trace_f_three_jobs_and_one_card_give_one_success_and_two_that_wait() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.encode(2, 2);
    bench.encode(3, 3);
    bench.write_card(first, 1, 1);
    bench.take_sent();
    for _ in 0..20 {
        bench.put(1);
    }
    assert_eq!(bench.progress(), [Progress::LiftCard]);
    bench.advance(Duration::from_secs(30));
    let failure = bench.failure();
    assert_eq!(failure.code, ErrorCode::NoCardOnEncoder);
    assert!(
        failure
            .message
            .contains("lift the card and put down another, or the same one again")
    );
}

#[test]
fn trace_f_a_job_asked_for_after_the_success_waits_too() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 1);
    bench.put(1);
    bench.put(1);
    bench.take_sent();
    let second = bench.encode(2, 2);
    assert_eq!(bench.progress(), [Progress::LiftCard]);
    bench.clear();
    bench.write_card(second, 1, 1);
    assert_eq!(bench.finished().len(), 1);
}

#[test]
fn trace_f_the_written_card_is_remembered_over_a_restart() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 1);
    bench.restart_and_open();
    bench.take_sent();
    bench.encode(2, 2);
    bench.put(1);
    bench.put(1);
    assert_eq!(bench.progress(), [Progress::LiftCard]);
}

#[test]
fn promise_rule_7_a_write_of_unknown_effect_counts_as_written() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(first, 1, uid(1));
    bench.operation(first, Ok(OperationResult::Prepared));
    bench.operation(
        first,
        Err(error(
            ErrorCode::EncodingInterrupted,
            Touched::Unknown,
            true,
        )),
    );
    bench.take_sent();
    bench.encode(2, 2);
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
}

#[test]
fn promise_rule_7_a_write_that_changed_nothing_guards_nothing() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(first, 1, uid(1));
    bench.operation(first, Ok(OperationResult::Prepared));
    bench.operation(
        first,
        Err(error(
            ErrorCode::EncodingInterrupted,
            Touched::Untouched,
            true,
        )),
    );
    bench.take_sent();
    bench.encode(2, 2);
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn promise_rule_7_the_same_credential_may_go_onto_the_same_card_at_once() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 1);
    let again = bench.encode(2, 1);
    bench.write_card(again, 1, 1);
    assert_eq!(bench.finished().len(), 2);
}

#[test]
fn promise_rule_7_a_scan_takes_the_written_card() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 1);
    let scan = bench.scan(2);
    bench.take_sent();
    bench.put(1);
    bench.plan_read(scan, 1, uid(1));
    bench.operation(scan, Ok(nothing_read()));
    assert_eq!(bench.finished().len(), 1);
    bench.encode(3, 3);
    bench.put(1);
    assert_eq!(bench.progress(), [Progress::LiftCard]);
}

#[test]
fn promise_rule_7_a_replug_is_not_leaving() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 1);
    bench.take_sent();
    bench.encode(2, 2);
    bench.poll(Poll::Empty);
    bench.gone(DESK);
    bench.advance(Duration::from_secs(1));
    bench.ready(DESK);
    bench.poll(Poll::Empty);
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
    bench.clear();
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn promise_rule_7_one_missed_poll_is_not_leaving() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 1);
    bench.take_sent();
    bench.encode(2, 2);
    for _ in 0..5 {
        bench.poll(Poll::Empty);
        bench.poll(Poll::Empty);
        bench.put(1);
    }
    assert_eq!(bench.presented().len(), 0);
}

#[test]
fn promise_rule_7_another_card_is_taken_once_the_written_one_has_left() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 1);
    bench.encode(2, 2);
    bench.take_sent();
    bench.put(2);
    bench.put(2);
    assert_eq!(bench.presented().len(), 0);
    bench.put(2);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn promise_rule_7_several_cards_may_hide_the_written_one() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 1);
    bench.take_sent();
    bench.encode(2, 2);
    for _ in 0..10 {
        bench.poll(Poll::Several);
    }
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
}

#[test]
fn promise_rule_7_the_card_is_watched_until_it_has_left_though_no_job_waits() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.take_commands();
    bench.write_card(first, 1, 1);
    bench.put(1);
    let rests = |commands: &[EncoderCommand]| {
        commands
            .iter()
            .any(|command| matches!(command, EncoderCommand::Rest))
    };
    assert!(!rests(&bench.take_commands()));
    bench.clear();
    assert!(rests(&bench.take_commands()));
}

#[test]
fn promise_rule_7_can_be_switched_off() {
    let mut bench = Bench::with(vec![settings("dispenser", false)]);
    let first = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(first, 1, uid(1));
    bench.operation(first, Ok(OperationResult::Prepared));
    bench.operation(first, Ok(OperationResult::Written));
    bench.take_sent();
    bench.encode(2, 2);
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
    assert!(bench.journal.contents().guards.is_empty());
}

#[test]
fn promise_rule_7_behind_the_coordinators_sequence_any_lying_card_counts_as_written() {
    let mut bench = Bench::closed(vec![settings("desk", true)]);
    bench.open_encoders();
    bench.last_stored = 41;
    bench.connect();
    bench.take_sent();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.put(1);
    assert_eq!(bench.progress(), [Progress::LiftCard]);
    bench.restart_and_open();
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
    bench.clear();
    bench.write_card(job, 2, 1);
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.sequence, 42);
}

#[test]
fn promise_rule_7_a_journal_that_is_behind_counts_any_lying_card_as_written() {
    let mut bench = Bench::closed(vec![settings("desk", true)]);
    bench.open_encoders();
    bench.journal_behind = true;
    bench.connect();
    bench.take_sent();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.put(1);
    assert_eq!(bench.progress(), [Progress::LiftCard]);
    bench.clear();
    bench.write_card(job, 1, 1);
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.sequence, 1);
}

#[test]
fn promise_rule_7_behind_the_coordinators_sequence_an_empty_field_guards_nothing() {
    let mut bench = Bench::closed(vec![settings("desk", true)]);
    bench.open_encoders();
    bench.last_stored = 41;
    bench.connect();
    bench.clear();
    bench.encode(1, 1);
    bench.take_sent();
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn promise_rule_7_behind_the_coordinators_sequence_the_remembered_card_counts_too() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.write_card(first, 1, 2);
    bench.last_stored = 9;
    bench.restart_and_open();
    bench.take_sent();
    bench.encode(2, 2);
    bench.put(3);
    bench.put(2);
    bench.put(1);
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn polls_that_arrive_together_do_not_count_as_apart() {
    let guard = Guard::Written {
        uid: uid(1),
        credential_id: None,
    };
    let mut field = Field::new(vec![guard], Duration::from_millis(50));
    let at = |milliseconds| Moment::ORIGIN + Duration::from_millis(milliseconds);
    assert!(!field.see(at(0), Poll::Empty));
    assert!(!field.see(at(500), Poll::Empty));
    assert!(!field.see(at(500), Poll::Empty));
    field.see(at(500), Poll::Card(card(2)));
    assert_eq!(
        field.standing(true, Some(credential(1))),
        Standing::GoOnWaiting
    );
    assert!(field.see(at(500), Poll::Empty));
}
