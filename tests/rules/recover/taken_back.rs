//! A drop-in of ours that keeps a service from starting is taken back, and nobody else's.

use mcp_ir::engine::recover::{Choice, Request};
use mcp_ir::plan::{Act, Ask, Near, Needs, Risk, Written};
use mcp_ir::snapshot::units::Event;

use super::{acts, chosen, of, planned};
use crate::stack::{A, A_UNIT, Stack, ago, refused};

const OURS: &str = "[Service]\nEnvironment=POOL_MAX_SIZE=200\n";

fn written(stands: &str, from: Option<&str>, seconds: f64) -> Request {
    let near = Near {
        drop_ins: [(A_UNIT.to_owned(), Ok(Some(stands.to_owned())))].into(),
        written: [(A_UNIT.to_owned(), Written { from: from.map(str::to_owned), at: ago(seconds) })].into(),
        ..Near::default()
    };
    Request { ask: Ask { near, ..Ask::default() }, ..of("server-crash") }
}

fn exited() -> Event {
    Event::ProcessExited { code: "exited".into(), status: "1".into() }
}

fn refuses(setting: &str) -> Stack {
    let s = Stack::healthy()
        .no_answer(A, refused())
        .unit(A_UNIT, "failed", "failed")
        .events(A_UNIT, &[(11.0, Event::Started), (10.0, exited())])
        .detail(A_UNIT, "exit-code", 1, 1, 10.0);
    ["1 validation error for Settings", setting, "  Input should be less than or equal to 100"]
        .iter()
        .fold(s, |s, line| s.line(A_UNIT, 10.1, 6, line))
}

/// Four deaths, the first one 40 s ago.
fn loops() -> Stack {
    let mut events = vec![(7200.0, Event::Starting), (7199.0, Event::Started)];
    for n in 0..4 {
        let at = 40.0 - f64::from(n) * 10.0;
        events.extend([(at + 1.0, Event::Started), (at, exited())]);
        events.push((at - 0.1, Event::RestartScheduled { restarts: 1 + n as u32 }));
    }
    events.truncate(events.len() - 1);
    Stack::healthy().no_answer(A, refused()).unit(A_UNIT, "failed", "failed").events(A_UNIT, &events).detail(
        A_UNIT,
        "exit-code",
        1,
        1,
        10.0,
    )
}

#[test]
fn the_setting_that_it_refuses_goes_back_to_what_stood_there() {
    let before = "[Service]\nMemoryMax=1\n";
    for from in [None, Some(before)] {
        let stands = format!("{}Environment=POOL_MAX_SIZE=200\n", from.unwrap_or("[Service]\n"));
        let plan = planned(&refuses("pool_max_size"), &written(&stands, from, 3600.0));
        assert_eq!(plan.findings, ["server-crash/bad-configuration@codebase-mcp"]);
        let unit = || A_UNIT.to_owned();
        let back = Act::DropIn { unit: unit(), from: Some(stands), to: from.map(str::to_owned) };
        let start = Act::StartUnit { unit: unit() };
        assert_eq!(acts(&plan), [&back, &Act::ResetFailed { unit: unit() }, &start]);
        assert!(plan.steps[0].undo.is_none(), "with it, it does not start");
        assert!(
            matches!(&plan.steps[0].needs, Needs::Unit { active, .. } if active == &["inactive", "failed"])
        );
        assert_eq!(plan.risk(), Risk::Disruptive);
        assert!(plan.notes[0].contains("POOL_MAX_SIZE was set by mcp-ir"), "{:?}", plan.notes);
    }
}

#[test]
fn a_setting_of_somebody_else_is_said_and_left_to_him() {
    // It refuses another one than we have set; nothing stands; what stands is not what we wrote.
    let mut others = written(OURS, None, 3600.0);
    others.ask.near.written.clear();
    let mut gone = written(OURS, None, 3600.0);
    gone.ask.near.drop_ins.insert(A_UNIT.into(), Ok(None));
    for (setting, request) in [
        ("CHUNK_SIZE", written(OURS, None, 3600.0)),
        ("POOL_MAX_SIZE", others),
        ("POOL_MAX_SIZE", gone),
        ("POOL_MAX_SIZE", of("server-crash")),
    ] {
        let choice = chosen(&refuses(setting), &request);
        assert!(matches!(choice, Choice::Advice { .. }), "{setting}: {choice:?}");
    }
}

#[test]
fn a_loop_that_began_with_our_drop_in_ends_with_it_and_an_older_one_does_not() {
    let plan = planned(&loops(), &written(OURS, None, 60.0));
    assert!(matches!(
        acts(&plan)[..],
        [Act::DropIn { to: None, .. }, Act::ResetFailed { .. }, Act::StartUnit { .. }]
    ));
    assert!(plan.notes[0].contains("never died before"), "{:?}", plan.notes);
    // It died before, or only long after: that is not why.
    for seconds in [35.0, 5000.0] {
        let plan = planned(&loops(), &written(OURS, None, seconds));
        assert!(matches!(acts(&plan)[..], [Act::ResetFailed { .. }, Act::StartUnit { .. }]), "{seconds}");
    }
    // What came before is not seen: that it never died nobody knows.
    let plan = planned(&loops(), &written(OURS, None, 7300.0));
    assert!(matches!(acts(&plan)[..], [Act::ResetFailed { .. }, Act::StartUnit { .. }]), "{plan:?}");
    // Under a process that lives nothing is taken away; whose job it is is waited for.
    let lives = loops().unit(A_UNIT, "active", "running");
    assert!(!matches!(chosen(&lives, &written(OURS, None, 60.0)), Choice::Plan(p) if p.changes()));
    // Between two starts it is stopped first.
    let between = loops().unit(A_UNIT, "activating", "auto-restart");
    let plan = planned(&between, &written(OURS, None, 60.0));
    assert!(matches!(acts(&plan)[..], [Act::StopUnit { .. }, Act::DropIn { .. }, ..]), "{plan:?}");
}
