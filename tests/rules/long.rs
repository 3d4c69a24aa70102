//! Statements that run for long, and transactions that were prepared and forgotten.

use mcp_ir::diagnosis::{Certainty, Severity, Verdict};
use mcp_ir::snapshot::postgres::{Prepared, Session};

use crate::payload;
use crate::stack::{A, C, Stack, idle_tx, session, waits};

const LONG: &str = "pool-exhausted/long-queries@postgres";
const IDLE: &str = "pool-exhausted/idle-in-transaction@postgres";
const CHAIN: &str = "pool-exhausted/blocking-chain@postgres";
const PREPARED: &str = "pool-exhausted/prepared-transaction@postgres";
const FULL_A: &str = "pool-exhausted/client-pool-saturated@codebase-mcp";
const SLOTS: &str = "pool-exhausted/server-slots-full@postgres";
const UNHEALTHY_A: &str = "server-crash/unhealthy@codebase-mcp";

fn long(n: i32, application: &str) -> impl Iterator<Item = Session> {
    (0..n).map(move |i| session(1000 + i, application, 400.0))
}

#[test]
fn a_long_statement_that_harms_nobody_is_a_note() {
    for (age, noted) in [(2.0, false), (300.0, false), (300.1, true), (90_000.0, true)] {
        let told = Stack::healthy().sessions([session(1000, "psql", age)]).told().case(format!("{age} s"));
        told.verdict(Verdict::Healthy).expect_roots(&[]);
        assert_eq!(told.d.findings.len(), usize::from(noted), "{age} s");
        if noted {
            assert_eq!(told.find(LONG).severity, Severity::P4);
        }
    }
    let s = Stack::healthy().config(|c| c.thresholds.long_query = "2s".parse().unwrap());
    s.sessions([session(1000, "psql", 2.2)]).told().verdict(Verdict::Healthy).find(LONG);
}

#[test]
fn long_statements_that_fill_the_pool_of_their_service_are_its_cause() {
    let told = Stack::healthy().health(A, payload::a_full(10)).sessions(long(10, A)).told();
    told.expect_root(LONG, Certainty::Proven)
        .explained(FULL_A, &[LONG])
        .explained(UNHEALTHY_A, &[FULL_A, LONG]);
    assert_eq!(told.find(LONG).severity, Severity::P2);
    let command = &told.find(LONG).remedy.command;
    assert!(command.contains("pg_cancel_backend") && command.contains("state = 'active'"), "{command}");
    // Others' do not.
    let told = Stack::healthy().health(A, payload::a_full(10)).sessions(long(10, "nightly-batch")).told();
    told.expect_root(FULL_A, Certainty::Proven);
    assert_eq!(told.find(LONG).severity, Severity::P4);
}

#[test]
fn long_statements_that_hold_the_slots_explain_them_only_if_they_would_free_them() {
    let told = Stack::healthy().used(36).sessions(long(32, "nightly-batch")).told();
    told.expect_root(LONG, Certainty::Proven).explained(SLOTS, &[LONG]);
    let told = Stack::healthy().used(37).sessions(long(1, "nightly-batch")).told();
    told.expect_root(SLOTS, Certainty::Proven);
    assert_eq!(told.find(LONG).severity, Severity::P4);
}

#[test]
fn what_is_meant_to_last_is_no_long_statement() {
    let query =
        |application: &str, q: &str| Session { query: q.into(), ..session(1000, application, 3600.0) };
    for s in [
        session(1000, "pg_dump", 3600.0),
        session(1000, "pg_restore", 3600.0),
        session(1000, "mcp-ir", 3600.0),
        query("psql", "COPY code_chunks TO STDOUT"),
        query("nightly-batch", "  copy code_chunks from stdin"),
        query("", "autovacuum: VACUUM code_chunks"),
        waits(1000, A, 3600.0, &[0]),
    ] {
        let (app, q) = (s.application.clone(), s.query.clone());
        Stack::healthy().sessions([s]).told().case(format!("{app}: {q}")).healthy();
    }
    for q in ["copyright()", "é", "", "SELECT 'copy'"] {
        Stack::healthy().sessions([query("psql", q)]).told().case(q).find(LONG);
    }
}

#[test]
fn one_that_waits_for_a_lock_is_a_victim_and_one_with_victims_a_chain() {
    let told = Stack::healthy().sessions([session(10, "batch", 900.0), waits(20, A, 600.0, &[10])]).told();
    told.never("pool-exhausted/long-queries").expect_root(CHAIN, Certainty::Proven);
}

#[test]
fn long_statements_and_open_transactions_stand_side_by_side() {
    let told = Stack::healthy().sessions([session(10, "batch", 900.0), idle_tx(11, "psql", 900.0)]).told();
    told.verdict(Verdict::Healthy).find(LONG);
    told.find(IDLE);
}

fn prepared(gid: &str, database: &str, age_s: f64) -> Prepared {
    Prepared { gid: gid.into(), owner: "mcp_user".into(), database: database.into(), age_s }
}

fn with(all: Vec<Prepared>, sessions: Vec<Session>) -> Stack {
    Stack::healthy().server(|s| s.prepared = all).sessions(sessions)
}

fn one() -> Vec<Prepared> {
    vec![prepared("transfer-4711", "codebase_mcp", 400.0)]
}

#[test]
fn a_prepared_transaction_that_others_wait_for_is_a_root() {
    let victims = (0..10).map(|n| waits(100 + n, A, 30.0, &[0])).collect();
    let told = with(one(), victims).health(A, payload::a_full(10)).told();
    told.expect_root(PREPARED, Certainty::Proven)
        .explained(FULL_A, &[PREPARED])
        .evidence(PREPARED, "transfer-4711");
    told.explained(UNHEALTHY_A, &[FULL_A, PREPARED]);
    assert!(told.find(PREPARED).summary.contains("10 sessions"));
    assert_eq!(told.find(PREPARED).severity, Severity::P2);
}

#[test]
fn a_prepared_transaction_that_nobody_waits_for_is_nothing() {
    with(one(), vec![]).told().healthy();
    with(one(), vec![waits(20, A, 0.9, &[0])]).told().healthy();
    // It is younger than a second: so is every wait for it.
    with(vec![prepared("x", "codebase_mcp", 0.5)], vec![waits(20, A, 60.0, &[0])]).told().healthy();
    // They wait for a session.
    let told = with(one(), vec![session(10, "batch", 60.0), waits(20, A, 30.0, &[10])]).told();
    told.never("pool-exhausted/prepared").expect_root(CHAIN, Certainty::Proven);
}

#[test]
fn without_a_prepared_transaction_pid_0_is_nobody() {
    with(vec![], vec![waits(20, A, 60.0, &[0])]).told().healthy();
}

#[test]
fn of_several_prepared_transactions_none_is_proven() {
    let two = vec![prepared("a", "codebase_mcp", 400.0), prepared("b", "codebase_mcp", 900.0)];
    let told = with(two, vec![waits(20, A, 60.0, &[0])]).told();
    told.expect_root(PREPARED, Certainty::Likely).evidence(PREPARED, "prepared 'a'");
    assert!(told.find(PREPARED).summary.contains("'b'"), "the oldest is named");
    // Locks are in one database.
    let two = vec![prepared("a", "codebase_mcp", 400.0), prepared("b", "reports", 900.0)];
    let told = with(two, vec![waits(20, A, 60.0, &[0])]).told();
    told.expect_root(PREPARED, Certainty::Proven);
    assert!(told.find(PREPARED).summary.contains("'a'"));
}

#[test]
fn who_waits_for_a_victim_of_it_is_a_victim_too() {
    let told = with(one(), vec![waits(20, A, 60.0, &[0]), waits(30, A, 50.0, &[20])]).told();
    told.expect_root(PREPARED, Certainty::Proven);
    assert!(told.find(PREPARED).summary.contains("2 sessions"));
    // Both hold one up.
    let all = vec![session(10, "batch", 60.0), waits(20, A, 50.0, &[0, 10])];
    with(one(), all).told().expect_roots(&[CHAIN, PREPARED]);
}

#[test]
fn a_prepared_transaction_explains_slots_and_pools_that_its_victims_fill() {
    let victims =
        |n: i32, app: &'static str| (0..n).map(|i| waits(100 + i, app, 30.0, &[0])).collect::<Vec<_>>();
    let told = with(one(), victims(32, "nightly-batch")).used(36).told();
    told.expect_root(PREPARED, Certainty::Proven).explained(SLOTS, &[PREPARED]);
    let told = with(one(), victims(1, "nightly-batch")).used(37).told();
    told.expect_roots(&[PREPARED, SLOTS]);
    // The pool is full of other work.
    let told = with(one(), victims(3, C)).health(A, payload::a_full(10)).told();
    told.expect_roots(&[FULL_A, PREPARED]);
}
