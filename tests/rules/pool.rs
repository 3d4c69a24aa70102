//! A service's own pool: in use of its maximum, and nothing else. A full pool is not a dead database.

use mcp_ir::diagnosis::{Certainty, Verdict};

use crate::payload;
use crate::stack::{A, C, Stack, refused, says, silent, wrong_password};

const FULL_A: &str = "pool-exhausted/client-pool-saturated@codebase-mcp";
const FULL_C: &str = "pool-exhausted/client-pool-saturated@workflow-mcp";

/// A server with slots for the largest pool.
fn roomy() -> Stack {
    Stack::healthy().server(|s| s.max_connections = 5000)
}

#[test]
fn a_full_pool_is_not_a_dead_database() {
    let told = Stack::healthy().health(A, payload::a_full(10)).told();
    told.never("db-down").expect_root(FULL_A, Certainty::Proven);
    told.explained("server-crash/unhealthy@codebase-mcp", &[FULL_A]);
    let told = Stack::healthy().health(C, payload::c_full(10, 4)).pool_max(C, 10).told();
    told.never("db-down").expect_root(FULL_C, Certainty::Proven);
    told.explained("server-crash/unhealthy@workflow-mcp", &[FULL_C]);
}

#[test]
fn ninety_five_percent_is_not_over_ninety_five_percent() {
    // in use, max, over
    for (used, max, over) in [
        (19, 20, false),
        (20, 20, true),
        (38, 40, false),
        (39, 40, true),
        (95, 100, false),
        (96, 100, true),
        (9, 10, false),
        (10, 10, true),
        (1, 1, true),
        (0, 1, false),
    ] {
        let s = roomy().health(A, payload::a_healthy(max, max - used, max));
        let told = s.told().case(format!("{used} of {max}"));
        if over {
            told.expect_root(FULL_A, Certainty::Proven);
        } else {
            told.healthy();
        }
    }
}

#[test]
fn the_boundary_holds_for_every_size_whatever_the_floats_do() {
    for n in 1..=100u64 {
        let max = 20 * n;
        roomy().health(A, payload::a_healthy(max, n, max)).told().case(format!("of {max}")).healthy();
    }
}

#[test]
fn what_is_open_is_not_what_is_in_use() {
    // 20 of 20 open and 17 of them free: 15 % (errata 9).
    Stack::healthy().health(A, payload::a_healthy(20, 17, 20)).told().healthy();
    // 5 of 6 open of at most 20.
    Stack::healthy().health(A, payload::a_healthy(6, 1, 20)).told().healthy();
    // All that is open is in use, and ten more may be opened.
    Stack::healthy().health(A, payload::a_healthy(10, 0, 20)).told().healthy();
}

#[test]
fn pool_utilization_is_never_taken_for_in_use_of_maximum() {
    // 1.0 of what is open; the maximum is not known: nobody waits, nothing is said.
    Stack::healthy().health(C, payload::c_healthy(2, 2)).told().healthy();
    // Known: 2 of 10.
    Stack::healthy().health(C, payload::c_healthy(2, 2)).pool_max(C, 10).told().healthy();
}

#[test]
fn without_a_maximum_only_waiting_callers_tell() {
    let waits = |total, active, waiting| payload::c("healthy", "connected", total, active, waiting, "ok");
    Stack::healthy().health(C, waits(10, 10, 3)).told().expect_root(FULL_C, Certainty::Likely);
    Stack::healthy().health(C, waits(10, 10, 0)).told().healthy();
}

#[test]
fn callers_that_wait_while_something_is_idle_wait_for_a_moment() {
    let s = Stack::healthy().health(C, payload::c("healthy", "connected", 10, 9, 3, "ok"));
    s.told().healthy();
}

#[test]
fn callers_that_wait_while_the_pool_may_still_grow_wait_for_a_connection() {
    let waits = |used| payload::c("healthy", "connected", used, used, 3, "ok");
    for used in [1, 2, 5, 7] {
        Stack::healthy()
            .health(C, waits(used))
            .pool_max(C, 10)
            .told()
            .case(format!("{used} of 10"))
            .healthy();
    }
    for used in [8, 9, 10] {
        let told =
            Stack::healthy().health(C, waits(used)).pool_max(C, 10).told().case(format!("{used} of 10"));
        told.expect_roots(&[FULL_C]);
    }
}

#[test]
fn a_maximum_of_nothing_is_no_maximum() {
    Stack::healthy().health(A, payload::a_healthy(0, 0, 0)).told().healthy();
    Stack::healthy().health(C, payload::c_healthy(3, 3)).pool_max(C, 0).told().healthy();
}

#[test]
fn numbers_that_contradict_themselves_are_not_counted() {
    // More free than open.
    Stack::healthy().health(A, payload::a_healthy(2, 9, 10)).told().healthy();
    for pool in [r#"{"size":-1,"free":0,"max_size":10}"#, r#"{"size":"many","free":0,"max_size":10}"#] {
        let body =
            format!(r#"{{"status":"healthy","database_status":"connected","connection_pool":{pool}}}"#);
        Stack::healthy().health(A, payload::json(200, &body)).told().case(pool).healthy();
    }
}

#[test]
fn numbers_in_strings_count() {
    let body = r#"{"status":"unhealthy","database_status":"disconnected","uptime_seconds":"36.08",
        "connection_pool":{"size":"20","min_size":"5","max_size":"20","free":"0"},"details":null}"#;
    Stack::healthy().health(A, payload::json(200, body)).told().expect_root(FULL_A, Certainty::Proven);
}

#[test]
fn shape_b_and_d_are_counted_alike() {
    let b = r#"{"status":"healthy","database_status":"connected","uptime_seconds":36.0,"connection_pool":
        {"size":20,"min_size":5,"max_size":20,"free":0,"utilization_percent":100.0},"details":null}"#;
    Stack::healthy().health(A, payload::json(200, b)).told().expect_root(FULL_A, Certainty::Proven);
    let d = r#"{"status":"healthy","database":{"status":"connected","pool":{"total":10,"idle":0,"active":10,"waiting":2},
        "latency_ms":2.1,"last_error":null,"leak_count":0},"uptime_seconds":12.5}"#;
    let s = Stack::healthy().health(A, payload::json(200, d));
    s.told().expect_root(FULL_A, Certainty::Likely);
    Stack::healthy().health(A, payload::json(200, d)).pool_max(A, 20).told().healthy();
    Stack::healthy()
        .health(A, payload::json(200, d))
        .pool_max(A, 10)
        .told()
        .expect_root(FULL_A, Certainty::Proven);
}

#[test]
fn a_pool_without_numbers_is_no_full_pool() {
    let body = r#"{"status":"healthy","database_status":"connected","connection_pool":{"size":10}}"#;
    Stack::healthy().health(A, payload::json(200, body)).told().healthy();
}

#[test]
fn a_real_outage_shows_an_empty_pool_and_no_full_one() {
    let told = Stack::outage().told();
    told.never("pool-exhausted").expect_root("db-down/postgres-stopped@postgres", Certainty::Proven);
}

#[test]
fn a_pool_that_fills_behind_a_hung_database_is_its_consequence() {
    let s = Stack::healthy().login(silent()).health(A, payload::a_full(10)).health(C, payload::c_full(10, 4));
    let told = s.told();
    told.expect_root("db-down/hung@postgres", Certainty::Likely);
    told.explained(FULL_A, &["db-down/hung@postgres"]);
    told.explained(FULL_C, &["db-down/hung@postgres"]);
}

#[test]
fn where_the_server_could_not_be_asked_a_full_pool_is_only_likely() {
    let s = Stack::healthy().login(wrong_password()).health(A, payload::a_full(10));
    s.told().expect_root(FULL_A, Certainty::Likely);
}

#[test]
fn the_threshold_is_the_configured_one() {
    let s =
        |pool| Stack::healthy().config(|c| c.thresholds.pool = pool).health(A, payload::a_healthy(10, 3, 10));
    s(0.6).told().expect_root(FULL_A, Certainty::Proven);
    s(0.7).told().healthy();
}

#[test]
fn an_unhealthy_service_whose_pool_is_full_says_connected_without_contradiction() {
    let s =
        Stack::healthy().health(A, payload::a("unhealthy", "connected", 10, 0, 10, r#"{"error":"slow"}"#));
    s.told()
        .expect_root(FULL_A, Certainty::Proven)
        .explained("server-crash/unhealthy@codebase-mcp", &[FULL_A]);
}

#[test]
fn a_full_pool_of_a_service_that_is_down_is_not_made_up() {
    let told = Stack::healthy().no_answer(A, refused()).pool_max(A, 10).told();
    told.never("pool-exhausted");
}

#[test]
fn two_full_pools_are_two_roots() {
    let s = Stack::healthy().health(A, payload::a_full(10)).health(C, payload::c_full(10, 4)).pool_max(C, 10);
    s.told().expect_roots(&[FULL_A, FULL_C]).verdict(Verdict::Problem);
}

#[test]
fn a_starting_database_leaves_no_full_pool_as_a_root() {
    let s = Stack::healthy()
        .login(says("57P03", "the database system is starting up"))
        .health(A, payload::a_full(10))
        .health(C, payload::c("unhealthy", "disconnected", 0, 0, 5, "the database system is starting up"));
    s.told().expect_root("db-down/starting-up@postgres", Certainty::Proven);
}

#[test]
fn a_full_pool_on_a_database_that_is_not_under_care_is_only_likely() {
    let s = Stack::healthy().service(A, |s| s.needs.clear()).health(A, payload::a_full(10));
    s.told().expect_root(FULL_A, Certainty::Likely);
}

#[test]
fn with_its_pool_full_connected_does_not_speak_against_a_hung_database() {
    let full = payload::a("unhealthy", "connected", 10, 0, 10, r#"{"error":"slow"}"#);
    let told = Stack::healthy().login(silent()).health(A, full).told();
    told.explained("server-crash/unhealthy@codebase-mcp", &["db-down/hung@postgres", FULL_A]);
}
