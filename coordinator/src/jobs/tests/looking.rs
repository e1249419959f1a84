//! Rule 5: looking.

use super::*;

#[test]
fn promise_rule_5_a_plan_to_verify_is_given_for_the_bound_card_alone_also_after_the_end() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    assert_eq!(
        refused(&world.plan_wish(ONE, job, 1, B)),
        Some(ErrorCode::EncodingInterrupted)
    );
    assert_eq!(
        refused(&world.plan_wish(ONE, job, 2, A)),
        Some(ErrorCode::EncodingInterrupted)
    );
    world.later(60 + 120);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    let decision = world.plan_wish(ONE, job, 1, A);
    assert!(matches!(
        &decision.messages[..],
        [Delivery::Plan {
            purpose: Some(PlanPurpose::Verify),
            ..
        }]
    ));
}
