//! What a restart ends is kept before it, and what could not be had is told.

use mcp_ir::config::{Capture, Loaded, Program, defaults};
use mcp_ir::engine::evidence::captured;
use mcp_ir::plan::Act;

use crate::stack::{A, A_UNIT, Stack};

/// Of a stack whose process is this one.
fn stack() -> Stack {
    Stack::healthy().of_process(|p| (p.pid, p.began_s) = (std::process::id(), began()))
}

/// Of this process, as the kernel counts.
fn began() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit(')').next().unwrap();
    fields.split_whitespace().nth(19).unwrap().parse::<f64>().unwrap() / 100.0
}

fn loaded(s: &Stack, capture: &[&str]) -> Loaded {
    let argv = |line: &&str| Capture::Program(Program { argv: line.split(' ').map(str::to_owned).collect() });
    let mut loaded = Loaded { config: s.now.config.clone(), ..defaults().unwrap() };
    let own = loaded.config.service.iter_mut().find(|s| s.name == A).unwrap();
    own.capture = capture.iter().map(argv).collect();
    loaded
}

#[tokio::test]
async fn errata_48_what_the_kernel_and_the_configuration_have_is_taken_and_what_fails_is_told() {
    let mut s = stack();
    s.now.config.host.proc = "/proc".into();
    let loaded = loaded(&s, &["/bin/echo heap of {pid}", "/bin/false", "/nonexistent/py-spy dump"]);
    let me = std::process::id();
    let seen = captured(&loaded, &s.now, &[A], &[me]).await;
    for part in [
        format!("heap of {me}"),
        format!("process-{me}/threads.txt"),
        format!("{A}/process.txt"),
        "Max open files".into(),
    ] {
        assert!(seen.text.contains(&part), "{part}: {}", seen.text);
    }
    assert_eq!(seen.missed.len(), 2, "{:?}", seen.missed);
    assert!(seen.missed[0].contains("capture 2 of codebase-mcp (/bin/false)"), "{:?}", seen.missed);
    assert!(seen.missed[1].contains("not installed"), "{:?}", seen.missed);
}

#[test]
fn errata_49_what_ends_a_process_is_known_to_end_what_it_held() {
    let unit = || A_UNIT.to_owned();
    for act in [Act::RestartUnit { unit: unit() }, Act::StopUnit { unit: unit() }] {
        assert!(act.destroys_evidence(), "{act:?}");
    }
    for act in [Act::StartUnit { unit: unit() }, Act::Thaw { unit: unit() }] {
        assert!(!act.destroys_evidence(), "{act:?}");
    }
}
