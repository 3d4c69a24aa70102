//! What is done to a service: no more than its finding says, and nothing that the finding speaks against.

use mcp_ir::diagnosis::Risk;
use mcp_ir::engine::recover::Choice;
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::plan::{Act, Ask, Needs, Remedy};
use mcp_ir::scenario::{ALL, plan};
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use super::{acts, chosen, looks, of, planned};
use crate::mcp;
use crate::payload;
use crate::redis;
use crate::stack::{A, A_UNIT, Stack, fail};

/// Of a run that was seen.
fn runs(mut s: Stack, unit: &str) -> Stack {
    s = s.detail(unit, "success", 0, 0, 90.0);
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
