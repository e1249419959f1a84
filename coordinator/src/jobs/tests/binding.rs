//! Rule 1: bind before plan.

use super::*;

#[test]
fn promise_rule_1_the_binding_is_stored_before_the_plan_and_goes_into_the_session_that_presented() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let session = world.session(ONE);
    let decision = world.present(ONE, job, 1, A);
    let stored = decision.changes.iter().any(|change| {
        matches!(change, Change::SaveJob(saved)
            if saved.binding.as_ref().is_some_and(|bound| bound.n == 1 && bound.uid == uid(A)))
    });
    let held = decision.changes.iter().any(
        |change| matches!(change, Change::PutHold(hold) if hold.uid == uid(A) && hold.job == job),
    );
    assert!(stored && held, "{:?}", decision.changes);
    assert!(
        matches!(&decision.messages[..], [Delivery::Plan { session: to, .. }] if *to == session)
    );
}

#[test]
fn promise_rule_1_an_old_session_gets_no_plan() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let old = world.session(ONE);
    world.disconnect(ONE);
    world.connect_with(ONE, 1, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    let prepared = Ok(Some(world.content()));
    let presented = CardPresented {
        job_id: job,
        n: 1,
        card: card(A),
    };
    let decision = world
        .book
        .card_presented(world.now, ONE, old, &presented, prepared, None)
        .unwrap();
    assert_eq!(decision, Decision::default());
    assert!(world.book.job(job).unwrap().binding.is_none());
}

#[test]
fn promise_rule_1_another_card_binds_anew_until_started_and_numbers_never_repeat() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.bind(ONE, job, 2, B);
    assert_eq!(world.held(C), [(uid(B), HoldState::Bound)]);
    let stale = world.present(ONE, job, 2, A);
    assert!(!planned(&stale) && refused(&stale).is_some());
    let older = world.present(ONE, job, 1, A);
    assert!(!planned(&older) && refused(&older).is_some());
    assert_eq!(world.held(C), [(uid(B), HoldState::Bound)]);
}

#[test]
fn promise_rule_1_the_same_presentation_again_gets_the_plan_of_the_same_binding() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let first = world.present(ONE, job, 1, A);
    world.later(5);
    world.revision = 2;
    let second = world.present(ONE, job, 1, A);
    let content = |decision: &Decision| {
        let [Delivery::Plan { job, .. }] = &decision.messages[..] else {
            panic!("expected one plan, got {:?}", decision.messages);
        };
        job.binding.clone().unwrap().content
    };
    assert_eq!(content(&first), content(&second));
    assert!(second.changes.is_empty());
}

#[test]
fn promise_rule_1_a_sixth_card_within_one_job_is_refused() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    for n in 1..=5u8 {
        world.bind(ONE, job, n.into(), [0x10 + n, 0, 0, 1]);
    }
    let sixth = world.present(ONE, job, 6, A);
    assert_eq!(refused(&sixth), Some(ErrorCode::UncategorizedError));
    world.bind(ONE, job, 7, [0x11, 0, 0, 1]);
}

#[test]
fn promise_rule_1_a_write_on_a_card_that_is_not_the_bound_one_is_held_as_well() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    let session = world.session(ONE);
    let writing = Progress::Writing { uid: uid(B), n: 1 };
    world
        .book
        .job_progress(ONE, session, job, &writing)
        .unwrap();
    assert_eq!(
        world.held(C),
        [(uid(A), HoldState::Bound), (uid(B), HoldState::Unknown)]
    );
    world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(B));
    assert_eq!(world.code(job), Some(ErrorCode::UncategorizedError));
    let again = world.encode(ONE_DESK, C);
    assert_eq!(
        world.code(again),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
}

#[test]
fn a_card_that_the_access_system_cannot_use_is_refused_and_binds_nothing() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let session = world.session(ONE);
    let prepared = Err(Refusal::new(
        ErrorCode::IncompatibleCardFormat,
        "a desfire card",
    ));
    let presented = CardPresented {
        job_id: job,
        n: 1,
        card: card(A),
    };
    let decision = world
        .book
        .card_presented(world.now, ONE, session, &presented, prepared, None)
        .unwrap();
    assert_eq!(refused(&decision), Some(ErrorCode::IncompatibleCardFormat));
    assert!(decision.changes.is_empty());
}

#[test]
fn an_agent_that_asks_for_too_many_plans_is_refused_for_a_while() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    for _ in 1..crate::jobs::budget::PLAN_BURST {
        assert!(planned(&world.plan_wish(ONE, job, 1, A)));
    }
    assert_eq!(
        refused(&world.plan_wish(ONE, job, 1, A)),
        Some(ErrorCode::UncategorizedError)
    );
    world.later(5);
    assert!(planned(&world.plan_wish(ONE, job, 1, A)));
}

#[test]
fn promise_rule_1_a_started_card_that_hello_names_and_that_is_not_the_bound_one_is_held_as_well() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    let started = OpenJobState::Started { uid: uid(B), n: 1 };
    world.connect_with(ONE, 1, vec![open(job, "desk", started)], 0);
    assert_eq!(
        world.held(C),
        [(uid(A), HoldState::Bound), (uid(B), HoldState::Unknown)]
    );
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, None);
    let next = world.encode(TWO_DESK, C);
    assert_eq!(
        world.code(next),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
}
