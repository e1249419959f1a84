#!/usr/bin/env bash
# One key per job and no lost result, under every fault: tests/faults.sh [--full]
#   1. kill matrix: the agent and the coordinator, as real processes, are killed at every step of their databases and at
#      every byte of the exchange with the device (--full: every combination with power cut and card)
# Needs cargo and a C compiler. Each part ends with one line "cases=… violations=…".
set -euo pipefail
cd "$(dirname "$0")/.."

full=()
while [ $# -gt 0 ]; do
  case $1 in
    --full) full=(--full) ;;
    *) echo "usage: tests/faults.sh [--full]" >&2; exit 2 ;;
  esac
  shift
done
for program in cargo cc; do
  command -v "$program" >/dev/null || { echo "faults.sh: needs $program" >&2; exit 1; }
done

cargo build --locked --quiet --profile faults --package encoder-agent --package encoder-coordinator --package encoder-faults --bins
echo "-- kill matrix"
cargo run --locked --quiet --profile faults --package encoder-faults --bin kill_matrix -- "${full[@]}"
