//! Rule 9: a store that was restored from a backup.

use super::*;

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
            content: None,
        }),
    };
    let (job, _) = world.book.request(world.now, &request).unwrap();
    assert!(world.pending(job));
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

#[test]
fn promise_rule_9_a_job_that_the_copy_calls_queued_counts_as_sent_once_hello_lists_it() {
    let mut world = restored();
    world.list_of_the_copy(ONE);
    world.connect(TWO, 2);
    let job = world.job_of_the_copy(C);
    let mut unsent = world.book.job(job).unwrap().clone();
    unsent.sent = false;
    world.book.admit_job(unsent);
    let hello = world.connect_with(ONE, 1, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    assert!(world.book.job(job).unwrap().sent);
    assert_eq!(jobs_sent(&hello), []);
    world.disconnect(ONE);
    world.book.tick(world.now);
    assert!(world.pending(job), "a sent job outlives its agent by 20 s");
    let elsewhere = world.encode(TWO_DESK, C);
    assert_eq!(world.code(elsewhere), Some(ErrorCode::UncategorizedError));
}

/// The copy tells that the agent refused the job. An older copy did not, so the job was sent once more, and written; then
/// the store went on to this one.
#[test]
fn promise_rule_9_a_write_of_a_job_that_the_copy_calls_refused_holds_its_credential() {
    let mut world = restored();
    world.list_of_the_copy(ONE);
    let job = world.job_of_the_copy(C);
    let mut refused = world.book.job(job).unwrap().clone();
    refused.attempt = Attempt::Error(JobError {
        code: ErrorCode::UncategorizedError,
        message: "8 jobs wait".into(),
        touched: Touched::Untouched,
        hardware: None,
    });
    refused.outcome = Some(Touched::Untouched);
    refused.binding = None;
    world.book.admit_job(refused);
    world.connect(ONE, 1);
    world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert_eq!(world.held(C), [(uid(A), HoldState::Written)]);
    let ended = world.code(job);
    assert_eq!(
        ended,
        Some(ErrorCode::UncategorizedError),
        "the attempt stays"
    );
}

#[test]
fn promise_rule_9_one_agent_alone_that_was_not_heard_is_enough_to_wait() {
    let mut world = World::of(Restored {
        until: start(),
        awaited: vec![ONE],
    });
    world.connect(TWO, 2);
    let early = world.encode(TWO_DESK, C);
    assert_eq!(world.code(early), Some(ErrorCode::UncategorizedError));
    world.connect(ONE, 1);
    let job = world.encode(TWO_DESK, C);
    world.bind(TWO, job, 1, B);
}

#[test]
fn promise_rule_3_a_job_of_the_copy_that_ends_before_its_agent_was_heard_may_have_touched_a_card() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.disconnect(ONE);
    world.book.restored.until = world.now;
    world.book.restored.awaited.push(ONE);
    world.later(20);
    world.book.tick(world.now);
    let Attempt::Error(error) = &world.book.job(job).unwrap().attempt else {
        panic!("the agent is away");
    };
    assert_eq!(
        (error.code, error.touched),
        (ErrorCode::BridgeDisconnected, Touched::Unknown)
    );
}

#[test]
fn promise_rule_9_an_awaited_agent_tells_every_outcome_whatever_the_copy_has_counted() {
    let mut world = restored();
    world.book.agents.get_mut(&ONE).unwrap().last_sequence = 2;
    let decision = world.connect_with(ONE, 1, vec![], 2);
    let from = decision
        .messages
        .iter()
        .find_map(|delivery| match delivery {
            Delivery::Message(_, ServiceMessage::Welcome(welcome)) => Some(welcome.last_sequence),
            Delivery::Message(..) | Delivery::Plan { .. } | Delivery::End(..) => None,
        });
    assert_eq!(from, Some(0));
    assert!(!decision.changes.contains(&Change::AgentHeard(ONE)));
    for sequence in [1, 2] {
        let stranger = JobId(Uuid::from_u128(0x5550 + u128::from(sequence)));
        let decision = world.finish(
            ONE,
            stranger,
            sequence,
            Outcome::Error,
            Touched::Untouched,
            None,
        );
        let heard = decision.changes.contains(&Change::AgentHeard(ONE));
        assert_eq!(heard, sequence == 2);
    }
}
