//! Some hundreds of runs, in every build.

use super::run;

const SEEDS: u64 = 200;

#[test]
fn every_invariant_holds_in_every_run() {
    let mut successes = 0;
    for seed in 0..SEEDS {
        let verdict = run(seed, false);
        assert_eq!(verdict.violations, [], "seed {seed}");
        successes += verdict.coverage.get("job succeeded").copied().unwrap_or(0);
    }
    assert!(
        successes > SEEDS,
        "the runs must get somewhere: {successes}"
    );
}

#[test]
fn a_seed_runs_the_same_each_time() {
    let (first, second) = (run(3, true), run(3, true));
    assert_eq!(first.trace, second.trace);
    assert!(first.trace.len() > 100);
}
