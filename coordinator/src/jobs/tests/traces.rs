//! The histories that broke earlier wordings of the rules, each by its letter.

use super::*;

#[test]
fn trace_a_another_jobs_untouched_does_not_free_the_credential() {
    let mut world = World::new();
    let one = world.encode(ONE_DESK, C);
    world.bind(ONE, one, 1, A);
    world.finish(ONE, one, 1, Outcome::Error, Touched::Unknown, Some(A));
    let two = world.encode(ONE_DESK, C);
    world.finish(ONE, two, 2, Outcome::Error, Touched::Untouched, None);
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    let three = world.encode(TWO_DESK, C);
    let on_b = world.present(TWO, three, 1, B);
    assert_eq!(refused(&on_b), Some(ErrorCode::CredentialCannotBeReissued));
    world.bind(TWO, three, 2, A);
}

#[test]
fn trace_b_a_late_first_presentation_after_a_crash_is_not_planned() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 2, B);
    world.disconnect(ONE);
    world.connect_with(ONE, 77, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    let late = world.present(ONE, job, 1, A);
    assert!(!planned(&late), "{late:?}");
    let other = world.present(ONE, job, 3, A);
    assert_eq!(refused(&other), Some(ErrorCode::CredentialCannotBeReissued));
    assert_eq!(world.held(C), [(uid(B), HoldState::Bound)]);
    world.bind(ONE, job, 4, B);
}

#[test]
fn trace_c_an_unknown_jobs_outcome_is_kept_and_holds_its_credential() {
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
fn trace_d_a_restored_store_binds_nothing_of_the_copy_until_every_agent_was_heard() {
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
fn trace_d_a_job_that_the_copy_calls_ended_blocks_its_credential_while_its_agent_lists_it() {
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
fn trace_d_a_job_that_the_copy_calls_queued_and_its_agent_has_started_goes_on_as_bound() {
    let mut world = restored();
    world.list_of_the_copy(ONE);
    world.connect(TWO, 2);
    let job = world.job_of_the_copy(C);
    world.later(30);
    // Ended as never sent, before its agent was heard.
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    let started = OpenJobState::Started { uid: uid(A), n: 1 };
    world.connect_with(ONE, 1, vec![open(job, "desk", started)], 0);
    let early = world.encode(TWO_DESK, C);
    assert_eq!(world.code(early), Some(ErrorCode::UncategorizedError));
    let late = world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert!(issued(&late));
    let next = world.encode(TWO_DESK, C);
    let elsewhere = world.present(TWO, next, 1, B);
    assert_eq!(
        refused(&elsewhere),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    world.bind(TWO, next, 2, A);
}

#[test]
fn trace_e_a_sequence_that_starts_again_drops_no_outcome() {
    let mut world = World::new();
    for sequence in 1..=3 {
        let job = world.encode(ONE_DESK, D);
        world.finish(ONE, job, sequence, Outcome::Error, Touched::Untouched, None);
    }
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Unknown, Some(A));
    assert!(!world.pending(job));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    assert_eq!(world.book.agent(ONE).unwrap().last_sequence, 3);
}

#[test]
fn trace_e_a_bound_job_that_the_new_boot_does_not_know_ends_as_unknown() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect(ONE, 77);
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, Some(A));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
}

#[test]
fn trace_e_a_started_job_that_an_old_disk_image_calls_waiting_does_not_free_its_credential() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect_with(ONE, 77, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    world.later(60);
    world.book.tick(world.now);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, None);
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    let next = world.encode(TWO_DESK, C);
    let elsewhere = world.present(TWO, next, 1, B);
    assert_eq!(
        refused(&elsewhere),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
}

/// The agent keeps the card that it wrote last; what the service gives it is the sequence by which it notices that it
/// has forgotten, and it never binds the second guest's key to the first guest's card by itself.
#[test]
fn trace_f_an_agent_that_has_forgotten_its_last_write_is_told_by_the_sequence() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    world.bind(ONE, first, 1, A);
    world.finish(ONE, first, 1, Outcome::Success, Touched::Written, Some(A));
    let second = world.encode(ONE_DESK, D);
    assert_eq!(world.held(D), []);
    world.disconnect(ONE);
    let hello = world.connect_with(ONE, 77, vec![], 0);
    let told = messages(&hello).find_map(|message| {
        if let ServiceMessage::Welcome(welcome) = message {
            Some(welcome.last_sequence)
        } else {
            None
        }
    });
    assert_eq!(told, Some(1));
    assert_eq!(jobs_sent(&hello), [second]);
    assert!(world.succeeded(first) && world.pending(second));
}
