//! Rule 6: another start of the agent.

use super::*;

#[test]
fn promise_rule_6_after_another_boot_untouched_counts_as_unknown() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect_with(ONE, 77, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, Some(A));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    let Attempt::Error(error) = &world.book.job(job).unwrap().attempt else {
        panic!("expected an error");
    };
    assert_eq!(error.touched, Touched::Unknown);
}

#[test]
fn promise_rule_6_after_another_boot_a_card_that_was_only_presented_is_not_held() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect_with(ONE, 77, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    let refused = world.present(ONE, job, 2, B);
    assert!(super::refused(&refused).is_some(), "{refused:?}");
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, Some(B));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
}

#[test]
fn promise_rule_6_a_new_boot_that_still_owes_outcomes_is_waited_for() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect_with(ONE, 77, vec![], 1);
    assert!(world.pending(job));
    world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert!(world.succeeded(job));
}

#[test]
fn promise_rule_6_the_same_boot_releases_what_it_proves_untouched() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect_with(ONE, 1, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, Some(A));
    assert_eq!(world.held(C), []);
}
