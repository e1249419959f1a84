//! An outcome that comes after the attempt has ended: the attempt stays, hold and credential follow the card.

use super::*;

/// A way in which an attempt ends before its outcome.
type Ending = fn(&mut World) -> JobId;

fn bound_and_timed_out(world: &mut World) -> JobId {
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.later(60 + 120);
    world.book.tick(world.now);
    job
}

fn bound_and_timed_out_while_away(world: &mut World) -> JobId {
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.later(60 + 120);
    world.book.tick(world.now);
    let started = OpenJobState::Started { uid: uid(A), n: 1 };
    world.connect_with(ONE, 1, vec![open(job, "desk", started)], 0);
    job
}

fn bound_and_forgotten(world: &mut World) -> JobId {
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect(ONE, 77);
    job
}

fn unbound_of_a_restored_copy(world: &mut World) -> JobId {
    *world = restored();
    world.list_of_the_copy(ONE);
    world.connect(TWO, 2);
    let job = world.job_of_the_copy(C);
    world.later(60);
    world.book.tick(world.now);
    let started = OpenJobState::Started { uid: uid(A), n: 1 };
    world.connect_with(ONE, 1, vec![open(job, "desk", started)], 0);
    job
}

const ENDINGS: [Ending; 4] = [
    bound_and_timed_out,
    bound_and_timed_out_while_away,
    bound_and_forgotten,
    unbound_of_a_restored_copy,
];

#[test]
fn a_late_written_leaves_the_attempt_and_issues_the_credential_on_its_card() {
    for ending in ENDINGS {
        let mut world = World::new();
        let job = ending(&mut world);
        let before = world.book.job(job).unwrap().attempt.clone();
        assert!(!before.is_pending());
        let late = world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
        assert!(issued(&late), "{late:?}");
        assert_eq!(world.book.job(job).unwrap().attempt, before);
        assert_eq!(world.book.job(job).unwrap().outcome, Some(Touched::Written));
        assert_eq!(world.held(C), [(uid(A), HoldState::Written)]);
        assert!(world.book.job(job).unwrap().is_settled());
        let again = world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
        assert!(!issued(&again));
    }
}

#[test]
fn a_late_unknown_leaves_the_attempt_and_holds_the_card() {
    for ending in ENDINGS {
        let mut world = World::new();
        let job = ending(&mut world);
        let before = world.book.job(job).unwrap().attempt.clone();
        let late = world.finish(ONE, job, 1, Outcome::Error, Touched::Unknown, Some(A));
        assert!(!issued(&late));
        assert_eq!(world.book.job(job).unwrap().attempt, before);
        assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
        assert!(
            late.changes
                .contains(&Change::CardInDoubt(SYSTEM, uid(A).unwrap()))
        );
    }
}

#[test]
fn a_late_untouched_frees_the_credential_only_where_the_agent_can_prove_it() {
    for (ending, proved) in [
        (bound_and_timed_out as Ending, true),
        (bound_and_timed_out_while_away, true),
        (bound_and_forgotten, false),
        (unbound_of_a_restored_copy, false),
    ] {
        let mut world = World::new();
        let job = ending(&mut world);
        let before = world.book.job(job).unwrap().attempt.clone();
        world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, Some(A));
        assert_eq!(world.book.job(job).unwrap().attempt, before);
        let held = if proved {
            vec![]
        } else {
            vec![(uid(A), HoldState::Unknown)]
        };
        assert_eq!(world.held(C), held);
    }
}

#[test]
fn a_late_outcome_of_a_job_that_was_never_bound_holds_nothing_when_untouched() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.disconnect(ONE);
    world.later(20);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    let listed = vec![open(job, "desk", OpenJobState::Accepted)];
    let hello = world.connect_with(ONE, 1, listed, 0);
    assert_eq!(cancelled(&hello), Some(ErrorCode::BridgeDisconnected));
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, None);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    assert_eq!(world.held(C), []);
    assert!(world.book.job(job).unwrap().is_settled());
}

#[test]
fn an_end_that_may_have_torn_a_card_puts_the_card_in_doubt() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.later(60 + 120);
    let ended = world.book.tick(world.now);
    let doubt = Change::CardInDoubt(SYSTEM, uid(A).unwrap());
    assert!(ended.changes.contains(&doubt), "{ended:?}");
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    let waiting = world.encode(TWO_DESK, D);
    world.later(60);
    let expired = world.book.tick(world.now);
    assert!(!world.pending(waiting));
    assert!(!expired.changes.contains(&doubt));
}
