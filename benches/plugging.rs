//! How long it takes until an encoder that was plugged in can be used, and until one that was pulled out is reported gone:
//! the agent as a process, a PN532 emulator on a pseudo terminal, a device tree as the kernel shows it.
//!
//! `cargo bench --bench plugging` prints the median, the fastest and the slowest of 20. Nothing is judged.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a failure is a panic; the figures are printed; a bench reads the clock"
)]

#[cfg(target_os = "linux")]
#[path = "../tests/desk/mod.rs"]
mod desk;

#[cfg(target_os = "linux")]
fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(linux::run());
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::{Duration, Instant};

    use crate::desk::{
        setting::{REAL, Setting},
        tree::Tree,
    };

    const ROUNDS: usize = 20;

    pub(super) async fn run() {
        let tree = Tree::new();
        let mut setting = Setting::found(REAL, &tree).await;
        let (mut out, mut back) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            setting.unplug_adapter(&tree, "ttyUSB0");
            setting.is_gone().await;
            out.push(began.elapsed());
            setting.lists_none().await;
            let began = Instant::now();
            setting.plug_adapter(&tree, "ttyUSB0").await;
            back.push(began.elapsed());
        }
        print("unplug to reported", &mut out);
        print("plug to ready", &mut back);
        setting.stop().await;
    }

    fn print(what: &str, times: &mut [Duration]) {
        times.sort();
        let milliseconds = |time: &Duration| time.as_secs_f64() * 1_000.0;
        println!(
            "{what}: median {:.1} ms, fastest {:.1} ms, slowest {:.1} ms, of {ROUNDS}",
            milliseconds(&times[ROUNDS / 2]),
            milliseconds(&times[0]),
            milliseconds(&times[ROUNDS - 1]),
        );
    }
}
