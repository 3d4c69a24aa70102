//! What explains what: one fault is one root, two faults are two, and no explanation goes in a circle.

use std::collections::{BTreeMap, BTreeSet};

use mcp_ir::diagnosis::{Certainty, Finding, Relation, Severity, link};
use mcp_ir::scenario::{ALL, by_name, causes};
use mcp_ir::snapshot::units::Event;

use crate::payload;
use crate::stack::{
    A, A_UNIT, C, C_UNIT, PG_UNIT, Stack, idle_tx, refused, says, silent, waits, wrong_password,
};

const STOPPED: &str = "db-down/postgres-stopped@postgres";
const UNHEALTHY_A: &str = "server-crash/unhealthy@codebase-mcp";
const UNHEALTHY_C: &str = "server-crash/unhealthy@workflow-mcp";
const FAILED_A: &str = "server-crash/failed@codebase-mcp";

#[test]
fn causes_explain_in_no_circle() {
    let all: BTreeMap<&str, Vec<&str>> =
        causes().iter().map(|c| (c.name, c.explains.iter().map(|(n, _)| *n).collect())).collect();
    for start in all.keys() {
        let (mut seen, mut todo) = (BTreeSet::new(), all[start].clone());
        while let Some(name) = todo.pop() {
            assert_ne!(name, *start, "{start} explains itself");
            if seen.insert(name) {
                todo.extend(&all[name]);
            }
        }
    }
}

#[test]
fn every_cause_that_is_explained_is_declared_and_every_name_is_once() {
    let all = causes();
    let names: BTreeSet<&str> = all.iter().map(|c| c.name).collect();
    assert_eq!(names.len(), all.len(), "a name twice");
    for c in &all {
        for (explained, _) in c.explains {
            assert!(names.contains(explained), "{} explains {explained}, which is no cause", c.name);
        }
        let once: BTreeSet<_> = c.explains.iter().map(|(n, _)| n).collect();
        assert_eq!(once.len(), c.explains.len(), "{} explains one cause twice", c.name);
    }
}

#[test]
fn causes_carry_the_name_of_their_scenario_and_no_note_explains() {
    for s in ALL {
        assert_eq!(by_name(s.alias).map(|x| x.name), Some(s.name));
        for c in s.causes {
            assert_eq!(c.scenario(), s.name, "{}", c.name);
            assert!(c.severity < Severity::P4 || c.explains.is_empty(), "{}", c.name);
            assert!(!c.title.is_empty());
        }
    }
}

#[test]
fn only_a_leak_points_from_a_service_down_to_its_server() {
    // Its tests are `leak`'s.
    for c in causes().iter().filter(|c| c.name != "pool-exhausted/pool-leak") {
        assert!(c.explains.iter().all(|(_, r)| *r != Relation::Needs), "{}: write its tests", c.name);
    }
}

#[test]
fn what_is_broken_comes_first_then_what_takes_the_most_time_then_that_of_which_it_is_not_known() {
    let f = |name: &str, subject: &str, share: f64| {
        let cause = causes().into_iter().find(|c| c.name == name).unwrap();
        Finding::new(cause, subject, Certainty::Proven, "x").share(share)
    };
    let mut all = [
        f("latency/listen-overflow", "codebase-mcp", 0.0),
        f("latency/slow-queries", "postgres", 0.3),
        f("latency/redis-slow", "redis", 0.6),
        f("latency/ephemeral-ports", "workflow-mcp", 0.0),
        f("server-crash/mcp-broken", "workflow-mcp", 0.0),
        f("latency/conntrack-full", "db1", 0.0).severity(Severity::P1),
    ];
    link(&mut all, &causes(), &Stack::healthy().now.config);
    let order: Vec<&str> = all.iter().map(|f| f.cause.split_once('/').unwrap().1).collect();
    let want =
        ["conntrack-full", "mcp-broken", "redis-slow", "slow-queries", "listen-overflow", "ephemeral-ports"];
    assert_eq!(order, want);
}

#[test]
fn one_stopped_postgresql_is_one_root_with_all_else_explained() {
    let told = Stack::outage().told();
    told.expect_root(STOPPED, Certainty::Proven);
    assert_eq!(told.d.findings.len(), 3);
    told.explained(UNHEALTHY_A, &[STOPPED]).explained(UNHEALTHY_C, &[STOPPED]);
}

#[test]
fn whatever_a_service_shows_of_a_dead_database_is_explained() {
    let shows: [(&str, Stack); 4] = [
        (
            FAILED_A,
            Stack::outage().no_answer(A, refused()).unit(A_UNIT, "failed", "failed").detail(
                A_UNIT,
                "exit-code",
                1,
                1,
                5.0,
            ),
        ),
        ("server-crash/hung@codebase-mcp", Stack::outage().no_answer(A, silent())),
        (
            "server-crash/not-listening@codebase-mcp",
            Stack::outage().no_answer(A, refused()).detail(A_UNIT, "success", 0, 0, 60.0),
        ),
        (
            "server-crash/malformed-health@codebase-mcp",
            Stack::outage().health(
                A,
                payload::json(
                    200,
                    r#"{"status":"unhealthy","error":"Health check failed: ValidationError","message":"x"}"#,
                ),
            ),
        ),
    ];
    for (id, s) in shows {
        s.told().case(id).expect_root(STOPPED, Certainty::Proven).explained(id, &[STOPPED]);
    }
}

#[test]
fn however_a_service_died_its_dead_database_comes_first() {
    // Also killed for memory: what waits for a database piles up.
    const OOM_A: &str = "server-crash/oom-killed@codebase-mcp";
    for (result, code, status, id) in [
        ("exit-code", 1, 1, FAILED_A),
        ("core-dump", 3, 6, FAILED_A),
        ("signal", 2, 9, FAILED_A),
        ("oom-kill", 2, 9, OOM_A),
    ] {
        let s = Stack::outage().no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
        let told = s.detail(A_UNIT, result, code, status, 5.0).told().case(result);
        told.expect_root(STOPPED, Certainty::Proven).explained(id, &[STOPPED]);
    }
}

#[test]
fn what_a_dead_database_cannot_do_is_a_root_of_its_own() {
    let down = |active: &str, sub: &str| Stack::outage().no_answer(A, refused()).unit(A_UNIT, active, sub);
    let stop = [(60.0, Event::Stopping), (59.0, Event::Stopped)];
    let cases = [
        ("server-crash/stopped-on-purpose@codebase-mcp", down("inactive", "dead").events(A_UNIT, &stop)),
        (
            "server-crash/exec-failed@codebase-mcp",
            down("failed", "failed").detail(A_UNIT, "exit-code", 1, 203, 5.0),
        ),
        (
            "server-crash/unit-missing@codebase-mcp",
            Stack::outage().no_answer(A, refused()).loaded(A_UNIT, "not-found", "inactive", "dead"),
        ),
        (
            "server-crash/malformed-health@codebase-mcp",
            Stack::outage().health(A, payload::answer(200, "text/html", "<html>")),
        ),
        // No database stops a process by a signal.
        ("server-crash/hung@codebase-mcp", Stack::outage().no_answer(A, silent()).process(A_UNIT, "T")),
    ];
    for (id, s) in cases {
        let told = s.told().case(id);
        let mut roots = told.roots();
        roots.sort_unstable();
        assert_eq!(roots, [STOPPED, id], "{:?}", told.d.findings);
        told.explained(UNHEALTHY_C, &[STOPPED]);
    }
}

#[test]
fn a_consequence_does_not_begin_before_its_cause() {
    for (before, explained) in [(-60.0, true), (0.0, true), (5.0, true), (6.0, false), (3600.0, false)] {
        let s = Stack::outage()
            .detail(PG_UNIT, "success", 1, 0, 100.0)
            .no_answer(A, refused())
            .unit(A_UNIT, "failed", "failed")
            .detail(A_UNIT, "exit-code", 1, 1, 100.0 + before);
        let told = s.told().case(format!("{before} s before"));
        told.explained(FAILED_A, if explained { &[STOPPED] } else { &[] });
        assert_eq!(told.roots().len(), if explained { 1 } else { 2 });
    }
}

#[test]
fn where_a_time_is_not_known_it_speaks_against_nothing() {
    let s = Stack::outage().no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
    s.detail(A_UNIT, "exit-code", 1, 1, 7200.0).told().explained(FAILED_A, &[STOPPED]);
}

#[test]
fn a_service_that_is_connected_and_unhealthy_has_a_reason_of_its_own() {
    let s = Stack::outage().health(A, payload::a_own());
    let told = s.told();
    told.explained(UNHEALTHY_A, &[]).explained(UNHEALTHY_C, &[STOPPED]);
}

#[test]
fn the_whole_chain_of_needs_is_explained() {
    let s = Stack::outage().service(C, |s| s.needs = vec![A.into()]);
    s.told().expect_root(STOPPED, Certainty::Proven).explained(UNHEALTHY_C, &[STOPPED]);
    let s = Stack::outage().service(C, |s| s.needs.clear());
    s.told().expect_roots(&[STOPPED, UNHEALTHY_C]);
}

#[test]
fn needs_that_go_in_a_circle_end() {
    let s = Stack::outage()
        .service(A, |s| s.needs = vec![C.into(), "postgres".into()])
        .service(C, |s| s.needs = vec![A.into()]);
    s.told().expect_root(STOPPED, Certainty::Proven);
}

#[test]
fn a_dead_server_that_nobody_needs_explains_nothing() {
    let s = Stack::healthy().second_postgres("reports").health(A, payload::a_down("lost"));
    let mut s = s;
    s.now.postgres.get_mut("reports").unwrap().login = crate::stack::failed(silent());
    let told = s.told();
    told.expect_roots(&[UNHEALTHY_A, "db-down/hung@reports"]).explained(UNHEALTHY_A, &[]);
}

#[test]
fn two_unrelated_faults_are_two_roots_the_worse_first() {
    let s = Stack::healthy()
        .health(C, payload::c_full(10, 4))
        .pool_max(C, 10)
        .no_answer(A, refused())
        .unit(A_UNIT, "failed", "failed")
        .detail(A_UNIT, "exit-code", 1, 1, 5.0);
    let told = s.told();
    told.expect_roots(&[FAILED_A, "pool-exhausted/client-pool-saturated@workflow-mcp"]);
    assert_eq!(told.d.severity, Some(Severity::P1));
}

#[test]
fn roots_come_first_then_the_worse_then_the_surer() {
    let s = Stack::healthy()
        .sessions([idle_tx(1000, "psql", 900.0), idle_tx(10, "m", 60.0), waits(20, A, 30.0, &[10])])
        .health(A, payload::a_own())
        .no_answer(C, silent());
    let told = s.told();
    let order: Vec<(bool, Severity, Certainty)> =
        told.d.findings.iter().map(|f| (!f.is_root(), f.severity, f.certainty)).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(order.len() >= 4, "{order:?}");
}

#[test]
fn a_cause_of_a_cause_is_shown_with_all_that_lies_beneath() {
    let mut all = vec![idle_tx(10, "migration", 400.0)];
    all.extend((0..10).map(|n| waits(100 + n, A, 30.0, &[10])));
    let told = Stack::healthy().health(A, payload::a_full(10)).sessions(all).told();
    let (chain, pool) =
        ("pool-exhausted/blocking-chain@postgres", "pool-exhausted/client-pool-saturated@codebase-mcp");
    told.expect_root(chain, Certainty::Proven)
        .explained(pool, &[chain])
        .explained(UNHEALTHY_A, &[chain, pool]);
}

#[test]
fn findings_of_a_service_that_died_before_the_crash_of_another_do_not_mix() {
    let s = Stack::healthy()
        .login(wrong_password())
        .no_answer(A, refused())
        .unit(A_UNIT, "failed", "failed")
        .detail(A_UNIT, "signal", 2, 11, 5.0)
        .unit(C_UNIT, "active", "running");
    s.told().expect_root(FAILED_A, Certainty::Proven);
}

#[test]
fn shutting_down_explains_as_stopped_does() {
    let text = "the database system is shutting down";
    let s = Stack::outage()
        .login(says("57P03", text))
        .health(A, payload::a_down(text))
        .health(C, payload::c_down(text));
    let id = "db-down/shutting-down@postgres";
    s.told().expect_root(id, Certainty::Proven).explained(UNHEALTHY_A, &[id]).explained(UNHEALTHY_C, &[id]);
}
