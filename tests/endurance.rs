//! A thousand reconnects, a thousand replugs and a thousand encoders found and lost again: what the agent's process takes before and after.
//!
//! Run with few cycles as a test, and with as many as wanted by hand:
//! `ENDURANCE_CYCLES=1000 cargo test --test endurance -- --nocapture`. No time is judged, only growth.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failure is a panic, in what the tests share too; the figures are printed"
)]

mod desk;

use std::{fs, path::Path};

use desk::{
    setting::{CARD, INSTANT, Setting},
    tree::Tree,
};
use encoder_protocols::wire::{Bye, ByeReason, EncoderState, Outcome, ServiceMessage};

/// How many cycles `cargo test` makes.
const FEW: u32 = 5;

/// After so many cycles everything that is kept has been made once.
const WARM_UP: u32 = 3;

/// How much more memory may be resident than after the warm-up, in KiB: the allocator's own coming and going.
const SLACK_KIB: u64 = 1_024;

/// What the process takes.
#[derive(Clone, Copy, Debug)]
struct Taken {
    resident_kib: u64,
    threads: u64,
    files: usize,
    journal_bytes: u64,
}

impl Taken {
    fn by(setting: &Setting) -> Self {
        let process = Path::new("/proc").join(setting.agent.process_id().to_string());
        let status = fs::read_to_string(process.join("status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let state = setting.desk.directory.path().join("state");
        let sizes = fs::read_dir(state)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len());
        Self {
            resident_kib: number("VmRSS:"),
            threads: number("Threads:"),
            files: fs::read_dir(process.join("fd")).unwrap().count(),
            journal_bytes: sizes.sum(),
        }
    }
}

fn cycles() -> u32 {
    std::env::var("ENDURANCE_CYCLES").map_or(FEW, |cycles| cycles.parse().unwrap())
}

/// Prints what the process takes after some of the cycles.
fn print(what: &str, done: u32, taken: Taken) {
    println!(
        "{what} {done:>5}: {:>6} KiB resident, {} threads, {} files open, {} bytes of journal",
        taken.resident_kib, taken.threads, taken.files, taken.journal_bytes
    );
}

fn assert_flat(begin: Taken, end: Taken) {
    // The runtime's helper for blocking calls comes and goes.
    assert!(end.threads <= begin.threads + 1, "{begin:?} {end:?}");
    assert_eq!(end.files, begin.files);
    // At the start the log may not be folded into its file yet.
    assert!(
        end.journal_bytes <= begin.journal_bytes,
        "{begin:?} {end:?}"
    );
    let most = begin.resident_kib + begin.resident_kib / 10 + SLACK_KIB;
    assert!(end.resident_kib <= most, "{begin:?} {end:?}");
}

/// Whether figures are printed after so many cycles.
fn is_milestone(done: u32) -> bool {
    matches!(done, 10 | 100 | 500) || done == cycles()
}

#[tokio::test]
async fn reconnects_leave_memory_threads_files_and_journal_as_they_were() {
    let mut setting = Setting::new(INSTANT).await;
    let mut begin = Taken::by(&setting);
    print("reconnects", 0, begin);
    for done in 1..=WARM_UP + cycles() {
        let restart = ServiceMessage::Bye(Bye {
            reason: ByeReason::Restart,
            message: "the service restarts".to_owned(),
        });
        setting.line.say(&restart).await;
        setting.line.hear_end().await;
        (setting.line, _) = setting.desk.welcomed(0).await;
        setting.encoder_is(EncoderState::Ready).await;
        let taken = Taken::by(&setting);
        if done == WARM_UP {
            begin = taken;
            print("reconnects, warm", 0, begin);
        } else if done > WARM_UP && is_milestone(done - WARM_UP) {
            print("reconnects", done - WARM_UP, taken);
        }
    }
    assert_flat(begin, Taken::by(&setting));
    setting.stop().await;
}

#[tokio::test]
async fn pluggings_leave_memory_threads_files_and_journal_as_they_were() {
    let tree = Tree::new();
    let mut setting = Setting::found(INSTANT, &tree).await;
    let mut begin = Taken::by(&setting);
    print("pluggings", 0, begin);
    for done in 1..=WARM_UP + cycles() {
        let (old, new) = if done % 2 == 1 {
            ("ttyUSB0", "ttyUSB1")
        } else {
            ("ttyUSB1", "ttyUSB0")
        };
        setting.unplug_adapter(&tree, old);
        setting.lists_none().await;
        setting.plug_adapter(&tree, new).await;
        let taken = Taken::by(&setting);
        if done == WARM_UP {
            begin = taken;
            print("pluggings, warm", 0, begin);
        } else if done > WARM_UP && is_milestone(done - WARM_UP) {
            print("pluggings", done - WARM_UP, taken);
        }
    }
    assert_flat(begin, Taken::by(&setting));
    setting.bench.place(CARD);
    assert_eq!(setting.encode_all(7).await.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn replugs_leave_memory_threads_files_and_journal_as_they_were() {
    let mut setting = Setting::new(INSTANT).await;
    let mut begin = Taken::by(&setting);
    print("replugs", 0, begin);
    for done in 1..=WARM_UP + cycles() {
        setting.bench.0.unplug().unwrap();
        setting.encoder_is(EncoderState::Fault).await;
        setting.bench.0.plug().unwrap();
        setting.encoder_is(EncoderState::Ready).await;
        let taken = Taken::by(&setting);
        if done == WARM_UP {
            begin = taken;
            print("replugs, warm", 0, begin);
        } else if done > WARM_UP && is_milestone(done - WARM_UP) {
            print("replugs", done - WARM_UP, taken);
        }
    }
    assert_flat(begin, Taken::by(&setting));
    setting.bench.place(CARD);
    assert_eq!(setting.encode_all(7).await.outcome, Outcome::Success);
    setting.stop().await;
}
