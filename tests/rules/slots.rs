//! The server's slots: used of what ordinary roles may have, or PostgreSQL's own word.

use mcp_ir::diagnosis::{Certainty, Verdict};
use mcp_ir::snapshot::postgres::Consumer;

use crate::payload;
use crate::stack::{A, C, Stack, idle_tx, says, slots_gone};

const SLOTS: &str = "pool-exhausted/server-slots-full@postgres";
const FULL_A: &str = "pool-exhausted/client-pool-saturated@codebase-mcp";

#[test]
fn a_server_that_refuses_for_slots_is_alive_and_full() {
    let text = "remaining connection slots are reserved for non-replication superuser connections";
    let s = Stack::healthy()
        .login(slots_gone())
        .health(A, payload::a_down(text))
        .health(C, payload::c_down(text));
    let told = s.told();
    told.never("db-down").expect_root(SLOTS, Certainty::Proven);
    told.explained("server-crash/unhealthy@codebase-mcp", &[SLOTS]);
    told.explained("server-crash/unhealthy@workflow-mcp", &[SLOTS]);
}

#[test]
fn services_that_keep_their_connections_stay_well_beside_full_slots() {
    Stack::healthy().login(slots_gone()).told().expect_root(SLOTS, Certainty::Proven);
}

#[test]
fn ninety_five_percent_of_the_slots_is_full() {
    // used, max_connections, reserved, full
    for (used, max, reserved, full) in [
        (35, 40, 3, false), // 94.6 % of 37
        (36, 40, 3, true),
        (37, 40, 3, true),
        (18, 23, 3, false),
        (19, 23, 3, true), // 95 % exactly
        (94, 103, 3, false),
        (95, 103, 3, true),
        (97, 100, 3, true),
        (94, 100, 0, false),
        (95, 100, 0, true),
    ] {
        let s = Stack::healthy().server(|s| {
            (s.used, s.max_connections, s.reserved) = (used, max, reserved);
        });
        let told = s.told().case(format!("{used} of {max} - {reserved}"));
        if full {
            told.expect_root(SLOTS, Certainty::Proven).evidence(SLOTS, &format!("{used} used"));
        } else {
            told.healthy();
        }
    }
}

#[test]
fn a_count_without_pg_monitor_is_partial_and_proves_nothing() {
    // numbackends counts what takes no ordinary slot too: autovacuum, parallel workers.
    let s = Stack::healthy().used(36).server(|s| s.sees_all = false);
    s.told().expect_root(SLOTS, Certainty::Likely).evidence(SLOTS, "pg_monitor");
    Stack::healthy().used(35).server(|s| s.sees_all = false).told().healthy();
}

#[test]
fn limits_of_a_role_or_a_database_are_not_the_servers_slots() {
    for message in
        ["too many connections for role \"mcp_ir\"", "too many connections for database \"codebase_mcp\""]
    {
        Stack::healthy().login(says("53300", message)).told().case(message).never("pool-exhausted");
    }
}

#[test]
fn many_idle_spares_below_the_limit_are_fine() {
    Stack::healthy().used(34).told().healthy();
}

#[test]
fn those_who_hold_the_slots_are_shown_with_state_and_age() {
    let consumer = |application: &str, count| Consumer {
        application: application.into(),
        user: "batch".into(),
        client: "10.0.0.7".into(),
        database: "codebase_mcp".into(),
        state: "idle".into(),
        count,
        oldest_s: 3600.0,
        newest_s: None,
    };
    let s = Stack::healthy()
        .used(37)
        .server(|s| s.consumers = vec![consumer("nightly-batch", 33), consumer("", 4)]);
    let told = s.told();
    told.expect_root(SLOTS, Certainty::Proven)
        .evidence(SLOTS, "nightly-batch")
        .evidence(SLOTS, "33 idle, oldest 60 min");
}

#[test]
fn a_pool_at_its_own_maximum_is_no_consequence_of_full_slots() {
    // It has all that it may have: more slots would give it nothing.
    let told = Stack::healthy().used(37).health(A, payload::a_full(10)).told();
    told.expect_roots(&[FULL_A, SLOTS]).verdict(Verdict::Problem);
}

#[test]
fn callers_that_wait_because_the_server_gives_no_slot_are_its_consequence() {
    let waits = payload::c("unhealthy", "disconnected", 2, 2, 5, "no connection from the pool within 1.0 s");
    let told = Stack::healthy().used(37).health(C, waits).told();
    told.expect_root(SLOTS, Certainty::Proven);
    told.explained("pool-exhausted/client-pool-saturated@workflow-mcp", &[SLOTS]);
}

#[test]
fn slots_held_by_open_transactions_are_explained_by_them() {
    let held = (0..32).map(|n| idle_tx(1000 + n, "nightly-batch", 400.0));
    let told = Stack::healthy().used(36).sessions(held).told();
    told.expect_root("pool-exhausted/idle-in-transaction@postgres", Certainty::Proven);
    told.explained(SLOTS, &["pool-exhausted/idle-in-transaction@postgres"]);
}

#[test]
fn slots_that_would_stay_full_without_them_are_not() {
    // One of 37: ending it leaves 36, which is full.
    let told = Stack::healthy().used(37).sessions([idle_tx(1000, "psql", 400.0)]).told();
    told.expect_root(SLOTS, Certainty::Proven);
    told.find("pool-exhausted/idle-in-transaction@postgres");
    // Two: 35 is not.
    let two = [idle_tx(1000, "psql", 400.0), idle_tx(1001, "psql", 400.0)];
    let told = Stack::healthy().used(37).sessions(two).told();
    told.expect_root("pool-exhausted/idle-in-transaction@postgres", Certainty::Proven);
}
