//! What is said at the start of a session, and what belongs to which.

use encoder_protocols::wire::{
    AgentMessage, CardPlan, EncoderState, JobKind, OpenJobState, Plan, ServiceMessage,
};

use super::bench::{Bench, DESK, credential, image, settings, uid};
use crate::{encoder::Poll, session::SessionEvent};

fn states(bench: &mut Bench) -> Vec<EncoderState> {
    bench
        .take_sent()
        .into_iter()
        .filter_map(|message| match message {
            AgentMessage::Inventory { encoders, .. } => Some(encoders[0].state),
            _ => None,
        })
        .collect()
}

#[test]
fn nothing_but_hello_is_said_before_welcome() {
    let mut bench = Bench::closed(vec![settings("desk", true)]);
    bench.connection = 1;
    bench.session(SessionEvent::Connected { connection: 1 });
    bench.open_encoders();
    bench.encode(1, 1);
    let sent = bench.take_sent();
    assert!(matches!(&sent[..], [AgentMessage::Hello(_)]));
    bench.welcome();
    assert!(matches!(
        &bench.take_sent()[..],
        [AgentMessage::Inventory { .. }]
    ));
    assert!(bench.journal.contents().open_jobs.is_empty());
}

#[test]
fn promise_rule_8_hello_lists_open_jobs_with_their_credentials() {
    let mut bench = Bench::new();
    let done = bench.encode(1, 1);
    bench.write_card(done, 1, 1);
    bench.encode(2, 2);
    bench.scan(3);
    let open = bench.open_jobs();
    let listed: Vec<_> = open
        .iter()
        .map(|job| (job.kind, job.credential_id, job.state.clone()))
        .collect();
    assert_eq!(
        listed,
        [
            (JobKind::Encode, Some(credential(2)), OpenJobState::Accepted),
            (JobKind::Scan, None, OpenJobState::Accepted),
            (
                JobKind::Encode,
                Some(credential(1)),
                OpenJobState::Finished { sequence: 1 }
            ),
        ]
    );
}

#[test]
fn open_things_are_repeated_in_the_next_session() {
    let mut bench = Bench::new();
    let done = bench.encode(1, 1);
    bench.write_card(done, 1, 1);
    let waiting = bench.scan(2);
    bench.put(1);
    bench.disconnect();
    bench.take_sent();
    bench.connect();
    let sent = bench.take_sent();
    assert!(matches!(sent[0], AgentMessage::Hello(_)));
    assert!(matches!(sent[1], AgentMessage::Inventory { .. }));
    assert_eq!(sent[2], AgentMessage::JobAccepted { job_id: waiting });
    let presented = sent.iter().find_map(|message| match message {
        AgentMessage::CardPresented(presented) => Some(presented.n),
        _ => None,
    });
    assert_eq!(presented, Some(2));
    let finished = sent
        .iter()
        .filter(|message| matches!(message, AgentMessage::JobFinished(_)));
    assert_eq!(finished.count(), 1);
}

#[test]
fn promise_rule_1_a_plan_of_an_earlier_connection_is_not_taken() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.put(1);
    let earlier = bench.connection;
    bench.connect();
    for n in [1, 2] {
        bench.session(SessionEvent::Message {
            connection: earlier,
            message: ServiceMessage::CardPlan(CardPlan {
                job_id: job,
                n,
                uid: Some(uid(1)),
                plan: Plan::Write { image: image() },
            }),
        });
    }
    assert_eq!(bench.operating(DESK), None);
}

#[test]
fn promise_rule_4_outcomes_that_the_store_lacks_are_sent_again_in_order() {
    let mut bench = Bench::with(vec![settings("dispenser", false)]);
    for number in 1..=250 {
        bench.cancel(super::bench::job_id(number));
        if number != 200 {
            bench.acknowledge(number as u64);
        }
    }
    bench.take_sent();
    bench.last_stored = 20;
    bench.connect();
    let sequences: Vec<_> = bench
        .finished()
        .iter()
        .map(|finished| finished.sequence)
        .collect();
    assert_eq!(sequences, (21..=250).collect::<Vec<_>>());
}

#[test]
fn promise_rule_4_outcomes_go_on_behind_the_stores_sequence() {
    let mut bench = Bench::closed(vec![settings("desk", false)]);
    bench.open_encoders();
    bench.last_stored = 7;
    bench.connect();
    bench.cancel(super::bench::job_id(1));
    assert_eq!(bench.finished()[0].sequence, 8);
}

#[test]
fn an_outcome_is_sent_until_it_is_acknowledged() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.write_card(job, 1, 1);
    bench.take_sent();
    for _ in 0..2 {
        bench.connect();
        assert_eq!(bench.finished().len(), 1);
    }
    bench.acknowledge(1);
    bench.connect();
    assert_eq!(bench.finished().len(), 0);
}

#[test]
fn the_inventory_follows_every_change() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    assert_eq!(states(&mut bench), [EncoderState::Busy]);
    bench.cancel(job);
    assert_eq!(states(&mut bench), [EncoderState::Ready]);
    bench.gone(DESK);
    assert_eq!(states(&mut bench), [EncoderState::Fault]);
    bench.ready(DESK);
    assert_eq!(states(&mut bench), [EncoderState::Ready]);
    bench.poll(Poll::Empty);
    assert_eq!(states(&mut bench), []);
}

#[test]
fn a_card_put_down_without_a_session_is_presented_in_the_next_one() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.disconnect();
    bench.put(1);
    assert_eq!(bench.presented().len(), 0);
    bench.connect();
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn a_deadline_follows_the_coordinators_clock_at_the_next_welcome() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.put(1);
    bench.disconnect();
    // The PC slept for a minute: the monotonic clock stood still.
    bench.now.utc += jiff::SignedDuration::from_secs(61);
    bench.connect();
    bench.advance(std::time::Duration::from_millis(1));
    let failure = bench.failure();
    assert_eq!(
        failure.code,
        encoder_protocols::wire::ErrorCode::ActionAttemptExpired
    );
}
