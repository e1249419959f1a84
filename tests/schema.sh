#!/usr/bin/env bash
# Schemathesis (PyPI) against the coordinator, with an agent and an emulated encoder, by the coordinator's own document:
# no server error, no answer that breaches the document, no status that it does not name, nothing taken that it refuses.
# Installs what it needs into a cache; ends with one line "passed N failed M". Takes two to three minutes.
# SCHEMA_SEED names the seed (default: 1), SCHEMA_EXAMPLES the cases an operation, SCHEMA_PROFILE the Cargo profile of the
# programs (default: release).
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/encoder-agent-tests
venv=$cache/schemathesis
mkdir -p "$cache"

install() {
  apt-get update -qq && apt-get install -y -qq "$@"
}

if ! "$venv/bin/python" -c 'import schemathesis' 2>/dev/null; then
  command -v python3 >/dev/null || install python3 python3-venv
  python3 -m venv "$venv" || { install python3-venv && python3 -m venv "$venv"; }
  "$venv/bin/pip" install --quiet 'schemathesis>=4.32,<5'
fi

profile=${SCHEMA_PROFILE:-release}
cargo build --locked --profile "$profile" --quiet --package encoder-agent --package encoder-coordinator --bins
target=$(cargo metadata --format-version 1 --no-deps | "$venv/bin/python" -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec "$venv/bin/python" tests/schema/run.py "$target/${profile/#dev/debug}"
