//! Rule 8: every name travels.

use super::*;

#[test]
fn promise_rule_8_an_unknown_job_listed_as_open_blocks_its_credential_until_its_outcome() {
    let mut world = World::new();
    world.disconnect(ONE);
    let stranger = JobId(Uuid::from_u128(0x5555));
    let hello = world.connect_with(
        ONE,
        1,
        vec![open(stranger, "desk", OpenJobState::Accepted)],
        0,
    );
    assert_eq!(cancelled(&hello), Some(ErrorCode::UncategorizedError));
    let early = world.encode(TWO_DESK, C);
    assert_eq!(world.code(early), Some(ErrorCode::UncategorizedError));
    assert!(world.message(early).contains("\"one\""));
    world.finish(ONE, stranger, 1, Outcome::Error, Touched::Untouched, None);
    let job = world.encode(TWO_DESK, C);
    world.bind(TWO, job, 1, B);
}
