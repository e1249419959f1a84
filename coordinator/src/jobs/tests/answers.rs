//! Rule 11: answers where nothing seems to fit.

use super::*;

#[test]
fn promise_rule_11_a_card_for_an_unknown_job_is_answered_by_cancel() {
    let mut world = World::new();
    let decision = world.present(ONE, JobId(Uuid::from_u128(0x5555)), 1, A);
    assert_eq!(cancelled(&decision), Some(ErrorCode::UncategorizedError));
    let session = world.session(ONE);
    let accepted = world
        .book
        .job_accepted(ONE, session, JobId(Uuid::from_u128(0x5556)))
        .unwrap();
    assert!(cancelled(&accepted).is_some());
}

#[test]
fn promise_rule_11_another_agents_job_or_encoder_breaks_the_protocol() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let foreign = Err(Violation::ForeignJob(job));
    assert_eq!(world.try_present(TWO, job, 1, card(A)), foreign);
    let session = SessionId(world.fresh());
    world.disconnect(TWO);
    let listed = vec![open(job, "desk", OpenJobState::Accepted)];
    assert_eq!(world.hello(TWO, session, 2, listed, 0), foreign);
    world.disconnect(ONE);
    let listed = vec![open(job, "door", OpenJobState::Accepted)];
    let elsewhere = world.hello(ONE, session, 1, listed, 0);
    assert_eq!(elsewhere, Err(Violation::ForeignEncoder(job)));
}

#[test]
fn a_refused_job_ends_its_attempt_for_good_and_a_bound_one_is_waited_for() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let bound = world.encode(TWO_DESK, D);
    world.bind(TWO, bound, 1, A);
    let refuse = |job| JobRefused {
        job_id: job,
        reason: RefusalReason::UnknownEncoder,
        message: "no such encoder".into(),
    };
    world
        .book
        .job_refused(world.now, ONE, &refuse(job))
        .unwrap();
    assert_eq!(world.code(job), Some(ErrorCode::EncoderNotOnline));
    world
        .book
        .job_refused(world.now, TWO, &refuse(bound))
        .unwrap();
    assert!(world.pending(bound));
}
