//! The inputs that fuzzing kept, through every target again.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a target that fails is a test that fails"
)]

#[path = "../targets/mod.rs"]
mod targets;

use std::panic::catch_unwind;

use targets::{TARGETS, Target};

/// Runs what is kept for a target; returns how many inputs that were, and how many broke a promise.
fn replay(target: &Target) -> (usize, usize) {
    let inputs = encoder_fuzz::read(target.name).expect("a corpus");
    assert!(!inputs.is_empty(), "{} keeps no inputs", target.name);
    let broke = |number: usize, input: &[u8]| {
        let broke = catch_unwind(|| (target.run)(input)).is_err();
        if broke {
            println!("{}: input {number} breaks a promise", target.name);
        }
        broke
    };
    let numbered = (1..).zip(&inputs);
    let violations = numbered.filter(|(number, input)| broke(*number, input));
    (inputs.len(), violations.count())
}

#[test]
fn every_kept_input_ends_as_promised() {
    let mut cases = 0;
    let mut violations = 0;
    for target in TARGETS {
        let (inputs, broken) = replay(target);
        println!("{}: {inputs} inputs", target.name);
        cases += inputs;
        violations += broken;
    }
    println!("cases={cases} violations={violations}");
    assert_eq!(violations, 0, "see the panics above");
}
