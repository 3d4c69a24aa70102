//! The causes of a crash with a container as the place: by the engine's word, its events, its log.

use mcp_ir::diagnosis::{Certainty, Severity, SymptomState};
use mcp_ir::snapshot::containers::{Check, Container};
use mcp_ir::snapshot::units::{Event, Kernel};
use mcp_ir::snapshot::{FailKind, Stage};

use crate::payload;
use crate::stack::containers::{ID, exited, no_container, runs};
use crate::stack::{A, Stack, ago, fail, refused, silent};

const STOPPED: &str = "server-crash/stopped@codebase-mcp";
const PURPOSE: &str = "server-crash/stopped-on-purpose@codebase-mcp";
const FAILED: &str = "server-crash/failed@codebase-mcp";
const OOM: &str = "server-crash/oom-killed@codebase-mcp";
const LOOP: &str = "server-crash/crash-loop@codebase-mcp";
const EXEC: &str = "server-crash/exec-failed@codebase-mcp";
const SETTING: &str = "server-crash/bad-configuration@codebase-mcp";
const PORT: &str = "server-crash/port-conflict@codebase-mcp";
const CLOSED: &str = "server-crash/not-listening@codebase-mcp";
const PAUSED: &str = "server-crash/paused@codebase-mcp";
const HUNG: &str = "server-crash/hung@codebase-mcp";
const UNHEALTHY: &str = "server-crash/unhealthy@codebase-mcp";
const MISSING: &str = "server-crash/unit-missing@codebase-mcp";

fn died(status: &str) -> Event {
    Event::ProcessExited { code: "exited".into(), status: status.into() }
}

fn policy(c: Container, policy: &str) -> Container {
    Container { policy: policy.into(), ..c }
}

/// One that died by itself, and the engine remembers it.
fn dead(code: i32) -> Stack {
    Stack::in_container(exited(code, 90.0))
        .happened(A, &[(3690.0, Event::Started), (90.0, died(&code.to_string()))])
}

#[test]
fn an_exit_is_stopped_or_failed_by_its_code() {
    let told = dead(0).logged(A, 90.0, "bye").told();
    told.expect_root(STOPPED, Certainty::Proven).evidence(STOPPED, "bye");
    assert_eq!(told.find(STOPPED).since, Some(ago(90.0)));
    assert_eq!(told.find(STOPPED).remedy.command, "docker start codebase-mcp");
    for (code, words) in
        [(1, "exit code 1"), (139, "SIGSEGV"), (137, "SIGKILL"), (143, "SIGTERM"), (255, "255")]
    {
        let told = dead(code).told().case(words);
        told.expect_root(FAILED, Certainty::Proven);
        assert!(told.find(FAILED).summary.contains(words), "{}", told.find(FAILED).summary);
        assert_eq!(told.find(FAILED).remedy.command, "docker restart codebase-mcp");
    }
}

#[test]
fn what_the_engine_has_forgotten_is_only_likely() {
    Stack::in_container(exited(0, 90.0)).told().expect_root(STOPPED, Certainty::Likely);
    Stack::in_container(exited(1, 90.0)).told().expect_root(FAILED, Certainty::Likely);
    // A stop after the engine's patience looks like a kill.
    let told = Stack::in_container(exited(137, 90.0)).told();
    told.never("server-crash/oom-killed").expect_root(FAILED, Certainty::Likely);
}

#[test]
fn told_to_stop_is_no_crash_whatever_its_exit_code() {
    for code in [0, 1, 137, 143] {
        let stop = [(90.5, Event::Stopping), (90.0, died(&code.to_string())), (90.0, Event::Stopped)];
        let told = Stack::in_container(exited(code, 90.0))
            .happened(A, &[(3690.0, Event::Started)])
            .happened(A, &stop)
            .told()
            .case(code.to_string());
        told.expect_root(PURPOSE, Certainty::Proven).evidence(PURPOSE, "told to stop");
        assert_eq!(told.find(PURPOSE).since, Some(ago(90.5)));
    }
}

#[test]
fn a_policy_that_would_bring_it_back_tells_of_a_stop() {
    for (code, name) in [(0, "always"), (137, "always"), (1, "unless-stopped"), (143, "on-failure")] {
        let told = Stack::in_container(policy(exited(code, 90.0), name)).told().case(name);
        told.expect_root(PURPOSE, Certainty::Likely).evidence(PURPOSE, name);
    }
    // These leave it as it is.
    for (code, name, id) in [(1, "no", FAILED), (0, "on-failure", STOPPED)] {
        Stack::in_container(policy(exited(code, 90.0), name))
            .told()
            .case(name)
            .expect_root(id, Certainty::Likely);
    }
    let gave_up = Container { policy_max: 2, restarts: 2, ..policy(exited(1, 90.0), "on-failure") };
    Stack::in_container(gave_up).told().expect_root(LOOP, Certainty::Likely);
}

#[test]
fn killed_for_memory_by_the_engines_word_or_the_kernels() {
    let limited = |code| Container {
        oom_killed: true,
        memory_max: Some(64 << 20),
        memory_swap: Some(128 << 20),
        ..exited(code, 90.0)
    };
    // The mark alone may be of a child that was killed long ago.
    let told = Stack::in_container(limited(137)).told();
    told.expect_root(OOM, Certainty::Likely);
    assert_eq!(told.find(OOM).remedy.command, "docker restart codebase-mcp");
    let events = [(3690.0, Event::Started), (90.1, Event::OomKilled), (90.0, died("137"))];
    let told = Stack::in_container(limited(137)).happened(A, &events).told();
    told.expect_root(OOM, Certainty::Proven);
    let command = &told.find(OOM).remedy.command;
    assert_eq!(command, "docker update --memory 134217728 --memory-swap 268435456 codebase-mcp");
    assert!(told.find(OOM).summary.contains("64 MiB"));
    // Its events say so, whatever its main process made of it.
    let events = [(3690.0, Event::Started), (90.1, Event::OomKilled), (90.0, died("1"))];
    Stack::in_container(limited(1)).happened(A, &events).told().expect_root(OOM, Certainty::Proven);
    // A child was killed some day; it ended by another reason.
    let told =
        Stack::in_container(limited(1)).happened(A, &[(3690.0, Event::Started), (90.0, died("1"))]).told();
    told.expect_root(FAILED, Certainty::Proven);
    // The whole machine had none left: the kernel names its control group, by whatever driver.
    for group in [format!("/docker/{ID}"), format!("/system.slice/docker-{ID}.scope")] {
        let told = dead(137).kernel(&[(90.0, &group, Kernel::OomHost)]).told().case(group.clone());
        told.expect_root(OOM, Certainty::Proven);
    }
    let other = format!("/docker/{}", ID.replace('9', "8"));
    dead(137).kernel(&[(90.0, &other, Kernel::OomHost)]).told().expect_root(FAILED, Certainty::Proven);
}

#[test]
fn a_loop_is_what_ends_of_late_again_and_again() {
    let waits = |restarts| Container {
        state: "restarting".into(),
        restarts,
        started_at: Some(ago(5.5)),
        ..policy(exited(3, 5.0), "always")
    };
    let often: Vec<(f64, Event)> = (0..4)
        .flat_map(|n| [(40.5 - 10.0 * f64::from(n), Event::Started), (40.0 - 10.0 * f64::from(n), died("3"))])
        .collect();
    let told = Stack::in_container(waits(4)).happened(A, &often).logged(A, 10.1, "no such table").told();
    told.expect_root(LOOP, Certainty::Proven).evidence(LOOP, "no such table");
    assert!(told.find(LOOP).summary.contains("4 times"), "{}", told.find(LOOP).summary);
    // The engine has forgotten, and it waits after a short run.
    Stack::in_container(waits(4)).told().expect_root(LOOP, Certainty::Likely);
    // Once is none; nor is what it counted in former days.
    Stack::in_container(waits(1)).happened(A, &often[..2]).told().expect_root(FAILED, Certainty::Proven);
    let long = Container { started_at: Some(ago(7200.0)), ..waits(9) };
    Stack::in_container(long)
        .happened(A, &[(7200.0, Event::Started), (5.0, died("3"))])
        .told()
        .expect_root(FAILED, Certainty::Proven);
}

#[test]
fn brought_back_in_vain_is_told_by_the_events() {
    let c = Container { restarts: 1, ..policy(runs(2.0), "always") };
    let events = [(4000.0, Event::Started), (3.0, died("1")), (2.0, Event::Started)];
    let told = Stack::in_container(c.clone()).happened(A, &events).told();
    told.expect_root(FAILED, Certainty::Proven);
    // It runs for longer than a start takes: that death is over.
    let long = Container { restarts: 1, ..policy(runs(60.0), "always") };
    let events = [(4000.0, Event::Started), (61.0, died("1")), (60.0, Event::Started)];
    Stack::in_container(long).happened(A, &events).told().expect_root(CLOSED, Certainty::Likely);
    // Restarted by a person: it starts.
    let events = [(4000.0, Event::Started), (3.5, Event::Stopping), (3.0, died("0")), (2.0, Event::Started)];
    Stack::in_container(c).happened(A, &events).told().unknown();
}

#[test]
fn what_the_engine_could_not_start_says_why() {
    let error = |error: &str| Container {
        state: "created".into(),
        error: error.into(),
        started_at: None,
        finished_at: None,
        ..exited(127, 9.0)
    };
    let why = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start \
               container process: exec: \"/nope\": stat /nope: no such file or directory: unknown";
    let told = Stack::in_container(error(why)).told();
    told.expect_root(EXEC, Certainty::Proven);
    let summary = &told.find(EXEC).summary;
    assert!(summary.ends_with("engine: exec: \"/nope\": stat /nope: no such file or directory"), "{summary}");
    // A former stop is not why it is not there now.
    let again = Container { state: "exited".into(), ..error(why) };
    let told = Stack::in_container(again).happened(A, &[(50.0, Event::Stopping), (49.0, died("0"))]).told();
    told.expect_root(EXEC, Certainty::Proven);
    // A shell's word is its own.
    for code in [126, 127] {
        dead(code).told().case(code.to_string()).expect_root(EXEC, Certainty::Likely);
    }
    for taken in [
        "Bind for 127.0.0.1:8000 failed: port is already allocated",
        "listen tcp4 0.0.0.0:8000: bind: address already in use",
    ] {
        let told = Stack::in_container(error(taken)).told().case(taken);
        told.expect_root(PORT, Certainty::Proven).evidence(PORT, taken);
    }
}

#[test]
fn its_own_words_name_the_setting_or_the_port() {
    let short = || {
        let c = Container { started_at: Some(ago(92.0)), ..exited(1, 90.0) };
        Stack::in_container(c).happened(A, &[(92.0, Event::Started), (90.0, died("1"))])
    };
    let s = short().logged(A, 92.1, "POOL_MAX_SIZE must be at most 100");
    s.told().expect_root(SETTING, Certainty::Proven).evidence(SETTING, "at most 100");
    let s = short()
        .logged(A, 90.0, "bind: Address already in use")
        .listener("127.0.0.1:8000", &[(9, "nc", Some("/user.slice"))]);
    s.told().expect_root(PORT, Certainty::Proven).evidence(PORT, "process 9");
    // It had spoken and ended before its engine said that it started.
    let s = short().logged(A, 92.02, "bind: Address already in use");
    let s = s.listener("127.0.0.1:8000", &[(9, "nc", Some("/user.slice"))]);
    s.told().expect_root(PORT, Certainty::Proven);
    // Its own process, or the engine's proxy for it, is no stranger.
    for holder in [
        (9, "app", Some(format!("/docker/{ID}"))),
        (9, "docker-proxy", Some("/system.slice/docker.service".into())),
    ] {
        let (pid, name, group) = holder;
        let s = short()
            .logged(A, 90.0, "bind: Address already in use")
            .listener("127.0.0.1:8000", &[(pid, name, group.as_deref())]);
        s.told().case(name).never("server-crash/port-conflict");
    }
}

#[test]
fn a_pause_is_told_and_undone() {
    let paused = || Stack::in_container(Container { state: "paused".into(), ..runs(900.0) });
    for f in [silent(), fail(FailKind::TimedOut, Stage::Connect), refused()] {
        let told = paused().no_answer(A, f).told();
        told.expect_root(PAUSED, Certainty::Proven);
        assert_eq!(told.find(PAUSED).remedy.command, "docker unpause codebase-mcp");
    }
    // An answer is the truth.
    paused().health(A, payload::a_healthy(2, 2, 10)).told().healthy();
}

#[test]
fn a_stop_or_a_restart_under_way_is_waited_for() {
    Stack::in_container(runs(900.0))
        .happened(A, &[(900.0, Event::Started), (3.0, Event::Stopping)])
        .told()
        .unknown();
    let between = exited(0, 0.3);
    let events = [(900.0, Event::Started), (0.6, Event::Stopping), (0.3, died("0")), (0.2, Event::Stopped)];
    Stack::in_container(between).happened(A, &events).told().unknown();
    Stack::in_container(Container { state: "removing".into(), ..exited(0, 9.0) }).told().unknown();
}

#[test]
fn running_with_its_port_closed() {
    Stack::in_container(runs(900.0)).told().expect_root(CLOSED, Certainty::Likely);
    Stack::in_container(runs(3.0)).told().unknown();
    let closed = || fail(FailKind::Closed, Stage::Answer);
    Stack::in_container(runs(900.0)).no_answer(A, closed()).told().unknown();
    // The engine's proxy takes connections for what does not listen inside.
    let proxy = ("127.0.0.1:8000", [(9, "docker-proxy", Some("/system.slice/docker.service"))]);
    Stack::in_container(runs(900.0))
        .no_answer(A, closed())
        .listener(proxy.0, &proxy.1)
        .told()
        .expect_root(CLOSED, Certainty::Likely);
}

#[test]
fn the_engines_health_check_counts_only_where_there_is_no_answer() {
    let check = |status: &str| {
        let check = Check { status: status.into(), failed: 3, says: Some("curl: (7) refused".into()) };
        Stack::in_container(Container { health: Some(check), ..runs(900.0) })
    };
    let no_url = |s: Stack| {
        let mut s = s.service(A, |s| (s.url, s.health) = (None, None));
        s.now.services.get_mut(A).unwrap().health = mcp_ir::snapshot::Look::not_asked("no URL");
        s
    };
    check("unhealthy").health(A, payload::a_healthy(2, 2, 10)).told().healthy();
    let told = no_url(check("unhealthy")).told();
    told.expect_root(UNHEALTHY, Certainty::Likely).evidence(UNHEALTHY, "refused");
    no_url(check("healthy")).told().healthy().symptom(A, SymptomState::Good);
    no_url(check("starting")).told().unknown();
    // It does not let us look, or we could not.
    for kind in [FailKind::Denied, FailKind::NotTried] {
        check("unhealthy")
            .no_answer(A, fail(kind, Stage::Body))
            .told()
            .expect_root(UNHEALTHY, Certainty::Likely);
        check("healthy").no_answer(A, fail(kind, Stage::Body)).told().unknown();
    }
    // Refused is a closer word than that of the check.
    check("unhealthy").told().expect_root(CLOSED, Certainty::Likely).evidence(CLOSED, "curl");
    // Without a URL all is told by the container.
    no_url(Stack::in_container(exited(1, 9.0))).told().expect_root(FAILED, Certainty::Likely);
    no_url(Stack::in_container(exited(0, 9.0)).no_engine(A, no_container()))
        .told()
        .expect_root(MISSING, Certainty::Proven);
}

#[test]
fn no_such_container_is_not_no_such_engine() {
    let told =
        Stack::in_container(runs(1.0)).no_engine(A, no_container()).similar(A, "codebase-mcp-1").told();
    told.expect_root(MISSING, Certainty::Proven).evidence(MISSING, "codebase-mcp-1");
    // Something listens: an engine that does not know it is not the reason.
    let listens = Stack::in_container(runs(1.0)).no_engine(A, no_container());
    listens.no_answer(A, fail(FailKind::Closed, Stage::Answer)).told().unknown();
    for (kind, stage) in [
        (FailKind::Missing, Stage::Connect),
        (FailKind::Denied, Stage::Connect),
        (FailKind::Refused, Stage::Connect),
        (FailKind::TimedOut, Stage::Answer),
        (FailKind::Unsupported, Stage::Body),
    ] {
        let told = Stack::in_container(runs(1.0)).no_engine(A, fail(kind, stage)).told();
        told.case(format!("{kind:?}")).unknown();
    }
}

#[test]
fn hung_is_told_by_its_process() {
    Stack::in_container(runs(900.0)).no_answer(A, silent()).told().expect_root(HUNG, Certainty::Likely);
    let told = Stack::in_container(runs(900.0)).no_answer(A, silent()).container_process(A, "T").told();
    told.expect_root(HUNG, Certainty::Proven);
    assert_eq!(told.find(HUNG).remedy.command, "kill -CONT 77");
}

#[test]
fn unhealthy_is_restarted_where_it_runs() {
    let told = Stack::in_container(runs(900.0))
        .health(A, payload::a("unhealthy", "connected", 2, 2, 10, r#"{"error":"x"}"#))
        .logged(A, 2.0, "the cache is gone")
        .told();
    told.expect_root(UNHEALTHY, Certainty::Proven).evidence(UNHEALTHY, "cache");
    assert_eq!(told.find(UNHEALTHY).remedy.command, "docker restart codebase-mcp");
}

#[test]
fn a_database_in_a_container_is_stopped_with_it() {
    const PG: &str = "db-down/postgres-stopped@postgres";
    let down = |c| {
        Stack::outage()
            .unlisted(crate::stack::PG_UNIT)
            .postgres(|p| {
                p.unit = None;
                p.container = Some("pg".into());
            })
            .container("pg", c)
    };
    let told = down(exited(0, 90.0)).told();
    told.expect_root(PG, Certainty::Proven);
    assert_eq!(told.find(PG).remedy.command, "docker start pg");
    assert_eq!(told.find(PG).since, Some(ago(90.0)));
    let short = Container { started_at: Some(ago(92.0)), ..exited(1, 90.0) };
    let told = down(short).logged("pg", 91.0, "FATAL: invalid value for parameter \"port\"").told();
    told.expect_root("db-down/start-failed@postgres", Certainty::Likely)
        .evidence("db-down/start-failed@postgres", "invalid value");
    down(runs(900.0)).told().never("db-down/postgres-stopped");
    let told = down(runs(1.0)).no_engine("pg", no_container()).told();
    told.expect_root(PG, Certainty::Likely);
    let paused = Container { state: "paused".into(), ..runs(900.0) };
    let told = down(paused).login(silent()).told();
    told.expect_root("db-down/hung@postgres", Certainty::Proven);
    assert_eq!(told.find("db-down/hung@postgres").remedy.command, "docker unpause pg");
    assert_eq!(told.find("db-down/hung@postgres").severity, Severity::P1);
}

/// The name of one unit is the end of another's: the kernel's line about the one says nothing of the other.
#[test]
fn a_control_group_is_a_units_by_its_whole_name() {
    use mcp_ir::snapshot::containers::is_group_of;
    assert!(is_group_of("/system.slice/mcp.service", "mcp.service"));
    assert!(!is_group_of("/system.slice/codebase-mcp.service", "mcp.service"));
    assert!(is_group_of(&format!("/system.slice/docker-{ID}.scope"), ID));
    assert!(is_group_of(&format!("/docker/{ID}"), ID));
    assert!(!is_group_of("/docker/abc-db", "db"));
}
