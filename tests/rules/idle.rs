//! Sessions idle in transaction: a finding where they hold what others miss, else a note.

use mcp_ir::diagnosis::{Certainty, Severity, Verdict};

use crate::payload;
use crate::stack::{A, C, Stack, idle_tx, waits};

const IDLE: &str = "pool-exhausted/idle-in-transaction@postgres";
const CHAIN: &str = "pool-exhausted/blocking-chain@postgres";
const FULL_A: &str = "pool-exhausted/client-pool-saturated@codebase-mcp";
const FULL_C: &str = "pool-exhausted/client-pool-saturated@workflow-mcp";

#[test]
fn one_that_harms_nobody_is_a_note_and_the_stack_is_healthy() {
    let told = Stack::healthy().sessions([idle_tx(1000, "psql", 900.0)]).told();
    told.verdict(Verdict::Healthy).expect_roots(&[]);
    assert_eq!(told.find(IDLE).severity, Severity::P4);
    assert_eq!(told.d.severity, Some(Severity::P4));
}

#[test]
fn over_five_minutes_begins_after_five_minutes() {
    for (age, noted) in [(2.0, false), (299.9, false), (300.0, false), (300.1, true), (90_000.0, true)] {
        let told = Stack::healthy().sessions([idle_tx(1000, "psql", age)]).told().case(format!("{age} s"));
        told.verdict(Verdict::Healthy);
        assert_eq!(told.d.findings.len(), usize::from(noted), "{age} s");
    }
    let s = Stack::healthy().config(|c| c.thresholds.idle_in_transaction = "2s".parse().unwrap());
    assert_eq!(s.sessions([idle_tx(1000, "psql", 2.2)]).told().d.findings.len(), 1);
}

#[test]
fn an_aborted_transaction_is_idle_too_and_an_active_one_is_not() {
    let in_state = |state: &str| {
        let s = mcp_ir::snapshot::postgres::Session { state: state.into(), ..idle_tx(1000, "psql", 900.0) };
        Stack::healthy().sessions([s]).told()
    };
    in_state("idle in transaction (aborted)").find(IDLE);
    in_state("active").never("pool-exhausted/idle").find("pool-exhausted/long-queries@postgres");
    for state in ["idle", "not shown", "fastpath function call", "disabled"] {
        in_state(state).case(state).healthy();
    }
}

#[test]
fn those_that_fill_the_pool_of_their_own_service_are_its_cause() {
    let held = (0..8).map(|n| idle_tx(1000 + n, A, 400.0));
    let told = Stack::healthy().health(A, payload::a_full(10)).sessions(held).told();
    told.expect_root(IDLE, Certainty::Proven);
    told.explained(FULL_A, &[IDLE]);
    told.explained("server-crash/unhealthy@codebase-mcp", &[IDLE, FULL_A]);
}

#[test]
fn one_open_transaction_does_not_explain_a_pool_that_many_wait_for() {
    let one = || [idle_tx(1000, C, 400.0)];
    // Ending it leaves 9 of 10 busy and four who wait for one connection.
    let told = Stack::healthy().health(C, payload::c_full(10, 4)).pool_max(C, 10).sessions(one()).told();
    told.expect_root(FULL_C, Certainty::Proven);
    assert_eq!(told.find(IDLE).severity, Severity::P4);
    // One waits, and gets its connection.
    let told = Stack::healthy().health(C, payload::c_full(10, 1)).pool_max(C, 10).sessions(one()).told();
    told.expect_root(IDLE, Certainty::Proven);
}

#[test]
fn those_of_another_application_do_not_fill_this_pool() {
    for other in ["nightly-batch", C] {
        let held = (0..8).map(|n| idle_tx(1000 + n, other, 400.0));
        let told = Stack::healthy().health(A, payload::a_full(10)).sessions(held).told().case(other);
        told.expect_root(FULL_A, Certainty::Proven);
        assert_eq!(told.find(IDLE).severity, Severity::P4, "{other}");
    }
}

#[test]
fn nameless_sessions_are_a_services_only_where_it_is_alone() {
    let held = || (0..8).map(|n| idle_tx(1000 + n, "", 400.0));
    // Two services use the server: whose they are is not known.
    let told = Stack::healthy().health(A, payload::a_full(10)).sessions(held()).told();
    told.expect_root(FULL_A, Certainty::Proven);
    // One does: likely its own, and not proven.
    let alone = Stack::healthy().service(C, |s| s.needs.clear());
    let told = alone.health(A, payload::a_full(10)).sessions(held()).told();
    told.expect_root(IDLE, Certainty::Likely).explained(FULL_A, &[IDLE]);
}

#[test]
fn too_few_to_free_the_pool_are_not_its_cause() {
    // 2 of 40: ending them leaves 38, which is not over 95 %; one leaves 39, which is.
    let pool = || payload::a_full(40);
    let two = [idle_tx(1000, A, 400.0), idle_tx(1001, A, 400.0)];
    Stack::healthy().health(A, pool()).sessions(two).told().expect_root(IDLE, Certainty::Proven);
    let told = Stack::healthy().health(A, pool()).sessions([idle_tx(1000, A, 400.0)]).told();
    told.expect_root(FULL_A, Certainty::Proven);
}

#[test]
fn those_that_hold_the_servers_slots_do_not_explain_a_pool_full_of_its_own_work() {
    let held = (0..32).map(|n| idle_tx(1000 + n, "nightly-batch", 400.0));
    let told = Stack::healthy().used(37).sessions(held).health(A, payload::a_full(10)).told();
    told.expect_roots(&[FULL_A, IDLE]);
    told.explained("pool-exhausted/server-slots-full@postgres", &[IDLE]);
}

#[test]
fn one_with_victims_is_a_blocking_chain_and_nothing_else() {
    let all = [idle_tx(1000, "migration", 400.0), waits(1001, A, 30.0, &[1000])];
    let told = Stack::healthy().sessions(all).told();
    told.never("pool-exhausted/idle").expect_root(CHAIN, Certainty::Proven);
}

#[test]
fn one_that_harms_nobody_stands_as_a_note_beside_a_chain() {
    let all =
        [idle_tx(1000, "migration", 400.0), waits(1001, A, 30.0, &[1000]), idle_tx(1002, "psql", 900.0)];
    let told = Stack::healthy().sessions(all).told();
    told.expect_root(CHAIN, Certainty::Proven);
    assert_eq!(told.find(IDLE).severity, Severity::P4);
    assert!(!told.find(IDLE).remedy.command.contains("1000"), "the blocker is the chain's");
}

#[test]
fn a_note_explains_nothing_that_is_red() {
    let told =
        Stack::healthy().sessions([idle_tx(1000, "psql", 900.0)]).health(A, payload::a_full(10)).told();
    told.expect_root(FULL_A, Certainty::Proven);
    told.explained("server-crash/unhealthy@codebase-mcp", &[FULL_A]);
    let told = Stack::healthy().sessions([idle_tx(1000, "psql", 900.0)]).used(37).told();
    told.explained("pool-exhausted/server-slots-full@postgres", &[]);
}

#[test]
fn the_command_names_sessions_so_that_a_reused_pid_is_left_alone() {
    let told = Stack::healthy().sessions([idle_tx(1000, "psql", 900.0)]).told();
    let command = &told.find(IDLE).remedy.command;
    assert!(command.contains("(1000,'2026-11-24 11:00:00.001000+00')"), "{command}");
    assert!(command.contains("idle in transaction"), "{command}");
}

#[test]
fn it_is_said_whose_sessions_they_are_where_they_are_several_peoples() {
    let mut all: Vec<_> = (0..7).map(|n| idle_tx(1000 + n, "nightly-batch", 400.0)).collect();
    all.insert(0, idle_tx(900, "psql", 900.0));
    let told = Stack::healthy().sessions(all).told();
    let said = &told.find(IDLE).summary;
    assert!(
        said.contains("8 sessions") && said.contains("nightly-batch") && said.contains("others"),
        "{said}"
    );
}

#[test]
fn those_that_fill_a_pool_do_not_explain_slots_that_others_hold() {
    // 199 of 200 used: without the eight it would be 191, which is still full.
    let held = (0..8).map(|n| idle_tx(1000 + n, A, 400.0));
    let s = Stack::healthy().server(|s| (s.max_connections, s.used) = (203, 199));
    let told = s.sessions(held).health(A, payload::a_full(10)).told();
    told.expect_roots(&[IDLE, "pool-exhausted/server-slots-full@postgres"]).explained(FULL_A, &[IDLE]);
}
