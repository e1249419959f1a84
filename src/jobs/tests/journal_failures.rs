//! A journal that cannot be written: nothing begins, and what is known still goes out.

use std::time::Duration;

use encoder_protocols::wire::{AgentMessage, Outcome, RefusalReason, Touched};

use super::bench::{Bench, DESK, uid};
use crate::encoder::OperationResult;

#[test]
fn a_full_disk_refuses_jobs_and_is_reported() {
    let mut bench = Bench::new();
    bench.journal_fails = true;
    bench.encode(1, 1);
    let sent = bench.take_sent();
    let refused = sent.iter().any(|message| {
        matches!(message, AgentMessage::JobRefused(refused)
            if refused.reason == RefusalReason::JournalUnavailable)
    });
    assert!(refused);
    let reported = sent.iter().any(|message| {
        matches!(message, AgentMessage::Inventory { problems, .. } if problems.len() == 1)
    });
    assert!(reported);
    bench.journal_fails = false;
    bench.encode(1, 1);
    assert!(bench.take_sent().iter().any(|message| {
        matches!(message, AgentMessage::Inventory { problems, .. } if problems.is_empty())
    }));
}

#[test]
fn a_full_disk_stays_reported_until_something_could_be_written() {
    let mut bench = Bench::new();
    bench.journal_fails = true;
    bench.encode(1, 1);
    bench.take_sent();
    // Nothing waits to be written; the journal is tried all the same.
    bench.advance(Duration::from_secs(60));
    assert_eq!(reports(&mut bench), Vec::<usize>::new());
    bench.journal_fails = false;
    bench.advance(Duration::from_secs(6));
    assert_eq!(reports(&mut bench), [0]);
    bench.encode(2, 2);
    assert_eq!(bench.journal.contents().open_jobs.len(), 1);
}

#[test]
fn a_full_disk_lets_known_results_out_in_the_next_session_too() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.journal_fails = true;
    bench.operation(job, Ok(OperationResult::Written));
    bench.take_sent();
    bench.disconnect();
    bench.connect();
    assert_eq!(bench.finished()[0].outcome, Outcome::Success);
}

/// How many problems each inventory since the last look tells.
fn reports(bench: &mut Bench) -> Vec<usize> {
    bench
        .take_sent()
        .into_iter()
        .filter_map(|message| match message {
            AgentMessage::Inventory { problems, .. } => Some(problems.len()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_full_disk_stops_a_write_before_its_first_byte() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.journal_fails = true;
    bench.operation(job, Ok(OperationResult::Prepared));
    let failure = bench.failure();
    assert_eq!(failure.touched, Touched::Untouched);
    assert!(failure.message.contains("the disk is full"));
    assert_eq!(bench.operating(DESK), None);
}

#[test]
fn a_known_result_goes_out_from_memory_and_is_made_durable_later() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.journal_fails = true;
    bench.operation(job, Ok(OperationResult::Written));
    assert_eq!(bench.finished()[0].outcome, Outcome::Success);
    bench.advance(Duration::from_secs(6));
    assert!(bench.journal.contents().unacknowledged.is_empty());
    bench.acknowledge(1);
    bench.journal_fails = false;
    bench.advance(Duration::from_secs(6));
    assert!(bench.journal.contents().open_jobs.is_empty());
    assert!(bench.journal.contents().unacknowledged.is_empty());
    assert_eq!(bench.journal.contents().last_sequence, 1);
    assert_eq!(bench.journal.contents().guards.len(), 1);
}

#[test]
fn a_presentation_that_cannot_be_journaled_is_not_said() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.put(1);
    bench.take_sent();
    bench.journal_fails = true;
    bench.put(2);
    assert_eq!(bench.presented().len(), 0);
    bench.journal_fails = false;
    bench.put(2);
    let presented = bench.presented();
    assert_eq!(presented.len(), 1);
    assert!(presented[0].n > 1);
}

#[test]
fn promise_rule_4_an_acknowledged_outcome_is_known_though_no_journal_holds_it() {
    let mut bench = Bench::new();
    bench.journal_fails = true;
    bench.cancel(super::bench::job_id(3));
    bench.acknowledge(1);
    bench.take_sent();
    bench.cancel(super::bench::job_id(3));
    assert_eq!(bench.finished()[0].sequence, 1);
}

#[test]
fn promise_rule_4_a_result_that_no_disk_has_taken_is_told_to_a_store_that_went_back() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.journal_fails = true;
    bench.operation(job, Ok(OperationResult::Written));
    bench.acknowledge(1);
    bench.take_sent();
    bench.disconnect();
    bench.last_stored = 0;
    bench.connect();
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!((finished.job_id, finished.sequence), (job, 1));
}

#[test]
fn promise_rule_4_a_cancel_waits_for_a_journal_that_cannot_be_read() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.operation(job, Ok(OperationResult::Written));
    bench.acknowledge(1);
    bench.take_sent();
    bench.journal_unreadable = true;
    bench.cancel(job);
    bench.cancel(job);
    bench.advance(Duration::from_secs(30));
    assert!(bench.finished().is_empty());
    bench.journal_unreadable = false;
    bench.advance(Duration::from_secs(6));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!((finished.job_id, finished.sequence), (job, 1));
    assert_eq!(finished.touched, Touched::Written);
}
