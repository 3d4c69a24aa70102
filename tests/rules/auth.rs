//! `auth-failed` needs the service's own evidence, and a present one.

use mcp_ir::diagnosis::{Certainty, Verdict};
use mcp_ir::snapshot::{FailKind, Reading, Stage};

use crate::payload;
use crate::stack::{A, A_UNIT, C, Stack, fail, refused, says, silent, slots_gone, wrong_password};

const AUTH: &str = "db-down/auth-failed@postgres";
/// As the lab's service prints it.
const LINE: &str =
    "codebase-mcp: ERROR database: password authentication failed for user \"mcp_user\" (FATAL 28P01)";
const MESSAGE: &str = "password authentication failed for user \"mcp_user\"";

#[test]
fn the_services_refused_login_is_auth_failed_though_ours_works() {
    let s = Stack::healthy().health(A, payload::a_down(MESSAGE)).health(C, payload::c_down(MESSAGE));
    let told = s.told();
    told.expect_root(AUTH, Certainty::Proven).evidence(AUTH, MESSAGE);
    told.explained("server-crash/unhealthy@codebase-mcp", &[AUTH]);
    told.explained("server-crash/unhealthy@workflow-mcp", &[AUTH]);
}

#[test]
fn ours_refused_and_theirs_too_is_auth_failed() {
    let s = Stack::healthy()
        .login(wrong_password())
        .health(A, payload::a_down(MESSAGE))
        .health(C, payload::c_down(MESSAGE));
    s.told().expect_root(AUTH, Certainty::Proven);
}

#[test]
fn ours_refused_while_the_services_are_connected_is_healthy() {
    Stack::healthy().login(wrong_password()).told().healthy();
}

#[test]
fn one_witness_is_enough_and_the_other_service_stays_well() {
    let told = Stack::healthy().health(C, payload::c_down(MESSAGE)).told();
    told.expect_root(AUTH, Certainty::Proven).explained("server-crash/unhealthy@workflow-mcp", &[AUTH]);
}

#[test]
fn drivers_words_for_a_refused_login_are_known() {
    for text in [
        "FATAL: password authentication failed for user \"x\" (SQLSTATE 28P01)",
        "no pg_hba.conf entry for host \"10.0.0.9\", user \"x\", database \"y\"",
        "asyncpg.exceptions.InvalidPasswordError: …",
        "asyncpg.exceptions.InvalidAuthorizationSpecificationError: role \"x\" does not exist",
        "Passwort-Authentifizierung für Benutzer »x« fehlgeschlagen (FATAL 28P01)",
        "FATAL: role \"x\" is not permitted to log in (SQLSTATE 28000)",
    ] {
        Stack::healthy()
            .health(A, payload::a_down(text))
            .told()
            .case(text)
            .expect_root(AUTH, Certainty::Proven);
    }
}

#[test]
fn a_number_in_a_text_is_no_sqlstate() {
    for text in [
        "no connection within 28000 ms",
        "cache of 128000 entries is cold",
        "request 28000 failed",
        "checksum 028P017 differs",
        "Redis: NOAUTH Authentication required",
        "permission denied for table code_chunks",
    ] {
        let told = Stack::healthy().health(A, payload::a_down(text)).told().case(text);
        told.never("db-down").expect_root("server-crash/unhealthy@codebase-mcp", Certainty::Proven);
    }
}

#[test]
fn a_healthy_or_connected_service_is_no_witness() {
    let warned = payload::a("degraded", "connected", 3, 3, 10, &format!(r#"{{"warning":{MESSAGE:?}}}"#));
    Stack::healthy().health(A, warned).line(A_UNIT, 1.0, 3, LINE).told().healthy();
    let own = payload::a("unhealthy", "connected", 3, 3, 10, &format!(r#"{{"error":{MESSAGE:?}}}"#));
    Stack::healthy().health(A, own).told().never(AUTH.split('@').next().unwrap());
}

#[test]
fn old_log_lines_are_no_evidence() {
    let unhealthy = r#"{"status":"unhealthy","database_status":"disconnected","connection_pool":{"size":0,"free":0,"max_size":10}}"#;
    // It says nothing of its reason: its last words are asked, and they must be fresh.
    for (age, found) in [(0.5, true), (9.9, true), (10.0, false), (60.0, false), (86_400.0, false)] {
        let s = Stack::healthy().health(A, payload::json(200, unhealthy)).line(A_UNIT, age, 3, LINE);
        let told = s.told().case(format!("{age} s old"));
        if found {
            told.expect_root(AUTH, Certainty::Proven);
        } else {
            told.never("db-down").expect_root("server-crash/unhealthy@codebase-mcp", Certainty::Proven);
        }
    }
}

#[test]
fn a_payload_that_says_another_reason_outranks_the_log() {
    let s = Stack::healthy().health(A, payload::a_down("the disk is full")).line(A_UNIT, 1.0, 3, LINE);
    s.told().never("db-down");
}

#[test]
fn the_last_words_of_a_service_that_died_of_it_count() {
    let died = |line_s: f64| {
        Stack::healthy()
            .no_answer(A, refused())
            .unit(A_UNIT, "failed", "failed")
            .detail(A_UNIT, "exit-code", 1, 1, 60.0)
            .line(A_UNIT, line_s, 3, LINE)
    };
    let told = died(61.0).told();
    told.expect_roots(&[AUTH]).explained("server-crash/failed@codebase-mcp", &[AUTH]);
    // Said long before its end: something else ended it.
    died(600.0).told().never("db-down").expect_root("server-crash/failed@codebase-mcp", Certainty::Proven);
}

#[test]
fn a_login_is_not_refused_by_a_server_that_takes_none() {
    // 57P03 comes before any password: what a service says of passwords is of an earlier time.
    for way in [
        says("57P03", "the database system is starting up"),
        says("57P03", "the database system is shutting down"),
        refused(),
        silent(),
        fail(FailKind::Unreachable, Stage::Connect),
    ] {
        let s = Stack::outage().login(way).health(A, payload::a_down(MESSAGE));
        s.told().never("db-down/auth-failed");
    }
    // The slots are counted after the password: both can be true.
    let s = Stack::outage().login(slots_gone()).health(A, payload::a_down(MESSAGE));
    s.told().find(AUTH);
}

#[test]
fn a_witness_that_uses_two_servers_does_not_prove_which_one_refused() {
    let s = Stack::healthy()
        .second_postgres("reports")
        .service(A, |s| s.needs = vec!["postgres".into(), "reports".into()])
        .health(A, payload::a_down(MESSAGE));
    let told = s.told();
    for id in [AUTH, "db-down/auth-failed@reports"] {
        assert_eq!(told.find(id).certainty, Certainty::Likely, "{id}");
    }
}

#[test]
fn a_service_that_does_not_use_the_server_is_no_witness() {
    let s = Stack::healthy().service(C, |s| s.needs = vec![A.into()]).health(C, payload::c_down(MESSAGE));
    s.told().never("db-down").expect_root("server-crash/unhealthy@workflow-mcp", Certainty::Proven);
    let s = Stack::healthy().service(C, |s| s.needs.clear()).health(C, payload::c_down(MESSAGE));
    s.told().never("db-down");
}

#[test]
fn a_login_that_was_not_asked_proves_nothing() {
    let s = Stack::healthy().health(A, payload::a_down(MESSAGE)).look(|p| {
        p.login.reading = Reading::not_asked("left out");
    });
    s.told().never("db-down").verdict(Verdict::Problem);
}

#[test]
fn the_last_error_of_a_service_that_is_well_is_of_another_time() {
    let d = r#"{"status":"healthy","database":{"status":"unchecked","pool":{"total":2,"idle":2,"active":0,"waiting":0},
        "last_error":"password authentication failed for user \"x\"","leak_count":0},"uptime_seconds":12.5}"#;
    Stack::healthy().health(A, payload::json(200, d)).told().healthy();
}
