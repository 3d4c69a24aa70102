#!/bin/bash
# run.sh [SECONDS] [TARGET…] - fuzzes every reader, or those named, so many seconds each (60), two at a time.
# MCP_IR_FUZZ_SEED=N repeats one walk (CI: the same tree, the same answer); without it every run walks elsewhere.
# What is found stays in target/fuzz: the corpus by target, and inputs that broke a promise as crash-….
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}; shift || true
targets=("$@")
if [ ${#targets[@]} = 0 ]; then targets=($(ls tests/fuzz/corpus)); fi

# All members, so that dependencies are built with the features they have already: only our own code is built anew.
RUSTC_WORKSPACE_WRAPPER=$PWD/tests/fuzz/cover.sh cargo build --locked --quiet --workspace --bin fuzz
one() {
  local target=$1 own=target/fuzz/$1 seeds=(tests/fuzz/corpus/"$1")
  [ "$target" != snapshot ] || seeds+=(tests/snapshots)
  mkdir -p "$own"
  if MCP_IR_FUZZ=$target RUST_BACKTRACE=0 target/debug/fuzz "$own" "${seeds[@]}" -max_total_time="$seconds" -seed="${MCP_IR_FUZZ_SEED:-0}" \
    -timeout=10 -rss_limit_mb=2048 -max_len=65536 -artifact_prefix="target/fuzz/$target-" >"$own.log" 2>&1; then
    echo "$target: $(grep -c ^#.*NEW "$own.log" || true) new paths, $(grep 'Done' "$own.log" | sed 's/^Done //')"
  else
    echo "$target: a promise is broken:"; grep -v '^#' "$own.log" | tail -40
    return 1
  fi
}
failed=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
  jobs=()
  for target in "${targets[@]:i:2}"; do one "$target" & jobs+=($!); done
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
done
exit $failed
