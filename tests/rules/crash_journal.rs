//! What only the journal knows: who stopped it, and what `Restart=` has hidden from D-Bus (errata 67).

use mcp_ir::diagnosis::{Certainty, Verdict};
use mcp_ir::snapshot::units::Event;

use crate::stack::{A, A_UNIT, PG_UNIT, Stack, ago, refused};

const FAILED: &str = "server-crash/failed@codebase-mcp";
const STOPPED: &str = "server-crash/stopped@codebase-mcp";
const PURPOSE: &str = "server-crash/stopped-on-purpose@codebase-mcp";

fn exited(status: &str) -> Event {
    Event::ProcessExited { code: "exited".into(), status: status.into() }
}

fn killed(signal: &str) -> Event {
    Event::ProcessExited { code: "killed".into(), status: signal.into() }
}

fn entered_failed(result: &str) -> Event {
    Event::Failed { result: result.into() }
}

fn down(active: &str, sub: &str, events: &[(f64, Event)]) -> Stack {
    Stack::healthy().no_answer(A, refused()).unit(A_UNIT, active, sub).events(A_UNIT, events)
}

/// Up for so many seconds, with nothing wrong by D-Bus's word.
fn up(since_s: f64, events: &[(f64, Event)]) -> Stack {
    down("active", "running", events).detail(A_UNIT, "success", 0, 0, since_s)
}

#[test]
fn what_ended_by_itself_was_not_stopped() {
    let s = down(
        "inactive",
        "dead",
        &[(900.0, Event::Starting), (900.0, Event::Started), (30.0, Event::Succeeded)],
    )
    .detail(A_UNIT, "success", 1, 0, 30.0)
    .line(A_UNIT, 30.0, 6, "all work done, leaving");
    s.told().expect_root(STOPPED, Certainty::Proven).evidence(STOPPED, "all work done, leaving");
}

#[test]
fn what_was_stopped_on_purpose_says_when() {
    let stop =
        [(900.0, Event::Started), (60.0, Event::Stopping), (59.0, Event::Succeeded), (59.0, Event::Stopped)];
    let told = down("inactive", "dead", &stop).detail(A_UNIT, "success", 1, 0, 59.0).told();
    told.expect_root(PURPOSE, Certainty::Proven);
    assert_eq!(told.find(PURPOSE).since, Some(ago(60.0)));
}

#[test]
fn a_service_that_ends_badly_when_told_to_stop_was_stopped_on_purpose() {
    for (end, result, code, status) in [
        (exited("143"), "exit-code", 1, 143),
        (killed("9"), "timeout", 2, 9),
        (exited("1"), "exit-code", 1, 1),
    ] {
        let stop =
            [(900.0, Event::Started), (60.0, Event::Stopping), (59.0, end), (59.0, entered_failed(result))];
        for (active, sub) in [("failed", "failed"), ("inactive", "dead")] {
            let s = down(active, sub, &stop).detail(A_UNIT, result, code, status, 59.0);
            s.told().case(format!("{active}, {result}")).expect_root(PURPOSE, Certainty::Proven);
        }
    }
}

#[test]
fn a_start_after_the_stop_takes_it_back() {
    let stopped = [
        (600.0, Event::Stopping),
        (599.0, Event::Stopped),
        (500.0, Event::Starting),
        (500.0, Event::Started),
    ];
    let s = down("inactive", "dead", &stopped).events(A_UNIT, &[(30.0, Event::Succeeded)]);
    s.told().expect_root(STOPPED, Certainty::Proven);
    let s = down("failed", "failed", &stopped)
        .events(A_UNIT, &[(30.0, exited("1")), (30.0, entered_failed("exit-code"))]);
    s.detail(A_UNIT, "exit-code", 1, 1, 30.0).told().expect_root(FAILED, Certainty::Proven);
}

#[test]
fn what_was_never_started_says_so_only_where_the_journal_is_empty() {
    let told = down("inactive", "dead", &[]).told();
    assert!(told.find(STOPPED).summary.contains("not been started"), "{}", told.find(STOPPED).summary);
    told.expect_root(STOPPED, Certainty::Proven);
    // A unit that is not enabled is forgotten with all its dates; its last message is not.
    let told = down("inactive", "dead", &[(30.0, Event::Succeeded)]).told();
    assert!(!told.find(STOPPED).summary.contains("not been started"), "{}", told.find(STOPPED).summary);
}

#[test]
fn inactive_after_reset_failed_is_a_failure_by_the_journal() {
    let s = down(
        "inactive",
        "dead",
        &[(900.0, Event::Started), (30.0, exited("1")), (30.0, entered_failed("exit-code"))],
    );
    s.detail(A_UNIT, "success", 0, 0, 20.0)
        .told()
        .never("server-crash/stopped")
        .expect_root(FAILED, Certainty::Proven);
    let s =
        down("inactive", "dead", &[(900.0, Event::Started), (30.0, exited("0")), (30.0, Event::Succeeded)]);
    s.told().never("server-crash/failed").expect_root(STOPPED, Certainty::Proven);
}

#[test]
fn brought_back_in_vain_is_failed_though_the_bus_says_success() {
    for (end, words) in [(exited("1"), "status 1"), (killed("9"), "status 9")] {
        let s = up(
            10.0,
            &[
                (600.0, Event::Started),
                (12.0, end),
                (11.0, Event::RestartScheduled { restarts: 1 }),
                (11.0, Event::Stopped),
                (10.0, Event::Starting),
                (10.0, Event::Started),
            ],
        );
        let told = s.told().case(words);
        told.expect_root(FAILED, Certainty::Proven).evidence(FAILED, words);
    }
}

#[test]
fn an_exec_failure_that_restart_hid_is_still_one() {
    let s = up(0.1, &[(5.0, exited("203")), (5.0, entered_failed("exit-code")), (0.1, Event::Started)]);
    s.told().expect_root("server-crash/exec-failed@codebase-mcp", Certainty::Proven);
}

#[test]
fn a_failure_outside_the_window_is_nothing() {
    for (age, found) in [(599.0, true), (600.0, true), (600.5, false), (86_400.0, false)] {
        let s = up(10.0, &[(age, killed("9")), (age, entered_failed("signal")), (10.0, Event::Started)]);
        let told = s.told().case(format!("{age} s ago"));
        if found {
            told.expect_root(FAILED, Certainty::Proven);
        } else {
            told.unknown();
        }
    }
}

#[test]
fn an_exit_of_zero_is_no_failure() {
    up(10.0, &[(20.0, exited("0")), (20.0, Event::Succeeded), (10.0, Event::Started)]).told().unknown();
}

#[test]
fn a_restart_on_purpose_is_not_a_crash_however_it_ended() {
    // `systemctl restart`: the old process ends badly, the new one is still starting.
    let s = up(
        3.0,
        &[
            (900.0, Event::Started),
            (5.0, Event::Stopping),
            (4.0, exited("143")),
            (4.0, entered_failed("exit-code")),
            (4.0, Event::Stopped),
            (3.0, Event::Starting),
            (3.0, Event::Started),
        ],
    );
    s.told().unknown();
}

#[test]
fn a_crash_before_a_restart_on_purpose_is_history() {
    let s = up(
        3.0,
        &[
            (300.0, killed("9")),
            (299.0, Event::RestartScheduled { restarts: 1 }),
            (298.0, Event::Started),
            (5.0, Event::Stopping),
            (4.0, Event::Stopped),
            (3.0, Event::Starting),
            (3.0, Event::Started),
        ],
    );
    s.told().unknown();
}

#[test]
fn it_is_said_how_often_it_died() {
    let s = up(
        1.0,
        &[
            (30.0, exited("1")),
            (29.0, Event::Started),
            (20.0, exited("1")),
            (19.0, Event::Started),
            (2.0, exited("1")),
            (1.0, Event::Started),
        ],
    );
    let told = s.told();
    assert!(told.find(FAILED).summary.contains("3 times"), "{}", told.find(FAILED).summary);
    assert_eq!(told.find(FAILED).since, Some(ago(30.0)), "since the first of them");
}

#[test]
fn an_earlier_crash_that_was_mended_is_not_when_this_one_began() {
    // Died eight minutes ago, ran well for six; then its database went, and it dies again and again.
    let s = Stack::outage().no_answer(A, refused()).unit(A_UNIT, "activating", "auto-restart").events(
        A_UNIT,
        &[
            (480.0, killed("9")),
            (479.0, Event::Started),
            (110.0, exited("1")),
            (109.0, Event::Started),
            (100.0, exited("1")),
        ],
    );
    let s = s.detail(A_UNIT, "exit-code", 1, 1, 100.0).detail(PG_UNIT, "success", 1, 0, 112.0);
    let told = s.told();
    assert_eq!(told.find(FAILED).since, Some(ago(110.0)));
    told.expect_root("db-down/postgres-stopped@postgres", Certainty::Proven);
    told.explained(FAILED, &["db-down/postgres-stopped@postgres"]);
}

#[test]
fn a_crash_that_was_mended_is_nothing_while_the_service_is_well() {
    let s = Stack::healthy().events(
        A_UNIT,
        &[
            (60.0, killed("9")),
            (60.0, entered_failed("signal")),
            (59.0, Event::RestartScheduled { restarts: 1 }),
            (59.0, Event::Started),
        ],
    );
    s.told().healthy().verdict(Verdict::Healthy);
}

#[test]
fn the_last_words_are_the_worst_that_were_said_last() {
    let s = down("failed", "failed", &[])
        .detail(A_UNIT, "exit-code", 1, 1, 1.0)
        .line(A_UNIT, 3.0, 3, "cannot open the index")
        .line(A_UNIT, 2.0, 6, "bye");
    s.told().expect_root(FAILED, Certainty::Proven).evidence(FAILED, "cannot open the index");
}
