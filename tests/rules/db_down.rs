//! What a login says by its own words: starting, hung, unreachable, or alive and closed to us.

use mcp_ir::diagnosis::{Certainty, SymptomState, Verdict};
use mcp_ir::snapshot::{FailKind, Failure, Stage};

use crate::payload;
use crate::stack::{
    A, C, FOLDER, PG_UNIT, Stack, fail, failed, postmaster, refused, says, silent, slots_gone, wrong_password,
};

/// A stack whose services notice nothing yet and do not say how their database is.
fn mute() -> Stack {
    let mute = r#"{"status":"healthy","database_status":"unchecked","connection_pool":{"size":2,"free":2,"max_size":10}}"#;
    Stack::healthy().health(A, payload::json(200, mute)).health(C, payload::json(200, mute))
}

fn standby() -> Failure {
    let mut f = says("57P03", "the database system is not accepting connections");
    f.postgres.as_mut().unwrap().detail = Some("Hot standby mode is disabled.".into());
    f
}

fn by_routine(sqlstate: &str, message: &str, routine: &str) -> Failure {
    let mut f = says(sqlstate, message);
    f.postgres.as_mut().unwrap().routine = Some(routine.into());
    f
}

/// A cause and how sure, or none.
type Want = Option<(&'static str, Certainty)>;

/// A failed login, and the only cause that it may name, whatever unit and process table say.
fn meanings() -> Vec<(&'static str, Failure, Want)> {
    let proven = |id| Some((id, Certainty::Proven));
    let likely = |id| Some((id, Certainty::Likely));
    vec![
        (
            "starting",
            says("57P03", "the database system is starting up"),
            proven("db-down/starting-up@postgres"),
        ),
        (
            "not yet accepting",
            says("57P03", "the database system is not yet accepting connections"),
            proven("db-down/starting-up@postgres"),
        ),
        (
            "recovery",
            says("57P03", "the database system is in recovery mode"),
            proven("db-down/starting-up@postgres"),
        ),
        (
            "stopping",
            says("57P03", "the database system is shutting down"),
            proven("db-down/shutting-down@postgres"),
        ),
        ("a closed standby", standby(), None),
        ("57P03 in German", says("57P03", "das Datenbanksystem fährt hoch"), None),
        ("slots", slots_gone(), proven("pool-exhausted/server-slots-full@postgres")),
        (
            "slots in German",
            by_routine("53300", "tut mir leid, schon zu viele Verbindungen", "InitProcess"),
            proven("pool-exhausted/server-slots-full@postgres"),
        ),
        ("our role's limit", says("53300", "too many connections for role \"mcp_ir\""), None),
        (
            "our role's limit in German",
            by_routine("53300", "zu viele Verbindungen von Rolle »mcp_ir«", "InitializeSessionUserId"),
            None,
        ),
        (
            "the database's limit",
            says("53300", "too many connections for database \"codebase_mcp\""),
            proven("db-down/connection-limit@postgres"),
        ),
        (
            "a damaged page",
            says("XX001", "invalid page in block 0"),
            proven("db-down/data-corruption@postgres"),
        ),
        ("a damaged index", says("XX002", "index is corrupt"), proven("db-down/index-corrupt@postgres")),
        ("password", wrong_password(), None),
        ("pg_hba", says("28000", "no pg_hba.conf entry for host \"10.0.0.9\""), None),
        ("not permitted", says("42501", "permission denied for database \"codebase_mcp\""), None),
        ("no password", fail(FailKind::Denied, Stage::Answer), None),
        ("no such database", says("3D000", "database \"codebase_mcp\" does not exist"), None),
        ("an unknown word", says("XX000", "server conn crashed?"), None),
        ("our certificate", fail(FailKind::Tls, Stage::Tls), likely("db-down/tls-failed@postgres")),
        ("closed", fail(FailKind::Closed, Stage::Answer), None),
        ("not PostgreSQL", fail(FailKind::Malformed, Stage::Answer), None),
        ("the look itself was late", fail(FailKind::TimedOut, Stage::Query), None),
        ("a socket that is not ours to open", fail(FailKind::Denied, Stage::Connect), None),
        ("silence", silent(), likely("db-down/hung@postgres")),
        ("silence in TLS", fail(FailKind::TimedOut, Stage::Tls), likely("db-down/hung@postgres")),
        ("no connection", fail(FailKind::TimedOut, Stage::Connect), proven("db-down/unreachable@postgres")),
        ("no route", fail(FailKind::Unreachable, Stage::Connect), proven("db-down/unreachable@postgres")),
        ("no such name", fail(FailKind::Unresolved, Stage::Resolve), proven("db-down/dns-failure@postgres")),
        ("a late resolver", fail(FailKind::TimedOut, Stage::Resolve), likely("db-down/dns-failure@postgres")),
    ]
}

#[test]
fn only_a_refused_login_is_judged_by_unit_and_process_table() {
    let units = [
        ("active", "running"),
        ("inactive", "dead"),
        ("failed", "failed"),
        ("activating", "start"),
        ("deactivating", "stop-sigterm"),
    ];
    for (meaning, failure, want) in meanings() {
        for (active, sub) in units {
            for here in [Some(true), Some(false), None] {
                for all in [vec![], vec![postmaster("S", Some(FOLDER), Some(5432))]] {
                    let case =
                        format!("{meaning}, {active} ({sub}), here {here:?}, {} postmasters", all.len());
                    let s =
                        mute().login(failure.clone()).here(here).unit(PG_UNIT, active, sub).postmasters(all);
                    let told = s.told().case(case);
                    match want {
                        Some((id, certainty)) => _ = told.expect_root(id, certainty),
                        None => _ = told.unknown(),
                    }
                }
            }
        }
    }
}

#[test]
fn our_own_refused_login_is_healthy_where_a_service_is_connected() {
    let ours = [
        "our role's limit",
        "our role's limit in German",
        "password",
        "pg_hba",
        "not permitted",
        "no password",
        "no such database",
        "our certificate",
        "a socket that is not ours to open",
    ];
    for (meaning, failure, want) in meanings() {
        let want = want.filter(|_| !ours.contains(&meaning));
        let s = Stack::healthy().login(failure);
        let told = s.told().case(meaning);
        match want {
            None if ours.contains(&meaning) => _ = told.healthy().symptom("postgres", SymptomState::Good),
            None => _ = told.unknown(),
            Some((id, _)) => _ = told.expect_roots(&[id]),
        }
    }
}

#[test]
fn our_own_refused_login_alone_is_unknown_never_down() {
    mute().login(wrong_password()).told().unknown().symptom("postgres", SymptomState::Unseen);
}

#[test]
fn a_service_far_up_the_chain_does_not_vouch_for_a_database_it_does_not_use() {
    let s = mute()
        .service(C, |s| s.needs = vec![A.into()])
        .health(C, payload::c_healthy(2, 0))
        .login(wrong_password());
    s.told().unknown();
}

#[test]
fn a_socket_that_may_not_be_opened_proves_no_living_server() {
    let s = mute().login(fail(FailKind::Denied, Stage::Connect)).line("codebase-mcp.service", 2.0, 3, "x");
    let told = s.told();
    told.unknown();
    assert!(!told.d.unknown.iter().any(|u| u.why.contains("alive")), "{:?}", told.d.unknown);
}

#[test]
fn a_stopped_postmaster_is_hung_by_the_kernels_word() {
    for (state, word) in [("T", "CONT"), ("t", "CONT"), ("D", "stack")] {
        let told = Stack::healthy().login(silent()).process(PG_UNIT, state).told().case(state);
        told.expect_root("db-down/hung@postgres", Certainty::Proven);
        assert!(told.find("db-down/hung@postgres").remedy.command.contains(word), "{state}");
        // Without a unit, by the process table.
        let table = vec![postmaster(state, Some(FOLDER), Some(5432))];
        let told = Stack::healthy().no_pg_unit().login(silent()).postmasters(table).told().case(state);
        told.expect_root("db-down/hung@postgres", Certainty::Proven);
    }
    for state in ["S", "R", "I", "Z"] {
        let told = Stack::healthy().login(silent()).process(PG_UNIT, state).told().case(state);
        told.expect_root("db-down/hung@postgres", Certainty::Likely);
    }
}

#[test]
fn slow_under_load_is_never_proven_hung() {
    Stack::healthy().login(silent()).told().expect_root("db-down/hung@postgres", Certainty::Likely);
}

#[test]
fn a_stopped_process_whose_queue_is_full_is_hung_not_unreachable() {
    let late = fail(FailKind::TimedOut, Stage::Connect);
    let s = Stack::healthy().login(late).process(PG_UNIT, "T");
    s.told().expect_root("db-down/hung@postgres", Certainty::Proven);
}

#[test]
fn another_clusters_stopped_process_is_not_this_one() {
    // By units: two were found by pattern, the other one is stopped.
    let s = Stack::healthy()
        .no_pg_unit()
        .login(silent())
        .unit("postgresql@14-old.service", "active", "running")
        .unit(PG_UNIT, "active", "running")
        .process("postgresql@14-old.service", "T");
    s.told().expect_root("db-down/hung@postgres", Certainty::Likely);
    // By the process table: the only postmaster has another port, or another folder.
    let other = |s: Stack| s.login(silent()).postmasters(vec![postmaster("T", Some("/srv/pg"), Some(5433))]);
    other(Stack::healthy().no_pg_unit()).told().expect_root("db-down/hung@postgres", Certainty::Likely);
    let folder = |s: Stack| s.postgres(|p| p.data_directory = Some(FOLDER.into()));
    other(folder(Stack::healthy().no_pg_unit()))
        .told()
        .expect_root("db-down/hung@postgres", Certainty::Likely);
}

#[test]
fn a_stopped_process_here_says_nothing_of_a_server_elsewhere() {
    let s = Stack::healthy().login(silent()).here(Some(false)).process(PG_UNIT, "T");
    s.told().expect_root("db-down/hung@postgres", Certainty::Likely);
}

#[test]
fn a_login_that_works_is_never_a_dead_database_whatever_systemd_says() {
    for (active, sub) in
        [("inactive", "dead"), ("failed", "failed"), ("deactivating", "stop"), ("activating", "start")]
    {
        let s = Stack::healthy()
            .unit(PG_UNIT, active, sub)
            .detail(PG_UNIT, "signal", 2, 9, 5.0)
            .process(PG_UNIT, "T");
        s.told().case(active).healthy();
    }
    Stack::healthy().no_bus().told().healthy();
}

#[test]
fn disconnected_by_a_payload_alone_is_not_a_dead_database() {
    let s = Stack::healthy()
        .health(A, payload::a_down("Database connection lost"))
        .health(C, payload::c_down("lost"));
    let told = s.told();
    told.never("db-down").verdict(Verdict::Problem);
    told.expect_roots(&["server-crash/unhealthy@codebase-mcp", "server-crash/unhealthy@workflow-mcp"]);
}

#[test]
fn what_could_not_be_asked_after_a_login_is_no_symptom() {
    for f in [fail(FailKind::Denied, Stage::Query), fail(FailKind::TimedOut, Stage::Query)] {
        Stack::healthy().look(|p| p.server = failed(f)).told().healthy();
    }
}

#[test]
fn every_way_down_explains_what_the_services_show() {
    let ways = [
        says("57P03", "the database system is starting up"),
        says("57P03", "the database system is shutting down"),
        silent(),
        fail(FailKind::Unreachable, Stage::Connect),
        fail(FailKind::Unresolved, Stage::Resolve),
        refused(),
    ];
    for way in ways {
        let told = Stack::outage().login(way.clone()).told().case(format!("{way:?}"));
        let roots = told.roots();
        assert_eq!(roots.len(), 1, "{roots:?}");
        told.explained("server-crash/unhealthy@codebase-mcp", &roots);
        told.explained("server-crash/unhealthy@workflow-mcp", &roots);
    }
}

#[test]
fn a_service_with_a_trouble_of_its_own_still_vouches_for_the_database_it_is_connected_to() {
    let told = mute().health(A, payload::a_own()).login(wrong_password()).told();
    told.symptom("postgres", SymptomState::Good);
    told.expect_root("server-crash/unhealthy@codebase-mcp", Certainty::Proven);
    assert!(told.d.unknown.is_empty(), "{:?}", told.d.unknown);
}
