//! Anything in any order: the watcher of the bench must never complain.

use std::time::Duration;

use encoder_protocols::wire::{ErrorCode, Plan, Touched};
use proptest::prelude::*;

use super::bench::{Bench, DESK, error, image, job_id, nothing_read, settings, uid};
use crate::encoder::{OperationError, OperationResult, Poll};

#[derive(Clone, Debug)]
enum Step {
    Encode {
        job: u128,
        credential: u128,
    },
    Scan {
        job: u128,
    },
    Card(u8),
    Empty(u8),
    Several,
    Plan {
        job: u128,
        n: u64,
        card: u8,
        write: bool,
    },
    PlanAsAsked,
    Verify {
        job: u128,
        n: u64,
        card: u8,
    },
    End(Ending),
    Cancel(u128),
    Acknowledge(u64),
    /// An encode comes as far as its first byte.
    BeginWrite {
        job: u128,
        credential: u128,
        card: u8,
    },
    Disconnect,
    Connect,
    Gone,
    Ready,
    Wait(u16),
    Restart,
    JournalFails(bool),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Well,
    CardLeft,
    Untouched,
    Unknown,
    Gone,
}

fn step() -> impl Strategy<Value = Step> {
    let job = 0..6_u128;
    let card = 1..5_u8;
    prop_oneof![
        4 => (job.clone(), 0..3_u128).prop_map(|(job, credential)| Step::Encode { job, credential }),
        1 => (6..8_u128).prop_map(|job| Step::Scan { job }),
        6 => card.clone().prop_map(Step::Card),
        3 => (1..5_u8).prop_map(Step::Empty),
        1 => Just(Step::Several),
        2 => (job.clone(), 1..6_u64, card.clone(), any::<bool>())
            .prop_map(|(job, n, card, write)| Step::Plan { job, n, card, write }),
        8 => Just(Step::PlanAsAsked),
        1 => (job.clone(), 1..6_u64, card.clone()).prop_map(|(job, n, card)| Step::Verify { job, n, card }),
        10 => prop_oneof![
            6 => Just(Ending::Well),
            1 => Just(Ending::CardLeft),
            1 => Just(Ending::Untouched),
            1 => Just(Ending::Unknown),
            1 => Just(Ending::Gone),
        ]
        .prop_map(Step::End),
        1 => job.clone().prop_map(Step::Cancel),
        2 => (1..8_u64).prop_map(Step::Acknowledge),
        4 => (job.clone(), 0..3_u128, card.clone())
            .prop_map(|(job, credential, card)| Step::BeginWrite { job, credential, card }),
        1 => Just(Step::Disconnect),
        2 => Just(Step::Connect),
        1 => Just(Step::Gone),
        2 => Just(Step::Ready),
        2 => (0..5_000_u16).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => prop_oneof![1 => Just(true), 3 => Just(false)].prop_map(Step::JournalFails),
    ]
}

fn ending(
    ending: Ending,
    committed: bool,
    verifies: bool,
) -> Result<OperationResult, OperationError> {
    let touched = if committed {
        Touched::Unknown
    } else {
        Touched::Untouched
    };
    match ending {
        Ending::Well if verifies => Ok(OperationResult::Verified),
        Ending::Well if committed => Ok(OperationResult::Written),
        Ending::Well => Ok(OperationResult::Prepared),
        Ending::CardLeft => Err(error(ErrorCode::EncodingInterrupted, touched, true)),
        Ending::Untouched => Err(error(
            ErrorCode::UncategorizedError,
            Touched::Untouched,
            false,
        )),
        Ending::Unknown => Err(error(ErrorCode::UncategorizedError, touched, false)),
        Ending::Gone => Err(error(ErrorCode::EncoderNotOnline, touched, false)),
    }
}

#[derive(Default)]
struct Coordinator {
    asked: Vec<encoder_protocols::wire::CardPresented>,
    scans: bool,
}

fn take(bench: &mut Bench, coordinator: &mut Coordinator, step: Step) {
    match step {
        Step::Encode { job, credential } => drop(bench.encode(job, credential)),
        Step::Scan { job } => drop(bench.scan(job)),
        Step::Card(number) => bench.put(number),
        Step::Empty(polls) => (0..polls).for_each(|_| bench.poll(Poll::Empty)),
        Step::Several => bench.poll(Poll::Several),
        Step::Plan {
            job,
            n,
            card,
            write: true,
        } => bench.plan_write(job_id(job), n, uid(card)),
        Step::Plan { job, n, card, .. } => bench.plan_read(job_id(job), n, uid(card)),
        Step::PlanAsAsked => {
            coordinator.asked.extend(bench.presented());
            if let Some(asked) = coordinator.asked.pop() {
                let uid = asked.card.uid.unwrap();
                coordinator.scans = asked.job_id >= job_id(6);
                if coordinator.scans {
                    bench.plan_read(asked.job_id, asked.n, uid);
                } else {
                    bench.plan_write(asked.job_id, asked.n, uid);
                }
            }
        }
        Step::Verify { job, n, card } => {
            bench.plan(job_id(job), n, uid(card), Plan::Verify { image: image() });
        }
        Step::End(how) => {
            if let Some((job, committed)) = bench.operating(DESK) {
                let verifies = bench.verifies(DESK);
                let result = match how {
                    Ending::Well if job >= job_id(6) => Ok(nothing_read()),
                    how => ending(how, committed && !verifies, verifies),
                };
                bench.operation(job, result);
            }
        }
        Step::BeginWrite {
            job,
            credential,
            card,
        } => {
            bench.encode(job, credential);
            bench.put(card);
            take(bench, coordinator, Step::PlanAsAsked);
            take(bench, coordinator, Step::End(Ending::Well));
        }
        Step::Cancel(job) => bench.cancel(job_id(job)),
        Step::Acknowledge(sequence) => bench.acknowledge(sequence),
        Step::Disconnect => bench.disconnect(),
        Step::Connect => bench.connect(),
        Step::Gone => bench.gone(DESK),
        Step::Ready => bench.ready(DESK),
        Step::Wait(milliseconds) => bench.advance(Duration::from_millis(milliseconds.into())),
        Step::Restart => {
            if !bench.journal_fails {
                bench.restart_and_open();
            }
        }
        Step::JournalFails(fails) => bench.journal_fails = fails,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_a_promise(
        steps in proptest::collection::vec(step(), 1..80),
        lift in any::<bool>(),
    ) {
        let mut bench = Bench::with(vec![settings("desk", lift)]);
        let mut coordinator = Coordinator::default();
        for step in steps {
            take(&mut bench, &mut coordinator, step);
        }
        // Whatever happened, everything ends once the world stands still.
        bench.journal_fails = false;
        if let Some((job, committed)) = bench.operating(DESK) {
            let verifies = bench.verifies(DESK);
            bench.operation(job, ending(Ending::Unknown, committed && !verifies, verifies));
        }
        bench.ready(DESK);
        bench.connect();
        bench.clear();
        bench.advance(Duration::from_secs(700));
        prop_assert!(bench.journal.contents().open_jobs.is_empty());
    }
}
