//! Which encoders there are, and where.

use super::*;

#[test]
fn an_encoder_with_a_chip_id_moves_with_its_jobs_left_behind() {
    let mut world = World::new();
    let chip = || description("usb-1", KeyScope::System);
    let id = EncoderId(Uuid::from_u128(0xe9));
    let session = world.session(ONE);
    world
        .book
        .inventory(world.now, ONE, session, &[chip()], || id)
        .unwrap();
    let old = world.scan(id);
    world.later(1);
    let session = world.session(TWO);
    world
        .book
        .inventory(world.now, TWO, session, &[chip()], || unreachable!())
        .unwrap();
    let new = world.scan(id);
    assert_eq!(world.book.job(old).unwrap().agent, Some(ONE));
    assert_eq!(world.book.job(new).unwrap().agent, Some(TWO));
    world.disconnect(TWO);
    let back = world.scan(id);
    assert_eq!(world.book.job(back).unwrap().agent, Some(ONE));
}

#[test]
fn an_encoder_that_waits_to_be_adopted_is_stored_so() {
    let mut world = World::new();
    let session = world.session(ONE);
    let (waiting, taken) = (
        EncoderId(Uuid::from_u128(0xe7)),
        EncoderId(Uuid::from_u128(0xe8)),
    );
    let mut ids = [waiting, taken].into_iter();
    let listed = [
        EncoderDescription {
            adopted: false,
            ..description("new", KeyScope::System)
        },
        description("old", KeyScope::System),
    ];
    world
        .book
        .inventory(world.now, ONE, session, &listed, || ids.next().unwrap())
        .unwrap();
    let adopted = |id| world.book.encoder(id).unwrap().adopted;
    assert_eq!([adopted(waiting), adopted(taken)], [false, true]);
}

#[test]
fn a_name_given_on_the_pc_goes_before_one_given_here() {
    let mut world = World::new();
    let session = world.session(ONE);
    let id = EncoderId(Uuid::from_u128(0xe6));
    for (named, expected) in [(false, "Renamed"), (true, "From the PC")] {
        let listed = EncoderDescription {
            name: "From the PC".into(),
            named,
            ..description("chip", KeyScope::System)
        };
        world
            .book
            .inventory(world.now, ONE, session, &[listed], || id)
            .unwrap();
        world
            .book
            .set_encoder(id, |record| record.display_name = Some("Renamed".into()));
        assert_eq!(world.book.encoder(id).unwrap().name(), expected);
    }
}

#[test]
fn an_encoder_that_two_agents_list_takes_jobs_where_it_answers() {
    let mut world = World::new();
    let chip = |state| EncoderDescription {
        state,
        ..description("usb-1", KeyScope::System)
    };
    let id = EncoderId(Uuid::from_u128(0xe9));
    for (agent, state) in [(ONE, EncoderState::Ready), (TWO, EncoderState::Fault)] {
        let session = world.session(agent);
        world
            .book
            .inventory(world.now, agent, session, &[chip(state)], || id)
            .unwrap();
        world.later(1);
    }
    let job = world.scan(id);
    assert_eq!(world.book.job(job).unwrap().agent, Some(ONE));
}

#[test]
fn an_inventory_that_only_changes_a_state_stores_nothing() {
    let mut world = World::new();
    let session = world.session(TWO);
    let mut busy = description("desk", KeyScope::Agent);
    busy.state = EncoderState::Busy;
    let decision = world
        .book
        .inventory(world.now, TWO, session, &[busy.clone()], || unreachable!())
        .unwrap();
    assert_eq!(decision, Decision::default());
    let twice = world.book.inventory(
        world.now,
        TWO,
        session,
        &[busy.clone(), busy],
        || unreachable!(),
    );
    assert_eq!(twice, Err(Violation::DuplicateEncoder));
}

#[test]
fn an_encoder_that_is_still_being_opened_takes_jobs() {
    let mut world = World::new();
    let session = world.session(TWO);
    let starting = EncoderDescription {
        state: EncoderState::Starting,
        abilities: Abilities::default(),
        ..description("desk", KeyScope::Agent)
    };
    world
        .book
        .inventory(world.now, TWO, session, &[starting], || unreachable!())
        .unwrap();
    let (encode, scan) = (world.encode(TWO_DESK, C), world.scan(TWO_DESK));
    assert!(world.pending(encode) && world.pending(scan));
}

#[test]
fn a_clock_at_the_end_of_time_stops_no_inventory() {
    let mut world = World::new();
    world.now = Timestamp::MAX;
    let chip = description("usb-1", KeyScope::System);
    let id = EncoderId(Uuid::from_u128(0xe9));
    for agent in [ONE, TWO] {
        let session = world.session(agent);
        let listed = world.book.inventory(
            world.now,
            agent,
            session,
            std::slice::from_ref(&chip),
            || id,
        );
        assert!(listed.is_ok());
    }
}
