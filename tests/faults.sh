#!/usr/bin/env bash
# One key per job and no lost result, under every fault: tests/faults.sh [--seeds N] [--full]
#   1. kill matrix: the agent and the coordinator, as real processes, are killed at every step of their databases and at
#      every byte of the exchange with the device (--full: every combination with power cut and card)
#   2. simulation: session, jobs and coordinator together under virtual time, N seeds of faults (100,000 unless given)
#   3. arbitrary input: every parser of bytes from outside reads the inputs that fuzzing kept
# Needs cargo and a C compiler. Each part ends with one line "cases=… violations=…"; see faults/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

full=() seeds=100000
while [ $# -gt 0 ]; do
  case $1 in
    --full) full=(--full) ;;
    --seeds) seeds=${2:?--seeds needs a number}; shift ;;
    *) echo "usage: tests/faults.sh [--seeds N] [--full]" >&2; exit 2 ;;
  esac
  shift
done
for program in cargo cc; do
  command -v "$program" >/dev/null || { echo "faults.sh: needs $program" >&2; exit 1; }
done

faults() { cargo run --locked --quiet --profile faults --package encoder-faults --bin "$@"; }

cargo build --locked --quiet --profile faults --package encoder-agent --package encoder-coordinator --package encoder-faults --bins
echo "-- kill matrix"
faults kill_matrix -- "${full[@]}"
echo "-- simulation"
faults simulation -- --seeds "$seeds"
echo "-- arbitrary input"
# The whole workspace, as `cargo test --workspace` builds it, so that nothing is built twice.
cargo test --locked --quiet --workspace --test replay -- --nocapture | grep --line-buffered -e cases= -e FAILED -e panicked
