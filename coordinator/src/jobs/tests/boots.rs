//! Rule 6: another start of the agent.

use encoder_protocols::wire::{MAX_COUNT, WireMessage as _};

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

/// What `welcome` says of the agent's journal, and from which outcome on it wants to hear.
fn welcomed(decision: &Decision) -> (bool, u64) {
    let welcome = decision
        .messages
        .iter()
        .find_map(|delivery| match delivery {
            Delivery::Message(_, ServiceMessage::Welcome(welcome)) => Some(welcome),
            Delivery::Message(..) | Delivery::Plan { .. } | Delivery::End(..) => None,
        });
    let welcome = welcome.unwrap();
    (welcome.journal_behind, welcome.last_sequence)
}

#[test]
fn promise_rule_7_an_agent_that_forgot_a_bound_job_is_told_that_its_journal_is_behind() {
    let states = [
        (None, true),
        (Some(OpenJobState::Accepted), true),
        (Some(OpenJobState::Started { uid: uid(A), n: 1 }), false),
        (Some(OpenJobState::Finished { sequence: 1 }), false),
    ];
    for (state, behind) in states {
        let mut world = World::new();
        let job = world.encode(ONE_DESK, C);
        world.bind(ONE, job, 1, A);
        world.disconnect(ONE);
        let listed = state.iter().map(|state| open(job, "desk", state.clone()));
        let decision = world.connect_with(ONE, 77, listed.collect(), 0);
        assert_eq!(welcomed(&decision), (behind, 0), "{state:?}");
    }
}

#[test]
fn promise_rule_7_the_same_start_is_not_behind() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    let listed = vec![open(job, "desk", OpenJobState::Accepted)];
    let decision = world.connect_with(ONE, 1, listed, 0);
    assert_eq!(welcomed(&decision), (false, 0));
}

#[test]
fn promise_rule_4_another_journal_is_behind_and_tells_all_of_its_own_outcomes() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    world.disconnect(ONE);
    world.book.agents.get_mut(&ONE).unwrap().own_id = Some(Uuid::from_u128(0x77));
    let decision = world.connect_with(ONE, 77, vec![], 3);
    assert_eq!(welcomed(&decision), (true, 0));
    world.disconnect(ONE);
    let decision = world.connect_with(ONE, 77, vec![], 3);
    assert_eq!(welcomed(&decision), (false, 0));
}

#[test]
fn promise_rule_4_a_journal_with_fewer_outcomes_than_the_store_is_told_the_last_one() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.finish(ONE, job, 4, Outcome::Success, Touched::Written, Some(A));
    world.disconnect(ONE);
    let decision = world.connect_with(ONE, 1, vec![], 3);
    assert_eq!(welcomed(&decision), (false, 4));
}

#[test]
fn an_agent_that_has_counted_beyond_all_bounds_is_still_welcomed_in_words_that_it_reads() {
    let mut world = World::new();
    let id = AgentId(Uuid::from_u128(0xa9));
    let known = world.book.agent(ONE).unwrap().clone();
    world.book.admit_agent(AgentRecord {
        id,
        last_sequence: MAX_COUNT,
        ..known
    });
    let session = SessionId(Uuid::from_u128(0x51));
    let decision = world.hello(id, session, 1, vec![], 0).unwrap();
    let mut welcomes = Vec::new();
    for delivery in &decision.messages {
        if let Delivery::Message(_, message @ ServiceMessage::Welcome(_)) = delivery {
            welcomes.push(message);
        }
    }
    assert_eq!(welcomes.len(), 1);
    for welcome in welcomes {
        assert_eq!(
            ServiceMessage::decode(&welcome.encode()).as_ref(),
            Ok(welcome)
        );
    }
}
