//! The operator's word: an agent never comes back, a card is destroyed.

use encoder_protocols::wire::ByeReason;

use super::*;
use crate::jobs::{AuditAction, NotReleased};

fn ends_with_retired(decision: &Decision, session: SessionId) -> bool {
    decision.messages.iter().any(|sent| {
        matches!(sent, Delivery::End(to, bye) if *to == session && bye.reason == ByeReason::Retired)
    })
}

#[test]
fn retiring_ends_the_session_and_a_later_hello_is_refused() {
    let mut world = World::new();
    let session = world.session(ONE);
    let decision = world.book.retire(world.now, ONE);
    assert!(decision.changes.contains(&Change::AgentRetired(ONE)));
    assert!(ends_with_retired(&decision, session));
    assert!(world.book.live(ONE).is_none());
    let next = SessionId(world.fresh());
    let refused = world.hello(ONE, next, 1, vec![], 0).unwrap();
    assert!(ends_with_retired(&refused, next) && refused.changes.is_empty());
    assert!(world.book.live(ONE).is_none());
    assert_eq!(world.book.retire(world.now, ONE), Decision::default());
}

#[test]
fn retiring_ends_bound_encodes_as_unknown_and_everything_else_as_untouched() {
    let mut world = World::new();
    let bound = world.encode(ONE_DESK, C);
    world.bind(ONE, bound, 1, A);
    let waiting = world.encode(ONE_DOOR, D);
    let scan = world.scan(ONE_DESK);
    world.bind(ONE, scan, 1, B);
    let elsewhere = world.scan(TWO_DESK);
    world.book.retire(world.now, ONE);
    let told = |job| (world.code(job), world.book.job(job).unwrap().outcome);
    let interrupted = Some(ErrorCode::EncodingInterrupted);
    let disconnected = Some(ErrorCode::BridgeDisconnected);
    assert_eq!(told(bound), (interrupted, Some(Touched::Unknown)));
    assert_eq!(told(waiting), (disconnected, Some(Touched::Untouched)));
    assert_eq!(told(scan), (disconnected, Some(Touched::Untouched)));
    assert!(world.pending(elsewhere));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    assert_eq!(world.held(D), []);
    assert_eq!(
        world.book.next_due(),
        Some(world.book.job(elsewhere).unwrap().deadline)
    );
}

#[test]
fn a_retired_agents_encoders_are_offered_no_more_unless_another_agent_lists_them() {
    let mut world = World::new();
    world.book.retire(world.now, ONE);
    let job = world.encode(ONE_DESK, C);
    assert_eq!(world.code(job), Some(ErrorCode::EncoderNotOnline));
}

#[test]
fn a_bound_job_whose_attempt_ended_long_ago_is_settled_by_retiring_its_agent() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.later(60 + 120);
    world.book.tick(world.now);
    assert!(!world.book.job(job).unwrap().is_settled());
    world.book.retire(world.now, ONE);
    assert!(world.book.job(job).unwrap().is_settled());
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
}

#[test]
fn a_retired_agent_is_awaited_no_more_and_what_the_copy_says_of_its_open_jobs_is_not_believed() {
    let mut world = restored();
    let session = SessionId(world.fresh());
    world.list_of_the_copy(ONE);
    world.connect(TWO, 2);
    let open = world.job_of_the_copy(C);
    world.later(60);
    world.book.tick(world.now);
    assert!(!world.pending(open));
    let early = world.encode(TWO_DESK, C);
    assert_eq!(world.code(early), Some(ErrorCode::UncategorizedError));
    world.book.retire(world.now, ONE);
    assert_eq!(world.book.awaited_agents().count(), 0);
    assert_eq!(world.held(C), [(None, HoldState::Unknown)]);
    let held = world.encode(TWO_DESK, C);
    assert_eq!(
        world.code(held),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    let free = world.encode(TWO_DESK, D);
    assert!(world.pending(free));
    let refused = world.hello(ONE, session, 1, vec![], 0).unwrap();
    assert!(ends_with_retired(&refused, session));
}

#[test]
fn retiring_ends_the_agents_open_orphans_as_unknown() {
    let mut world = World::new();
    world.disconnect(ONE);
    let stranger = JobId(Uuid::from_u128(0x5555));
    let accepted = open(stranger, "desk", OpenJobState::Accepted);
    world.connect_with(ONE, 1, vec![accepted], 0);
    world.book.retire(world.now, ONE);
    assert_eq!(world.held(C), [(None, HoldState::Unknown)]);
    let blocked = world.encode(TWO_DESK, C);
    assert_eq!(
        world.code(blocked),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    world.book.release(world.now, C).unwrap();
    let job = world.encode(TWO_DESK, C);
    world.bind(TWO, job, 1, B);
}

#[test]
fn a_released_credential_goes_onto_any_card_and_every_hold_is_audited() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Unknown, Some(A));
    let decision = world.book.release(world.now, C).unwrap();
    assert!(decision.changes.contains(&Change::ReleaseCredential(C)));
    let audited = decision.changes.iter().any(|change| {
        matches!(change, Change::Audit(entry)
            if entry.action == AuditAction::Released && entry.uid == uid(A) && entry.job == job)
    });
    assert!(audited, "{:?}", decision.changes);
    assert_eq!(world.held(C), []);
    let next = world.encode(TWO_DESK, C);
    world.bind(TWO, next, 1, B);
}

#[test]
fn a_credential_is_not_released_while_an_agent_may_still_write_it() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    assert_eq!(
        world.book.release(world.now, C),
        Err(NotReleased::StillOpen(job))
    );
    world.bind(ONE, job, 1, A);
    assert_eq!(
        world.book.release(world.now, C),
        Err(NotReleased::StillOpen(job))
    );
    assert_eq!(world.held(C), [(uid(A), HoldState::Bound)]);
    assert_eq!(world.book.release(world.now, D), Err(NotReleased::NotHeld));
}

#[test]
fn an_outcome_that_comes_after_the_release_changes_nothing() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.later(60 + 120);
    world.book.tick(world.now);
    world.book.release(world.now, C).unwrap();
    let next = world.encode(TWO_DESK, C);
    world.bind(TWO, next, 1, B);
    let late = world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert!(!issued(&late));
    assert_eq!(world.held(C), [(uid(B), HoldState::Bound)]);
    assert!(refused(&world.plan_wish(ONE, job, 1, A)).is_some());
}

#[test]
fn what_an_agent_listed_and_then_forgot_is_waited_for_no_more() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.disconnect(ONE);
    world.later(20);
    world.book.tick(world.now);
    let stranger = JobId(Uuid::from_u128(0x5555));
    let orphan = OpenJob {
        credential_id: Some(D.0),
        ..open(stranger, "desk", OpenJobState::Accepted)
    };
    let listed = vec![open(job, "desk", OpenJobState::Accepted), orphan];
    world.connect_with(ONE, 1, listed, 0);
    let blocked = world.encode(TWO_DESK, C);
    assert_eq!(world.code(blocked), Some(ErrorCode::UncategorizedError));
    world.disconnect(ONE);
    world.connect(ONE, 77);
    let free = world.encode(TWO_DESK, C);
    world.bind(TWO, free, 1, B);
    assert_eq!(world.held(D), [(None, HoldState::Unknown)]);
}

#[test]
fn a_job_that_an_agent_says_it_started_is_not_sent_again_though_no_binding_is_known() {
    let mut world = restored();
    world.connect(TWO, 2);
    world.list_of_the_copy(ONE);
    let job = world.job_of_the_copy(C);
    let started = OpenJobState::Started { uid: uid(A), n: 1 };
    world.connect_with(ONE, 1, vec![open(job, "desk", started)], 0);
    world.disconnect(ONE);
    let again = world.connect(ONE, 77);
    assert_eq!(jobs_sent(&again), []);
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
}

#[test]
fn a_retired_agents_pc_may_come_back_under_a_new_token_and_is_believed_nothing() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.book.retire(world.now, ONE);
    // The same journal, under the token of agent two.
    world.disconnect(TWO);
    let started = OpenJobState::Started { uid: uid(A), n: 1 };
    let hello = world.connect_with(TWO, 1, vec![open(job, "desk", started)], 1);
    assert!(cancelled(&hello).is_some());
    let late = world.finish(TWO, job, 1, Outcome::Error, Touched::Untouched, None);
    assert!(messages(&late).any(|sent| *sent == ServiceMessage::FinishedAck { sequence: 1 }));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    assert!(refused(&world.plan_wish(TWO, job, 1, A)).is_some());
    assert!(cancelled(&world.present(TWO, job, 2, A)).is_some());
}
