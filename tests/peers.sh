#!/usr/bin/env bash
# Unmodified peers against the emulated encoders on their pseudo terminals: Debian's libnfc and PyPI's nfcpy list and read cards
# on the PN532, and libnfc reads what the agent has encoded; PyPI's msrx writes, reads and erases magnetic stripes on the MSR605;
# Python computes the test vectors of the key record. Needs cargo, and root for what it installs from Debian; keeps the rest in a
# cache. Ends with one line "passed N failed N". ENCODER_AGENT_PROFILE=release builds with optimisation.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || { echo "peers.sh: needs cargo; install Rust with rustup" >&2; exit 1; }

packages=()
command -v nfc-list >/dev/null && command -v nfc-mfclassic >/dev/null || packages+=(libnfc-bin)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
ldconfig -p | grep -q 'libusb-1\.0\.so' || packages+=(libusb-1.0-0)
if [ ${#packages[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/encoder-agent-tests
venv=$cache/peers
if ! "$venv/bin/python" -c 'from importlib.metadata import version as v; assert (v("nfcpy"), v("msrx")) == ("1.0.4", "0.3")' 2>/dev/null; then
  mkdir -p "$cache"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check 'nfcpy==1.0.4' 'msrx==0.3' 'pyserial==3.5'
fi

# As `cargo test --workspace` builds them, so that nothing is built twice.
profile=${ENCODER_AGENT_PROFILE:-dev}
cargo build --locked --quiet --profile "$profile" --workspace --bin encoder-agent --example encode_image
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
[ "$profile" = dev ] && profile=debug
exec "$venv/bin/python" tests/peers/cases.py "$target/$profile"
