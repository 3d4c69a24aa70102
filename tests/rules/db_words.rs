//! The server's own log: a start that failed, crashes again and again, a damaged index.

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::units::Event;
use mcp_ir::snapshot::{FailKind, Stage};

use crate::payload;
use crate::stack::{A, PG_UNIT, Stack, fail, postmaster, says};

const FAILED: &str = "db-down/start-failed@postgres";
const STOPPED: &str = "db-down/postgres-stopped@postgres";
const CRASH: &str = "db-down/backend-crash@postgres";
const INDEX: &str = "db-down/index-corrupt@postgres";
const STARTING: &str = "db-down/starting-up@postgres";

const CONFIGURATION: &str = "FATAL:  configuration file \"/etc/p.conf\" contains errors";
const PERMISSIONS: &str = "FATAL:  data directory \"/srv\" has invalid permissions";
const KILLED: &str = "LOG:  server process (PID 798) was terminated by signal 9: Killed";
const QUERY: &str = "DETAIL:  Failed process was running: SELECT count(*) FROM t";
const ZERO: &str = "ERROR:  index \"code_chunks_pkey\" contains unexpected zero page at block 1";

/// Its unit was started 30 s ago, in vain.
fn in_vain() -> Stack {
    let result = || "exit-code".to_owned();
    Stack::outage().unit(PG_UNIT, "failed", "failed").events(
        PG_UNIT,
        &[
            (90.0, Event::Stopping),
            (89.0, Event::Stopped),
            (30.0, Event::Starting),
            (29.0, Event::Failed { result: result() }),
            (29.0, Event::StartFailed { result: result() }),
        ],
    )
}

#[test]
fn a_start_that_never_became_ready_is_told_with_the_line_that_names_why() {
    let s = in_vain()
        .line(
            PG_UNIT,
            29.5,
            6,
            "2026-11-24 11:59:30.5 GMT [7] LOG:  unrecognized configuration parameter \"max_connection\"",
        )
        .line(PG_UNIT, 29.4, 6, &format!("2026-11-24 11:59:30.6 GMT [7] {CONFIGURATION}"))
        .line(PG_UNIT, 29.3, 6, "LOG:  database system is shut down");
    let told = s.told();
    told.expect_root(FAILED, Certainty::Proven)
        .evidence(FAILED, "max_connection")
        .evidence(FAILED, "contains errors");
    assert!(told.find(FAILED).summary.contains("unrecognized"), "{}", told.find(FAILED).summary);
}

#[test]
fn each_reason_has_its_own_next_look() {
    for (text, command) in [
        (CONFIGURATION, "systemctl status"),
        (PERMISSIONS, "ls -ld"),
        ("FATAL:  could not map anonymous shared memory: Cannot allocate memory", "meminfo"),
        ("FATAL:  lock file \"postmaster.pid\" already exists", "postmaster.pid"),
    ] {
        let told = in_vain().line(PG_UNIT, 29.4, 6, text).told().case(text);
        told.expect_root(FAILED, Certainty::Proven);
        assert!(told.find(FAILED).remedy.command.contains(command), "{:?}", told.find(FAILED).remedy);
    }
}

#[test]
fn without_its_reason_a_failed_start_is_likely() {
    in_vain().told().expect_root(FAILED, Certainty::Likely);
}

#[test]
fn a_cluster_that_ran_and_died_is_stopped_and_not_a_failed_start() {
    let died = |lines: &[&str]| {
        let s = Stack::outage().unit(PG_UNIT, "failed", "failed").events(
            PG_UNIT,
            &[
                (300.0, Event::Starting),
                (299.0, Event::Started),
                (20.0, Event::Failed { result: "signal".into() }),
            ],
        );
        lines.iter().fold(s, |s, l| s.line(PG_UNIT, 25.0, 6, l))
    };
    died(&[]).told().expect_root(STOPPED, Certainty::Proven);
    let ready = "LOG:  database system is ready to accept connections";
    died(&[ready, "PANIC:  could not locate a valid checkpoint record"])
        .told()
        .expect_root(STOPPED, Certainty::Proven);
}

#[test]
fn a_start_that_somebody_stopped_did_not_fail() {
    let s = in_vain().events(PG_UNIT, &[(10.0, Event::Stopping), (9.0, Event::Stopped)]);
    s.line(PG_UNIT, 29.4, 6, PERMISSIONS).told().expect_root(STOPPED, Certainty::Proven);
}

#[test]
fn reasons_of_a_start_before_and_words_to_clients_are_none() {
    let s = Stack::outage().unit(PG_UNIT, "failed", "failed").line(PG_UNIT, 100.0, 6, PERMISSIONS);
    let s = s.events(
        PG_UNIT,
        &[(30.0, Event::Starting), (29.9, Event::Started), (20.0, Event::Failed { result: "signal".into() })],
    );
    s.line(PG_UNIT, 25.0, 6, "a@b FATAL:  the database system is starting up")
        .told()
        .expect_root(STOPPED, Certainty::Proven);
}

#[test]
fn whoever_took_its_port_is_not_the_server() {
    let taken = || {
        in_vain()
            .login(fail(FailKind::Closed, Stage::Answer))
            .line(PG_UNIT, 29.5, 6, "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use")
            .line(PG_UNIT, 29.4, 6, "FATAL:  could not create any TCP/IP sockets")
    };
    let told = taken().told();
    told.expect_root(FAILED, Certainty::Proven).evidence(FAILED, "Address already in use");
    assert!(told.find(FAILED).remedy.command.starts_with("ss "));
    // Its own postmaster runs: started by hand, perhaps.
    let own = || taken().postmasters(vec![postmaster("S", Some(crate::stack::FOLDER), Some(5432))]);
    own().told().never("db-down/start-failed");
    taken().here(Some(false)).told().never("db-down/start-failed");
    taken().unit(PG_UNIT, "active", "running").told().never("db-down/start-failed");
}

#[test]
fn a_server_that_answers_did_start() {
    in_vain()
        .line(PG_UNIT, 29.4, 6, PERMISSIONS)
        .login(says("57P03", "the database system is starting up"))
        .told()
        .expect_root(STARTING, Certainty::Proven);
}

#[test]
fn crashes_again_and_again_are_told_with_signal_and_query() {
    let s = [200.0, 100.0, 50.0]
        .into_iter()
        .fold(Stack::healthy(), |s, ago| s.line(PG_UNIT, ago, 6, KILLED).line(PG_UNIT, ago - 0.1, 6, QUERY));
    s.told()
        .expect_root(CRASH, Certainty::Proven)
        .evidence(CRASH, "signal 9")
        .evidence(CRASH, "SELECT count(*) FROM t");
    let again = s.login(says("57P03", "the database system is in recovery mode")).told();
    again.expect_root(CRASH, Certainty::Proven).explained(STARTING, &[CRASH]);
}

#[test]
fn without_its_log_a_recovery_is_a_cause_only_where_a_service_is_hit_by_it() {
    let crash = "terminating connection because of crash of another server process (SQLSTATE 57P02)";
    let recovered = |ago| Stack::healthy().unlogged(PG_UNIT).server(|s| s.checkpointer_s = Some(ago));
    recovered(30.0).told().healthy();
    let told = recovered(30.0).health(A, payload::a_down(crash)).told();
    told.expect_root(CRASH, Certainty::Likely).evidence(CRASH, "30 s ago");
    // Long ago; never; its log is there, and has one only; said by none that this is of a crash.
    recovered(3600.0).health(A, payload::a_down(crash)).told().never("db-down/backend-crash");
    recovered(86_399.0).health(A, payload::a_down(crash)).told().never("db-down/backend-crash");
    let logged = Stack::healthy().server(|s| s.checkpointer_s = Some(30.0)).line(PG_UNIT, 30.0, 6, KILLED);
    logged.health(A, payload::a_down(crash)).told().never("db-down/backend-crash");
    recovered(30.0).health(A, payload::a_down("timeout")).told().never("db-down/backend-crash");
}

#[test]
fn one_crash_is_none_and_neither_are_two_an_hour_ago() {
    Stack::healthy().line(PG_UNIT, 50.0, 6, KILLED).told().healthy();
    Stack::healthy().line(PG_UNIT, 3700.0, 6, KILLED).line(PG_UNIT, 3600.0, 6, KILLED).told().healthy();
    Stack::healthy().line(PG_UNIT, 3700.0, 6, KILLED).line(PG_UNIT, 30.0, 6, KILLED).told().healthy();
}

#[test]
fn a_query_that_speaks_of_signals_is_no_crash() {
    let text = "ERROR:  relation \"server process (PID 1) was terminated by signal 9\" does not exist";
    Stack::healthy().line(PG_UNIT, 30.0, 6, text).line(PG_UNIT, 20.0, 6, text).told().healthy();
}

#[test]
fn a_damaged_index_is_told_by_the_servers_words_and_mended_beside_it() {
    let told = Stack::healthy().line(PG_UNIT, 30.0, 6, &format!("mcp_user@codebase_mcp {ZERO}")).told();
    told.expect_root(INDEX, Certainty::Proven).never("db-down/data-corruption");
    let command = &told.find(INDEX).remedy.command;
    assert!(command.contains("REINDEX INDEX CONCURRENTLY \"code_chunks_pkey\""), "{command}");
}

#[test]
fn a_service_that_speaks_of_a_damaged_index_is_explained_by_it() {
    let error = "index \"code_chunks_pkey\" contains unexpected zero page at block 1 (ERROR XX002)";
    let told = Stack::healthy().health(A, payload::a_down(error)).told();
    told.expect_root(INDEX, Certainty::Proven).never("db-down/data-corruption");
}

#[test]
fn a_login_that_meets_a_damaged_index_is_explained_by_it() {
    let told = Stack::outage()
        .login(says("XX002", "index \"pg_authid_rolname_index\" contains unexpected zero page"))
        .told();
    told.expect_root(INDEX, Certainty::Proven);
}

#[test]
fn an_old_word_of_an_index_and_other_errors_of_indexes_are_none() {
    Stack::healthy().line(PG_UNIT, 3700.0, 6, ZERO).told().healthy();
    for text in ["ERROR:  index \"x\" does not exist", "ERROR:  could not create unique index \"x\""] {
        Stack::healthy().line(PG_UNIT, 30.0, 6, text).told().case(text).healthy();
    }
}

#[test]
fn what_ran_for_long_did_start_whatever_it_told_its_clients_since() {
    let died = || {
        Stack::outage().unit(PG_UNIT, "failed", "failed").events(
            PG_UNIT,
            &[
                (3000.0, Event::Starting),
                (2990.0, Event::Started),
                (20.0, Event::Failed { result: "signal".into() }),
            ],
        )
    };
    // Its "ready" is of long ago, or in another language.
    for text in [
        "FATAL:  password authentication failed for user \"bob\"",
        "FATAL:  das Datenbanksystem startet gerade",
    ] {
        let told = died().line(PG_UNIT, 25.0, 6, text).line(PG_UNIT, 2995.0, 6, text).told();
        told.case(text).expect_root(STOPPED, Certainty::Proven);
    }
}

#[test]
fn a_line_from_the_future_is_of_another_clock_and_counts_for_nothing() {
    Stack::healthy().line(PG_UNIT, -600.0, 6, ZERO).told().healthy();
}
