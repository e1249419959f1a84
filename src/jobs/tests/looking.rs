//! Rule 5: a job found *started* is looked at and never written again.

use std::time::Duration;

use encoder_protocols::wire::{
    AgentMessage, ErrorCode, OpenJobState, Outcome, Plan, PlanRequest, Progress, Touched,
};

use super::bench::{Bench, DESK, error, image, nothing_read, uid};
use crate::encoder::{OperationResult, Poll};

/// A bench that crashed in the middle of a write.
fn crashed() -> (Bench, encoder_protocols::wire::JobId) {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.restart();
    bench.take_sent();
    (bench, job)
}

fn asked(bench: &mut Bench) -> Vec<PlanRequest> {
    bench
        .take_sent()
        .into_iter()
        .filter_map(|message| match message {
            AgentMessage::PlanRequest(request) => Some(request),
            _ => None,
        })
        .collect()
}

#[test]
fn promise_rule_5_every_byte_right_is_a_success() {
    let (mut bench, job) = crashed();
    let open = bench.open_jobs();
    assert_eq!(
        open[0].state,
        OpenJobState::Started {
            uid: Some(uid(1)),
            n: 1
        }
    );
    assert!(bench.progress().contains(&Progress::Writing {
        uid: Some(uid(1)),
        n: 1
    }));
    bench.ready(DESK);
    bench.put(1);
    let [request] = asked(&mut bench).try_into().unwrap();
    assert_eq!((request.job_id, request.uid, request.n), (job, uid(1), 1));
    bench.plan(job, 1, uid(1), Plan::Write { image: image() });
    assert_eq!(bench.operating(DESK), None);
    bench.plan(job, 1, uid(1), Plan::Verify { image: image() });
    bench.operation(job, Ok(OperationResult::Verified));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(
        (finished.outcome, finished.touched),
        (Outcome::Success, Touched::Written)
    );
    assert_eq!(finished.card_number.as_deref(), Some("0401aa55"));
}

#[test]
fn promise_rule_5_a_wrong_byte_is_an_interruption_of_unknown_effect() {
    let (mut bench, job) = crashed();
    bench.open_encoders();
    bench.connect();
    bench.put(1);
    bench.plan(job, 1, uid(1), Plan::Verify { image: image() });
    bench.operation(
        job,
        Err(error(
            ErrorCode::UncategorizedError,
            Touched::Untouched,
            false,
        )),
    );
    let failure = bench.failure();
    assert_eq!(
        (failure.code, failure.touched),
        (ErrorCode::EncodingInterrupted, Touched::Unknown)
    );
}

#[test]
fn promise_rule_5_ten_seconds_count_only_with_encoder_and_session_up() {
    let (mut bench, _job) = crashed();
    bench.advance(Duration::from_secs(20));
    bench.open_encoders();
    bench.advance(Duration::from_secs(20));
    bench.connect();
    bench.advance(Duration::from_secs(6));
    bench.disconnect();
    bench.advance(Duration::from_secs(600));
    bench.connect();
    bench.advance(Duration::from_millis(3_900));
    assert_eq!(bench.finished().len(), 0);
    bench.advance(Duration::from_millis(100));
    let failure = bench.failure();
    assert_eq!(
        (failure.code, failure.touched),
        (ErrorCode::EncodingInterrupted, Touched::Unknown)
    );
}

#[test]
fn promise_rule_5_an_encoder_that_never_comes_back_ends_the_look_two_minutes_after_the_deadline() {
    let (mut bench, _job) = crashed();
    bench.connect();
    bench.advance(Duration::from_secs(60 + 119));
    assert_eq!(bench.finished().len(), 0);
    bench.advance(Duration::from_secs(1));
    let failure = bench.failure();
    assert_eq!(
        (failure.code, failure.touched),
        (ErrorCode::EncodingInterrupted, Touched::Unknown)
    );
}

#[test]
fn promise_rule_5_another_card_is_not_asked_about() {
    let (mut bench, _job) = crashed();
    bench.restart_and_open();
    bench.put(2);
    bench.poll(Poll::Several);
    assert!(asked(&mut bench).is_empty());
}

#[test]
fn promise_rule_5_a_refused_request_ends_the_look() {
    let (mut bench, job) = crashed();
    bench.restart_and_open();
    bench.put(1);
    bench.take_sent();
    let plan = Plan::Refuse {
        code: ErrorCode::UncategorizedError,
        message: "not the bound card".into(),
    };
    bench.plan(job, 1, uid(1), plan);
    assert_eq!(bench.failure().touched, Touched::Unknown);
}

#[test]
fn promise_rule_5_the_request_is_made_again_in_the_next_session() {
    let (mut bench, _job) = crashed();
    bench.restart_and_open();
    bench.put(1);
    assert_eq!(asked(&mut bench).len(), 1);
    bench.put(1);
    assert_eq!(asked(&mut bench).len(), 0);
    bench.connect();
    assert_eq!(asked(&mut bench).len(), 1);
}

#[test]
fn promise_rule_5_a_cancel_does_not_end_the_look() {
    let (mut bench, job) = crashed();
    bench.restart_and_open();
    bench.take_sent();
    bench.cancel(job);
    assert_eq!(bench.finished().len(), 0);
}

#[test]
fn promise_rule_7_the_card_of_an_interrupted_write_must_be_lifted() {
    let (mut bench, _job) = crashed();
    bench.restart_and_open();
    bench.advance(Duration::from_secs(11));
    bench.take_sent();
    bench.encode(2, 2);
    bench.put(1);
    assert_eq!(bench.progress(), [Progress::LiftCard]);
}

#[test]
fn promise_rule_11_the_started_job_is_the_head_and_the_others_wait_behind_it() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    let second = bench.encode(2, 2);
    bench.put(1);
    bench.plan_write(first, 1, uid(1));
    bench.operation(first, Ok(OperationResult::Prepared));
    bench.restart_and_open();
    bench.take_sent();
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
    bench.plan(first, 1, uid(1), Plan::Verify { image: image() });
    bench.operation(first, Ok(OperationResult::Verified));
    bench.clear();
    bench.write_card(second, 2, 2);
    assert_eq!(bench.finished().len(), 2);
}

#[test]
fn jobs_of_an_encoder_that_does_not_come_back_end() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    bench.encode(2, 2);
    bench.put(1);
    bench.plan_write(first, 1, uid(1));
    bench.operation(first, Ok(OperationResult::Prepared));
    bench.settings[0].key.0 = "another".into();
    bench.restart();
    bench.connect();
    // Anybody may still be plugging it in.
    assert_eq!(bench.finished().len(), 0);
    let mut touched = Vec::new();
    for wait in [3, 60 + 120] {
        bench.advance(Duration::from_secs(wait));
        touched.extend(bench.finished().iter().map(|finished| finished.touched));
    }
    assert_eq!(touched, [Touched::Untouched, Touched::Unknown]);
}

#[test]
fn a_waiting_job_goes_on_after_a_restart_with_its_deadline() {
    let mut bench = Bench::new();
    bench.scan(1);
    bench.advance(Duration::from_secs(20));
    bench.restart_and_open();
    let scan = super::bench::job_id(1);
    bench.put(1);
    bench.take_sent();
    bench.advance(Duration::from_millis(39_000));
    assert_eq!(bench.finished().len(), 0);
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.failure().code, ErrorCode::ActionAttemptExpired);
    bench.plan_read(scan, 2, uid(1));
    bench.operation(scan, Ok(nothing_read()));
    assert_eq!(bench.finished().len(), 0);
}
