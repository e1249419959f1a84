# Sourced by the scripts beside it: programs that are built once and kept in a cache.

CARGO_CYCLONEDX=0.5.9

cache=${XDG_CACHE_HOME:-$HOME/.cache}/encoder-agent-tests

# A cargo subcommand at a fixed version, put on the PATH: tool NAME VERSION FLAGS…
tool() {
  local folder=$cache/$1-$2
  if [ ! -x "$folder/bin/$1" ]; then
    mkdir -p "$cache"
    CARGO_TARGET_DIR="$cache/tools" cargo install --quiet --locked --root "$folder" "$1@$2" "${@:3}"
    rm -rf "$cache/tools"
  fi
  PATH=$folder/bin:$PATH
}

# The bill of materials of a package on a target, into a file: bill_of_materials PACKAGE TARGET FILE. The tool writes beside every Cargo.toml.
bill_of_materials() {
  tool cargo-cyclonedx $CARGO_CYCLONEDX
  cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --target "$2"
  mv "$(find . -maxdepth 2 -name "$1.cdx.json" -not -path './target/*')" "$3"
  rm -f ./*.cdx.json ./*/*.cdx.json
  # Where it was built is nobody's business.
  sed -i "s#file://$PWD#file://.#g" "$3"
}
