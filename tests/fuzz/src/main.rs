//! libFuzzer's entry: one program for all targets, `MCP_IR_FUZZ` names the one. See `run.sh`.

#![no_main]
#![allow(clippy::panic)]

use std::sync::LazyLock;

static TARGET: LazyLock<fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("MCP_IR_FUZZ").unwrap_or_default();
    let names: Vec<&str> = fuzz::TARGETS.iter().map(|(n, _)| *n).collect();
    let found = fuzz::TARGETS.iter().find(|(n, _)| *n == name);
    found.unwrap_or_else(|| panic!("MCP_IR_FUZZ names one of: {}", names.join(" "))).1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
