//! Sessions that a person names by their age: which of them are meant, and who is as old and no trouble.

use mcp_ir::engine::recover::{Choice, Request};
use mcp_ir::plan::{Ages, Ending, Plan, Risk};
use mcp_ir::snapshot::postgres::Session;

use super::sessions::{crowded, ended, idle, pids};
use super::{chosen, planned};
use crate::stack::{A, Stack, idle_tx, session, waits};

fn aged(used: u32, all: Vec<Session>, ages: Ages) -> (Stack, Request) {
    let (s, mut request) = crowded(used, all);
    request.ask.ages = ages;
    (s, request)
}

fn of_idle(used: u32, all: Vec<Session>) -> (Stack, Request) {
    aged(used, all, Ages { idle: Some(300.0), statement: None })
}

fn statements(all: Vec<Session>) -> (Stack, Request) {
    aged(20, all, Ages { idle: None, statement: Some(300.0) })
}

fn plan((s, request): (Stack, Request)) -> Plan {
    planned(&s, &request)
}

#[test]
fn errata_22_who_is_idle_in_a_transaction_comes_first_and_a_pools_spares_stay_while_slots_are_free() {
    let all = || {
        vec![
            idle(1000, "nightly-batch", 400.0),
            idle_tx(1001, A, 350.0),
            idle_tx(1002, "shell", 900.0),
            idle(1003, A, 900.0),
            idle(1004, "", 900.0),
            idle(1005, "young", 20.0),
            session(1006, "report", 900.0),
        ]
    };
    let free = plan(of_idle(20, all()));
    assert_eq!(pids(&free), [1002, 1001, 1000]);
    assert!(
        free.notes.iter().any(|n| n.starts_with("2 sessions may be a pool's spares")),
        "{:?}",
        free.notes
    );
    assert_eq!(free.risk(), Risk::Disruptive);
    assert!(
        free.notes[0].starts_with("session 1002: shell as mcp_user from"),
        "whose they are: {:?}",
        free.notes
    );
    // Where none is left for anybody, a spare is one more.
    let full = plan(of_idle(37, all()));
    assert_eq!(pids(&full), [1002, 1001, 1003, 1004, 1000]);
    assert_eq!(full.findings, ["pool-exhausted/server-slots-full@postgres"], "that has to be gone by it");
    assert!(full.asked, "a person's own word uses up no budget");
    assert!(
        full.notes.iter().any(|n| n.contains("temporary tables")),
        "what an idle one may lose: {:?}",
        full.notes
    );
}

#[test]
fn errata_19_other_databases_backups_and_listeners_are_counted_and_left_alone() {
    let listens = Session { query: "LISTEN jobs".into(), ..idle(1001, "worker", 900.0) };
    let elsewhere = Session { database: "payroll".into(), ..idle(1002, "batch", 900.0) };
    let others = || vec![listens.clone(), elsewhere.clone(), idle_tx(1003, "pg_dump", 900.0)];
    let one = plan(of_idle(20, [others(), vec![idle(1000, "nightly-batch", 400.0)]].concat()));
    assert_eq!(pids(&one), [1000]);
    for word in
        ["1 session of databases that are not under care", "2 sessions of a backup, a copy or a listener"]
    {
        assert!(one.notes.iter().any(|n| n.starts_with(word)), "{word}: {:?}", one.notes);
    }
    let (s, request) = of_idle(20, others());
    let Choice::NothingToDo(why) = chosen(&s, &request) else { panic!() };
    assert!(why.contains("no session of codebase_mcp is idle for longer than 5 min"), "{why}");
    assert!(why.contains("not under care"), "who is as old is told: {why}");
}

#[test]
fn rule_1_who_is_idle_is_ended_only_while_he_has_not_moved_since() {
    let plan = plan(of_idle(20, vec![idle(1000, "nightly-batch", 400.0), idle_tx(1001, "shell", 400.0)]));
    assert!(ended(&plan).iter().all(|w| w.state_change.is_some() && w.how == Ending::Terminate));
    let sql = &ended(&plan)[1].statements().unwrap()[0];
    assert!(sql.contains("locktype = 'advisory'"), "that may be how somebody leads: {sql}");
}

#[test]
fn errata_19_a_statement_that_is_too_old_is_cancelled_before_its_session_is_ended() {
    let copies = Session { query: "COPY code_chunks FROM stdin".into(), ..session(1002, "load", 900.0) };
    let all = vec![
        session(1000, "report", 400.0),
        session(1001, "report", 20.0),
        copies,
        session(1003, "pg_dump", 900.0),
        idle_tx(1004, "shell", 900.0),
    ];
    let plan = plan(statements(all));
    assert_eq!(pids(&plan), [1000]);
    let whom = ended(&plan)[0];
    assert_eq!((whom.how, whom.query_start.is_some()), (Ending::CancelThenTerminate, true));
    assert!(plan.notes.iter().any(|n| n.starts_with("2 sessions of a backup, a copy")), "{:?}", plan.notes);
}

#[test]
fn who_was_not_seen_is_not_nobody() {
    let (s, mut request) = of_idle(20, Vec::new());
    request.ask.near.sessions.clear();
    let Choice::Refused { why, .. } = chosen(&s, &request) else { panic!() };
    assert!(why.contains("could not be seen"), "{why}");
}

#[test]
fn who_is_not_shown_to_us_has_no_age() {
    let hidden = |pid| Session { state: "not shown".into(), state_s: 0.0, ..idle(pid, "other", 0.0) };
    let (s, request) = of_idle(20, vec![hidden(1000), hidden(1001)]);
    let Choice::Refused { why, hints } = chosen(&s, &request) else { panic!() };
    assert!(why.contains("2 sessions") && hints[0].starts_with("GRANT pg_monitor TO"), "{why} {hints:?}");
    let plan = plan(of_idle(20, vec![hidden(1000), idle(1001, "nightly-batch", 400.0)]));
    assert!(plan.notes.iter().any(|n| n.contains("how old 1 session")), "{:?}", plan.notes);
}

#[test]
fn victims_of_a_lock_and_copies_that_wait_are_not_the_ones_to_be_met() {
    let waits = |pid| waits(pid, "report", 900.0, &[7]);
    let copy = Session { query: "COPY code_chunks FROM stdin".into(), ..waits(1001) };
    let (s, request) = statements(vec![waits(1000), copy]);
    let Choice::NothingToDo(why) = chosen(&s, &request) else { panic!() };
    assert!(
        why.contains("1 session wait for another") && why.contains("1 session of a backup, a copy"),
        "{why}"
    );
}

/// That nobody is as old does not make it well.
#[test]
fn where_nobody_is_as_old_full_slots_are_still_said() {
    let (s, request) = of_idle(37, vec![idle(1000, "nightly-batch", 20.0)]);
    let Choice::Advice { why, .. } = chosen(&s, &request) else { panic!() };
    assert!(why.starts_with("pool-exhausted/server-slots-full@postgres: no session of"), "{why}");
}

#[test]
fn of_two_servers_it_is_asked_whose_sessions_are_meant() {
    let (s, request) = of_idle(20, vec![idle(1000, "nightly-batch", 400.0)]);
    let Choice::Unclear { hints, .. } = chosen(&s.second_postgres("other"), &request) else { panic!() };
    assert_eq!(hints, ["--service postgres", "--service other"]);
}
