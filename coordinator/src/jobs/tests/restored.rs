//! Rule 9: a store that was restored from a backup.

use super::*;

#[test]
fn promise_rule_9_trace_d_a_restored_store_binds_nothing_of_the_copy_until_every_agent_was_heard() {
    let mut world = restored();
    world.connect(TWO, 2);
    let early = world.encode(TWO_DESK, C);
    assert_eq!(world.code(early), Some(ErrorCode::UncategorizedError));
    assert!(
        world.message(early).contains("one"),
        "{}",
        world.message(early)
    );
    world.connect_with(ONE, 1, vec![], 2);
    let owing = world.encode(TWO_DESK, C);
    assert_eq!(world.code(owing), Some(ErrorCode::UncategorizedError));
    let stranger = JobId(Uuid::from_u128(0x5555));
    world.finish(ONE, stranger, 1, Outcome::Error, Touched::Untouched, None);
    let decision = world.finish(
        ONE,
        JobId(Uuid::from_u128(0x5556)),
        2,
        Outcome::Success,
        Touched::Written,
        Some(A),
    );
    assert!(decision.changes.contains(&Change::AgentHeard(ONE)));
    let job = world.encode(TWO_DESK, C);
    assert_eq!(
        refused(&world.present(TWO, job, 1, B)),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    world.bind(TWO, job, 2, A);
}

#[test]
fn promise_rule_9_a_credential_newer_than_the_copy_is_bound_at_once() {
    let mut world = restored();
    world.connect(TWO, 2);
    let request = Request {
        job: JobId(Uuid::from_u128(0x77)),
        encoder: TWO_DESK,
        api_key: None,
        credential: Some(CredentialFacts {
            id: C,
            created_at: start() + SignedDuration::from_secs(1),
            on_card_unchanged: false,
        }),
    };
    let (job, _) = world.book.request(world.now, &request).unwrap();
    assert!(world.pending(job));
}

#[test]
fn promise_rule_9_trace_d_a_job_that_the_copy_calls_ended_blocks_its_credential_while_its_agent_lists_it()
 {
    let mut world = restored();
    world.connect(ONE, 1);
    world.connect(TWO, 2);
    let job = world.encode(ONE_DESK, C);
    world.disconnect(ONE);
    world.later(20);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    let started = OpenJobState::Started { uid: uid(A), n: 1 };
    world.connect_with(ONE, 1, vec![open(job, "desk", started)], 0);
    let other = world.encode(TWO_DESK, C);
    assert_eq!(world.code(other), Some(ErrorCode::UncategorizedError));
    world.finish(ONE, job, 1, Outcome::Error, Touched::Unknown, Some(A));
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    let next = world.encode(TWO_DESK, C);
    assert_eq!(
        refused(&world.present(TWO, next, 1, B)),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
}

#[test]
fn promise_rule_9_a_waiting_job_of_the_copy_is_not_bound_before_every_agent_was_heard() {
    let mut world = restored();
    world.connect(ONE, 1);
    world.connect(TWO, 2);
    let job = world.encode(TWO_DESK, C);
    world.book.restored.awaited.push(ONE);
    assert_eq!(
        refused(&world.present(TWO, job, 1, B)),
        Some(ErrorCode::UncategorizedError)
    );
}
