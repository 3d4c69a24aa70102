//! What is planned for a finding or a request, and what is not: rules only, nothing is done.

use mcp_ir::engine::recover::{Choice, Request, choose};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::plan::{Act, Ask, Ending, Near, Needs, Plan, Recovered, Risk};
use mcp_ir::scenario::by_name;
use mcp_ir::snapshot::Looks;
use mcp_ir::snapshot::units::Event;

use crate::payload;
use crate::stack::{A, A_UNIT, C, C_UNIT, PG_UNIT, Stack, idle_tx, refused, waits};

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

/// Of a stack whose drop-ins were looked at: none of ours is there.
fn size(n: u64, service: Option<&str>) -> Request {
    let drop_ins = [A_UNIT, C_UNIT].map(|u| (u.to_owned(), Ok(None))).into();
    let ask = Ask { max_size: Some(n), near: Near { drop_ins, resizable: Vec::new() }, ..Ask::default() };
    Request { services: service.map(str::to_owned).into_iter().collect(), ask, ..of("pool-exhausted") }
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
fn only_the_root_of_a_chain_is_ended_by_pid_and_start() {
    let s = Stack::healthy().sessions([
        idle_tx(10, "migration", 60.0),
        waits(20, A, 50.0, &[10]),
        waits(30, A, 40.0, &[20]),
    ]);
    let plan = planned(&s, &of("pool-exhausted"));
    let [Act::EndSession { pid, backend_start, state, databases, how, .. }] = acts(&plan)[..] else {
        panic!("{plan:?}")
    };
    assert_eq!((*pid, *how, state.as_str()), (10, Ending::Terminate, "idle in transaction"));
    assert!(!backend_start.is_empty());
    assert_eq!(databases, &["codebase_mcp"]);
}

#[test]
fn rule_7_a_holder_in_another_database_is_shown_and_never_ended() {
    let mut root = idle_tx(10, "migration", 60.0);
    root.database = "payroll".into();
    let s = Stack::healthy().sessions([root, waits(20, A, 50.0, &[10])]);
    assert!(matches!(chosen(&s, &of("pool-exhausted")), Choice::Advice { .. }));
}

#[test]
fn a_size_is_refused_with_the_sum_and_the_largest_command_that_fits() {
    let s = Stack::healthy().pool_max(C, 10);
    let Choice::Refused { why, hints } = chosen(&s, &size(5000, Some(A))) else { panic!() };
    assert!(why.contains("codebase-mcp 5000 + workflow-mcp ") && why.contains("slots"), "{why}");
    let fits: u64 = hints[0].rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(hints[0], format!("mcp-ir recover pool --service codebase-mcp --max-size {fits}"));
    assert!(matches!(chosen(&s, &size(fits, Some(A))), Choice::Plan(_)), "what is offered fits");
    assert!(matches!(chosen(&s, &size(fits + 1, Some(A))), Choice::Refused { .. }), "and no more");
}

#[test]
fn a_size_over_what_the_service_takes_is_refused() {
    let s = Stack::healthy().service(A, |s| s.pool.as_mut().unwrap().max_allowed = Some(25));
    let Choice::Refused { why, hints } = chosen(&s, &size(26, Some(A))) else { panic!() };
    assert!(why.contains("25 at most"), "{why}");
    assert!(hints[0].ends_with("--max-size 25"));
}

#[test]
fn a_value_that_is_asked_for_of_two_services_needs_a_name() {
    let Choice::Unclear { hints, .. } = chosen(&Stack::healthy(), &size(25, None)) else { panic!() };
    assert_eq!(hints, ["--service codebase-mcp", "--service workflow-mcp"]);
}

#[test]
fn a_size_is_a_drop_in_a_restart_and_a_proof_and_their_undo_is_the_former_file() {
    let plan = planned(&Stack::healthy(), &size(25, Some(A)));
    let [Act::DropIn { from, to, unit }, Act::RestartUnit { .. }, Act::Prove { variable, value, .. }] =
        acts(&plan)[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (unit.as_str(), from, variable.as_str(), value.as_str()),
        (A_UNIT, &None, "POOL_MAX_SIZE", "25")
    );
    assert!(to.as_ref().unwrap().ends_with("[Service]\nEnvironment=POOL_MAX_SIZE=25\n"), "{to:?}");
    let undo = plan.steps[0].undo.as_ref().unwrap();
    let back = Act::DropIn { unit: A_UNIT.into(), from: to.clone(), to: None };
    assert_eq!(undo.acts, [back, Act::RestartUnit { unit: A_UNIT.into() }]);
    assert_eq!(undo.risk, Risk::Disruptive, "an undo that restarts asks");
}

#[test]
fn what_else_stands_in_our_drop_in_is_kept() {
    let mut request = size(25, Some(A));
    let found = "[Service]\nEnvironment=LOG_LEVEL=WARNING\nEnvironment=POOL_MAX_SIZE=12\n".to_owned();
    request.ask.near.drop_ins.insert(A_UNIT.into(), Ok(Some(found.clone())));
    let plan = planned(&Stack::healthy(), &request);
    let Act::DropIn { from, to, .. } = &plan.steps[0].act else { panic!() };
    assert_eq!(from.as_ref(), Some(&found));
    assert_eq!(
        to.as_deref(),
        Some("[Service]\nEnvironment=LOG_LEVEL=WARNING\nEnvironment=POOL_MAX_SIZE=25\n")
    );
}

#[test]
fn an_interface_that_answers_needs_no_restart() {
    let mut request = size(25, Some(A));
    request.ask.near.resizable = vec![A.into()];
    let plan = planned(&Stack::healthy(), &request);
    let [Act::ResizePool { from, to, .. }] = acts(&plan)[..] else { panic!("{plan:?}") };
    let back = Act::ResizePool { service: A.into(), from: *to, to: *from };
    assert_eq!(plan.steps[0].undo.as_ref().unwrap().acts, [back]);
    assert!(plan.notes.iter().any(|n| n.contains("--persist")), "{:?}", plan.notes);
}

#[test]
fn a_drop_in_that_could_not_be_read_is_not_overwritten() {
    let mut request = size(25, Some(A));
    request.ask.near.drop_ins.insert(A_UNIT.into(), Err("permission denied".into()));
    assert!(matches!(chosen(&Stack::healthy(), &request), Choice::Refused { .. }));
}

#[test]
fn rule_6_what_was_not_seen_is_no_recovery() {
    let ask = Ask::default();
    for scenario in ["server-crash", "pool-exhausted"] {
        let recovered = by_name(scenario).unwrap().recovered;
        let well = looks(&Stack::healthy());
        assert!(matches!(recovered(&well, A, &ask, &well.now.config), Recovered::Yes(_)), "{scenario}");
        for s in [Stack::healthy().no_answer(A, refused()), Stack::healthy().health(A, payload::a_own())] {
            let ill = looks(&s);
            assert!(matches!(recovered(&ill, A, &ask, &ill.now.config), Recovered::NotYet(_)), "{scenario}");
        }
        let mut unseen = looks(&Stack::healthy());
        unseen.now.services.remove(A);
        assert!(
            matches!(recovered(&unseen, A, &ask, &unseen.now.config), Recovered::NotYet(_)),
            "{scenario}"
        );
    }
    let db = by_name("db-down").unwrap().recovered;
    let mut unseen = looks(&Stack::healthy());
    unseen.now.postgres.clear();
    assert!(matches!(db(&unseen, "postgres", &ask, &unseen.now.config), Recovered::NotYet(_)));
}

#[test]
fn rule_6_a_size_that_was_ignored_is_no_recovery() {
    let looks = looks(&Stack::healthy());
    let recovered = by_name("pool-exhausted").unwrap().recovered;
    let ask = Ask { max_size: Some(99), ..Ask::default() };
    assert!(matches!(recovered(&looks, A, &ask, &looks.now.config), Recovered::NotYet(_)));
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
