//! What is done to a service: no more than its finding says, and nothing that the finding speaks against.

use mcp_ir::diagnosis::Risk;
use mcp_ir::engine::recover::Choice;
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::plan::{Act, Ask, Needs, Remedy};
use mcp_ir::scenario::{ALL, plan};
use mcp_ir::snapshot::postgres::Consumer;
use mcp_ir::snapshot::process::Restless;
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use super::{acts, chosen, looks, of, planned};
use crate::leak::leaking;
use crate::mcp;
use crate::payload;
use crate::redis;
use crate::stack::{A, A_UNIT, PG_UNIT, Stack, fail, silent};

/// Of a run that was seen.
fn runs(s: Stack, unit: &str) -> Stack {
    runs_since(s, unit, 90.0)
}

fn runs_since(mut s: Stack, unit: &str, seconds: f64) -> Stack {
    s = s.detail(unit, "success", 0, 0, seconds);
    if let Reading::Seen { value } = &mut s.now.units.details.get_mut(unit).unwrap().reading {
        value.invocation = Some("abc".into());
    }
    s
}

#[test]
fn an_unhealthy_service_is_restarted_in_the_run_that_was_seen() {
    let s = runs(Stack::healthy().health(A, payload::a_own()), A_UNIT);
    let plan = planned(&s, &of("server-crash"));
    assert_eq!(acts(&plan), [&Act::RestartUnit { unit: A_UNIT.into() }]);
    let invocation = Some("abc".to_owned());
    assert_eq!(plan.steps[0].needs, Needs::Unit { active: vec!["active".into()], invocation });
}

/// What it is stuck in is kept before.
#[test]
fn who_stands_is_restarted_and_who_is_only_silent_is_not() {
    let quiet = || {
        let s = runs(Stack::healthy().no_answer(A, silent()), A_UNIT);
        s.listener("127.0.0.1:8000", &[(77, "python3", Some("/lab/system.slice/codebase-mcp.service"))])
    };
    let spins = |s: Stack| s.at_port(|l| l.holders[0].restless = Some(Restless { thread: 79, cpu: 98.0 }));
    let stands = |s: Stack| s.at_port(|l| (l.queued, l.still_queued) = (3, Some(3)));
    let is = |state: &str| {
        let own = Consumer { state: state.into(), ..crate::leak::idle(A, 3, Some(9.0)) };
        stands(quiet()).server(|s| s.consumers = vec![own])
    };
    for s in [stands(quiet()), stands(spins(quiet())), is("idle")] {
        let plan = planned(&s, &of("server-crash"));
        assert_eq!(acts(&plan), [&Act::RestartUnit { unit: A_UNIT.into() }]);
        assert!(plan.steps[0].act.destroys_evidence());
    }
    // It may work off a load, wait for its database or for whom we do not see, or be starting.
    let starting = stands(runs_since(quiet(), A_UNIT, 20.0));
    let also = stands(quiet()).service(A, |s| s.needs.push("redis".into()));
    let unseen = stands(quiet()).login(crate::stack::slots_gone());
    let idle = quiet().at_port(|l| l.still_queued = Some(0));
    for s in [spins(quiet()), is("active"), is("idle in transaction"), starting, also, unseen, idle] {
        assert!(
            !matches!(chosen(&s, &of("server-crash")), Choice::Plan(_)),
            "{:?}",
            chosen(&s, &of("server-crash"))
        );
    }
}

/// Not of the unit alone: a server's processes may have been stopped all together.
#[test]
fn a_database_that_was_stopped_by_a_signal_goes_on_and_is_not_restarted() {
    let hung = |state: &str| runs(Stack::healthy().login(silent()).process(PG_UNIT, state), PG_UNIT);
    let plan = planned(&hung("T"), &of("db-down"));
    assert_eq!(acts(&plan), [&Act::Continue { unit: PG_UNIT.into() }]);
    assert!(matches!(&plan.steps[0].needs, Needs::Unit { invocation: Some(run), .. } if run == "abc"));
    // By a debugger, at a device, under a load; or of a run that was not seen.
    for state in ["t", "D", "S"] {
        assert!(matches!(chosen(&hung(state), &of("db-down")), Choice::Advice { .. }), "{state}");
    }
    let unseen = Stack::healthy().login(silent()).process(PG_UNIT, "T");
    assert!(matches!(chosen(&unseen, &of("db-down")), Choice::Advice { .. }));
}

#[test]
fn a_database_that_has_failed_is_started_though_its_starts_are_used_up() {
    let s = Stack::outage().unit(PG_UNIT, "failed", "failed");
    let plan = planned(&s, &of("db-down"));
    let unit = || PG_UNIT.to_owned();
    assert_eq!(acts(&plan), [&Act::ResetFailed { unit: unit() }, &Act::StartUnit { unit: unit() }]);
    // systemd forgets it by the reset, and its run with it.
    assert!(matches!(plan.steps[1].needs, Needs::Unit { invocation: None, .. }));
}

#[test]
fn errata_49_who_leaks_connections_is_begun_anew_and_looked_at_before() {
    let plan = planned(&runs(leaking(), A_UNIT), &of("pool-exhausted"));
    assert_eq!(plan.findings, ["pool-exhausted/pool-leak@codebase-mcp"]);
    assert_eq!(acts(&plan), [&Act::RestartUnit { unit: A_UNIT.into() }]);
    assert!(plan.notes.iter().any(|n| n.contains("will leak again")), "{:?}", plan.notes);
    assert!(matches!(chosen(&leaking(), &of("pool-exhausted")), Choice::Advice { .. }), "no run was seen");
    // A twin on another host that bears its name is idle, and this one at work.
    let twin = |state: &str| {
        let more = Consumer {
            client: "10.0.0.9".into(),
            state: state.into(),
            ..crate::leak::idle(A, 10, Some(400.0))
        };
        runs(leaking(), A_UNIT).server(|s| s.consumers.push(more))
    };
    for state in ["idle", "active"] {
        let Choice::Advice { why, .. } = chosen(&twin(state), &of("pool-exhausted")) else {
            panic!("{state}")
        };
        assert!(why.contains("of its name"), "{why}");
    }
}

#[test]
fn rule_1_a_run_that_was_not_seen_is_not_restarted() {
    let s = Stack::healthy().health(A, payload::a_own());
    assert!(matches!(chosen(&s, &of("server-crash")), Choice::Advice { .. }));
}

/// Its database answers us, and it says that it misses it.
fn misses() -> Stack {
    runs(Stack::healthy().health(A, payload::a("unhealthy", "disconnected", 3, 3, 10, "null")), A_UNIT)
}

#[test]
fn a_service_that_misses_a_database_that_answers_is_not_restarted() {
    let Choice::Advice { why, .. } = chosen(&misses(), &of("server-crash")) else { panic!() };
    assert!(why.contains("before a restart"), "{why}");
}

fn mcp_is(how: u8, f: Failure) -> Stack {
    runs(Stack::healthy().mcp(A, mcp::any(f, how, 0)), A_UNIT)
}

#[test]
fn a_broken_mcp_is_restarted_only_where_a_restart_helps() {
    let plan = planned(&mcp_is(1, fail(FailKind::Closed, Stage::Answer)), &of("server-crash"));
    assert_eq!(acts(&plan), [&Act::RestartUnit { unit: A_UNIT.into() }]);
    // A wrong path, a proxy's page, no tools: a restart keeps them.
    for s in [
        mcp_is(1, fail(FailKind::Missing, Stage::Answer)),
        mcp_is(1, fail(FailKind::Malformed, Stage::Body)),
        mcp_is(3, fail(FailKind::Closed, Stage::Answer)),
    ] {
        assert!(matches!(chosen(&s, &of("server-crash")), Choice::Advice { .. }));
    }
}

#[test]
fn what_a_service_needs_is_started_or_waited_for_and_never_restarted() {
    let unit = || "redis-server.service".to_owned();
    let gone = |active: &str, sub: &str| {
        let s = redis::stack(|r| r.ping = crate::stack::failed(crate::stack::refused()));
        s.unit("redis-server.service", active, sub)
    };
    let plan = planned(&gone("inactive", "dead"), &of("server-crash"));
    assert_eq!(plan.findings, ["server-crash/dependency-down@redis"]);
    assert_eq!(acts(&plan), [&Act::StartUnit { unit: unit() }]);
    assert_eq!(plan.steps[0].undo.as_ref().unwrap().acts, [Act::StopUnit { unit: unit() }]);
    let plan = planned(&gone("failed", "failed"), &of("server-crash"));
    assert_eq!((acts(&plan), &plan.steps[0].undo), (vec![&Act::StartUnit { unit: unit() }], &None));
    // It runs by its unit: who listens elsewhere is for people.
    assert!(matches!(chosen(&gone("active", "running"), &of("server-crash")), Choice::Advice { .. }));
    let loads = redis::stack(|r| {
        let loading = Failure { code: Some("LOADING".into()), ..fail(FailKind::Refused, Stage::Answer) };
        r.ping = crate::stack::failed(loading);
    });
    let plan = planned(&loads, &of("server-crash"));
    assert_eq!(acts(&plan), [&Act::Wait { subject: "redis".into() }]);
}

/// A Redis at another host's address has a unit here, too: of its passive half.
#[test]
fn a_unit_of_this_host_is_not_started_for_an_address_elsewhere() {
    for here in [Some(false), None] {
        let s = redis::stack(|r| {
            r.ping = crate::stack::failed(crate::stack::refused());
            r.here = here;
        });
        let s = s.unit("redis-server.service", "inactive", "dead");
        assert!(matches!(chosen(&s, &of("server-crash")), Choice::Advice { .. }), "{here:?}");
    }
}

#[test]
fn no_step_costs_more_than_its_finding_says() {
    let mut safe = 0;
    let stacks = [
        misses(),
        mcp_is(1, fail(FailKind::Missing, Stage::Answer)),
        runs(Stack::healthy().health(A, payload::a_own()), A_UNIT),
        Stack::outage(),
        Stack::outage().unit(crate::stack::PG_UNIT, "failed", "failed"),
        Stack::outage().login(crate::stack::says("57P03", "the database system is starting up")),
        Stack::healthy().no_answer(A, crate::stack::silent()),
        Stack::healthy().health(A, payload::answer(200, "text/html", "<html>")),
    ];
    for s in stacks {
        let looks = looks(&s);
        for f in diagnose(&looks, &Filter::default()).findings {
            let scenario = ALL.iter().find(|s| s.name == f.scenario).unwrap();
            if let Remedy::Steps { steps, .. } = plan(scenario, &looks, &f, &Ask::default(), &s.now.config) {
                assert!(steps.iter().all(|s| s.risk() <= f.remedy.risk), "{}", f.id);
            }
            safe += u32::from(f.remedy.risk == Risk::Safe);
        }
    }
    assert!(safe > 3, "findings whose remedy is only to look are among them");
}
