//! Rules 3 and 4: what an outcome proves, and that it is taken once.

use super::*;

#[test]
fn promise_rule_3_success_counts_only_when_the_card_was_read_back() {
    let mut world = World::new();
    for (credential, touched) in [(C, Touched::Unknown), (D, Touched::Untouched)] {
        let job = world.encode(ONE_DESK, credential);
        world.bind(ONE, job, 1, A);
        world.finish(ONE, job, 1, Outcome::Success, touched, Some(A));
        assert_eq!(world.code(job), Some(ErrorCode::UncategorizedError));
        assert_eq!(world.held(credential), [(uid(A), HoldState::Unknown)]);
    }
}

#[test]
fn promise_rule_4_the_first_outcome_of_a_job_wins_and_every_one_is_acknowledged() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    let first = world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert!(issued(&first));
    let second = world.finish(ONE, job, 2, Outcome::Error, Touched::Untouched, Some(A));
    assert!(!issued(&second));
    assert!(world.succeeded(job));
    assert_eq!(world.held(C), [(uid(A), HoldState::Written)]);
    let session = world.session(ONE);
    let ack = Delivery::Message(session, ServiceMessage::FinishedAck { sequence: 2 });
    assert_eq!(second.messages, [ack]);
}

#[test]
fn promise_rule_4_what_is_bound_is_never_sent_again_and_what_is_not_is() {
    let mut world = World::new();
    let bound = world.encode(ONE_DESK, C);
    let waiting = world.encode(ONE_DESK, D);
    world.bind(ONE, bound, 1, A);
    world.disconnect(ONE);
    let decision = world.connect(ONE, 1);
    assert_eq!(jobs_sent(&decision), [waiting]);
}

#[test]
fn what_is_settled_can_be_forgotten_and_what_is_open_cannot() {
    let mut world = World::new();
    let done = world.encode(ONE_DESK, C);
    world.bind(ONE, done, 1, A);
    world.finish(ONE, done, 1, Outcome::Success, Touched::Written, Some(A));
    let open = world.encode(ONE_DESK, D);
    world.book.forget_settled(0);
    assert!(!world.book.knows_job(done) && world.book.knows_job(open));
    assert!(!world.book.knows_credential(C));
    assert_eq!(
        world.book.live(ONE).unwrap().boot,
        BootId(Uuid::from_u128(1))
    );
}
