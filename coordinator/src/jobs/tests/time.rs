//! Time that jumps, and time that runs out.

use crate::jobs::LONGEST_ATTEMPT;

use super::*;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[test]
fn a_clock_that_is_set_leaves_every_attempt_the_time_that_it_had_left() {
    for by in [HOUR, -HOUR] {
        let mut world = World::new();
        let waiting = world.encode(ONE_DESK, C);
        let bound = world.encode(TWO_DESK, D);
        world.bind(TWO, bound, 1, A);
        world.later(10);
        world.now += by;
        world.book.clock_moved(by);
        world.later(49);
        world.book.tick(world.now);
        assert!(world.pending(waiting));
        world.later(1);
        world.book.tick(world.now);
        assert_eq!(world.code(waiting), Some(ErrorCode::ActionAttemptExpired));
        world.later(119);
        world.book.tick(world.now);
        assert!(world.pending(bound));
        world.later(1);
        world.book.tick(world.now);
        assert_eq!(world.code(bound), Some(ErrorCode::EncodingInterrupted));
    }
}

#[test]
fn a_clock_that_is_set_does_not_change_for_how_long_an_agent_has_been_away() {
    for by in [HOUR, -HOUR] {
        let mut world = World::new();
        let job = world.encode(ONE_DESK, C);
        world.disconnect(ONE);
        world.later(10);
        world.now += by;
        let moved = world.book.clock_moved(by);
        assert!(matches!(&moved.changes[..], [Change::SaveJob(saved)] if saved.id == job));
        world.later(9);
        world.book.tick(world.now);
        assert!(world.pending(job));
        world.later(1);
        world.book.tick(world.now);
        assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    }
}

#[test]
fn a_deadline_of_a_clock_that_was_set_back_while_nobody_looked_is_bounded() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.now -= HOUR;
    world.book.bound_deadlines(world.now);
    assert_eq!(world.book.next_due(), Some(world.now + LONGEST_ATTEMPT));
    world.now += LONGEST_ATTEMPT;
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::ActionAttemptExpired));
}

#[test]
fn no_attempt_lasts_longer_than_the_queue_that_an_agent_takes() {
    let mut world = World::new();
    for _ in 0..40 {
        world.scan(ONE_DESK);
    }
    let last = world.scan(ONE_DESK);
    let last = world.book.job(last).unwrap();
    assert_eq!(last.deadline, last.created_at + LONGEST_ATTEMPT);
}

#[test]
fn the_newest_place_of_an_encoder_counts_also_after_the_clock_was_set_back() {
    let mut world = World::new();
    let chip = || description("usb-1", KeyScope::System);
    let id = EncoderId(Uuid::from_u128(0xe9));
    let session = world.session(ONE);
    let listed = world
        .book
        .inventory(world.now, ONE, session, &[chip()], || id);
    listed.unwrap();
    world.now -= HOUR;
    let session = world.session(TWO);
    let listed = world
        .book
        .inventory(world.now, TWO, session, &[chip()], || unreachable!());
    listed.unwrap();
    let job = world.scan(id);
    assert_eq!(world.book.job(job).unwrap().agent, Some(TWO));
}

#[test]
fn a_job_that_was_never_sent_ends_at_once_when_its_agent_is_away() {
    let mut world = World::new();
    let job = world.job_of_the_copy(C);
    let mut unsent = world.book.job(job).unwrap().clone();
    unsent.sent = false;
    world.book.admit_job(unsent);
    world.book.tick(world.now);
    assert!(world.pending(job));
    world.disconnect(ONE);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    assert!(world.book.job(job).unwrap().is_settled());
}
