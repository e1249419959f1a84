//! Rule 2: holds are kept per job.

use super::*;

#[test]
fn promise_rule_2_only_its_own_untouched_releases_a_hold() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    world.bind(ONE, first, 1, A);
    world.finish(ONE, first, 1, Outcome::Error, Touched::Untouched, Some(A));
    assert_eq!(world.held(C), []);
    let second = world.encode(TWO_DESK, C);
    world.bind(TWO, second, 1, B);
    world.finish(TWO, second, 1, Outcome::Success, Touched::Written, Some(B));
    assert!(world.succeeded(second));
    assert_eq!(world.held(C), [(uid(B), HoldState::Written)]);
}

#[test]
fn promise_rule_2_an_encode_elsewhere_while_one_is_open_ends_at_once_and_names_that_encoder() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    let second = world.encode(ONE_DOOR, C);
    assert_eq!(world.code(second), Some(ErrorCode::UncategorizedError));
    assert!(
        world.message(second).contains("\"DESK\""),
        "{}",
        world.message(second)
    );
    assert!(world.pending(first));
}

#[test]
fn promise_rule_2_the_same_encode_asked_again_is_the_same_attempt() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    assert_eq!(world.encode(ONE_DESK, C), first);
    world.bind(ONE, first, 1, A);
    assert_eq!(world.encode(ONE_DESK, C), first);
    world.finish(ONE, first, 1, Outcome::Success, Touched::Written, Some(A));
    assert_ne!(world.ask(ONE_DESK, C, true), first);
}

#[test]
fn promise_rule_2_a_credential_on_a_card_goes_there_again_only_when_changed_and_nowhere_else() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    world.bind(ONE, first, 1, A);
    world.finish(ONE, first, 1, Outcome::Success, Touched::Written, Some(A));
    let unchanged = world.ask(ONE_DESK, C, true);
    assert_eq!(
        world.code(unchanged),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    let changed = world.encode(ONE_DESK, C);
    let elsewhere = world.present(ONE, changed, 1, B);
    assert_eq!(
        refused(&elsewhere),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    world.finish(ONE, changed, 2, Outcome::Error, Touched::Untouched, None);
    let again = world.encode(ONE_DESK, C);
    world.bind(ONE, again, 1, A);
}
