#!/usr/bin/env bash
# The Debian packages: builds them with their checksums and bills of materials, and installs, pairs, upgrades, reboots, removes and
# purges them in a Debian under its own systemd (a container): tests/packages.sh [--build-only] [--no-build]
#   --build-only   stop once target/packages/dist holds the packages
#   --no-build     take the programs that target/release and target/debug/examples hold
# ENCODER_AGENT_PROFILE=dev packages programs without optimisation. Needs cargo and a Debian machine as root; installs the rest,
# and keeps it in a cache. Ends with one line "passed N failed N".
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tool.sh

CARGO_DEB=3.8.0

build=yes check=yes
while [ $# -gt 0 ]; do
  case $1 in
    --build-only) check=no ;;
    --no-build) build=no ;;
    *) echo "usage: tests/packages.sh [--build-only] [--no-build]" >&2; exit 2 ;;
  esac
  shift
done
command -v cargo >/dev/null || { echo "packages.sh: needs cargo; install Rust with rustup" >&2; exit 1; }

needed=()
for pair in mmdebstrap:mmdebstrap systemd-nspawn:systemd-container dpkg-shlibdeps:dpkg-dev python3:python3 xz:xz-utils; do
  command -v "${pair%%:*}" >/dev/null || needed+=("${pair##*:}")
done
if [ ${#needed[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${needed[@]}" >/dev/null
fi

mkdir -p "$cache/packages"
tool cargo-deb $CARGO_DEB --no-default-features

target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
profile=${ENCODER_AGENT_PROFILE:-release}
if [ $build = yes ]; then
  # The same sets of packages as the other scripts build, so that nothing is built twice.
  cargo build --locked --quiet --profile "$profile" --package encoder-agent --package encoder-coordinator --bins
  cargo build --locked --quiet --workspace --example manual
fi
[ "$profile" = dev ] && profile=debug

# cargo-deb looks for everything below one target directory, and has its own use for the folder debian in it.
stage=$target/packages
rm -rf "$stage"
mkdir -p "$stage/release" "$stage/dist"
cp "$target/$profile/encoder-agent" "$target/$profile/encoder-coordinator" "$stage/release"
"$target/debug/examples/manual" "$stage/release/manual"
for package in encoder-agent encoder-coordinator; do
  CARGO_TARGET_DIR=$stage cargo deb --quiet --locked --no-build --compress-system --package $package --output "$stage/dist"
done

# Each package's, of what it is built of on Linux.
for package in encoder-agent encoder-coordinator; do
  bill_of_materials $package x86_64-unknown-linux-gnu "$stage/dist/$package.cdx.json"
done
# Signatures go beside it: gpg --armor --detach-sign SHA256SUMS
(cd "$stage/dist" && sha256sum -- * >"$stage/SHA256SUMS" && mv "$stage/SHA256SUMS" .)
ls -l "$stage/dist"

[ $check = yes ] || exit 0

# The same programs as a later version, to upgrade to.
mkdir "$stage/newer"
for package in "$stage"/dist/*.deb; do
  rm -rf "$stage/unpacked"
  dpkg-deb --raw-extract "$package" "$stage/unpacked"
  sed -i 's/^Version: .*/&+upgrade/' "$stage/unpacked/DEBIAN/control"
  dpkg-deb --root-owner-group -Zgzip -z1 --build "$stage/unpacked" "$stage/newer" >/dev/null
done
rm -rf "$stage/unpacked"
exec python3 tests/packages/run.py "$stage/dist" "$stage/newer" "$cache/packages"
