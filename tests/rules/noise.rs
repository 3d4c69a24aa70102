//! "Healthy with noise stays healthy": all of that list that this version can see.

use mcp_ir::config::Expect;
use mcp_ir::diagnosis::Verdict;
use mcp_ir::snapshot::postgres::{Consumer, Session};
use mcp_ir::snapshot::units::Event;

use crate::payload;
use crate::stack::{A, A_UNIT, C, C_UNIT, PG_UNIT, Stack, idle_tx, session, waits};

#[test]
fn a_spike_of_a_second() {
    let all = [session(10, C, 0.8), waits(20, A, 0.7, &[10]), waits(21, A, 0.6, &[10, 20])];
    Stack::healthy().sessions(all).health(A, payload::a_healthy(10, 1, 10)).told().healthy();
}

#[test]
fn a_transaction_idle_for_two_seconds() {
    Stack::healthy().sessions([idle_tx(10, "psql", 2.0)]).told().healthy();
}

#[test]
fn a_running_backup() {
    // It has run for an hour, in one transaction, and holds up nobody.
    let dump =
        Session { query: "COPY public.code_chunks TO stdout".into(), ..session(10, "pg_dump", 3600.0) };
    Stack::healthy().sessions([dump]).used(6).told().healthy();
}

#[test]
fn autovacuum_is_no_client_and_holds_up_nobody_for_long() {
    // It gives way after deadlock_timeout: a victim waits a second at the most.
    let vacuum = Session {
        user: "?".into(),
        query: "autovacuum: VACUUM code_chunks".into(),
        ..session(10, "", 900.0)
    };
    Stack::healthy().sessions([vacuum, waits(20, A, 0.9, &[10])]).told().healthy();
}

#[test]
fn a_restart_an_hour_ago_and_a_minute_ago() {
    for ago in [3600.0, 60.0, 1.0] {
        let events = [
            (ago, Event::Stopping),
            (ago, Event::Succeeded),
            (ago, Event::Stopped),
            (ago, Event::Starting),
            (ago, Event::Started),
        ];
        let s = Stack::healthy().events(A_UNIT, &events).detail(A_UNIT, "success", 0, 0, ago);
        s.told().case(format!("{ago} s ago")).healthy();
    }
}

#[test]
fn a_crash_that_restart_mended() {
    let died = Event::ProcessExited { code: "killed".into(), status: "9".into() };
    let s = Stack::healthy().events(
        C_UNIT,
        &[(5.0, died), (5.0, Event::Failed { result: "signal".into() }), (4.0, Event::Started)],
    );
    s.detail(C_UNIT, "success", 0, 0, 4.0).told().healthy();
}

#[test]
fn seventy_percent_of_a_pool() {
    // As the lab has it: 7 of 10; shape C calls 7 of 8 open 0.875.
    let s = Stack::healthy()
        .health(A, payload::a_healthy(8, 1, 10))
        .health(C, payload::c_healthy(8, 7))
        .pool_max(C, 10);
    s.told().healthy();
}

#[test]
fn ninety_percent_of_a_pool_which_it_calls_degraded_itself() {
    let warning = r#"{"warning":"Connection pool utilization exceeds 80% (current: 90.00%)"}"#;
    Stack::healthy().health(A, payload::a("degraded", "connected", 10, 1, 10, warning)).told().healthy();
}

#[test]
fn many_idle_spares() {
    let spares = |application: &str| Consumer {
        application: application.into(),
        user: "mcp_user".into(),
        client: "127.0.0.1".into(),
        database: "codebase_mcp".into(),
        state: "idle".into(),
        count: 10,
        oldest_s: 86_400.0,
        newest_s: Some(3600.0),
    };
    let s = Stack::healthy().used(20).server(|s| s.consumers = vec![spares(A), spares(C)]);
    s.health(A, payload::a_healthy(10, 10, 10))
        .health(C, payload::c_healthy(10, 0))
        .pool_max(C, 10)
        .told()
        .healthy();
}

#[test]
fn a_login_that_takes_a_second() {
    Stack::healthy().look(|p| p.login.elapsed_ms = 1040.0).told().healthy();
}

#[test]
fn an_absent_optional_redis() {
    let s = Stack::healthy()
        .config(|c| {
            let redis =
                serde_json::json!({"name": "redis", "url": "redis://127.0.0.1:6379/0", "optional": true});
            c.redis = vec![serde_json::from_value(redis).unwrap()];
        })
        .service(A, |s| s.needs.push("redis".into()))
        .loaded("redis-server.service", "not-found", "inactive", "dead");
    s.told().healthy();
}

#[test]
fn debians_umbrella_unit_and_a_second_cluster_that_is_down() {
    let s = Stack::healthy()
        .no_pg_unit()
        .unit("postgresql.service", "active", "exited")
        .unit(PG_UNIT, "active", "running")
        .unit("postgresql@14-old.service", "inactive", "dead");
    s.told().healthy();
}

#[test]
fn a_standby_that_takes_logins() {
    let expected = Stack::healthy().postgres(|p| p.expect = Expect::Standby);
    expected.server(|s| s.in_recovery = true).told().healthy();
}

#[test]
fn old_errors_in_the_log_of_a_service_that_is_well() {
    let s = Stack::healthy()
        .line(A_UNIT, 30.0, 3, "ERROR database: password authentication failed (FATAL 28P01)")
        .line(C_UNIT, 1.0, 2, "ERROR database: the database system is starting up (FATAL 57P03)");
    s.told().healthy();
}

#[test]
fn all_of_it_at_once() {
    let s = Stack::healthy()
        .used(30)
        .sessions([idle_tx(10, "psql", 2.0), session(11, "pg_dump", 3600.0), waits(20, A, 0.7, &[11])])
        .health(A, payload::a_healthy(10, 1, 10))
        .health(C, payload::c_healthy(8, 7))
        .pool_max(C, 10)
        .look(|p| p.login.elapsed_ms = 900.0)
        .no_bus();
    s.told().healthy().verdict(Verdict::Healthy);
}
