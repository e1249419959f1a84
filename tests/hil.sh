#!/usr/bin/env bash
# The release agent in a virtual machine, as the unit and the rules in systemd/ install it, with real kernel drivers and emulated
# encoders that are plugged in and out; the coordinator runs on this machine: tests/hil.sh [--case NAME] [--jobs N] [--list]
# Needs cargo and a Debian machine as root; makes the virtual machine from Debian's packages and keeps it in a cache. Ends with
# one line "passed N failed N".
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || { echo "hil.sh: needs cargo; install Rust with rustup" >&2; exit 1; }
packages=()
command -v python3 >/dev/null || packages+=(python3)
command -v mmdebstrap >/dev/null || packages+=(mmdebstrap)
command -v mke2fs >/dev/null || packages+=(e2fsprogs)
command -v unxz >/dev/null || packages+=(xz-utils)
if [ ${#packages[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

for argument; do
  if [ "$argument" = --list ]; then exec python3 tests/hil/run.py --list; fi
done

# Where the cache has no virtual machine it is made while the programs are built.
python3 tests/hil/run.py --image &
image=$!
trap 'kill "$image" 2>/dev/null || true' EXIT
cargo build --locked --quiet --release --package encoder-agent --package encoder-coordinator --bins
echo "built the programs within $SECONDS s"
wait "$image"
trap - EXIT

target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 tests/hil/run.py "$target/release" "$@"
