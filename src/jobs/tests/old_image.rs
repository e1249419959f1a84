//! A desk PC that is restored from an old disk image, or cloned: the journal is a true one of an earlier time.

use encoder_protocols::wire::{AgentMessage, OpenJobState, Outcome, Touched};

use super::bench::{Bench, DESK, image, uid};
use crate::{encoder::OperationResult, encoder::Poll};

#[test]
fn trace_e_an_old_image_of_a_waiting_job_writes_nothing_again() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    let old = bench.journal.clone();
    bench.write_card(job, 1, 1);
    bench.acknowledge(1);

    bench.restore(old);
    let listed = bench.open_jobs();
    assert_eq!(listed[0].state, OpenJobState::Accepted);
    bench.take_sent();
    // The card that was written lies there still, and this journal does not know it.
    bench.put(1);
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
    // The coordinator knows the job as ended, whatever is said of it.
    bench.cancel(job);
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.sequence, 2, "behind what the store holds");
    assert_eq!(finished.touched, Touched::Untouched);
    assert_eq!(bench.operating(DESK), None);
}

#[test]
fn trace_e_an_old_image_of_a_started_job_looks_and_writes_nothing() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    bench.plan_write(job, 1, uid(1));
    bench.operation(job, Ok(OperationResult::Prepared));
    let old = bench.journal.clone();
    bench.operation(job, Ok(OperationResult::Written));
    bench.acknowledge(1);
    bench.clear();

    bench.restore(old);
    bench.take_sent();
    bench.put(1);
    let requests = bench.take_sent();
    assert!(
        requests
            .iter()
            .any(|message| matches!(message, AgentMessage::PlanRequest(_)))
    );
    let plan = encoder_protocols::wire::Plan::Verify { image: image() };
    bench.plan(job, 1, uid(1), plan);
    assert!(bench.verifies(DESK));
    bench.operation(job, Ok(OperationResult::Verified));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.outcome, Outcome::Success);
    assert_eq!(finished.sequence, 2);
}

#[test]
fn an_old_image_spends_no_presentation_that_a_plan_of_the_same_session_could_fit() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    let old = bench.journal.clone();
    bench.put(1);
    bench.put(2);
    bench.restore(old);
    bench.poll(Poll::Empty);
    bench.take_sent();
    bench.put(3);
    let presented = bench.presented();
    assert_eq!(presented.len(), 1);
    // A plan that went out for another card under whichever number is not taken.
    for n in 1..=presented[0].n + 1 {
        bench.plan_write(job, n, uid(1));
        bench.plan_write(job, n, uid(2));
    }
    assert_eq!(bench.operating(DESK), None);
}

#[test]
fn an_old_image_goes_on_behind_the_store_and_tells_truly_which_outcome_it_holds() {
    let mut bench = Bench::new();
    let old = bench.journal.clone();
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    bench.acknowledge(1);

    bench.restore(old);
    let hello = bench.hello();
    assert_eq!(hello.last_sequence, 0, "none, however far the store is");
    assert_eq!(bench.journal.contents().last_sequence, 1);
    assert_eq!(bench.journal.contents().last_outcome, 0);
    let next = bench.encode(2, 2);
    bench.cancel(next);
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.sequence, 2);
    assert_eq!(bench.hello().last_sequence, 2);
}
