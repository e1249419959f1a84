#!/usr/bin/env bash
# A Rust standard library for x86_64-pc-windows-gnu where rustup has none: toolchain.sh FOLDER | --has-std
#   --has-std   only tell, by the exit code, whether the installed toolchain has one
# Makes a copy of the installed toolchain in FOLDER, with the standard library built from Debian's source package of the same version, and
# prints the folder with its programs. What was made stays in FOLDER. Ends with 3 where the mirror has no such source package.
set -euo pipefail

target=x86_64-pc-windows-gnu
system=$(rustc --print sysroot)
version=$(rustc --version | cut -d' ' -f2)
if [ "$1" = --has-std ]; then
  compgen -G "$system/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null
  exit
fi

mkdir -p "$1"
folder=$(cd "$1" && pwd)
made=$folder/rust-$version
if [ -e "$made/done" ]; then echo "$made/toolchain/bin"; exit 0; fi
mkdir -p "$made"

# The package is fetched once, with settings of apt's own: the system's sources stay as they are.
if ! compgen -G "$made/rust-src_*.deb" >/dev/null; then
  apt=$made/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  for suite in trixie-backports sid; do
    printf 'Types: deb\nURIs: http://deb.debian.org/debian\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' $suite
    echo
  done >"$apt/rust.sources"
  cat >"$apt/apt.conf" <<END
Dir::Etc::sourcelist "$apt/rust.sources"; Dir::Etc::sourceparts "-"; Dir::State::lists "$apt/lists"; Dir::Cache "$apt/cache";
Dir::State::status "/dev/null"; APT::Sandbox::User "root";
END
  export APT_CONFIG=$apt/apt.conf
  apt-get update -q >"$made/apt.log" 2>&1 || true
  package=$(apt-cache madison rust-src | awk -F'|' '{gsub(/ /,"",$2); print $2}' | grep "^$version+" | head -1 || true)
  [ -n "$package" ] || { echo "toolchain.sh: the mirror has no rust-src $version" >&2; exit 3; }
  (cd "$made" && apt-get download -q "rust-src=$package" >>"$made/apt.log" 2>&1)
  unset APT_CONFIG
fi
mkdir -p "$made/library"
dpkg-deb --fsys-tarfile "$made"/rust-src_*.deb | tar -x -C "$made/library" --strip-components=5 --wildcards "./usr/src/rustc-$version/library/*"

rm -rf "$made/toolchain"
cp -al "$system" "$made/toolchain" 2>/dev/null || { rm -rf "$made/toolchain"; cp -a "$system" "$made/toolchain"; }
mkdir -p "$made/toolchain/lib/rustlib/src/rust"
ln -sfn "$made/library" "$made/toolchain/lib/rustlib/src/rust/library"

# Any program will do: what counts is the standard library that cargo builds for it.
mkdir -p "$made/empty/src"
printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$made/empty/Cargo.toml"
echo 'fn main() {}' >"$made/empty/src/main.rs"
(cd "$made/empty" && env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS PATH="$made/toolchain/bin:$PATH" RUSTC="$made/toolchain/bin/rustc" RUSTC_BOOTSTRAP=1 \
  CARGO_TARGET_DIR="$made/empty/target" cargo build --quiet --release --target $target -Zbuild-std=std,panic_unwind,proc_macro,test >&2)
mkdir -p "$made/toolchain/lib/rustlib/$target/lib"
cp "$made"/empty/target/$target/release/deps/lib*.rlib "$made/toolchain/lib/rustlib/$target/lib/"
rm -rf "$made/empty" "$made/apt"
touch "$made/done"
echo "$made/toolchain/bin"
