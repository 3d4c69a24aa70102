//! A pool that leaks, and pools that may grow beyond the server.

use mcp_ir::diagnosis::{Certainty, Severity, Verdict};
use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::postgres::Consumer;
use mcp_ir::snapshot::slots::{Owner, SlotHolder, Slots};

use crate::payload;
use crate::stack::{A, C, Stack, idle_tx, refused, session, slots_gone};

const LEAK: &str = "pool-exhausted/pool-leak@codebase-mcp";
const FULL_A: &str = "pool-exhausted/client-pool-saturated@codebase-mcp";
const SLOTS: &str = "pool-exhausted/server-slots-full@postgres";
const IDLE_TX: &str = "pool-exhausted/idle-in-transaction@postgres";
const LONG: &str = "pool-exhausted/long-queries@postgres";
const BUDGET: &str = "pool-exhausted/pool-over-budget@postgres";
const UNHEALTHY_A: &str = "server-crash/unhealthy@codebase-mcp";

pub fn idle(application: &str, count: u32, newest_s: Option<f64>) -> Consumer {
    Consumer {
        application: application.into(),
        user: "mcp_user".into(),
        client: "127.0.0.1".into(),
        database: "codebase_mcp".into(),
        state: "idle".into(),
        count,
        oldest_s: 86_400.0,
        newest_s,
    }
}

fn full(consumers: Vec<Consumer>) -> Stack {
    Stack::healthy().health(A, payload::a_full(10)).server(|s| s.consumers = consumers)
}

/// Its ten connections are in use by its word, and idle by the server's.
pub fn leaking() -> Stack {
    full(vec![idle(A, 10, Some(400.0))])
}

#[test]
fn connections_in_use_that_postgresql_sees_idle_leak() {
    let told = leaking().told();
    told.expect_root(LEAK, Certainty::Likely)
        .explained(FULL_A, &[LEAK])
        .explained(UNHEALTHY_A, &[FULL_A, LEAK]);
    assert!(told.find(LEAK).remedy.command.contains("codebase-mcp.service"));
    // Shape C, its maximum by the environment; the groups of two clients are one pool.
    let s = Stack::healthy().health(C, payload::c_full(10, 4)).pool_max(C, 10);
    let told = s.server(|s| s.consumers = vec![idle(C, 6, Some(400.0)), idle(C, 4, Some(900.0))]).told();
    told.expect_root("pool-exhausted/pool-leak@workflow-mcp", Certainty::Likely);
}

#[test]
fn a_busy_pool_is_idle_for_moments_and_does_not_leak() {
    for (newest, leaks) in [
        (Some(0.01), false),
        (Some(299.9), false),
        (Some(300.0), false),
        (Some(300.1), true),
        // A look of before does not say.
        (None, false),
    ] {
        let told = full(vec![idle(A, 10, newest)]).told().case(format!("{newest:?}"));
        told.expect_roots(&[if leaks { LEAK } else { FULL_A }]);
    }
    // One of two groups is busy.
    full(vec![idle(A, 5, Some(400.0)), idle(A, 5, Some(1.0))]).told().expect_root(FULL_A, Certainty::Proven);
    let s = full(vec![idle(A, 10, Some(2.2))]).config(|c| c.thresholds.long_query = "2s".parse().unwrap());
    s.told().expect_roots(&[LEAK]);
}

#[test]
fn too_few_idle_or_anothers_are_no_leak() {
    full(vec![idle(A, 9, Some(400.0))]).told().expect_root(FULL_A, Certainty::Proven);
    for other in [C, "", "nightly-batch"] {
        full(vec![idle(other, 10, Some(400.0))]).told().case(other).expect_root(FULL_A, Certainty::Proven);
    }
    full(Vec::new()).told().expect_root(FULL_A, Certainty::Proven);
    // What is busy is no leak.
    let busy = Consumer { state: "active".into(), ..idle(A, 10, Some(400.0)) };
    full(vec![busy]).told().expect_root(FULL_A, Certainty::Proven);
}

#[test]
fn idle_spares_of_a_pool_that_is_not_full_do_not_leak() {
    let s = Stack::healthy().health(A, payload::a_healthy(10, 10, 10));
    s.server(|s| s.consumers = vec![idle(A, 10, Some(86_000.0))]).told().healthy();
}

#[test]
fn transactions_left_open_are_another_cause() {
    let open = Consumer { state: "idle in transaction".into(), ..idle(A, 10, Some(400.0)) };
    let s = full(vec![open]).sessions((0..10).map(|n| idle_tx(1000 + n, A, 400.0)));
    let told = s.told();
    told.never("pool-exhausted/pool-leak");
    told.expect_root("pool-exhausted/idle-in-transaction@postgres", Certainty::Proven);
}

#[test]
fn a_leak_explains_full_slots_only_where_it_holds_them() {
    // 36 of 37, ten of them leaked.
    let told = full(vec![idle(A, 10, Some(400.0))]).used(36).told();
    told.expect_root(LEAK, Certainty::Likely).explained(SLOTS, &[LEAK]);
    // 199 of 200: 189 are left, which is 94.5 %; 200: 190 are left, which is full.
    for (used, holds) in [(199, true), (200, false)] {
        let s = full(vec![idle(A, 10, Some(400.0))]);
        let told = s.server(|s| (s.max_connections, s.used) = (203, used)).told().case(used.to_string());
        told.explained(SLOTS, if holds { &[LEAK] } else { &[] });
    }
}

#[test]
fn a_leak_on_one_server_does_not_explain_the_slots_of_another() {
    let mut s = full(vec![idle(A, 10, Some(400.0))])
        .used(36)
        .second_postgres("reports")
        .service(A, |s| s.needs = vec!["postgres".into(), "reports".into()]);
    s.now.postgres.get_mut("reports").unwrap().login = crate::stack::failed(slots_gone());
    s.told().explained("pool-exhausted/server-slots-full@reports", &[]);
}

#[test]
fn a_server_that_its_service_does_not_need_is_not_filled_by_it() {
    let s = full(vec![idle(A, 10, Some(400.0))]).used(36).service(A, |s| s.needs.clear());
    s.told().never("pool-exhausted/pool-leak").explained(SLOTS, &[]);
}

/// The largest sizes of both pools.
fn pools(a: u64, c: u64) -> Stack {
    Stack::healthy().health(A, payload::a_healthy(2, 2, a)).pool_max(C, c)
}

#[test]
fn pools_that_may_want_more_than_there_is_are_a_note() {
    let told = pools(30, 30).told();
    told.verdict(Verdict::Healthy).expect_roots(&[]);
    assert_eq!(told.find(BUDGET).severity, Severity::P4);
    told.evidence(BUDGET, "codebase-mcp 30 + workflow-mcp 30");
}

#[test]
fn as_many_as_there_are_is_within_the_budget() {
    pools(20, 17).told().healthy();
    pools(20, 18).told().verdict(Verdict::Healthy).find(BUDGET);
    pools(20, 18).server(|s| s.reserved = 2).told().healthy();
}

#[test]
fn only_known_maxima_count_in_the_budget() {
    // Shape C does not say its own; `in use of open` is no maximum.
    Stack::healthy()
        .health(A, payload::a_healthy(2, 2, 30))
        .health(C, payload::c_healthy(30, 2))
        .told()
        .healthy();
    // One alone is too much.
    Stack::healthy().health(A, payload::a_healthy(2, 2, 38)).told().find(BUDGET);
    // A pool of a service that is down, or of another server, is not counted.
    pools(30, 30).no_answer(A, refused()).told().never(BUDGET.split('@').next().unwrap());
    pools(30, 30).service(C, |s| s.needs.clear()).told().healthy();
    pools(30, 0).told().healthy();
}

#[test]
fn a_budget_explains_nothing_that_is_red() {
    let told = pools(30, 30).used(37).told();
    told.expect_root(SLOTS, Certainty::Proven).find(BUDGET);
    let told = pools(30, 30).sessions([session(10, "psql", 1.5)]).health(C, payload::c_down("lost")).told();
    told.expect_root("server-crash/unhealthy@workflow-mcp", Certainty::Proven);
}

/// What the host says of the holders of a server's slots that lets nobody in.
fn holder(state: &str, count: u32, newest_s: Option<f64>, of: Option<&str>) -> SlotHolder {
    let owner = of.map(|group| Owner {
        pid: 4711,
        name: "python3".into(),
        control_group: Some(format!("/system.slice/{group}")),
    });
    SlotHolder {
        user: "mcp_user".into(),
        database: "codebase_mcp".into(),
        client: "127.0.0.1".into(),
        state: state.into(),
        count,
        owner,
        newest_s,
        oldest_s: newest_s.map(|_| 5000.0),
    }
}

/// The leak may still grow: its pool has room, and the server has none.
fn taken(holders: Vec<SlotHolder>) -> Stack {
    let text = "remaining connection slots are reserved for non-replication superuser connections";
    let backends = holders.iter().map(|h| h.count).sum();
    Stack::healthy()
        .login(slots_gone())
        .health(A, payload::a("unhealthy", "disconnected", 37, 0, 50, "null"))
        .health(C, payload::c_down(text))
        .look(|p| p.slots = Reading::Seen { value: Slots { backends, untitled: 0, holders } })
}

const OWN: &str = "codebase-mcp.service";

#[test]
fn a_leak_that_takes_the_last_slot_explains_the_other_service() {
    let told = taken(vec![holder("idle", 37, Some(400.0), Some(OWN))]).told();
    told.expect_root(LEAK, Certainty::Likely)
        .explained(SLOTS, &[LEAK])
        .explained("server-crash/unhealthy@workflow-mcp", &[SLOTS])
        .explained(UNHEALTHY_A, &[LEAK, SLOTS]);
    assert!(told.find(LEAK).remedy.command.contains(OWN));
    // The other service's own pool is no trouble, and a shell's session none of a service.
    let beside =
        [holder("idle", 35, Some(400.0), Some(OWN)), holder("active", 2, None, Some("batch.service"))];
    taken(beside.to_vec()).told().case("beside others");
}

#[test]
fn slots_that_are_not_known_to_leak_are_only_full() {
    for (case, holders) in [
        ("busy", vec![holder("idle", 37, Some(0.2), Some(OWN))]),
        ("age not known", vec![holder("idle", 37, None, Some(OWN))]),
        ("at work", vec![holder("active", 37, None, Some(OWN))]),
        ("open transactions", vec![holder("idle in transaction", 37, Some(200.0), Some(OWN))]),
        ("owner not known", vec![holder("idle", 37, Some(400.0), None)]),
        ("another's", vec![holder("idle", 37, Some(400.0), Some("batch.service"))]),
        (
            "most are another's",
            vec![
                holder("idle", 25, Some(400.0), Some("batch.service")),
                holder("idle", 12, Some(400.0), Some(OWN)),
            ],
        ),
        ("a title says no state", vec![holder("unknown", 37, Some(400.0), Some(OWN))]),
        ("nobody", Vec::new()),
    ] {
        let told = taken(holders).told().case(case);
        told.expect_root(SLOTS, Certainty::Proven);
    }
}

#[test]
fn who_holds_the_slots_is_shown_though_nobody_is_let_in() {
    let told = taken(vec![holder("active", 36, Some(4.0), Some("batch.service"))]).told();
    told.evidence(SLOTS, "process 4711 (python3)").evidence(SLOTS, "36 active for 4 s to 83 min");
}

#[test]
fn transactions_left_open_hold_every_slot_though_nobody_is_let_in() {
    let idle = |count, newest| holder("idle in transaction", count, newest, Some("batch.service"));
    let told = taken(vec![idle(36, Some(400.0)), holder("idle", 1, Some(9.0), Some(OWN))]).told();
    told.expect_root(IDLE_TX, Certainty::Proven).explained(SLOTS, &[IDLE_TX]);
    let command = &told.find(IDLE_TX).remedy.command;
    assert!(command.contains("idle in transaction") && command.contains("codebase_mcp"), "{command}");
    for (case, holders) in [
        ("young", vec![idle(37, Some(200.0))]),
        ("age not known", vec![idle(37, None)]),
        ("too few to matter", vec![idle(1, Some(400.0)), holder("active", 36, None, None)]),
    ] {
        taken(holders).told().case(case).expect_root(SLOTS, Certainty::Proven).never(IDLE_TX);
    }
}

#[test]
fn statements_that_run_for_minutes_hold_every_slot_though_nobody_is_let_in() {
    let active = |state, newest| holder(state, 36, Some(newest), Some("batch.service"));
    let told = taken(vec![active("active", 400.0)]).told();
    told.expect_root(LONG, Certainty::Likely).explained(SLOTS, &[LONG]);
    // Some are meant to last, and who waits for a lock is a victim.
    let mut dump = active("active", 400.0);
    dump.owner.as_mut().unwrap().name = "pg_dump".into();
    for h in [active("active", 200.0), active("copying", 400.0), active("waiting", 400.0), dump] {
        let case = format!("{h:?}");
        taken(vec![h]).told().case(case).expect_root(SLOTS, Certainty::Proven);
    }
}

#[test]
fn idle_spares_on_a_full_server_do_not_leak() {
    for in_use in [0, 1, 20] {
        let s = Stack::healthy().health(A, payload::a_healthy(50, 50 - in_use, 50)).used(37);
        let s = s.server(|s| s.consumers = vec![idle(A, 50 - in_use as u32, Some(600.0))]);
        s.told().case(in_use.to_string()).expect_root(SLOTS, Certainty::Proven);
        let s = taken(vec![holder("idle", 37, Some(600.0), Some(OWN))]);
        let s = s.health(A, payload::a("unhealthy", "disconnected", 37, 37 - in_use, 50, "null"));
        if in_use < 20 {
            s.told().case(format!("{in_use} by title")).expect_root(SLOTS, Certainty::Proven);
        }
    }
}
