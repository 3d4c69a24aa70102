#!/bin/sh
# cover.sh - rustc for the workspace's own crates, told to count what is reached. Stable Rust does this.
exec "$@" -Ccodegen-units=1 -Copt-level=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares
