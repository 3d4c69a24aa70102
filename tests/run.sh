#!/bin/bash
# run.sh - installs what is missing and passes all tests: format, lints, licences, the rules, the program, the lab.
# Needs Rust and Debian 12. Says what it left out; in CI (CI=true) anything left out is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
left_out=()

step() { printf '\n== %s\n' "$*"; }
skip() {
  left_out+=("$1")
  if [ "${CI:-}" = true ]; then echo "CI can't go without: $1" >&2; exit 1; fi
  echo "left out: $1"
}

plain=()
[ "$(id -u)" = 0 ] || plain=(--plain)
step "packages"
tests/lab/packages.sh "${plain[@]}"
command -v cargo >/dev/null || { echo "Rust is missing: https://rustup.rs installs it." >&2; exit 1; }

step "format"
cargo fmt --all --check

step "build"
# One profile, all targets at once: nothing is compiled twice.
cargo build --workspace --all-targets --locked

step "lints"
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

step "licences and sources"
deny=$PWD/target/tools/bin/cargo-deny
if ! [ -x "$deny" ]; then
  # Built without optimisation: it runs for a second. Without its network part: no advisories are fetched.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --version 0.20.2 cargo-deny --no-default-features \
    --root target/tools --target-dir target/tools/build || skip "cargo-deny (could not be installed)"
fi
[ ! -x "$deny" ] || "$deny" --log-level error --config .cargo/deny.toml check licenses bans sources

step "tests"
if command -v cargo-nextest >/dev/null; then
  cargo nextest run --workspace --locked
else
  cargo test --workspace --locked --quiet -- --test-threads 2
fi
cargo test --workspace --locked --doc --quiet

# A minute each in CI; a look only where people wait for it.
seconds=15
[ "${CI:-}" != true ] || seconds=60
step "fuzzing, $seconds seconds each"
MCP_IR_FUZZ_SEED=1 tests/fuzz/run.sh "$seconds"

step "the lab's matrix"
if [ "$(id -u)" = 0 ]; then
  # A nearly full disk is rightly said to be one, by every look: then the lab has one of its own, in memory.
  left=$(df --output=avail -BG "${TMPDIR:-/tmp}" | tr -dc 0-9)
  if [ "$left" -lt "${MCP_IR_LAB_ROOM:-15}" ]; then
    own=$(mktemp -d /tmp/mcp-ir-disk-XXXXXX)
    mount -t tmpfs -o mode=1777,size=12g lab "$own"
    trap 'umount -l "$own" && rmdir "$own"' EXIT
    export TMPDIR=$own
    echo "only $left GiB are left at /tmp: the lab works in $own"
  fi
  target/debug/lab matrix --jobs 2 --tries 1 --again 2 --healthy 10 --binary target/debug/mcp-ir
  # Everywhere the same places; inside a step the moment is the machine's.
  target/debug/lab prove --kills 10 --seed 7
else
  skip "the matrix (no root, so no systemd of its own)"
fi

step "the second kernel"
# Three minutes: in CI, or by itself where one changes what it is about.
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ]; then
  code=0
  tests/lab/guest.sh target/debug/mcp-ir || code=$?
  case $code in
    0) ;;
    # Whether one boots is up to the machine: some forbid the calls it is made of.
    125) left_out+=("the second kernel (none boots here)") ;;
    *) exit "$code" ;;
  esac
else
  echo "not here: tests/lab/guest.sh target/debug/mcp-ir"
fi

step "the demo"
tests/demo.sh </dev/null >target/demo.txt 2>&1 || { cat target/demo.txt; exit 1; }
grep -c . target/demo.txt | sed 's/$/ lines, all well/'

echo
if [ ${#left_out[@]} -gt 0 ]; then printf 'left out: %s\n' "${left_out[@]}"; fi
echo "all passed"
