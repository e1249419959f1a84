#!/usr/bin/env bash
# Unmodified Seam SDKs (PyPI `seam` 3.x, npm `seam`) against coordinator, agent and emulated encoder, as the code blocks of
# the card guides and beyond. Installs what it needs into a cache; ends with one line "N passed, M failed".
# SDK_PROFILE names the Cargo profile of the programs (default: release).
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/encoder-agent-tests
mkdir -p "$cache"

install() {
  apt-get update -qq && apt-get install -y -qq "$@"
}

venv=$cache/seam
if ! "$venv/bin/python" -c 'import jsonschema, rfc3339_validator, seam' 2>/dev/null; then
  command -v python3 >/dev/null || install python3 python3-venv
  python3 -m venv "$venv" || { install python3-venv && python3 -m venv "$venv"; }
  "$venv/bin/pip" install --quiet 'seam>=3.18,<4' 'jsonschema[format-nongpl]>=4.25,<5'
fi

# npm's `seam` wants Node 22 or newer, which npm itself has; where it cannot be had, the newest `seam` that the system's
# Node can run is taken.
node=$cache/node/node_modules/.bin
sdk=$cache/seam-js/node_modules/seam/index.js
if ! [ -e "$sdk" ]; then
  command -v npm >/dev/null || install nodejs npm
  quiet=(--no-audit --no-fund --loglevel=error)
  "$node/node" --version >/dev/null 2>&1 || npm install "${quiet[@]}" --prefix "$cache/node" node@22 ||
    echo "no Node 22: going on with $(node --version)"
  PATH=$node:$PATH npm install "${quiet[@]}" --prefix "$cache/seam-js" seam@1
fi
node=$(PATH=$node:$PATH command -v node)
echo "node $("$node" --version), npm seam $("$node" -p "require('$cache/seam-js/node_modules/seam/package.json').version")," \
  "PyPI seam $("$venv/bin/python" -c 'from importlib.metadata import version; print(version("seam"))')"

profile=${SDK_PROFILE:-release}
cargo build --locked --profile "$profile" --quiet --package encoder-agent --package encoder-coordinator --bins
target=$(cargo metadata --format-version 1 --no-deps | "$venv/bin/python" -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec "$venv/bin/python" tests/sdk/run.py "$target/${profile/#dev/debug}" "$node" "$sdk"
