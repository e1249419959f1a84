//! The fuzzer: the environment's `FUZZ_TARGET` says which target it feeds.

#![no_main]
#![allow(dead_code, reason = "one target is run at a time")]

#[path = "../../targets/mod.rs"]
mod targets;

use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let target = targets::TARGETS.iter().find(|target| target.name == wanted);
        let target = target.unwrap_or_else(|| panic!("FUZZ_TARGET={wanted:?} names no target"));
        let _ = RUN.set(target.run);
    },
    |data: &[u8]| {
        if let Some(run) = RUN.get() {
            run(data);
        }
    }
);
