//! Who holds up whom: the roots of the chains, never their victims.

use mcp_ir::diagnosis::{Certainty, Finding};
use mcp_ir::snapshot::postgres::Session;

use crate::payload;
use crate::stack::{A, Stack, idle_tx, session, waits};

const CHAIN: &str = "pool-exhausted/blocking-chain@postgres";
const FULL_A: &str = "pool-exhausted/client-pool-saturated@codebase-mcp";

#[track_caller]
fn chain(all: Vec<Session>) -> Finding {
    let told = Stack::healthy().sessions(all).told();
    told.expect_root(CHAIN, Certainty::Proven);
    told.find(CHAIN).clone()
}

/// The pids that the command would end.
fn ends(f: &Finding) -> Vec<i32> {
    let command = &f.remedy.command;
    [10, 11, 20, 21, 30, 40].into_iter().filter(|pid| command.contains(&format!("({pid},'"))).collect()
}

#[test]
fn the_root_of_a_deep_chain_is_ended_and_its_victims_are_not() {
    let f = chain(vec![
        idle_tx(10, "migration", 60.0),
        waits(20, A, 50.0, &[10]),
        waits(30, A, 40.0, &[20]),
        waits(40, A, 30.0, &[30, 20]),
    ]);
    assert_eq!(ends(&f), [10]);
    assert!(f.summary.contains("migration") && f.summary.contains("3 sessions"), "{}", f.summary);
}

#[test]
fn an_active_blocker_counts_as_an_idle_one() {
    let f = chain(vec![session(10, "reindex", 60.0), waits(20, A, 50.0, &[10])]);
    assert_eq!(ends(&f), [10]);
}

#[test]
fn two_roots_are_both_shown_and_each_has_its_own_victims() {
    let f = chain(vec![
        idle_tx(10, "migration", 60.0),
        idle_tx(11, "psql", 60.0),
        waits(20, A, 50.0, &[10]),
        waits(21, A, 50.0, &[10]),
        waits(30, A, 40.0, &[11]),
    ]);
    assert_eq!(ends(&f), [10, 11]);
    assert!(f.summary.contains("migration") && f.summary.contains("2 sessions"), "{}", f.summary);
}

#[test]
fn a_victim_of_two_roots_is_one_victim() {
    let all = vec![idle_tx(10, "a", 60.0), idle_tx(11, "b", 60.0), waits(20, A, 50.0, &[10, 11])];
    let f = chain(all.clone());
    assert!(f.summary.contains("1 session "), "{}", f.summary);
    // Three go when the roots are ended: 95 of 100 would be left, which is full. Counted double it were 94.
    let told = Stack::healthy().server(|s| (s.max_connections, s.used) = (103, 98)).sessions(all).told();
    told.explained("pool-exhausted/server-slots-full@postgres", &[]);
}

#[test]
fn a_circle_has_no_root() {
    let all = vec![waits(10, A, 5.0, &[20]), waits(20, A, 5.0, &[10])];
    Stack::healthy().sessions(all).told().healthy();
    let all = vec![waits(10, A, 5.0, &[10])];
    Stack::healthy().sessions(all).told().healthy();
}

#[test]
fn a_circle_beside_a_root_does_not_hide_it() {
    let f =
        chain(vec![idle_tx(10, "migration", 60.0), waits(20, A, 50.0, &[30, 10]), waits(30, A, 50.0, &[20])]);
    assert_eq!(ends(&f), [10]);
}

#[test]
fn a_prepared_transaction_has_no_session_to_end() {
    Stack::healthy().sessions([waits(20, A, 50.0, &[0])]).told().healthy();
    // Beside a real one only that is ended.
    assert_eq!(ends(&chain(vec![idle_tx(10, "psql", 60.0), waits(20, A, 50.0, &[0, 10])])), [10]);
}

#[test]
fn a_blocker_that_is_not_shown_is_not_made_up() {
    Stack::healthy().sessions([waits(20, A, 50.0, &[99])]).told().healthy();
}

#[test]
fn waits_of_a_second_are_a_spike() {
    for (age, found) in [(0.01, false), (1.0, false), (1.01, true)] {
        let all = [idle_tx(10, "psql", 60.0), waits(20, A, age, &[10])];
        let told = Stack::healthy().sessions(all).told().case(format!("{age} s"));
        if found {
            told.expect_root(CHAIN, Certainty::Proven);
        } else {
            told.healthy();
        }
    }
}

#[test]
fn nobody_waits_longer_than_the_blockers_transaction_is_old() {
    // A report of ten minutes touched a row that a request wrote 20 ms ago.
    let all = [session(10, A, 0.02), waits(20, "report", 600.0, &[10])];
    Stack::healthy().sessions(all).told().healthy();
    // Its statement is new, its transaction is not.
    let old = Session { transaction_s: Some(300.0), ..session(10, A, 0.02) };
    chain(vec![old, waits(20, "report", 600.0, &[10])]);
    // Not known: the wait counts as it stands.
    let unknown = Session { transaction_s: None, ..session(10, A, 0.02) };
    chain(vec![unknown, waits(20, "report", 600.0, &[10])]);
}

#[test]
fn a_pool_that_stands_behind_the_lock_is_explained_by_it() {
    let mut all = vec![idle_tx(10, "migration", 60.0)];
    all.extend((0..10).map(|n| waits(100 + n, A, 30.0, &[10])));
    let told = Stack::healthy().health(A, payload::a_full(10)).sessions(all).told();
    told.expect_root(CHAIN, Certainty::Proven).explained(FULL_A, &[CHAIN]);
}

#[test]
fn a_pool_full_of_its_own_work_is_not_explained_by_anothers_lock() {
    let all = [idle_tx(10, "psql", 60.0), waits(20, "nightly-batch", 30.0, &[10])];
    let told = Stack::healthy().health(A, payload::a_full(10)).sessions(all).told();
    told.expect_roots(&[FULL_A, CHAIN]);
}

#[test]
fn nameless_victims_may_be_the_pools_own() {
    let mut all = vec![idle_tx(10, "", 60.0)];
    all.extend((0..9).map(|n| waits(100 + n, "", 30.0, &[10])));
    let told = Stack::healthy().health(A, payload::a_full(10)).sessions(all).told();
    told.expect_roots(&[CHAIN]).explained(FULL_A, &[CHAIN]);
}

#[test]
fn slots_held_behind_a_lock_are_explained_where_its_end_would_free_them() {
    let chain_of = |n: i32| {
        let mut all = vec![idle_tx(10, "migration", 60.0)];
        all.extend((0..n).map(|n| waits(100 + n, "nightly-batch", 30.0, &[10])));
        Stack::healthy().used(37).sessions(all).told()
    };
    chain_of(30).explained("pool-exhausted/server-slots-full@postgres", &[CHAIN]);
    // Root and victim go: 35 is not full.
    chain_of(1).explained("pool-exhausted/server-slots-full@postgres", &[CHAIN]);
    let told = Stack::healthy()
        .used(60)
        .server(|s| s.max_connections = 63)
        .sessions([idle_tx(10, "psql", 60.0), waits(20, "x", 30.0, &[10])])
        .told();
    told.explained("pool-exhausted/server-slots-full@postgres", &[]);
}

#[test]
fn two_hundred_waiting_sessions_are_judged_in_no_time() {
    // Each waits for all before it, as `pg_blocking_pids` tells of a queue.
    let mut all = vec![idle_tx(10, "migration", 900.0)];
    for n in 0..200 {
        let before: Vec<i32> = std::iter::once(10).chain((0..n).map(|m| 1000 + m)).collect();
        all.push(waits(1000 + n, A, 60.0, &before));
    }
    assert!(chain(all).summary.contains("200 sessions"));
}
