//! Rule 4, rule 11 and the queues.

use std::time::Duration;

use encoder_protocols::wire::{
    AgentMessage, EncoderSettings, ErrorCode, JobId, MAX_WAITING_JOBS, RefusalReason,
    ServiceMessage, Touched,
};
use jiff::SignedDuration;

use super::bench::{Bench, DESK, job_id, settings, uid};
use crate::encoder::{EncoderId, OperationResult};

fn refusal(bench: &mut Bench) -> Option<RefusalReason> {
    bench
        .take_sent()
        .into_iter()
        .find_map(|message| match message {
            AgentMessage::JobRefused(refused) => Some(refused.reason),
            _ => None,
        })
}

fn is_accepted(bench: &mut Bench, job: JobId) -> bool {
    bench
        .take_sent()
        .contains(&AgentMessage::JobAccepted { job_id: job })
}

#[test]
fn promise_rule_4_an_open_job_is_accepted_again_and_a_finished_one_answered() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.take_sent();
    bench.encode(1, 1);
    assert!(is_accepted(&mut bench, job));
    bench.write_card(job, 1, 1);
    bench.take_sent();
    bench.encode(1, 1);
    assert_eq!(bench.finished().len(), 1);
    bench.acknowledge(1);
    bench.encode(1, 1);
    assert_eq!(bench.finished()[0].touched, Touched::Written);
    bench.restart_and_open();
    bench.encode(1, 1);
    assert_eq!(bench.finished()[0].touched, Touched::Written);
    bench.clear();
    bench.put(2);
    assert_eq!(bench.presented().len(), 0);
}

#[test]
fn promise_rule_11_a_cancel_of_an_unknown_job_is_journaled_as_untouched() {
    let mut bench = Bench::new();
    bench.cancel(job_id(9));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.touched, Touched::Untouched);
    assert_eq!(finished.error.unwrap().code, ErrorCode::CredentialDeleted);
    bench.restart_and_open();
    assert_eq!(bench.finished().len(), 1);
    bench.encode(9, 1);
    assert_eq!(bench.finished().len(), 1);
}

#[test]
fn promise_rule_11_a_cancel_of_a_finished_job_is_answered_by_its_outcome() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    bench.acknowledge(1);
    bench.take_sent();
    bench.cancel(job);
    assert_eq!(bench.finished()[0].touched, Touched::Written);
}

#[test]
fn promise_rule_11_ending_a_waiting_job_does_not_disturb_the_running_one() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    let second = bench.encode(2, 2);
    bench.put(1);
    bench.plan_write(first, 1, uid(1));
    bench.cancel(second);
    assert_eq!(bench.operating(DESK), Some((first, false)));
    bench.operation(first, Ok(OperationResult::Prepared));
    bench.operation(first, Ok(OperationResult::Written));
    let outcomes: Vec<_> = bench
        .finished()
        .iter()
        .map(|f| (f.job_id, f.touched))
        .collect();
    assert_eq!(
        outcomes,
        [(second, Touched::Untouched), (first, Touched::Written)]
    );
}

#[test]
fn eight_jobs_may_wait_behind_the_head() {
    let mut bench = Bench::new();
    for number in 0..=MAX_WAITING_JOBS {
        let job = bench.encode(number as u128, number as u128);
        assert!(is_accepted(&mut bench, job));
    }
    bench.encode(99, 99);
    assert_eq!(refusal(&mut bench), Some(RefusalReason::QueueFull));
}

#[test]
fn the_card_wait_of_a_queued_job_begins_at_the_head() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    let mut second = bench.encode_job(2, 2);
    second.deadline += SignedDuration::from_secs(60);
    bench.message(ServiceMessage::Job(second));
    bench.advance(Duration::from_secs(30));
    assert_eq!(bench.finished().len(), 1);
    bench.advance(Duration::from_millis(29_900));
    assert_eq!(bench.finished().len(), 0);
    bench.advance(Duration::from_millis(100));
    assert_eq!(bench.failure().code, ErrorCode::NoCardOnEncoder);
}

#[test]
fn jobs_that_cannot_run_here_are_refused() {
    let mut bench = Bench::new();
    let mut late = bench.encode_job(1, 1);
    late.deadline = late.server_time;
    bench.message(ServiceMessage::Job(late));
    assert_eq!(refusal(&mut bench), Some(RefusalReason::TooOld));
    let mut ancient = bench.encode_job(2, 1);
    ancient.created_at -= SignedDuration::from_hours(181 * 24);
    bench.message(ServiceMessage::Job(ancient));
    assert_eq!(refusal(&mut bench), Some(RefusalReason::TooOld));
    let mut elsewhere = bench.encode_job(3, 1);
    elsewhere.encoder_key.0 = "elsewhere".into();
    bench.message(ServiceMessage::Job(elsewhere));
    assert_eq!(refusal(&mut bench), Some(RefusalReason::UnknownEncoder));
    let not_adopted = EncoderSettings {
        encoder_key: bench.settings[0].key.clone(),
        display_name: Some("Front".into()),
        adopted: false,
    };
    bench.message(ServiceMessage::EncoderSettings(not_adopted));
    bench.encode(4, 1);
    assert_eq!(refusal(&mut bench), Some(RefusalReason::Unsupported));
    assert!(bench.journal.contents().open_jobs.is_empty());
}

#[test]
fn encoders_work_side_by_side() {
    let mut bench = Bench::with(vec![settings("left", true), settings("right", true)]);
    let left = bench.encode(1, 1);
    let mut job = bench.encode_job(2, 2);
    job.encoder_key.0 = "right".into();
    let right = job.job_id;
    bench.message(ServiceMessage::Job(job));
    bench.put(1);
    bench.poll_on(
        EncoderId(1),
        crate::encoder::Poll::Card(super::bench::card(2)),
    );
    bench.plan_write(left, 1, uid(1));
    bench.plan_write(right, 1, uid(2));
    assert_eq!(bench.operating(DESK), Some((left, false)));
    assert_eq!(bench.operating(EncoderId(1)), Some((right, false)));
    bench.operation_on(EncoderId(1), right, Ok(OperationResult::Prepared));
    bench.operation_on(EncoderId(1), right, Ok(OperationResult::Written));
    bench.operation(left, Ok(OperationResult::Prepared));
    bench.operation(left, Ok(OperationResult::Written));
    let order: Vec<_> = bench.finished().iter().map(|f| f.job_id).collect();
    assert_eq!(order, [right, left]);
}

#[test]
fn a_stopping_agent_ends_its_write_and_keeps_what_waits() {
    let mut bench = Bench::new();
    let first = bench.encode(1, 1);
    let second = bench.encode(2, 2);
    bench.put(1);
    bench.plan_write(first, 1, uid(1));
    bench.operation(first, Ok(OperationResult::Prepared));
    bench.drain();
    assert!(!bench.jobs.is_drained());
    bench.take_sent();
    bench.encode(3, 3);
    assert!(bench.take_sent().is_empty());
    bench.operation(first, Ok(OperationResult::Written));
    assert!(bench.jobs.is_drained());
    assert_eq!(bench.finished().len(), 1);
    let open = bench.journal.contents().open_jobs;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].facts.job_id, second);
}

#[test]
fn a_stopping_agent_ends_what_it_has_presented_since_it_may_be_bound() {
    for planned_before in [false, true] {
        let mut bench = Bench::new();
        let job = bench.encode(1, 1);
        let waiting = bench.encode(2, 2);
        bench.put(1);
        if planned_before {
            bench.plan_write(job, 1, uid(1));
        }
        bench.drain();
        assert!(!bench.jobs.is_drained());
        if !planned_before {
            bench.put(1);
            bench.plan_write(job, 1, uid(1));
        }
        bench.operation(job, Ok(OperationResult::Prepared));
        assert_eq!(bench.operating(DESK), Some((job, true)));
        bench.operation(job, Ok(OperationResult::Written));
        assert!(bench.jobs.is_drained());
        assert_eq!(bench.finished().len(), 1);
        let open = bench.journal.contents().open_jobs;
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].facts.job_id, waiting);
    }
}

#[test]
fn a_stopping_agent_waits_two_seconds_for_a_plan_and_takes_none_after_that() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.drain();
    bench.advance(Duration::from_millis(1_999));
    assert!(!bench.jobs.is_drained());
    bench.advance(Duration::from_millis(1));
    assert!(bench.jobs.is_drained());
    bench.plan_write(job, 1, uid(1));
    assert_eq!(bench.operating(DESK), None);
    assert_eq!(bench.finished().len(), 0);
    assert_eq!(bench.journal.contents().open_jobs.len(), 1);
}

#[test]
fn a_stopping_agent_waits_for_no_person() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.drain();
    assert!(bench.jobs.is_drained());
    // Nor for one who has lifted the card again.
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.put(1);
    bench.drain();
    bench.poll(crate::encoder::Poll::Empty);
    assert!(bench.jobs.is_drained());
    bench.put(2);
    assert_eq!(bench.presented().len(), 1, "the first card only");
    assert_eq!(bench.journal.contents().open_jobs.len(), 1);
}
