//! What is planned for a finding or a request, and what is not: rules only, nothing is done.

mod ages;
mod asides;
mod captured;
mod connections;
mod environment;
mod flush;
mod holders;
mod left;
mod limits;
mod pool;
mod rebuilt;
mod removal;
mod server;
mod sessions;
mod taken_back;
mod upkeep;
mod verified;
mod words;

use mcp_ir::engine::recover::{Choice, Request, choose};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::plan::{Act, Needs, Plan, Risk};
use mcp_ir::snapshot::Looks;
use mcp_ir::snapshot::units::Event;

use crate::stack::{A, A_UNIT, C, C_UNIT, PG_UNIT, Stack, refused};

fn looks(s: &Stack) -> Looks {
    Looks { now: s.now.clone(), before: None }
}

fn chosen(s: &Stack, request: &Request) -> Choice {
    let looks = looks(s);
    choose(&looks, &diagnose(&looks, &Filter::default()), request)
}

#[track_caller]
fn planned(s: &Stack, request: &Request) -> Plan {
    match chosen(s, request) {
        Choice::Plan(plan) => plan,
        other => panic!("{other:?}"),
    }
}

fn of(scenario: &str) -> Request {
    Request { scenario: Some(scenario.into()), ..Request::default() }
}

fn down(active: &str, sub: &str) -> Stack {
    Stack::healthy().no_answer(A, refused()).unit(A_UNIT, active, sub)
}

fn acts(plan: &Plan) -> Vec<&Act> {
    plan.steps.iter().map(|s| &s.act).collect()
}

#[test]
fn nothing_wrong_is_nothing_to_do() {
    for request in [Request::default(), of("server-crash"), of("db-down"), of("pool-exhausted")] {
        assert!(matches!(chosen(&Stack::healthy(), &request), Choice::NothingToDo(_)), "{request:?}");
    }
}

#[test]
fn a_service_that_failed_is_started_once_and_says_why_that_has_no_undo() {
    let mut s = down("failed", "failed").detail(A_UNIT, "exit-code", 1, 1, 90.0);
    if let Some(d) = s.now.units.details.get_mut(A_UNIT)
        && let mcp_ir::snapshot::Reading::Seen { value } = &mut d.reading
    {
        value.invocation = Some("abc".into());
    }
    let plan = planned(&s, &of("server-crash"));
    assert_eq!(acts(&plan), [&Act::StartUnit { unit: A_UNIT.into() }]);
    let step = &plan.steps[0];
    assert_eq!((step.risk, &step.undo), (Risk::Disruptive, &None));
    assert!(step.undo_reason.as_ref().unwrap().contains("had failed"));
    let Needs::Unit { active, invocation } = &step.needs else { panic!("{:?}", step.needs) };
    assert_eq!(active, &["inactive", "failed"]);
    assert_eq!(invocation.as_deref(), Some("abc"), "rule 1: units by InvocationID");
    assert_eq!(step.command, "systemctl start codebase-mcp.service");
}

#[test]
fn rule_12_a_stop_on_purpose_is_told_to_who_agrees_and_taken_back_by_a_stop() {
    let s = down("inactive", "dead").events(A_UNIT, &[(60.0, Event::Stopping), (59.0, Event::Stopped)]);
    let plan = planned(&s, &of("server-crash"));
    assert_eq!(plan.findings, ["server-crash/stopped-on-purpose@codebase-mcp"]);
    let undo = plan.steps[0].undo.as_ref().unwrap();
    assert_eq!(undo.acts, [Act::StopUnit { unit: A_UNIT.into() }]);
    assert!(plan.notes[0].contains("ask who did it"), "{:?}", plan.notes);
}

#[test]
fn rule_12_what_systemd_is_about_to_bring_back_is_only_waited_for() {
    let s = down("activating", "auto-restart").detail(A_UNIT, "signal", 2, 9, 20.0);
    let plan = planned(&s, &of("server-crash"));
    assert_eq!(acts(&plan), [&Act::Wait { subject: A.into() }]);
    assert_eq!((plan.risk(), plan.changes()), (Risk::Safe, false));
}

#[test]
fn a_database_that_starts_is_waited_for_and_never_restarted() {
    let s = Stack::outage().login(crate::stack::says("57P03", "the database system is starting up"));
    let plan = planned(&s, &of("db-down"));
    assert_eq!(acts(&plan), [&Act::Wait { subject: "postgres".into() }]);
}

#[test]
fn a_stopped_database_is_started_and_its_services_are_not_touched() {
    let s = Stack::outage().unit(PG_UNIT, "inactive", "dead");
    let plan = planned(&s, &Request::default());
    assert_eq!(acts(&plan), [&Act::StartUnit { unit: PG_UNIT.into() }]);
    assert_eq!(plan.subjects, ["postgres"]);
}

#[test]
fn a_consequence_is_refused_with_its_root_and_the_command_for_it() {
    let s = Stack::outage().unit(PG_UNIT, "inactive", "dead");
    let request = of("server-crash");
    let Choice::Refused { why, hints } = chosen(&s, &request) else { panic!("{:?}", chosen(&s, &request)) };
    assert!(why.contains("postgres-stopped@postgres"), "{why}");
    assert_eq!(hints[0], "mcp-ir recover db");
    let anyway = Request { anyway: true, ..request };
    assert!(matches!(chosen(&s, &anyway), Choice::Plan(_) | Choice::Advice { .. }));
}

#[test]
fn of_all_who_died_of_it_is_started_behind_it_and_who_suffers_has_to_be_well() {
    let s = Stack::outage().no_answer(A, refused()).unit(A_UNIT, "failed", "failed").detail(
        A_UNIT,
        "exit-code",
        1,
        1,
        90.0,
    );
    let all = Request { all: true, ..Request::default() };
    let plan = planned(&s, &all);
    assert_eq!(
        acts(&plan),
        [&Act::StartUnit { unit: PG_UNIT.into() }, &Act::StartUnit { unit: A_UNIT.into() }]
    );
    assert_eq!(plan.subjects, ["postgres", A]);
    assert_eq!(plan.watched, [C]);
    // `recover db` mends the database alone.
    let db = planned(&s, &of("db-down"));
    assert_eq!((db.steps.len(), db.watched.len()), (1, 0));
}

/// By its name `codebase-mcp` comes first; it needs `workflow-mcp`.
#[test]
fn who_is_needed_is_started_before_who_needs_him() {
    let mut s = Stack::outage();
    for (name, unit) in [(A, A_UNIT), (C, C_UNIT)] {
        s = s.no_answer(name, refused()).unit(unit, "failed", "failed");
        s = s.detail(unit, "exit-code", 1, 1, 90.0);
    }
    let a = s.now.config.service.iter_mut().find(|of| of.name == A).unwrap();
    a.needs = vec![C.into(), "postgres".into()];
    let plan = planned(&s, &Request { all: true, ..Request::default() });
    assert_eq!(plan.subjects, ["postgres", C, A]);
}

#[test]
fn of_all_only_roots_are_planned_and_both_are() {
    let s = down("failed", "failed")
        .detail(A_UNIT, "exit-code", 1, 1, 90.0)
        .no_answer(C, refused())
        .unit(C_UNIT, "failed", "failed")
        .detail(C_UNIT, "exit-code", 1, 1, 90.0);
    let plan = planned(&s, &Request { all: true, ..Request::default() });
    assert_eq!(plan.subjects, [A, C]);
    assert_eq!(plan.steps.iter().map(|s| s.n).collect::<Vec<_>>(), [1, 2]);
    let first = planned(&s, &Request::default());
    assert_eq!(first.steps.len(), 1);
}

/// Two findings of one unit were made by one look: the second would meet what the first has changed.
#[test]
fn of_one_unit_only_one_finding_is_mended_by_a_run_and_the_other_is_named() {
    use mcp_ir::plan::{Ask, Near};
    let s = Stack::healthy().pool_max(C, 10).health(A, crate::payload::a_full(10)).fills(505, 0);
    let s = s.group(|g| g.stalled = crate::stack::memory::stall(7_000_000, 22.0));
    let drop_ins = [(A_UNIT.to_owned(), Ok(None))].into();
    let runs = [(A_UNIT.to_owned(), "abc".to_owned())].into();
    let ask = Ask { near: Near { drop_ins, runs, ..Near::default() }, ..Ask::default() };
    let plan = planned(&s, &Request { all: true, ask, ..Request::default() });
    let writes = plan.steps.iter().filter(|s| matches!(s.act, Act::DropIn { .. })).count();
    assert_eq!((writes, plan.left.len()), (1, 1), "{:?} {:?}", acts(&plan), plan.left);
    assert!(plan.notes.iter().any(|n| n.contains("for a run of its own")), "{:?}", plan.notes);
}

#[test]
fn of_all_who_needs_another_service_is_started_behind_it() {
    let dead = |s: Stack, name: &str, unit: &str| {
        s.no_answer(name, refused()).unit(unit, "failed", "failed").detail(unit, "exit-code", 1, 1, 90.0)
    };
    // By their letters A comes first; here it needs C.
    let s = Stack::outage().config(|c| {
        let a = c.service.iter_mut().find(|s| s.name == A).unwrap();
        a.needs.push(C.into());
    });
    let s = dead(dead(s, A, A_UNIT), C, C_UNIT).unit(PG_UNIT, "inactive", "dead");
    let plan = planned(&s, &Request { all: true, ..Request::default() });
    let order: Vec<&str> = plan.steps.iter().map(|s| s.subject.as_str()).collect();
    assert_eq!(order, ["postgres", C, A]);
}

#[test]
fn what_does_not_fit_one_keeps_nothing_from_the_others() {
    // C is full, and its payload does not say of how much: nothing is set there. A is started all the same.
    let full = crate::payload::c_full(10, 3);
    let s = down("failed", "failed").detail(A_UNIT, "exit-code", 1, 1, 90.0).health(C, full).pool_max(C, 10);
    let plan = planned(&s, &Request { all: true, ..Request::default() });
    assert_eq!(plan.subjects, [A]);
    assert!(plan.left.iter().any(|l| l.ends_with("@workflow-mcp")), "{:?}", plan.left);
}

#[test]
fn a_size_that_a_full_pool_has_already_is_no_nothing_to_do() {
    let s = Stack::healthy().health(A, crate::payload::a_full(10));
    let ask = mcp_ir::plan::Ask { max_size: Some(10), ..mcp_ir::plan::Ask::default() };
    let choice = chosen(&s, &Request { ask, ..of("pool-exhausted") });
    let Choice::Advice { why, .. } = &choice else { panic!("{choice:?}") };
    assert!(why.contains("has 10 already"), "{why}");
}
