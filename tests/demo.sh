#!/bin/bash
# demo.sh - brings up PostgreSQL, two services and a systemd of their own, breaks them, and shows what mcp-ir says.
# Needs Rust and Debian 12; installs what else is missing. All that it starts is private and gone afterwards.
# Without root it shows what can be had without a systemd. Arguments are passed on to `lab demo`.
set -euo pipefail
cd "$(dirname "$0")/.."

plain=()
if [ "$(id -u)" != 0 ]; then
  plain=(--plain)
  echo "Not root: the demo runs without a systemd. With it: sudo tests/demo.sh"
fi
tests/lab/packages.sh "${plain[@]}"

# Under sudo the toolchain, and the build's files, are the caller's.
caller=${SUDO_USER:-}
home=$HOME
run=()
if [ "$(id -u)" = 0 ] && [ -n "$caller" ] && [ "$caller" != root ]; then
  home=$(getent passwd "$caller" | cut -d: -f6)
  run=(runuser -u "$caller" -- env "HOME=$home")
fi
PATH=$PATH:$home/.cargo/bin
if ! command -v cargo >/dev/null; then
  echo "Rust is missing: https://rustup.rs installs it." >&2
  exit 1
fi
echo "Building (some minutes the first time) …"
"${run[@]}" env "PATH=$PATH" cargo build --quiet --workspace

target=$("${run[@]}" env "PATH=$PATH" cargo metadata --no-deps --format-version 1 | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
exec "$target/debug/lab" demo "${plain[@]}" "$@"
