//! Larger limits, once and within the host's means; and what begins anew because nothing else frees it.

use mcp_ir::engine::recover::{Choice, Request};
use mcp_ir::plan::{Act, Aim, Ask, Near, Plan, Recovered, Risk};
use mcp_ir::scenario::by_name;
use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::units::{Kernel, UnitDetail};

use super::{acts, chosen, down, looks, of, planned};
use crate::payload;
use crate::stack::memory::{GIB, MIB};
use crate::stack::{A, A_UNIT, C, C_UNIT, Stack, refused};

const GROUP: &str = "/system.slice/codebase-mcp.service";

/// Of a stack whose drop-ins and runs were looked at.
fn near(scenario: &str, drop_in: Option<&str>) -> Request {
    let drop_ins = [(A_UNIT.to_owned(), Ok(drop_in.map(str::to_owned)))].into();
    let runs = [(A_UNIT.to_owned(), "abc".to_owned())].into();
    let near = Near { drop_ins, runs, ..Near::default() };
    Request { ask: Ask { near, ..Ask::default() }, ..of(scenario) }
}

fn detail(mut s: Stack, bend: impl FnOnce(&mut UnitDetail)) -> Stack {
    let Reading::Seen { value } = &mut s.now.units.details.get_mut(A_UNIT).unwrap().reading else {
        panic!("not seen")
    };
    bend(value);
    s
}

/// Killed by the kernel at its limit.
fn killed(limit: u64) -> Stack {
    let s = down("failed", "failed").detail(A_UNIT, "oom-kill", 2, 9, 30.0);
    detail(s, |d| d.memory_max = Some(limit)).kernel(&[(30.0, GROUP, Kernel::OomLimit)])
}

#[track_caller]
fn text(plan: &Plan) -> &str {
    match &plan.steps[0].act {
        Act::DropIn { to: Some(text), .. } => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_killed_for_memory_gets_twice_as_much_and_is_started() {
    let plan = planned(&killed(512 * MIB), &near("server-crash", None));
    assert!(text(&plan).contains(&format!("MemoryMax={GIB}\n")), "{}", text(&plan));
    assert!(text(&plan).contains("MemoryHigh="), "slowed down before it is killed (errata 42)");
    let [Act::DropIn { from, to, unit }, Act::ProveLimit { key, value, .. }, Act::StartUnit { .. }] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!((key.as_str(), *value), ("MemoryMax", GIB));
    let undo = plan.steps[0].undo.as_ref().unwrap();
    assert_eq!(undo.acts, [Act::DropIn { unit: unit.clone(), from: to.clone(), to: from.clone() }]);
    assert_eq!(undo.risk, Risk::Disruptive, "the former limit may kill it");
}

#[track_caller]
fn advised(s: &Stack, request: &Request, word: &str) {
    let Choice::Advice { why, .. } = chosen(s, request) else { panic!("{:?}", chosen(s, request)) };
    assert!(why.contains(word), "{why}");
}

#[test]
fn a_limit_is_raised_only_by_what_the_host_has_and_only_once() {
    let request = near("server-crash", None);
    advised(&killed(512 * MIB).memory(|m| m.available = GIB - 1), &request, "the host has 1023 MiB left");
    // Of its 8 GiB a twentieth is kept: with less it is low itself.
    let nearly = |mib: u64| killed(512 * MIB).memory(|m| m.available = GIB + mib * MIB);
    advised(&nearly(409), &request, "409 are kept free");
    assert!(matches!(chosen(&nearly(410), &request), Choice::Plan(_)));
    let again = near("server-crash", Some("[Service]\nMemoryMax=536870912\n"));
    advised(&killed(512 * MIB), &again, "raised by mcp-ir before");
    let mut cut_off = again;
    cut_off.ask.near.former.insert(A_UNIT.into(), None);
    advised(&killed(512 * MIB), &cut_off, "raised by mcp-ir before");
    let written = near("server-crash", Some("[Service]\nMemoryMax=1073741824\nMemoryHigh=966367642\n"));
    cut_off.ask.near.drop_ins = written.ask.near.drop_ins;
    let Choice::Plan(plan) = chosen(&killed(512 * MIB), &cut_off) else { panic!("it is gone on with") };
    let Some(undo) = &plan.steps[0].undo else { panic!("{plan:?}") };
    assert!(matches!(&undo.acts[..], [Act::DropIn { to: None, .. }]), "to what stood there before both");
    let mut unread = near("server-crash", None);
    unread.ask.near.drop_ins.clear();
    advised(&killed(512 * MIB), &unread, "could not be seen");
}

/// Each is held against what the host has before any of them.
#[test]
fn of_several_larger_limits_of_memory_one_run_gives_the_first() {
    let group = |unit: &str| format!("/system.slice/{unit}");
    let mut s = Stack::healthy();
    for (name, unit) in [(A, A_UNIT), (C, C_UNIT)] {
        s = s.no_answer(name, refused()).unit(unit, "failed", "failed").detail(unit, "oom-kill", 2, 9, 30.0);
        let Reading::Seen { value } = &mut s.now.units.details.get_mut(unit).unwrap().reading else {
            panic!("not seen")
        };
        value.memory_max = Some(512 * MIB);
    }
    let s = s.kernel(&[(30.0, &group(A_UNIT), Kernel::OomLimit), (30.0, &group(C_UNIT), Kernel::OomLimit)]);
    let mut request = near("server-crash", None);
    request.ask.near.drop_ins.insert(C_UNIT.into(), Ok(None));
    let plan = planned(&s, &Request { scenario: None, all: true, ..request });
    let raised = plan.steps.iter().filter(|s| matches!(s.act, Act::DropIn { .. })).count();
    assert_eq!((raised, &plan.subjects[..], plan.left.len()), (1, &[A.to_owned()][..], 1), "{plan:?}");
    assert!(plan.notes.iter().any(|n| n.contains("for a run of its own")), "{:?}", plan.notes);
}

#[test]
fn what_has_no_threads_left_gets_more_and_its_run_begins_anew() {
    let s = Stack::healthy().health(A, payload::a_own()).detail(A_UNIT, "success", 0, 0, 900.0);
    let says = "RuntimeError: can't start new thread";
    let s = detail(s, |d| (d.tasks, d.tasks_max) = (Some(20), Some(20))).line(A_UNIT, 5.0, 6, says);
    let plan = planned(&s, &near("server-crash", None));
    assert_eq!(plan.findings, ["server-crash/tasks-limit@codebase-mcp"]);
    assert!(text(&plan).contains("TasksMax=40\n"), "{}", text(&plan));
    assert!(matches!(acts(&plan)[..], [Act::DropIn { .. }, Act::ProveLimit { .. }, Act::RestartUnit { .. }]));
}

#[test]
fn who_has_no_descriptors_left_is_restarted_and_counted_again() {
    let s = Stack::healthy().opens(1000, &[]);
    let plan = planned(&s, &near("memory", None));
    assert_eq!(acts(&plan), [&Act::RestartUnit { unit: A_UNIT.into() }]);
    assert!(plan.notes[0].contains("could not be seen"), "of more than the kernel allows: {:?}", plan.notes);
    let recovered = |s: &Stack| {
        let looks = looks(s);
        let aim = Aim { cause: Some("memory/fd-exhaustion"), subject: A, size: None };
        (by_name("memory").unwrap().recovered)(&looks, &aim, &looks.now.config)
    };
    assert!(matches!(recovered(&s), Recovered::NotYet(_)));
    assert!(matches!(recovered(&Stack::healthy()), Recovered::Yes(_)));
    let mut unseen = Stack::healthy();
    unseen.now.host.taken.clear();
    assert!(matches!(recovered(&unseen), Recovered::NotYet(_)), "rule 6: what was not counted");
    // On a guess nobody is restarted.
    let mut unknown = near("memory", None);
    unknown.ask.near.runs.clear();
    advised(&s, &unknown, "on a guess");
}

/// Of a kernel that allows so many descriptors.
fn opens_up_to(most: u64, drop_in: Option<&str>) -> Request {
    let mut request = near("memory", drop_in);
    request.ask.near.nr_open = Some(most);
    request
}

#[test]
fn who_has_no_descriptors_left_gets_twice_as_many_once_and_keeps_how_far_it_may_go_itself() {
    let s = Stack::healthy().opens(1000, &[]);
    let plan = planned(&s, &opens_up_to(1 << 20, None));
    assert!(text(&plan).contains("LimitNOFILE=2048:524288\n"), "{}", text(&plan));
    let [Act::DropIn { from, to, unit }, Act::RestartUnit { .. }, Act::ProveLimit { key, value, .. }] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!((key.as_str(), *value), ("LimitNOFILE", 2048));
    assert!(plan.steps[2].command.contains("/limits"), "{}", plan.steps[2].command);
    let back = Act::DropIn { unit: unit.clone(), from: to.clone(), to: from.clone() };
    let undo = plan.steps[0].undo.as_ref().unwrap();
    assert_eq!(undo.acts, [back, Act::RestartUnit { unit: unit.clone() }]);
    for (request, why) in [
        (opens_up_to(2000, None), "fs.nr_open"),
        (opens_up_to(1 << 20, Some("[Service]\nLimitNOFILE=1024\n")), "raised by mcp-ir before"),
    ] {
        let plan = planned(&s, &request);
        assert_eq!(acts(&plan), [&Act::RestartUnit { unit: A_UNIT.into() }]);
        assert!(plan.notes[0].contains(why), "{:?}", plan.notes);
    }
}

fn memory(size: u64, has: Option<u64>) -> Request {
    let mut request = near("memory", None);
    request.services = vec![A.into()];
    request.ask.memory_max = Some(size);
    request.ask.near.memory = [(A_UNIT.to_owned(), has)].into();
    request
}

#[test]
fn errata_42_a_limit_that_is_asked_for_slows_down_before_it_kills() {
    let plan = planned(&Stack::healthy(), &memory(GIB, Some(512 * MIB)));
    let high = GIB - GIB / 10;
    assert!(text(&plan).contains(&format!("MemoryMax={GIB}\nMemoryHigh={high}\n")), "{}", text(&plan));
    assert!(!text(&plan).contains("MemoryLimit"));
    let [Act::DropIn { .. }, Act::ProveLimit { key, value, .. }] = acts(&plan)[..] else {
        panic!("{plan:?}")
    };
    assert_eq!((key.as_str(), *value), ("MemoryMax", GIB));
}

#[test]
fn errata_50_a_limit_is_of_the_unit_itself_and_no_second_copy_is_started() {
    let plan = planned(&Stack::healthy(), &memory(GIB, None));
    assert!(plan.steps.iter().all(|s| !s.command.contains("systemd-run")), "{plan:?}");
    assert!(plan.steps[0].command.contains("/etc/systemd/system/codebase-mcp.service.d/zz-mcp-ir.conf"));
    assert!(!acts(&plan).iter().any(|a| matches!(a, Act::StartUnit { .. } | Act::RestartUnit { .. })));
}

#[test]
fn a_limit_that_does_not_fit_is_refused_with_the_arithmetic_and_the_largest_that_does() {
    let s = Stack::healthy().memory(|m| m.available = 900 * MIB);
    let Choice::Refused { why, hints } = chosen(&s, &memory(2 * GIB, Some(512 * MIB))) else {
        panic!("{:?}", chosen(&s, &memory(2 * GIB, None)))
    };
    assert!(
        why.contains("2048 MiB")
            && why.contains("900 MiB left - 409 MiB")
            && why.contains("+ 80 MiB that it has now = 570 MiB"),
        "{why}"
    );
    assert_eq!(hints, ["mcp-ir recover memory --service codebase-mcp --memory-max 570M"]);
    assert!(matches!(chosen(&s, &memory(570 * MIB, None)), Choice::Plan(_)), "what is offered fits");
    assert!(matches!(chosen(&s, &memory(571 * MIB, None)), Choice::Refused { .. }), "and no more");
    let Choice::Refused { why, hints } = chosen(&s, &memory(64 * MIB, None)) else { panic!() };
    assert!(why.contains("80 MiB in use") && hints[0].ends_with("--memory-max 101M"), "{why} {hints:?}");
    assert!(matches!(chosen(&s, &memory(512 * MIB, Some(512 * MIB))), Choice::NothingToDo(_)));
    let mut unseen = memory(512 * MIB, None);
    unseen.ask.near.memory.clear();
    assert!(matches!(chosen(&s, &unseen), Choice::Refused { .. }));
}

#[test]
fn who_was_killed_for_memory_gets_the_size_that_is_asked_for_and_is_started() {
    let mut request = memory(GIB, Some(512 * MIB));
    request.scenario = Some("server-crash".into());
    let plan = planned(&killed(512 * MIB), &request);
    assert!(text(&plan).contains(&format!("MemoryMax={GIB}\n")), "{}", text(&plan));
    assert!(matches!(acts(&plan)[2], Act::StartUnit { .. }), "{plan:?}");
}

#[test]
fn a_limit_for_who_is_down_is_set_by_what_starts_it() {
    let Choice::Refused { hints, .. } = chosen(&killed(512 * MIB), &memory(2 * GIB, None)) else { panic!() };
    assert_eq!(hints[0], format!("mcp-ir recover server --service codebase-mcp --memory-max {}", 2 * GIB));
}

#[test]
fn a_value_is_for_one_and_of_several_it_is_asked_which() {
    let s = killed(512 * MIB).no_answer(C, refused()).unit(C_UNIT, "failed", "failed");
    let s = s.detail(C_UNIT, "oom-kill", 2, 9, 20.0).kernel(&[
        (30.0, GROUP, Kernel::OomLimit),
        (20.0, "/system.slice/workflow-mcp.service", Kernel::OomLimit),
    ]);
    let request = Request { scenario: None, services: Vec::new(), ..memory(2 * GIB, None) };
    let Choice::Unclear { hints, .. } = chosen(&s, &request) else { panic!("{:?}", chosen(&s, &request)) };
    assert_eq!(hints.len(), 2, "{hints:?}");
}
