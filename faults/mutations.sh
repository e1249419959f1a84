#!/usr/bin/env bash
# Breaks each guard of the job promise on purpose, and shows that the simulation notices: faults/mutations.sh [NAME …]
# Every file in faults/mutations is one guard taken out. Each is built in a copy of the tree, unoptimised since that is
# quicker, and run for SEEDS seeds (6,000 unless set), up to the first seed that breaks an invariant. Ends with one line
# "mutations=… caught=…".
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${SEEDS:-6000}
patches=()
for name in "$@"; do patches+=("$PWD/faults/mutations/$name.patch"); done
[ $# -gt 0 ] || patches=("$PWD"/faults/mutations/*.patch)

tree=$(mktemp -d)
trap 'git worktree remove --force "$tree"' EXIT
git worktree add --quiet --detach "$tree" HEAD
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cd "$tree"

mutations=0 caught=0
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  mutations=$((mutations + 1))
  git checkout --quiet .
  if ! git apply "$patch"; then
    echo "$name: the patch does not fit the sources any more"
    continue
  fi
  if ! cargo build --locked --quiet --package encoder-faults --bin simulation 2>build.log; then
    echo "$name: does not build; $(grep -m1 '^error' build.log)"
    continue
  fi
  found=$("$CARGO_TARGET_DIR/debug/simulation" --seeds "$seeds" --first 2>&1 | grep -m1 -e '^seed ' -e ' panicked at ' || true)
  if [ -n "$found" ]; then
    caught=$((caught + 1))
    echo "$name: $found"
  else
    echo "$name: NOT CAUGHT in $seeds seeds"
  fi
done
echo "mutations=$mutations caught=$caught"
[ "$mutations" = "$caught" ]
