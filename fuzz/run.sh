#!/usr/bin/env bash
# fuzz/run.sh TARGET [SECONDS]: looks for new inputs that break TARGET, and keeps those that reach something new.
# Needs a nightly toolchain and cargo-fuzz (`cargo install cargo-fuzz --locked`). What it finds stands in $FUZZ_WORK, by
# default target/fuzz, under TARGET: `found/` holds the inputs that break a promise, `log` the fuzzer's words.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:?expected a target; fuzz/README.md lists them}
seconds=${2:-600}
most_inputs=300
most_bytes=1500
work=${FUZZ_WORK:-../target/fuzz}
mkdir -p "$work/$target/found"
work=$(cd "$work" && pwd)
here=$work/$target

cargo +nightly fuzz build --fuzz-dir libfuzzer --target-dir "$work/build" --sanitizer none --release any
fuzzer=$(find "$work/build" -path '*/release/any' -type f)
cp "$fuzzer" "$here/fuzzer"

# Stores and journals that the targets make belong into memory, and go with the run.
scratch=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$scratch"' EXIT
run() {
  FUZZ_TARGET=$target TMPDIR=$scratch nice -n 19 "$here/fuzzer" -rss_limit_mb=2048 -timeout=60 -max_len=$most_bytes "$@"
}

cargo run --quiet --package encoder-fuzz -- spread "$target" "$here/corpus"
run -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$here/found/" "$here/corpus" 2>&1 | tee "$here/log"

rm -rf "$here/kept"
mkdir "$here/kept"
run -merge=1 "$here/kept" "$here/corpus" 2>>"$here/log"
# Of many, evenly some of every length.
find "$here/kept" -type f -printf '%s %p\n' | sort -n | cut -d' ' -f2- |
  awk -v most=$most_inputs '{ all[NR] = $0 } END { step = NR > most ? NR / most : 1
    for (i = 1; i <= NR; i += step) keep[int(i)] = 1
    for (i = 1; i <= NR; i++) if (!(i in keep)) print all[i] }' | xargs --no-run-if-empty rm
cargo run --quiet --package encoder-fuzz -- gather "$target" "$here/kept"
