//! How a service is down: by its health answer first, by its unit where nothing answers.

use mcp_ir::diagnosis::{Certainty, Severity, SymptomState, Verdict};
use mcp_ir::snapshot::units::Event;
use mcp_ir::snapshot::{FailKind, Look, Reading, Stage};

use crate::payload;
use crate::stack::{A, A_UNIT, PG_UNIT, Stack, fail, failed, refused, silent};

const UNHEALTHY: &str = "server-crash/unhealthy@codebase-mcp";
const FAILED: &str = "server-crash/failed@codebase-mcp";
const STOPPED: &str = "server-crash/stopped@codebase-mcp";
const HUNG: &str = "server-crash/hung@codebase-mcp";
const CLOSED: &str = "server-crash/not-listening@codebase-mcp";
const EXEC: &str = "server-crash/exec-failed@codebase-mcp";
const MALFORMED: &str = "server-crash/malformed-health@codebase-mcp";
const MISSING: &str = "server-crash/unit-missing@codebase-mcp";

fn down(active: &str, sub: &str) -> Stack {
    Stack::healthy().no_answer(A, refused()).unit(A_UNIT, active, sub)
}

#[test]
fn failed_says_how_it_died() {
    // result, CLD_ code, status, words
    for (result, code, status, words) in [
        ("exit-code", 1, 1, "exit status 1"),
        ("exit-code", 1, 143, "exit status 143"),
        ("signal", 2, 6, "signal 6"),
        ("signal", 2, 9, "signal 9"),
        ("core-dump", 3, 11, "signal 11"),
        ("watchdog", 2, 6, "signal 6"),
        ("timeout", 2, 15, "signal 15"),
        ("protocol", 0, 0, "result protocol"),
        ("resources", 0, 0, "result resources"),
    ] {
        let s = down("failed", "failed").detail(A_UNIT, result, code, status, 90.0);
        let told = s.told().case(result);
        told.expect_root(FAILED, Certainty::Proven).evidence(FAILED, result);
        assert!(told.find(FAILED).summary.contains(words), "{}", told.find(FAILED).summary);
        assert_eq!(told.find(FAILED).since, Some(crate::stack::ago(90.0)));
    }
}

#[test]
fn failed_without_details_is_only_likely() {
    down("failed", "failed").told().expect_root(FAILED, Certainty::Likely);
}

#[test]
fn a_unit_that_waits_for_its_restart_has_died() {
    for sub in ["auto-restart", "auto-restart-queued"] {
        let s = down("activating", sub).detail(A_UNIT, "signal", 2, 9, 20.0);
        s.told().case(sub).expect_root(FAILED, Certainty::Proven);
    }
}

#[test]
fn exit_statuses_200_to_243_name_the_step_that_failed() {
    for (status, id) in [
        (1, FAILED),
        (199, FAILED),
        (200, EXEC),
        (203, EXEC),
        (217, EXEC),
        (243, EXEC),
        (244, FAILED),
        (255, FAILED),
    ] {
        let s = down("failed", "failed").detail(A_UNIT, "exit-code", 1, status, 5.0);
        s.told().case(format!("status {status}")).expect_root(id, Certainty::Proven);
        // The same where the start limit was hit by it, and while it waits for the next try.
        let s = down("failed", "failed").detail(A_UNIT, "start-limit-hit", 1, status, 5.0);
        let limit = if id == EXEC { EXEC } else { "server-crash/crash-loop@codebase-mcp" };
        s.told().case(format!("limit, {status}")).expect_root(limit, Certainty::Proven);
        let s = down("activating", "auto-restart").detail(A_UNIT, "exit-code", 1, status, 5.0);
        s.told().case(format!("again, {status}")).expect_root(id, Certainty::Proven);
    }
    // Signal numbers are no exit statuses.
    let s = down("failed", "failed").detail(A_UNIT, "signal", 2, 203, 5.0);
    s.told().expect_root(FAILED, Certainty::Proven);
}

#[test]
fn inactive_without_a_failure_is_stopped_and_not_failed() {
    down("inactive", "dead")
        .detail(A_UNIT, "success", 1, 0, 30.0)
        .told()
        .expect_root(STOPPED, Certainty::Likely);
    down("inactive", "dead").told().expect_root(STOPPED, Certainty::Likely);
}

#[test]
fn inactive_after_a_failure_that_was_reset_is_still_a_failure() {
    let s = down("inactive", "dead").detail(A_UNIT, "exit-code", 1, 1, 30.0);
    s.told().never("server-crash/stopped").expect_root(FAILED, Certainty::Proven);
}

#[test]
fn a_closed_port_counts_only_after_the_time_of_a_start() {
    for (up, found) in [(0.5, false), (29.9, false), (30.0, true), (3600.0, true)] {
        let told =
            down("active", "running").detail(A_UNIT, "success", 0, 0, up).told().case(format!("up {up} s"));
        if found {
            told.expect_root(CLOSED, Certainty::Likely);
        } else {
            told.unknown();
        }
    }
    down("active", "running").told().unknown();
}

/// It died at a start of before, somebody mended that; it ran, and its port is closed all the same.
#[test]
fn who_runs_for_long_since_he_died_is_not_down_by_that_death() {
    let died = Event::ProcessExited { code: "exited".into(), status: "203".into() };
    for (up, id) in [(10.0, "server-crash/exec-failed@codebase-mcp"), (45.0, CLOSED)] {
        let events =
            [(90.0, Event::Starting), (89.9, died.clone()), (up, Event::Starting), (up, Event::Started)];
        let s = down("active", "running").detail(A_UNIT, "success", 0, 0, up).events(A_UNIT, &events);
        s.told().case(format!("up {up} s")).expect_roots(&[id]);
    }
    // The same of a loop that systemd gave up, and somebody started it anew.
    let restart = |n| (80.0 - n, Event::RestartScheduled { restarts: 1 });
    let mut events = vec![(90.0, Event::Starting), (89.9, died.clone())];
    for n in 0..4 {
        let at = 80.0 - f64::from(n);
        events.extend([restart(f64::from(n)), (at, Event::Starting), (at - 0.1, died.clone())]);
    }
    events.extend([restart(5.0), (74.0, Event::Failed { result: "exit-code".into() })]);
    events.extend([(45.0, Event::Starting), (45.0, Event::Started)]);
    let s = down("active", "running").detail(A_UNIT, "success", 0, 0, 45.0).events(A_UNIT, &events);
    s.told().expect_roots(&[CLOSED]);
}

#[test]
fn a_job_under_way_is_waited_for() {
    for (active, sub) in [
        ("activating", "start"),
        ("activating", "start-pre"),
        ("deactivating", "stop-sigterm"),
        ("maintenance", "x"),
    ] {
        down(active, sub).told().case(format!("{active} ({sub})")).unknown();
    }
}

#[test]
fn a_connection_closed_in_the_middle_is_no_closed_port() {
    let closed = || Stack::healthy().no_answer(A, fail(FailKind::Closed, Stage::Answer));
    closed().detail(A_UNIT, "success", 0, 0, 3600.0).told().unknown();
    // Something listens: a unit that systemd does not know is not the reason.
    closed().loaded(A_UNIT, "not-found", "inactive", "dead").told().unknown();
    // A dying server closes what it has.
    closed()
        .unit(A_UNIT, "failed", "failed")
        .detail(A_UNIT, "signal", 2, 11, 0.1)
        .told()
        .expect_root(FAILED, Certainty::Proven);
}

#[test]
fn hung_is_silence_after_the_connection_and_proven_by_the_kernel() {
    for stage in [Stage::Answer, Stage::Body] {
        let s = Stack::healthy().no_answer(A, fail(FailKind::TimedOut, stage));
        s.told().expect_root(HUNG, Certainty::Likely);
    }
    for (state, word) in [("T", "CONT"), ("t", "CONT"), ("D", "stack")] {
        let told = Stack::healthy().no_answer(A, silent()).process(A_UNIT, state).told().case(state);
        told.expect_root(HUNG, Certainty::Proven);
        assert!(told.find(HUNG).remedy.command.contains(word), "{state}");
    }
    for state in ["S", "R", "Z", "I"] {
        let s = Stack::healthy().no_answer(A, silent()).process(A_UNIT, state);
        s.told().case(state).expect_root(HUNG, Certainty::Likely);
    }
}

#[test]
fn a_connection_that_is_never_made_is_hung_only_where_the_process_is_stuck() {
    let late = || Stack::healthy().no_answer(A, fail(FailKind::TimedOut, Stage::Connect));
    late().told().unknown();
    late().process(A_UNIT, "S").told().unknown();
    late().process(A_UNIT, "T").told().expect_root(HUNG, Certainty::Proven);
}

#[test]
fn refused_denied_missing_and_malformed_are_four_facts() {
    // 401 and 403: alive, does not let us look.
    for status in [401, 403] {
        let told = Stack::healthy().health(A, payload::json(status, "{}")).told().case(status.to_string());
        told.unknown().symptom(A, SymptomState::Unseen);
    }
    for status in [404, 410, 400, 405, 429] {
        Stack::healthy().health(A, payload::json(status, "{}")).told().case(status.to_string()).unknown();
    }
    for (case, look) in [
        ("HTML", payload::answer(200, "text/html", "<!DOCTYPE html><title>Welcome to nginx!</title>")),
        ("a redirect", payload::json(302, "")),
        ("empty", payload::json(200, "")),
        ("text", payload::answer(200, "text/plain", "OK")),
        ("a list", payload::json(200, "[]")),
        ("another shape", payload::json(200, r#"{"up":1}"#)),
        ("cut off", payload::json(200, r#"{"status":"heal"#)),
        (
            "the error shape",
            payload::json(
                200,
                r#"{"status":"unhealthy","error":"Health check failed: ValidationError","message":"1 validation error for X"}"#,
            ),
        ),
    ] {
        let told = Stack::healthy().health(A, look).told().case(case);
        told.expect_root(MALFORMED, Certainty::Proven);
        assert_eq!(told.d.severity, Some(Severity::P2), "{case}");
    }
    Stack::healthy().no_answer(A, fail(FailKind::Tls, Stage::Tls)).told().unknown();
    for kind in [FailKind::Unresolved, FailKind::Unreachable] {
        let told = Stack::healthy().no_answer(A, fail(kind, Stage::Connect)).told().case(kind.word());
        told.expect_root("server-crash/unreachable@codebase-mcp", Certainty::Proven);
    }
}

#[test]
fn a_5xx_is_unhealthy_whatever_its_body() {
    for body in [
        "",
        "<html>502 Bad Gateway</html>",
        r#"{"status":"healthy","database_status":"connected"}"#,
        r#"{"status":"unhealthy","error":"Health check failed","message":"x"}"#,
    ] {
        let told = Stack::healthy().health(A, payload::answer(502, "text/html", body)).told().case(body);
        told.expect_root(UNHEALTHY, Certainty::Proven).evidence(UNHEALTHY, "502");
    }
}

#[test]
fn unhealthy_by_its_own_word_is_not_explained_by_a_dead_database_it_is_connected_to() {
    Stack::healthy().health(A, payload::a_own()).told().expect_root(UNHEALTHY, Certainty::Proven);
    // The database goes down for logins only; this service has its own trouble still.
    let told = Stack::healthy().login(silent()).process(PG_UNIT, "T").health(A, payload::a_own()).told();
    told.expect_roots(&[UNHEALTHY, "db-down/hung@postgres"]);
}

#[test]
fn a_service_that_does_not_say_how_it_is_is_unknown_not_healthy() {
    for body in [
        r#"{"status":"starting","database_status":"connected"}"#,
        r#"{"status":"maintenance","database_status":"connected"}"#,
    ] {
        Stack::healthy()
            .health(A, payload::json(200, body))
            .told()
            .case(body)
            .unknown()
            .symptom(A, SymptomState::Unseen);
    }
}

#[test]
fn degraded_with_no_cause_beneath_is_healthy() {
    let warning = r#"{"warning":"Connection pool utilization exceeds 80% (current: 90.00%)"}"#;
    Stack::healthy().health(A, payload::a("degraded", "connected", 10, 1, 10, warning)).told().healthy();
}

#[test]
fn a_unit_that_is_not_there_is_missing_where_nothing_listens() {
    let s = |load: &str| Stack::healthy().no_answer(A, refused()).loaded(A_UNIT, load, "inactive", "dead");
    s("not-found").told().expect_root(MISSING, Certainty::Proven).evidence(MISSING, "not found");
    s("masked").told().expect_root(MISSING, Certainty::Proven).evidence(MISSING, "masked");
    // It answers: by whatever it was started, its unit is not asked.
    Stack::healthy().loaded(A_UNIT, "not-found", "inactive", "dead").told().healthy();
}

#[test]
fn a_masked_unit_that_still_runs_is_not_missing() {
    let s = Stack::healthy().no_answer(A, refused()).loaded(A_UNIT, "masked", "active", "running");
    s.told().never("server-crash/unit-missing").unknown();
}

#[test]
fn a_unit_that_was_not_listed_is_not_known_to_be_missing() {
    Stack::healthy().no_answer(A, refused()).unlisted(A_UNIT).told().unknown();
}

#[test]
fn without_a_bus_a_refused_service_is_unknown() {
    Stack::healthy().no_answer(A, refused()).no_bus().told().unknown();
    let s = Stack::healthy().no_answer(A, refused());
    let mut s = s;
    s.now.units.listed = Look::not_asked("no unit is configured");
    s.told().unknown();
    // Configured without a unit: as unknown.
    Stack::healthy().service(A, |s| s.unit = None).no_answer(A, refused()).told().unknown();
}

/// A service that has no URL: its unit is its symptom.
fn by_unit(load: &str, active: &str, sub: &str) -> Stack {
    Stack::healthy()
        .service(A, |s| (s.url, s.health) = (None, None))
        .health(A, Look::not_asked("no URL"))
        .loaded(A_UNIT, load, active, sub)
}

#[test]
fn a_service_without_a_url_is_judged_by_its_unit_alone() {
    by_unit("loaded", "active", "running").told().healthy();
    by_unit("loaded", "active", "exited").told().healthy();
    by_unit("loaded", "reloading", "reload").told().healthy();
    by_unit("masked", "active", "running").told().healthy();
    by_unit("loaded", "failed", "failed").told().expect_root(FAILED, Certainty::Likely);
    by_unit("loaded", "inactive", "dead").told().expect_root(STOPPED, Certainty::Likely);
    by_unit("not-found", "inactive", "dead").told().expect_root(MISSING, Certainty::Proven);
    by_unit("loaded", "activating", "start").told().unknown();
    by_unit("loaded", "active", "running").no_bus().told().unknown();
    by_unit("loaded", "active", "running").unlisted(A_UNIT).told().unknown();
    by_unit("loaded", "active", "running").service(A, |s| s.unit = None).told().unknown();
}

#[test]
fn a_health_answer_that_was_not_asked_is_unknown_and_a_lost_one_too() {
    Stack::healthy().health(A, Look::not_asked("left out")).told().unknown();
    let mut s = Stack::healthy();
    s.now.services.remove(A);
    s.told().never("server-crash").verdict(Verdict::Unknown);
    let mut s = Stack::healthy();
    s.now.postgres.clear();
    s.told().unknown();
}

#[test]
fn a_healthy_answer_outranks_whatever_its_unit_says() {
    for (active, sub) in [("failed", "failed"), ("inactive", "dead"), ("activating", "auto-restart")] {
        let s = Stack::healthy()
            .unit(A_UNIT, active, sub)
            .detail(A_UNIT, "signal", 2, 9, 5.0)
            .process(A_UNIT, "T");
        s.told().case(active).healthy();
    }
}

#[test]
fn a_journal_that_may_not_be_read_leaves_the_cause_and_takes_its_certainty() {
    let mut s = down("inactive", "dead").detail(A_UNIT, "success", 1, 0, 30.0);
    s.now.units.journal.insert(A_UNIT.into(), failed(fail(FailKind::Denied, Stage::Answer)));
    s.told().expect_root(STOPPED, Certainty::Likely);
    assert!(matches!(s.now.units.journal[A_UNIT].reading, Reading::Failed(_)));
}
