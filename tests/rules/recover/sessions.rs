//! Whose sessions are ended: those that do the harm, at what they were seen doing, and nobody else's.

use mcp_ir::engine::recover::{Choice, Request};
use mcp_ir::plan::{Act, Ask, Ending, Like, Near, Plan, Risk, Whom};
use mcp_ir::snapshot::postgres::Session;

use super::{acts, chosen, of, planned};
use crate::payload;
use crate::stack::{A, Stack, idle_tx, session, waits};

pub fn ended(plan: &Plan) -> Vec<&Whom> {
    let mut all = Vec::new();
    for act in acts(plan) {
        let Act::EndSession(whom) = act else { panic!("{act:?}") };
        all.push(whom);
    }
    all
}

pub fn pids(plan: &Plan) -> Vec<i32> {
    ended(plan).iter().map(|w| w.pid).collect()
}

#[test]
fn errata_18_rule_1_only_the_root_of_a_chain_is_ended_and_only_at_the_transaction_that_was_seen() {
    let root = idle_tx(10, "migration", 60.0);
    let s = Stack::healthy().sessions([root.clone(), waits(20, A, 50.0, &[10]), waits(30, A, 40.0, &[20])]);
    let plan = planned(&s, &of("pool-exhausted"));
    let [whom] = ended(&plan)[..] else { panic!("{plan:?}") };
    assert_eq!((whom.pid, whom.how, whom.state.as_str()), (10, Ending::Terminate, "idle in transaction"));
    assert_eq!((&whom.backend_start, &whom.xact_start), (&root.backend_start, &root.xact_start));
    assert!(whom.blocks, "only while others wait for it");
    assert_eq!(whom.databases, ["codebase_mcp"]);
    let sql = &whom.statements().unwrap()[0];
    assert!(plan.steps[0].command.contains(sql.as_str()), "what is shown is sent: {}", plan.steps[0].command);
}

#[test]
fn rule_9_a_plan_holds_no_password() {
    let s = Stack::healthy()
        .postgres(|p| p.url.password = Some(mcp_ir::config::Secret::new("hunter2")))
        .sessions([idle_tx(10, "migration", 60.0), waits(20, A, 50.0, &[10])]);
    let plan = planned(&s, &of("pool-exhausted"));
    assert!(
        plan.steps[0].command.contains("psql 'postgresql://")
            || plan.steps[0].command.contains("psql postgresql://")
    );
    let text = serde_json::to_string(&plan).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn errata_19_a_root_that_runs_a_statement_is_cancelled_before_it_is_ended() {
    let root = session(10, "reindex", 60.0);
    let s = Stack::healthy().sessions([root.clone(), waits(20, A, 50.0, &[10])]);
    let plan = planned(&s, &of("pool-exhausted"));
    let [whom] = ended(&plan)[..] else { panic!("{plan:?}") };
    assert_eq!((whom.how, &whom.query_start), (Ending::CancelThenTerminate, &root.query_start));
    let command = &plan.steps[0].command;
    let (cancel, end) = (command.find("pg_cancel_backend"), command.find("pg_terminate_backend"));
    assert!(cancel.is_some() && cancel < end, "{command}");
}

#[test]
fn rule_1_whose_transaction_was_not_shown_is_not_ended() {
    let root = Session { xact_start: None, ..idle_tx(10, "migration", 60.0) };
    let s = Stack::healthy().sessions([root, waits(20, A, 50.0, &[10])]);
    let Choice::Advice { why, .. } = chosen(&s, &of("pool-exhausted")) else { panic!() };
    assert!(why.contains("session 10 (migration)") && why.contains("left alone"), "{why}");
}

#[test]
fn errata_19_rule_7_a_holder_in_another_database_is_shown_and_never_ended() {
    let mut root = idle_tx(10, "migration", 60.0);
    root.database = "payroll".into();
    let s = Stack::healthy().sessions([root, waits(20, A, 50.0, &[10])]);
    let Choice::Advice { why, .. } = chosen(&s, &of("pool-exhausted")) else { panic!() };
    assert!(why.contains("payroll"), "{why}");
}

#[test]
fn a_backup_that_holds_others_up_is_for_people() {
    let s = Stack::healthy().sessions([idle_tx(10, "pg_dump", 900.0), waits(20, A, 50.0, &[10])]);
    let Choice::Advice { why, .. } = chosen(&s, &of("pool-exhausted")) else { panic!() };
    assert!(why.contains("pg_dump, whose work would be lost"), "{why}");
}

/// A's pool is full of its own sessions; beside it a dump's leader, a shell, and another's.
fn leaking() -> Stack {
    let own = (0..8).map(|n| idle_tx(1000 + n, A, 400.0));
    let others = ["pg_dump", "pgBackRest [backup]", "psql", "workflow-mcp"];
    let others = (0..).zip(others).map(|(n, name)| idle_tx(2000 + n, name, 900.0));
    Stack::healthy().health(A, payload::a_full(10)).sessions(own.chain(others))
}

#[test]
fn rule_7_of_those_idle_in_a_transaction_only_who_fills_the_pool_is_ended() {
    let plan = planned(&leaking(), &of("pool-exhausted"));
    assert_eq!(plan.findings, ["pool-exhausted/idle-in-transaction@postgres"]);
    assert_eq!(pids(&plan), (1000..1008).collect::<Vec<_>>());
    assert_eq!(plan.watched, [A], "rule 6: whose pool it was has to be well again");
    // Who did something since is at work.
    assert!(ended(&plan).iter().all(|w| w.state_change.is_some() && !w.blocks));
    // What the finding types is the same.
    let told = leaking().told();
    let command = &told.find("pool-exhausted/idle-in-transaction@postgres").remedy.command;
    assert!(command.contains("(1000,'") && !command.contains("(200"), "{command}");
}

#[test]
fn rule_7_where_slots_are_short_backups_stay_all_the_same() {
    let held = (0..32).map(|n| idle_tx(1000 + n, "nightly-batch", 400.0));
    let backups = [idle_tx(2000, "pg_dump", 900.0), idle_tx(2001, "barman_backup", 900.0)];
    let s = Stack::healthy().used(37).sessions(held.chain(backups));
    // 37 used, 29 of 37 are four fifths: eight.
    assert_eq!(pids(&planned(&s, &of("pool-exhausted"))), (1000..1008).collect::<Vec<_>>());
}

#[test]
fn rule_7_where_most_are_of_another_database_ours_are_not_ended_for_nothing() {
    let with = |own: i32| {
        let others = (0..32 - own)
            .map(|n| Session { database: "payroll".into(), ..idle_tx(1000 + n, "nightly-batch", 400.0) });
        let own = (0..own).map(|n| idle_tx(2000 + n, "nightly-batch", 500.0));
        Stack::healthy().used(37).sessions(others.chain(own))
    };
    // One fewer leaves 36 of 37, which is full.
    let Choice::Advice { why, .. } = chosen(&with(1), &of("pool-exhausted")) else { panic!() };
    assert!(why.contains("payroll, which is not under care"), "{why}");
    assert_eq!(pids(&planned(&with(2), &of("pool-exhausted"))), [2000, 2001], "two are enough");
}

/// Of a server whose every session was looked at.
pub fn crowded(used: u32, all: Vec<Session>) -> (Stack, Request) {
    let near = Near { sessions: [("postgres".to_owned(), all)].into(), ..Near::default() };
    let request = Request { ask: Ask { near, ..Ask::default() }, ..of("pool-exhausted") };
    (Stack::healthy().used(used), request)
}

pub fn idle(pid: i32, application: &str, age_s: f64) -> Session {
    Session { state: "idle".into(), xact_start: None, ..session(pid, application, age_s) }
}

#[test]
fn errata_22_slots_are_freed_in_the_order_of_uselessness_and_no_more_than_it_takes() {
    let mut all: Vec<Session> =
        (0..30).map(|n| idle(1000 + n, "nightly-batch", 400.0 + f64::from(n))).collect();
    all.push(idle_tx(2000, "shell", 350.0));
    let listens = Session { query: "LISTEN jobs".into(), ..idle(3004, "worker", 900.0) };
    let elsewhere = Session { database: "payroll".into(), ..idle(3005, "batch", 900.0) };
    all.extend([
        idle(3000, A, 900.0),
        idle(3001, "", 900.0),
        idle(3002, "pg_dump", 900.0),
        idle(3003, "young", 20.0),
        listens,
        elsewhere,
    ]);
    let (s, request) = crowded(37, all);
    let plan = planned(&s, &request);
    // 37 used, 29 of 37 are four fifths: eight.
    assert_eq!(pids(&plan), [2000, 1029, 1028, 1027, 1026, 1025, 1024, 1023]);
    let sql = &ended(&plan)[1].statements().unwrap()[0];
    assert!(sql.contains("locktype = 'advisory'") && sql.contains("a.state_change::text"), "{sql}");
    assert!(!plan.steps[1].undo_reason.as_ref().unwrap().contains("rolled back"));
}

#[test]
fn spares_of_a_service_by_whatever_name_its_driver_gives_them_are_kept_and_who_may_listen_is_the_last() {
    let mut all: Vec<Session> = (0..6).map(|n| idle(1000 + n, "nightly-batch", 400.0)).collect();
    let spares = ["codebase-mcp/worker-2", "Codebase-MCP", "PostgreSQL JDBC Driver", "PgBouncer"];
    all.extend((2000..).zip(spares).map(|(pid, name)| idle(pid, name, 9000.0)));
    let query = |pid, text: &str| Session { query: text.into(), ..idle(pid, "worker", 9000.0) };
    all.extend([query(3000, "COMMIT;"), query(3001, "select ?")]);
    all.push(idle(4000, "codebase-mcpx", 300.1));
    let (s, request) = crowded(37, all);
    let plan = planned(&s, &request);
    assert_eq!(pids(&plan), [1000, 1001, 1002, 1003, 1004, 1005, 4000, 3000]);
    assert!(plan.notes.iter().any(|n| n.contains("log in anew")), "{:?}", plan.notes);
}

#[test]
fn errata_21_where_too_few_hold_a_slot_for_nothing_none_is_ended_and_more_of_them_is_a_restart() {
    let (s, request) = crowded(37, vec![idle(1000, "nightly-batch", 400.0)]);
    let Choice::Advice { why, .. } = chosen(&s, &request) else { panic!() };
    assert!(why.contains("too few") && why.contains("`max_connections` takes a restart"), "{why}");
}

#[test]
fn who_is_named_is_ended_at_what_he_is_seen_doing_and_all_or_none() {
    let named = |pids: &[i32], all: &[Session]| {
        let (s, mut request) = crowded(4, all.to_vec());
        (request.scenario, request.services, request.ask.kill) =
            (None, vec!["postgres".into()], pids.to_vec());
        chosen(&s, &request)
    };
    let all = [
        session(10, "report", 60.0),
        idle(11, "psql", 60.0),
        idle_tx(12, "pg_dump", 60.0),
        Session { database: "payroll".into(), ..idle(13, "psql", 60.0) },
    ];
    let Choice::Plan(plan) = named(&[10, 11], &all) else { panic!() };
    assert_eq!(pids(&plan), [10, 11]);
    assert!(ended(&plan)[0].query_start.is_some() && ended(&plan)[1].state_change.is_some());
    assert_eq!(plan.risk(), Risk::Disruptive);
    assert!(plan.notes[0].contains("report as mcp_user"), "{:?}", plan.notes);
    // A backup's is lost: its server's name has to be typed.
    let Choice::Plan(plan) = named(&[12], &all) else { panic!() };
    assert_eq!(plan.risk(), Risk::Destructive);
    for (pids, word) in [(&[10, 99][..], "no client session 99"), (&[13], "payroll")] {
        let Choice::Refused { why, .. } = named(pids, &all) else { panic!("{pids:?}") };
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn a_pid_that_is_anothers_by_now_is_not_ended() {
    let (s, mut request) = crowded(5, vec![idle(70, "nightly-batch", 400.0), idle(71, "codebase-mcp", 2.0)]);
    (request.scenario, request.services) = (None, vec!["postgres".into()]);
    for (pid, ok) in [(70, true), (71, false)] {
        request.ask.kill = vec![pid];
        request.ask.like =
            Like { application: Some("nightly-batch".into()), older: Some(60.0), ..Like::default() };
        match chosen(&s, &request) {
            Choice::Plan(plan) => assert!(ok && pids(&plan) == [pid], "{plan:?}"),
            Choice::Refused { why, .. } => {
                assert!(!ok && why.contains("none of those that were named"), "{why}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_long_statement_is_cancelled_first_and_only_after_ten_minutes() {
    let held = (0..32).map(|n| session(1000 + n, "report", if n < 3 { 400.0 } else { 700.0 }));
    let s = Stack::healthy().used(37).sessions(held);
    let plan = planned(&s, &of("pool-exhausted"));
    assert_eq!(pids(&plan), (1003..1011).collect::<Vec<_>>(), "no more than it takes");
    assert!(ended(&plan).iter().all(|w| w.how == Ending::CancelThenTerminate && w.query_start.is_some()));
}
