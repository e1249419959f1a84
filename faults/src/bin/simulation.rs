//! Runs seeds of the simulation, on every core, and says whether the invariants held.

#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use clap::Parser;
use encoder_faults::{
    invariants::Violation,
    sim::{self, Coverage},
};

/// How many failing seeds are told before a run gives up.
const ENOUGH: usize = 10;
/// From this many seeds on, everything that the weather can bring must have happened.
const FULL_COVERAGE: u64 = 10_000;

/// What many seeds must have seen: a simulation that never gets there proves nothing.
const MUST_HAPPEN: &[&str] = &[
    "action_attempt_expired",
    "agent drained",
    "agent in use",
    "agent killed",
    "agent killed during a flush",
    "agent killed in mid-write",
    "agent retired",
    "agent suspended",
    "card swiped",
    "clock set",
    "coordinator killed",
    "coordinator killed after a commit",
    "coordinator suspended",
    "credential deleted",
    "credential released",
    "credential_cannot_be_reissued",
    "credential_deleted",
    "disk full",
    "encoder broken",
    "encoder moved",
    "encoder unplugged",
    "encoder_not_online",
    "encoding_interrupted",
    "image complete on a card",
    "incompatible_card_format",
    "job started",
    "job succeeded",
    "journal lost",
    "journal write refused",
    "link cut",
    "link half-open",
    "link stalled",
    "no_card_on_encoder",
    "long outage",
    "old disk image restored",
    "orphan kept",
    "outcome forgotten with a full disk",
    "pc cloned",
    "plan asked for to verify",
    "power cut",
    "session ended for silence",
    "slow plan",
    "store restored",
    "stripe encoder armed",
    "stripe not swiped again",
    "stripe write failed",
    "stripe written and read back",
    "stripe written while given up",
    "write failed",
];

/// The deterministic simulation of agents, coordinator, network, encoders and cards.
#[derive(Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many threads to use; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Run this one seed and print what happens.
    #[arg(long, conflicts_with_all = ["seeds", "from", "threads"])]
    seed: Option<u64>,
    /// Stop at the first failing seed.
    #[arg(long)]
    first: bool,
}

/// What the threads have found.
#[derive(Default)]
struct Found {
    cases: u64,
    failures: BTreeMap<u64, Vec<Violation>>,
    coverage: Coverage,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => replay(seed),
        None => run_all(&arguments),
    }
}

fn replay(seed: u64) -> ExitCode {
    let verdict = sim::run(seed, true);
    for line in &verdict.trace {
        println!("{line}");
    }
    for violation in &verdict.violations {
        println!("VIOLATION {violation}");
    }
    conclude(1, verdict.violations.len())
}

fn run_all(arguments: &Arguments) -> ExitCode {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores).max(1);
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    let enough = if arguments.first { 1 } else { ENOUGH };
    let found = Mutex::new(Found::default());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&next, end, enough, &found));
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&found)
}

/// Takes seed after seed until there are no more, or enough have failed.
fn work(next: &AtomicU64, end: u64, enough: usize, found: &Mutex<Found>) {
    let mut coverage = Coverage::new();
    let mut cases = 0;
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let verdict = sim::run(seed, false);
        cases += 1;
        for (what, times) in verdict.coverage {
            *coverage.entry(what).or_default() += times;
        }
        if !verdict.violations.is_empty() {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.failures.insert(seed, verdict.violations);
            if found.failures.len() >= enough {
                next.fetch_max(end, Ordering::Relaxed);
            }
        }
    }
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    found.cases += cases;
    for (what, times) in coverage {
        *found.coverage.entry(what).or_default() += times;
    }
}

fn report(found: &Found) -> ExitCode {
    for (what, times) in &found.coverage {
        println!("{times:>12}  {what}");
    }
    for (seed, violations) in &found.failures {
        for violation in violations {
            println!("seed {seed}: {violation}");
        }
        println!(
            "replay: cargo run --profile faults -p encoder-faults --bin simulation -- --seed {seed}"
        );
    }
    let mut violations = found.failures.values().map(Vec::len).sum();
    if found.cases >= FULL_COVERAGE {
        let missing = MUST_HAPPEN
            .iter()
            .filter(|what| !found.coverage.contains_key(**what));
        for what in missing {
            println!("never happened: {what}");
            violations += 1;
        }
    }
    conclude(found.cases, violations)
}

fn conclude(cases: u64, violations: usize) -> ExitCode {
    println!("cases={cases} violations={violations}");
    if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
