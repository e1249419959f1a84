#!/usr/bin/env bash
# The agent on Windows: built for x86_64-pc-windows-gnu, checked by clippy, and tried under wine: unit tests, then the service from the
# archive's install.cmd to its removal, with an emulated PN532 behind a COM port and the coordinator on this machine:
# tests/windows.sh [--build-only] [--without CASE] [--list]
#   --build-only     stop once target/windows/dist holds the archive
#   --without CASE   leave a case out that no other goes on from, such as clippy; may be given several times
# WINDOWS_PROFILE names the Cargo profile of the programs (default: release for --build-only, else dev). Needs cargo and a Debian machine
# as root; installs the rest, and keeps it in a cache. Ends with one line "passed N failed N"; ends with 3 where there is no Rust
# standard library for Windows to be had, which is no failure of the agent.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tool.sh

command -v cargo >/dev/null || { echo "windows.sh: needs cargo; install Rust with rustup" >&2; exit 1; }
for argument; do
  if [ "$argument" = --list ]; then exec python3 tests/windows/run.py --list; fi
done

needed=()
command -v x86_64-w64-mingw32-gcc >/dev/null || needed+=(gcc-mingw-w64-x86-64-win32)
command -v wine >/dev/null && [ -e /usr/lib/wine/wine64 ] || needed+=(wine wine64)
command -v python3 >/dev/null || needed+=(python3)
if [ ${#needed[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${needed[@]}" >/dev/null
fi

# What is built for Windows is kept outside the repository, so that the next clone builds nothing but what is its own. Cargo does not
# notice another standard library, so each has a folder of its own.
kept=${XDG_CACHE_HOME:-$HOME/.cache}/encoder-agent-windows
mkdir -p "$kept"
built=$kept/target-$(rustc --version | cut -d' ' -f2)
if ! tests/windows/toolchain.sh --has-std && ! rustup target add x86_64-pc-windows-gnu >/dev/null 2>&1; then
  code=0
  toolchain=$(tests/windows/toolchain.sh "$kept") || code=$?
  if [ $code = 3 ]; then
    echo "windows.sh: could not run: no standard library for x86_64-pc-windows-gnu, neither from rustup nor from Debian's rust-src" >&2
  fi
  [ $code = 0 ] || exit $code
  PATH=$toolchain:$PATH
  built=$built-from-source
fi
# One at a time: the program lies in the same place for every clone.
exec 9>"$kept/lock"
flock 9
for old in "$kept"/target-*; do
  [ "$old" = "$built" ] || rm -rf "$old"
done

profile=${WINDOWS_PROFILE:-dev}
only=()
for argument; do
  if [ "$argument" = --build-only ]; then profile=${WINDOWS_PROFILE:-release} only=(--build-only); fi
done
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
dist=$target/windows/dist
rm -rf "$dist"
mkdir -p "$dist"
bill_of_materials encoder-agent x86_64-pc-windows-gnu "$dist/encoder-agent.cdx.json"
if [ ${#only[@]} -gt 0 ]; then
  exec python3 tests/windows/run.py --build-only "$built" "$profile" "$dist"
fi
cargo build --locked --quiet --profile "$profile" --package encoder-agent --package encoder-coordinator --bins
echo "built the programs of this machine within $SECONDS s"
exec python3 tests/windows/run.py "$built" "$profile" "$dist" "$target/${profile/#dev/debug}" "$@"
