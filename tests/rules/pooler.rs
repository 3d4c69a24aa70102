//! A pgbouncer that has no connection to give; and one that is only used well.

use mcp_ir::config::Pooler;
use mcp_ir::diagnosis::{Certainty, SymptomState, Verdict};
use mcp_ir::snapshot::pooler::{Pool, PoolerLook, Pools};

use crate::payload;
use crate::stack::{A, C, Stack, fail, failed, refused, says, seen, silent};

const FULL: &str = "pool-exhausted/pooler-full@pgbouncer";
const UNNAMED: &str = "pool-exhausted/pooler-full@postgres";
const WAITED: &str = "query_wait_timeout";

fn pool(busy: u64, idle: u64, waiting: u64, max_wait_s: f64) -> Pool {
    Pool {
        database: "codebase_mcp".into(),
        user: "mcp_user".into(),
        waiting,
        max_wait_s,
        busy,
        idle,
        size: Some(2),
        paused: false,
    }
}

fn pools(all: Vec<Pool>) -> Pools {
    Pools { clients: Some(10), max_clients: Some(100), all }
}

/// Before the one server, with a console at its usual port.
pub fn pgbouncer() -> Pooler {
    Pooler {
        name: "pgbouncer".into(),
        url: "postgresql://stats@127.0.0.1:6432/pgbouncer".parse().unwrap(),
        password_file: None,
        password_env: None,
        unit: None,
        container: None,
        needs: vec!["postgres".into()],
    }
}

/// Both services go through a configured pooler.
fn through(mut s: Stack, pools: Pools) -> Stack {
    s.now
        .poolers
        .insert("pgbouncer".into(), PoolerLook { endpoint: "127.0.0.1:6432".into(), pools: seen(pools) });
    s.config(|c| {
        c.pooler.push(pgbouncer());
        c.service.iter_mut().for_each(|s| s.needs = vec!["pgbouncer".into()]);
    })
}

fn starved() -> Stack {
    Stack::healthy().health(A, payload::a_down(WAITED)).health(C, payload::c_down(WAITED))
}

#[test]
fn clients_that_wait_for_a_pool_that_is_taken_are_its_consequence() {
    let told = through(starved(), pools(vec![pool(2, 0, 3, 1.7)])).told();
    told.expect_root(FULL, Certainty::Proven).never("db-down");
    told.explained("server-crash/unhealthy@codebase-mcp", &[FULL]);
    told.explained("server-crash/unhealthy@workflow-mcp", &[FULL]);
    told.evidence(FULL, "2 of 2 taken, 3 waiting").evidence(FULL, WAITED);
}

#[test]
fn between_two_that_gave_up_nobody_waits_and_the_pool_is_full_all_the_same() {
    through(starved(), pools(vec![pool(2, 0, 0, 0.0)])).told().expect_root(FULL, Certainty::Proven);
}

#[test]
fn a_burst_of_waiting_clients_is_noise() {
    for p in [pool(2, 0, 5, 0.9), pool(2, 0, 0, 0.0), pool(1, 1, 5, 3.0)] {
        through(Stack::healthy(), pools(vec![p.clone()])).told().case(format!("{p:?}")).healthy();
    }
}

#[test]
fn clients_that_wait_long_are_not_well_whatever_they_wait_for() {
    let paused = Pool { paused: true, ..pool(2, 0, 5, 9.0) };
    for p in [pool(0, 0, 5, 9.0), paused] {
        let told = through(Stack::healthy(), pools(vec![p])).told();
        told.verdict(Verdict::Unknown).never("pool-exhausted");
    }
}

#[test]
fn a_pool_of_unknown_size_or_a_paused_one_is_not_full() {
    let unknown = Pool { size: None, ..pool(2, 0, 5, 9.0) };
    let paused = Pool { paused: true, ..pool(2, 0, 5, 9.0) };
    for p in [unknown, paused] {
        through(Stack::healthy(), pools(vec![p])).told().never("pool-exhausted");
    }
}

#[test]
fn no_client_more_is_full_too() {
    let full = Pools { clients: Some(100), max_clients: Some(100), all: vec![pool(1, 1, 0, 0.0)] };
    through(Stack::healthy(), full).told().expect_root(FULL, Certainty::Proven);
}

#[test]
fn words_of_clients_tell_of_a_pooler_that_is_not_configured() {
    let told = starved().told();
    told.expect_root(UNNAMED, Certainty::Likely).never("db-down");
    told.explained("server-crash/unhealthy@codebase-mcp", &[UNNAMED]);
    let s = Stack::healthy().health(A, payload::a_down("no more connections allowed (max_client_conn)"));
    s.told().expect_root(UNNAMED, Certainty::Likely);
}

#[test]
fn a_pooler_with_room_whose_clients_time_out_has_another_trouble() {
    through(starved(), pools(vec![pool(0, 0, 4, 1.5)])).told().never("pool-exhausted");
}

#[test]
fn a_server_that_hangs_behind_it_explains_it() {
    let told = through(starved(), pools(vec![pool(2, 0, 3, 4.0)])).login(silent()).told();
    told.expect_roots(&["db-down/hung@postgres"]);
    told.explained(FULL, &["db-down/hung@postgres"]);
}

#[test]
fn a_pooler_is_seen_by_its_console_or_by_a_service_that_is_connected() {
    let console = |f| {
        let mut s = through(Stack::healthy(), pools(Vec::new()));
        s.now.poolers.get_mut("pgbouncer").unwrap().pools = failed(f);
        s.told()
    };
    through(Stack::healthy(), pools(Vec::new())).told().healthy();
    let told = console(says("08P01", "SASL authentication failed"));
    told.healthy().symptom("pgbouncer", SymptomState::Good);
    console(refused()).symptom("pgbouncer", SymptomState::Bad).unknown();
    console(fail(mcp_ir::snapshot::FailKind::NotTried, mcp_ir::snapshot::Stage::Connect))
        .symptom("pgbouncer", SymptomState::Unseen)
        .unknown();
}
