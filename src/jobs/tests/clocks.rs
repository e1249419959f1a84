//! Clocks that jump, a PC that sleeps, and a disk that takes its time.

use std::time::Duration;

use encoder_protocols::wire::{ErrorCode, Progress, Touched};
use jiff::SignedDuration;

use super::bench::{Bench, DESK, POLL, uid};
use crate::{encoder::OperationResult, encoder::Poll, journal::Recall};

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// A job whose card is prepared next.
fn planned(bench: &mut Bench) -> encoder_protocols::wire::JobId {
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.take_sent();
    job
}

/// The PC sleeps: time goes on, and no timer fires.
fn sleep(bench: &mut Bench, time: Duration) {
    bench.now.at = bench.now.at + time;
    bench.now.utc += SignedDuration::try_from(time).unwrap();
}

#[test]
fn a_pc_that_slept_past_the_deadline_writes_nothing() {
    let mut bench = Bench::new();
    let job = planned(&mut bench);
    sleep(&mut bench, Duration::from_secs(600));
    bench.operation(job, Ok(OperationResult::Prepared));
    let failure = bench.failure();
    assert_eq!(failure.code, ErrorCode::ActionAttemptExpired);
    assert_eq!(failure.touched, Touched::Untouched);
    assert_eq!(bench.operating(DESK), None);
}

#[test]
fn a_plan_that_waited_while_the_pc_slept_is_too_late() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    sleep(&mut bench, Duration::from_secs(600));
    bench.plan_write(job, 1, uid(1));
    assert_eq!(bench.failure().code, ErrorCode::ActionAttemptExpired);
    assert_eq!(bench.operating(DESK), None);
}

#[test]
fn a_disk_that_takes_long_over_started_lets_no_late_write_begin() {
    let mut bench = Bench::new();
    let job = planned(&mut bench);
    bench.flush_takes = Duration::from_secs(61);
    bench.operation(job, Ok(OperationResult::Prepared));
    let failure = bench.failure();
    assert_eq!(failure.code, ErrorCode::ActionAttemptExpired);
    assert_eq!(failure.touched, Touched::Untouched);
    assert_eq!(bench.operating(DESK), None);
    assert!(bench.journal.contents().open_jobs.is_empty());
}

#[test]
fn the_time_of_day_may_jump_while_a_job_waits() {
    for jump in [YEAR, -YEAR] {
        let mut bench = Bench::new();
        let mut job = bench.encode_job(1, 1);
        job.card_wait_ms = 90_000;
        bench.message(encoder_protocols::wire::ServiceMessage::Job(job));
        bench.now.utc += jump;
        bench.advance(Duration::from_millis(59_900));
        assert_eq!(bench.finished().len(), 0);
        bench.advance(Duration::from_millis(100));
        assert_eq!(bench.failure().code, ErrorCode::ActionAttemptExpired);
    }
}

#[test]
fn a_clock_set_back_over_a_restart_gives_no_more_time_than_there_was_at_first() {
    let mut bench = Bench::new();
    let mut job = bench.encode_job(1, 1);
    job.card_wait_ms = 90_000;
    bench.message(encoder_protocols::wire::ServiceMessage::Job(job));
    bench.disconnect();
    bench.now.utc -= YEAR;
    bench.restart();
    bench.ready(DESK);
    bench.advance(Duration::from_secs(60));
    assert!(bench.journal.contents().open_jobs.is_empty());
}

#[test]
fn a_clock_set_forward_over_a_restart_ends_what_waits_and_writes_nothing() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.disconnect();
    bench.now.utc += YEAR;
    bench.restart_and_open();
    bench.advance(Duration::from_millis(1));
    let finished = bench.finished();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].job_id, job);
    assert_eq!(finished[0].touched, Touched::Untouched);
}

#[test]
fn a_sleeping_pc_is_no_card_that_leaves() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    bench.encode(2, 2);
    bench.take_sent();
    bench.poll(Poll::Empty);
    sleep(&mut bench, Duration::from_secs(20));
    bench.poll(Poll::Empty);
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
    bench.clear();
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn polls_of_a_slow_encoder_are_in_a_row_all_the_same() {
    let mut settings = super::bench::settings("desk", true);
    settings.poll_interval = Duration::from_secs(5);
    let mut bench = Bench::with(vec![settings]);
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    bench.encode(2, 2);
    for _ in 0..2 {
        bench.advance(Duration::from_secs(5) - POLL);
        bench.poll(Poll::Empty);
    }
    bench.take_sent();
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn a_tombstone_is_kept_by_the_coordinators_clock() {
    let mut bench = Bench::new();
    let told = bench.server_time();
    bench.now.utc += YEAR;
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    bench.acknowledge(1);
    bench.advance(Duration::from_secs(1));
    let day = |days: i64| told + SignedDuration::from_hours(24 * days);
    bench.journal.compact(day(180));
    assert_eq!(bench.journal.recall(Recall::Job(job)).len(), 1);
    bench.journal.compact(day(181));
    assert_eq!(bench.journal.recall(Recall::Job(job)).len(), 0);
    let now = bench.jobs.coordinator_time(bench.now.at).unwrap();
    assert!(now.duration_since(told) < SignedDuration::from_mins(1));
}

#[test]
fn the_same_credential_need_not_lift_its_card_after_a_sleep() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    sleep(&mut bench, Duration::from_secs(600));
    bench.encode(2, 1);
    bench.take_sent();
    bench.put(1);
    assert_eq!(bench.presented().len(), 1);
    assert!(!bench.progress().contains(&Progress::LiftCard));
}
