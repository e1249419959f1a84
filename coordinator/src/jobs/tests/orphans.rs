//! Rule 8: every name travels.

use super::*;

#[test]
fn promise_rule_8_trace_c_an_unknown_jobs_outcome_is_kept_and_holds_its_credential() {
    let mut world = World::new();
    let stranger = JobId(Uuid::from_u128(0x5555));
    let decision = world.finish(
        ONE,
        stranger,
        4,
        Outcome::Success,
        Touched::Written,
        Some(A),
    );
    assert!(issued(&decision));
    assert!(
        decision
            .changes
            .iter()
            .any(|change| matches!(change, Change::PutOrphan(_)))
    );
    let job = world.encode(TWO_DESK, C);
    let elsewhere = world.present(TWO, job, 1, B);
    assert_eq!(
        refused(&elsewhere),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    world.bind(TWO, job, 2, A);
}

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
