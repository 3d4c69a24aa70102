//! Why it died, where that is known: memory, a setting, a start that never succeeds.

use mcp_ir::diagnosis::Certainty;
use mcp_ir::snapshot::units::{Event, Kernel};

use crate::stack::{A, A_UNIT, C, C_UNIT, PG_UNIT, Stack, ago, refused};

const FAILED: &str = "server-crash/failed@codebase-mcp";
const OOM: &str = "server-crash/oom-killed@codebase-mcp";
const LOOP: &str = "server-crash/crash-loop@codebase-mcp";
const SETTING: &str = "server-crash/bad-configuration@codebase-mcp";
const GROUP: &str = "/system.slice/codebase-mcp.service";

fn exited(status: &str) -> Event {
    Event::ProcessExited { code: "exited".into(), status: status.into() }
}

fn killed(signal: &str) -> Event {
    Event::ProcessExited { code: "killed".into(), status: signal.into() }
}

fn down(active: &str, sub: &str, events: &[(f64, Event)]) -> Stack {
    Stack::healthy().no_answer(A, refused()).unit(A_UNIT, active, sub).events(A_UNIT, events)
}

/// By SIGKILL 30 s ago, as cgroup v1 shows it.
fn sigkilled() -> Stack {
    down("failed", "failed", &[(900.0, Event::Started), (30.0, killed("9"))])
        .detail(A_UNIT, "signal", 2, 9, 30.0)
}

#[test]
fn killed_for_memory_by_systemds_own_word() {
    let s = down("failed", "failed", &[]).detail(A_UNIT, "oom-kill", 2, 9, 30.0);
    s.told().expect_root(OOM, Certainty::Proven);
    // After `Restart=`, D-Bus says success; the journal still knows, and it was one death.
    let events =
        [(600.0, Event::Started), (12.0, Event::OomKilled), (12.0, killed("9")), (2.0, Event::Started)];
    let told = down("active", "running", &events).detail(A_UNIT, "success", 0, 0, 2.0).told();
    told.expect_root(OOM, Certainty::Proven);
    let said = &told.find(OOM).summary;
    assert!(!said.contains("times"), "{said}");
}

#[test]
fn on_cgroup_v1_the_kernels_line_about_this_unit_decides() {
    let told = sigkilled().kernel(&[(30.4, GROUP, Kernel::OomLimit)]).told();
    told.expect_root(OOM, Certainty::Proven).evidence(OOM, GROUP);
    assert_eq!(told.find(OOM).since, Some(ago(30.0)));
    // A group below the unit's own.
    let below = format!("{GROUP}/worker");
    sigkilled().kernel(&[(29.0, &below, Kernel::OomLimit)]).told().expect_root(OOM, Certainty::Proven);
}

#[test]
fn a_persons_sigkill_is_not_out_of_memory() {
    sigkilled().told().expect_root(FAILED, Certainty::Proven);
    for (case, at, group, what) in [
        ("older", 33.0, GROUP, Kernel::OomLimit),
        ("another unit", 30.0, "/system.slice/other.service", Kernel::OomLimit),
        ("a longer name", 30.0, "/system.slice/codebase-mcp.service2", Kernel::OomHost),
        ("not memory", 30.0, GROUP, Kernel::ForkRefused),
    ] {
        sigkilled().kernel(&[(at, group, what)]).told().case(case).expect_root(FAILED, Certainty::Proven);
    }
    // The kernel killed an earlier run of it, a moment before; this one a person did.
    let runs = [(900.0, Event::Started), (30.9, killed("9")), (30.4, Event::Started), (30.0, killed("9"))];
    let s = down("failed", "failed", &runs).detail(A_UNIT, "signal", 2, 9, 30.0);
    s.kernel(&[(31.0, GROUP, Kernel::OomLimit)]).told().expect_root(FAILED, Certainty::Proven);
    // The kernel killed a helper of it; it ended by its own exit.
    let s = down("failed", "failed", &[(900.0, Event::Started), (30.0, exited("1"))])
        .detail(A_UNIT, "exit-code", 1, 1, 30.0)
        .kernel(&[(30.0, GROUP, Kernel::OomLimit)]);
    s.told().expect_root(FAILED, Certainty::Proven);
}

#[test]
fn the_limit_is_said_and_the_whole_machine_is_told_from_it() {
    let limited = |s: Stack| {
        let mut s = s;
        if let mcp_ir::snapshot::Reading::Seen { value } =
            &mut s.now.units.details.get_mut(A_UNIT).unwrap().reading
        {
            value.memory_max = Some(64 << 20);
        }
        s
    };
    let told = limited(sigkilled()).kernel(&[(30.0, GROUP, Kernel::OomLimit)]).told();
    assert!(told.find(OOM).summary.contains("64 MiB"), "{}", told.find(OOM).summary);
    assert!(told.find(OOM).remedy.command.contains("MemoryMax=134217728"));
    let told = limited(sigkilled()).kernel(&[(30.0, GROUP, Kernel::OomHost)]).told();
    assert!(told.find(OOM).summary.contains("whole machine"), "{}", told.find(OOM).summary);
    assert!(!told.find(OOM).remedy.command.contains("MemoryMax"));
}

/// Dies of it so many times, two seconds apart, each brought back by `Restart=`.
fn again(times: u32) -> Vec<(f64, Event)> {
    let mut events = vec![(900.0, Event::Started)];
    for n in 0..times {
        let at = f64::from(times - n) * 2.0;
        events.push((at, exited("3")));
        events.push((at - 0.1, Event::RestartScheduled { restarts: n + 1 }));
        events.push((at - 0.2, Event::Started));
    }
    events
}

#[test]
fn three_restarts_are_a_loop_and_one_or_two_are_not() {
    for (times, id) in [(1, FAILED), (2, FAILED), (3, LOOP), (5, LOOP)] {
        for (active, sub) in [("activating", "auto-restart"), ("active", "running"), ("failed", "failed")] {
            let s = down(active, sub, &again(times)).detail(A_UNIT, "exit-code", 1, 3, 2.0);
            s.told().case(format!("{times}, {active}")).expect_root(id, Certainty::Proven);
        }
    }
    // Caught in the middle of a start.
    down("activating", "start", &again(4)).told().expect_root(LOOP, Certainty::Proven);
    down("activating", "start", &again(1)).told().unknown();
}

#[test]
fn restarts_of_long_ago_or_before_somebodys_stop_are_no_loop() {
    let old: Vec<(f64, Event)> = again(5).into_iter().map(|(at, e)| (at + 3600.0, e)).collect();
    let s = down("failed", "failed", &old).events(A_UNIT, &[(5.0, exited("3"))]);
    s.detail(A_UNIT, "exit-code", 1, 3, 5.0).told().expect_root(FAILED, Certainty::Proven);
    let mended: Vec<(f64, Event)> = again(5).into_iter().map(|(at, e)| (at + 100.0, e)).collect();
    let s = down("failed", "failed", &mended).events(
        A_UNIT,
        &[(90.0, Event::Stopping), (89.0, Event::Stopped), (80.0, Event::Started), (5.0, exited("3"))],
    );
    s.detail(A_UNIT, "exit-code", 1, 3, 5.0).told().expect_root(FAILED, Certainty::Proven);
}

#[test]
fn the_start_limit_is_a_loop_by_itself() {
    let s = down("failed", "failed", &[]).detail(A_UNIT, "start-limit-hit", 1, 1, 90.0);
    s.told().expect_root(LOOP, Certainty::Proven).evidence(LOOP, "exit status 1");
}

#[test]
fn a_loop_that_its_dead_database_makes_is_explained_by_it() {
    let s = Stack::outage()
        .no_answer(A, refused())
        .unit(A_UNIT, "activating", "auto-restart")
        .events(A_UNIT, &again(4))
        .detail(PG_UNIT, "success", 1, 0, 10.0);
    let told = s.told();
    told.expect_root("db-down/postgres-stopped@postgres", Certainty::Proven);
    told.explained(LOOP, &["db-down/postgres-stopped@postgres"]);
}

#[test]
fn a_loop_for_memory_is_out_of_memory() {
    let events: Vec<(f64, Event)> =
        again(4).into_iter().map(|(at, e)| (at, if e == exited("3") { killed("9") } else { e })).collect();
    let s = down("activating", "auto-restart", &events).kernel(&[(2.0, GROUP, Kernel::OomLimit)]);
    s.told().expect_root(OOM, Certainty::Proven);
}

/// Dies a second after its start, with these last words.
fn dies_saying(ran_s: f64, lines: &[&str]) -> Stack {
    let mut s = down("failed", "failed", &[(10.0 + ran_s, Event::Started), (10.0, exited("1"))]).detail(
        A_UNIT,
        "exit-code",
        1,
        1,
        10.0,
    );
    for line in lines {
        s = s.line(A_UNIT, 10.1, 6, line);
    }
    s
}

#[test]
fn a_refused_setting_is_named() {
    for (setting, lines) in [
        (
            "POOL_MAX_SIZE",
            &[
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings",
                "POOL_MAX_SIZE",
                "  Input should be less than or equal to 100 [type=less_than_equal, input_value='200']",
                "    For further information visit https://errors.pydantic.dev/2.5/v/less_than_equal",
            ][..],
        ),
        (
            "DATABASE_URL",
            &[
                "Error: 2 validation errors for AppConfig",
                "DATABASE_URL",
                "  field required (type=value_error.missing)",
            ],
        ),
        (
            "DATABASE_URL",
            &[
                "  File \"/usr/lib/python3.11/os.py\", line 679, in __getitem__",
                "    url = os.environ['X']",
                "KeyError: 'DATABASE_URL'",
            ],
        ),
        ("DATABASE_URL", &["Error: DATABASE_URL is not set"]),
        ("POOL_MAX_SIZE", &["fatal: invalid value for POOL_MAX_SIZE: ten"]),
        (
            "--shape",
            &[
                "error: invalid value 'z' for '--shape <SHAPE>'",
                "  [possible values: a, c]",
                "For more information, try '--help'.",
            ],
        ),
        (
            "--port",
            &[
                "Usage: uvicorn [OPTIONS] APP",
                "Error: Invalid value for '--port': 'abc' is not a valid integer.",
            ],
        ),
        ("--prot", &["server: error: unrecognized arguments: --prot 8000"]),
    ] {
        let told = dies_saying(1.0, lines).told().case(lines[0]);
        told.expect_root(SETTING, Certainty::Proven).evidence(SETTING, setting);
        assert!(told.find(SETTING).summary.contains(setting), "{}", told.find(SETTING).summary);
    }
}

#[test]
fn what_only_sounds_like_a_refused_setting_is_not() {
    for lines in [
        &["WARNING: OPENAI_API_KEY is not set", "Segmentation fault"][..],
        &["OPENAI_API_KEY is not set", "1", "2", "3", "4", "5", "IndexError: list index out of range"],
        &["1 validation error for ClusterState", "chunks", "  field required"],
        &["1 validation error for Settings", "", "Traceback"],
        &["KeyError: 'DATABASE_URL'"],
        &["value = os.environ.copy()", "KeyError: 'rows'"],
        &["Error: the password is required"],
        &["Error: invalid value in row 3"],
        &["error connecting to server: Connection refused"],
        &[],
    ] {
        let s = dies_saying(1.0, lines);
        s.told().case(lines.first().copied().unwrap_or_default()).expect_root(FAILED, Certainty::Proven);
    }
}

#[test]
fn a_validation_message_under_load_is_no_bad_configuration() {
    let lines = &["1 validation error for Settings", "DATABASE_URL", "  field required"];
    dies_saying(31.0, lines).told().expect_root(FAILED, Certainty::Proven);
    dies_saying(30.0, lines).told().expect_root(SETTING, Certainty::Proven);
    // Said in an earlier run, which is not the one that ended.
    let s = dies_saying(1.0, &[]).line(A_UNIT, 60.0, 6, "Error: DATABASE_URL is not set");
    s.told().expect_root(FAILED, Certainty::Proven);
    // It died by a signal: that is no refusal.
    let s = down("failed", "failed", &[(11.0, Event::Started), (10.0, killed("11"))])
        .detail(A_UNIT, "core-dump", 3, 11, 10.0)
        .line(A_UNIT, 10.1, 6, "Error: DATABASE_URL is not set");
    s.told().expect_root(FAILED, Certainty::Proven);
}

#[test]
fn a_refused_setting_comes_before_the_loop_that_it_makes() {
    let mut s = down("failed", "failed", &again(5)).detail(A_UNIT, "exit-code", 1, 3, 2.0);
    s = s.events(A_UNIT, &[(1.0, exited("1"))]).line(A_UNIT, 1.1, 6, "Error: DATABASE_URL is not set");
    s.told()
        .never("server-crash/crash-loop")
        .never("server-crash/failed")
        .expect_root(SETTING, Certainty::Proven);
}

const CONFLICT: &str = "server-crash/port-conflict@codebase-mcp";
const OTHER: Option<&str> = Some("/system.slice/other.service");

/// It could not take its port.
pub fn port_taken() -> Stack {
    dies_saying(0.1, &["Error: cannot listen on 127.0.0.1:8000: Address already in use"])
}

#[test]
fn a_port_that_another_unit_holds_is_a_conflict_whatever_it_answers() {
    for address in ["127.0.0.1:8000", "0.0.0.0:8000", "[::]:8000"] {
        let s = port_taken().listener(address, &[(77, "nginx", OTHER)]);
        s.told().case(address).expect_root(CONFLICT, Certainty::Proven).evidence(CONFLICT, "other.service");
    }
    let html = crate::payload::answer(200, "text/html", "<h1>Welcome to nginx!</h1>");
    for look in [html, crate::payload::a_own()] {
        let s = port_taken().health(A, look).listener("127.0.0.1:8000", &[(77, "nginx", OTHER)]);
        s.told().expect_root(CONFLICT, Certainty::Proven);
    }
    // Of no unit at all: somebody's shell.
    let s = port_taken().listener("127.0.0.1:8000", &[(77, "python3", Some("/user.slice/session-3.scope"))]);
    s.told().expect_root(CONFLICT, Certainty::Proven);
}

#[test]
fn a_proxy_before_the_service_is_no_thief_of_its_port() {
    let s = dies_saying(90.0, &["MemoryError"]).listener("127.0.0.1:8000", &[(77, "nginx", OTHER)]);
    s.told().never("server-crash/port-conflict").expect_root(FAILED, Certainty::Proven);
}

#[test]
fn what_it_merely_misses_is_not_why_it_ends_without_its_database() {
    let lines = ["HTTP_PROXY is not set", "error connecting to server: Connection refused"];
    dies_saying(0.5, &lines).told().never("server-crash/bad-configuration");
}

#[test]
fn its_own_child_a_socket_unit_and_a_proxy_are_no_conflict() {
    for (case, address, holders) in [
        (
            "its child",
            "127.0.0.1:8000",
            &[(77, "worker", Some("/lab/system.slice/codebase-mcp.service"))][..],
        ),
        ("systemd's socket", "127.0.0.1:8000", &[(1, "systemd", Some("/init.scope"))]),
        ("docker-proxy", "0.0.0.0:8000", &[(77, "docker-proxy", Some("/system.slice/docker.service"))]),
        ("unknown whose", "127.0.0.1:8000", &[(77, "nginx", None)]),
        ("nobody seen", "127.0.0.1:8000", &[]),
        ("another address", "10.0.0.7:8000", &[(77, "nginx", OTHER)]),
        ("another port", "127.0.0.1:8005", &[(77, "nginx", OTHER)]),
    ] {
        let s = port_taken().listener(address, holders);
        s.told().case(case).never("server-crash/port-conflict").expect_root(FAILED, Certainty::Proven);
    }
}

#[test]
fn a_unit_that_runs_or_an_answer_that_is_well_is_no_conflict() {
    let held = |s: Stack| s.listener("127.0.0.1:8000", &[(77, "nginx", OTHER)]);
    held(Stack::healthy().unit(A_UNIT, "failed", "failed")).told().healthy();
    held(down("active", "running", &[])).told().never("server-crash/port-conflict");
    held(down("deactivating", "stop-sigterm", &[])).told().never("server-crash/port-conflict");
}

#[test]
fn what_a_program_says_before_systemd_calls_it_started_is_of_that_run() {
    let mut events = Vec::new();
    for n in 0..4 {
        let at = 10.0 - f64::from(n);
        events.extend([(at, Event::Starting), (at - 0.1, Event::Started), (at - 0.2, exited("2"))]);
        events.push((at - 0.5, Event::RestartScheduled { restarts: 1 + n as u32 }));
    }
    events.truncate(events.len() - 1);
    let s = down("failed", "failed", &events).detail(A_UNIT, "exit-code", 1, 2, 6.8);
    // Its last words came while systemd still called it starting.
    let s =
        ["1 validation error for Settings", "POOL_MAX_SIZE", "  Input should be less than or equal to 100"]
            .into_iter()
            .fold(s, |s, line| s.line(A_UNIT, 6.95, 6, line));
    s.told().expect_root(SETTING, Certainty::Proven);
}

/// A container with a manager of its own has units of the same names, and the kernel speaks of both.
#[test]
fn what_the_kernel_did_to_a_unit_of_another_manager_is_not_ours() {
    let there = format!("/machine.slice/machine-box.scope/payload{GROUP}");
    let mut s = sigkilled().kernel(&[(30.4, &there, Kernel::OomLimit)]);
    s.now.host.taken.insert(C.into(), crate::stack::memory::modest(C_UNIT, 102));
    s.told().never("server-crash/oom-killed");
    // Its own is still its own, below whatever slices it stands.
    let nested = GROUP.replace("/system.slice/", "/system.slice/system-mcp.slice/");
    s.kernel(&[(30.4, &nested, Kernel::OomLimit)]).told().expect_root(OOM, Certainty::Proven);
}
