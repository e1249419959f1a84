//! Rule 11: answers where nothing seems to fit.

use super::*;

#[test]
fn promise_rule_11_a_card_for_an_unknown_job_is_answered_by_cancel() {
    let mut world = World::new();
    let decision = world.present(ONE, JobId(Uuid::from_u128(0x5555)), 1, A);
    assert_eq!(cancelled(&decision), Some(ErrorCode::UncategorizedError));
    let session = world.session(ONE);
    let accepted = world
        .book
        .job_accepted(ONE, session, JobId(Uuid::from_u128(0x5556)))
        .unwrap();
    assert!(cancelled(&accepted).is_some());
}

#[test]
fn promise_rule_11_another_agents_job_or_encoder_breaks_the_protocol() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let foreign = Err(Violation::ForeignJob(job));
    assert_eq!(world.try_present(TWO, job, 1, card(A)), foreign);
    let session = SessionId(world.fresh());
    world.disconnect(TWO);
    let listed = vec![open(job, "desk", OpenJobState::Accepted)];
    assert_eq!(world.hello(TWO, session, 2, listed, 0), foreign);
    world.disconnect(ONE);
    let listed = vec![open(job, "door", OpenJobState::Accepted)];
    let elsewhere = world.hello(ONE, session, 1, listed, 0);
    assert_eq!(elsewhere, Err(Violation::ForeignEncoder(job)));
}

#[test]
fn a_refused_job_ends_its_attempt_for_good_and_a_bound_one_is_waited_for() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let bound = world.encode(TWO_DESK, D);
    world.bind(TWO, bound, 1, A);
    let refuse = |job| JobRefused {
        job_id: job,
        reason: RefusalReason::UnknownEncoder,
        message: "no such encoder".into(),
    };
    world
        .book
        .job_refused(world.now, ONE, &refuse(job))
        .unwrap();
    assert_eq!(world.code(job), Some(ErrorCode::EncoderNotOnline));
    world
        .book
        .job_refused(world.now, TWO, &refuse(bound))
        .unwrap();
    assert!(world.pending(bound));
}

#[test]
fn promise_rule_11_every_message_that_names_another_agents_job_breaks_the_protocol() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    let (session, now) = (world.session(TWO), world.now);
    let foreign = Violation::ForeignJob(job);
    let outcome = finished(job, 1, Some(C), Outcome::Error, Touched::Untouched, None);
    let refusal = JobRefused {
        job_id: job,
        reason: RefusalReason::QueueFull,
        message: String::new(),
    };
    let wish = PlanRequest {
        job_id: job,
        uid: Uid::new(&A).unwrap(),
        n: 1,
        purpose: PlanPurpose::Verify,
    };
    let writing = Progress::Writing { uid: uid(A), n: 1 };
    let before = world.book.job(job).cloned();
    let book = &mut world.book;
    let answers = [
        book.job_accepted(TWO, session, job),
        book.job_refused(now, TWO, &refusal),
        book.job_progress(TWO, session, job, &writing),
        book.plan_request(now, TWO, session, &wish),
        book.job_finished(now, TWO, session, &outcome, None),
    ];
    for answer in answers {
        assert_eq!(answer, Err(foreign.clone()));
    }
    assert_eq!(world.book.job(job).cloned(), before);
}

#[test]
fn promise_rule_11_an_orphan_belongs_to_the_agent_that_named_it() {
    let mut world = World::new();
    let stranger = JobId(Uuid::from_u128(0x5555));
    world.finish(ONE, stranger, 1, Outcome::Error, Touched::Unknown, Some(A));
    let session = world.session(TWO);
    let outcome = finished(
        stranger,
        1,
        Some(C),
        Outcome::Error,
        Touched::Untouched,
        None,
    );
    let foreign = world
        .book
        .job_finished(world.now, TWO, session, &outcome, None);
    assert_eq!(foreign, Err(Violation::ForeignJob(stranger)));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
}
