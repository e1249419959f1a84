#!/usr/bin/env bash
# Unmodified Seam SDK (PyPI `seam` 3.x) against the release coordinator, agent and emulated encoder.
# Installs what it needs into a cache; ends with one line "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/encoder-agent-tests
venv=$cache/seam
if ! "$venv/bin/python" -c 'import seam' 2>/dev/null; then
  command -v python3 >/dev/null || { apt-get update -qq && apt-get install -y -qq python3 python3-venv; }
  mkdir -p "$cache"
  python3 -m venv "$venv" || { apt-get update -qq && apt-get install -y -qq python3-venv && python3 -m venv "$venv"; }
  "$venv/bin/pip" install --quiet 'seam>=3.18,<4'
fi

cargo build --locked --release --quiet --package encoder-agent --package encoder-coordinator --bins
target=$(cargo metadata --format-version 1 --no-deps | "$venv/bin/python" -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec "$venv/bin/python" tests/sdk/cases.py "$target/release"
