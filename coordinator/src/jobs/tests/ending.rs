//! Rule 10: who ends what, and when.

use super::*;

#[test]
fn promise_rule_10_an_absent_agent_ends_a_request_at_once() {
    let mut world = World::new();
    world.disconnect(ONE);
    let job = world.encode(ONE_DESK, C);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    assert_eq!(world.held(C), []);
}

#[test]
fn promise_rule_10_an_absent_or_faulty_encoder_ends_a_request_at_once() {
    let mut world = World::new();
    let session = world.session(ONE);
    let mut broken = description("door", KeyScope::Agent);
    broken.state = EncoderState::Fault;
    broken.problem = Some("no answer on /dev/ttyUSB0".into());
    world
        .book
        .inventory(world.now, ONE, session, &[broken], || unreachable!())
        .unwrap();
    let gone = world.encode(ONE_DESK, C);
    assert_eq!(world.code(gone), Some(ErrorCode::EncoderNotOnline));
    let faulty = world.encode(ONE_DOOR, D);
    assert_eq!(world.code(faulty), Some(ErrorCode::EncoderNotOnline));
    assert!(world.message(faulty).contains("no answer on /dev/ttyUSB0"));
}

#[test]
fn promise_rule_10_a_sent_job_outlives_its_agent_by_20_seconds() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.later(1);
    world.disconnect(ONE);
    world.later(19);
    world.book.tick(world.now);
    assert!(world.pending(job));
    assert_eq!(
        world.book.next_due(),
        Some(start() + SignedDuration::from_secs(21))
    );
    world.later(1);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    let hello = world.connect_with(ONE, 1, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    assert_eq!(cancelled(&hello), Some(ErrorCode::BridgeDisconnected));
}

#[test]
fn promise_rule_10_an_unbound_job_expires_at_its_deadline_and_is_cancelled() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.later(59);
    assert_eq!(world.book.tick(world.now), Decision::default());
    world.later(1);
    let decision = world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::ActionAttemptExpired));
    assert_eq!(cancelled(&decision), Some(ErrorCode::ActionAttemptExpired));
    let late = world.present(ONE, job, 1, A);
    assert_eq!(cancelled(&late), Some(ErrorCode::ActionAttemptExpired));
    assert!(!planned(&late));
    assert_eq!(world.held(C), []);
}

#[test]
fn promise_rule_10_a_bound_job_waits_two_minutes_more_and_then_holds_its_card() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.later(60 + 119);
    world.book.tick(world.now);
    assert!(world.pending(job));
    world.later(1);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    assert_eq!(world.held(C), [(uid(A), HoldState::Bound)]);
    let elsewhere = world.encode(TWO_DESK, C);
    assert_eq!(
        refused(&world.present(TWO, elsewhere, 1, B)),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
}

#[test]
fn promise_rule_10_a_late_outcome_settles_the_hold_and_leaves_the_attempt() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.later(60 + 120);
    world.book.tick(world.now);
    let decision = world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    assert_eq!(world.held(C), [(uid(A), HoldState::Written)]);
    assert!(issued(&decision));
}

#[test]
fn promise_rule_10_jobs_ahead_on_the_encoder_move_the_deadline_out() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    let second = world.scan(ONE_DESK);
    let other = world.scan(ONE_DOOR);
    let seconds = |job| {
        let job = world.book.job(job).unwrap();
        job.deadline.duration_since(job.created_at).as_secs()
    };
    assert_eq!(
        [seconds(first), seconds(second), seconds(other)],
        [60, 90, 60]
    );
}

#[test]
fn promise_rule_10_a_deleted_credential_ends_a_waiting_job_and_cancels_a_bound_one() {
    let mut world = World::new();
    let waiting = world.encode(ONE_DESK, C);
    let bound = world.encode(TWO_DESK, D);
    world.bind(TWO, bound, 1, A);
    let first = world.book.credential_deleted(world.now, C);
    assert_eq!(world.code(waiting), Some(ErrorCode::CredentialDeleted));
    assert_eq!(cancelled(&first), Some(ErrorCode::CredentialDeleted));
    let second = world.book.credential_deleted(world.now, D);
    assert!(world.pending(bound));
    assert_eq!(cancelled(&second), Some(ErrorCode::CredentialDeleted));
    assert_eq!(
        cancelled(&world.present(TWO, bound, 2, B)),
        Some(ErrorCode::CredentialDeleted)
    );
    world.finish(TWO, bound, 1, Outcome::Success, Touched::Written, Some(A));
    assert!(world.succeeded(bound));
}

#[test]
fn a_damaged_deadline_at_the_end_of_time_ends_nothing_else() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let mut damaged = world.book.job(job).unwrap().clone();
    damaged.deadline = Timestamp::MAX;
    world.book.admit_job(damaged);
    world.present(ONE, job, 1, A);
    let other = world.encode(TWO_DESK, D);
    world.later(61);
    world.book.tick(world.now);
    assert!(world.book.job(job).unwrap().attempt.is_pending());
    assert!(!world.book.job(other).unwrap().attempt.is_pending());
    assert_eq!(world.book.next_due(), Some(Timestamp::MAX));
}
