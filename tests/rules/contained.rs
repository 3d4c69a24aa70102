//! What services need, in containers: why it does not run, by the engine's word, and what is typed next.

use mcp_ir::diagnosis::{Certainty, Severity};
use mcp_ir::snapshot::containers::Container;
use mcp_ir::snapshot::redis::RedisLook;
use mcp_ir::snapshot::units::{Event, Kernel};
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use crate::stack::containers::{ID, exited, no_container, runs};
use crate::stack::{Stack, ago, fail, failed, postmaster, refused, silent};

const DOWN: &str = "server-crash/dependency-down@redis";
const STOPPED: &str = "db-down/postgres-stopped@postgres";
const START: &str = "db-down/start-failed@postgres";
const MOVING: &str = "db-down/shutting-down@postgres";

/// A Redis in a container, which a service needs and which answers so.
fn redis(answer: Failure) -> Stack {
    let redis = serde_json::json!({"name": "redis", "url": "redis://127.0.0.1:6379/0", "container": "cache"});
    let mut s = Stack::healthy().config(|c| {
        c.redis = vec![serde_json::from_value(redis).unwrap()];
        c.service[0].needs.push("redis".into());
    });
    let none = "no answer to PING";
    let look = RedisLook {
        endpoint: "127.0.0.1:6379".into(),
        here: Some(true),
        ping: failed(answer),
        certificate: None,
        server: Reading::not_asked(none),
        settings: Reading::not_asked(none),
    };
    s.now.redis.insert("redis".into(), look);
    s
}

fn died(status: &str) -> Event {
    Event::ProcessExited { code: "exited".into(), status: status.into() }
}

fn limited(code: i32) -> Container {
    let limit = Some(32 << 20);
    Container { memory_max: limit, memory_swap: Some(32 << 20), oom_killed: true, ..exited(code, 90.0) }
}

/// It ended within two seconds of its start.
fn short(code: i32) -> Container {
    Container { started_at: Some(ago(92.0)), ..exited(code, 90.0) }
}

fn waits(restarts: u32) -> Container {
    Container { state: "restarting".into(), policy: "always".into(), restarts, ..short(1) }
}

fn expect(s: Stack, certainty: Certainty, words: &str, next: &str) {
    let told = s.told().case(words);
    told.expect_root(DOWN, certainty);
    let f = told.find(DOWN);
    assert!(f.summary.contains(words), "{}", f.summary);
    assert_eq!((f.remedy.command.as_str(), f.severity), (next, Severity::P1));
}

#[test]
fn why_a_dependency_does_not_run_is_its_engines_word() {
    use Certainty::{Likely, Proven};
    let down = |c| redis(refused()).container("cache", c);
    let stop = [(91.0, Event::Stopping), (90.0, died("0")), (90.0, Event::Stopped)];
    let s = down(exited(0, 90.0)).happened("cache", &stop);
    expect(s, Proven, "is exited, exit code 0; the engine was told to stop it", "docker start cache");
    expect(down(exited(137, 90.0)), Proven, "is exited, exit code 137 (SIGKILL)", "docker start cache");
    expect(redis(refused()).no_engine("cache", no_container()), Likely, "no container cache", "docker ps -a");
    let not_begun =
        Container { error: "exec: \"/x\": no such file or directory: unknown".into(), ..exited(127, 9.0) };
    expect(down(not_begun), Proven, "by the engine: exec: \"/x\"", "docker inspect cache");
    expect(
        down(short(1)),
        Proven,
        "does not get through its start: exit code 1",
        "docker logs --tail 50 cache",
    );
    expect(down(waits(7)), Proven, "again and again", "docker logs --tail 50 cache");
    let paused = || Container { state: "paused".into(), ..runs(900.0) };
    for answer in [silent(), fail(FailKind::TimedOut, Stage::Connect), refused()] {
        expect(
            redis(answer).container("cache", paused()),
            Proven,
            "keeps its container",
            "docker unpause cache",
        );
    }
    // Where nothing of it answers in time, it may be the way.
    let far = redis(fail(FailKind::TimedOut, Stage::Connect)).container("cache", exited(1, 90.0));
    expect(far, Likely, "is exited, exit code 1", "docker start cache");
}

#[test]
fn a_dependency_that_was_killed_for_memory_gets_more_of_it_only_where_that_is_proven() {
    let more = "docker update --memory 67108864 --memory-swap 67108864 cache && docker start cache";
    let s = || redis(refused()).container("cache", limited(137));
    expect(s(), Certainty::Likely, "killed for memory at its limit of 32 MiB", "docker start cache");
    let events = [(3690.0, Event::Started), (90.1, Event::OomKilled), (90.0, died("137"))];
    expect(s().happened("cache", &events), Certainty::Proven, "at its limit of 32 MiB", more);
    let group = format!("/docker/{ID}");
    expect(s().kernel(&[(90.0, &group, Kernel::OomLimit)]), Certainty::Proven, "at its limit", more);
    // No larger limit cures that.
    let host = s().kernel(&[(90.0, &group, Kernel::OomHost)]);
    expect(host, Certainty::Proven, "as the whole machine had none left", "docker start cache");
    // A child was killed some day.
    let other = redis(refused()).container("cache", limited(1));
    expect(other, Certainty::Proven, "is exited, exit code 1", "docker start cache");
}

#[test]
fn one_that_runs_is_not_started_again() {
    let s = redis(refused()).container("cache", runs(900.0));
    expect(s, Certainty::Proven, "refuses connections", "docker logs --tail 50 cache");
    let s = redis(silent()).container("cache", runs(900.0)).container_process("cache", "T");
    expect(s, Certainty::Proven, "process 77 is T", "kill -CONT 77");
    // Seen between two of its deaths.
    let often: Vec<(f64, Event)> = (0..3)
        .flat_map(|n| [(40.5 - 10.0 * f64::from(n), Event::Started), (40.0 - 10.0 * f64::from(n), died("1"))])
        .collect();
    let often_brought = |seconds| Container { restarts: 3, ..runs(seconds) };
    let s = redis(refused()).container("cache", often_brought(0.1)).happened("cache", &often);
    // Its engine has forgotten how it ended: its events have not.
    expect(s, Certainty::Proven, "brought back: exit code 1", "docker logs --tail 50 cache");
    // Another took its port: its answer is no word of the container that ended.
    let other = redis(fail(FailKind::Malformed, Stage::Answer)).container("cache", exited(0, 90.0));
    expect(
        other,
        Certainty::Likely,
        "does not speak as Redis does",
        "mcp-ir runbook server-crash#dependency-down",
    );
    // A stop that goes on.
    let moving = redis(refused()).container("cache", runs(900.0));
    let moving = moving.happened("cache", &[(900.0, Event::Started), (2.0, Event::Stopping)]);
    expect(moving, Certainty::Likely, "is being stopped or restarted", "docker logs --tail 50 cache");
}

#[test]
fn deaths_before_a_run_that_goes_on_are_no_loop() {
    let often: Vec<(f64, Event)> = (0..3)
        .flat_map(|n| [(260.5 - 5.0 * f64::from(n), Event::Started), (260.0 - 5.0 * f64::from(n), died("1"))])
        .collect();
    let s = redis(refused()).container("cache", Container { restarts: 3, ..runs(240.0) });
    let s = s.happened("cache", &often);
    expect(s, Certainty::Proven, "refuses connections: nothing listens", "docker logs --tail 50 cache");
}

#[test]
fn brought_back_once_is_no_loop() {
    let c = Container { started_at: Some(ago(7200.0)), ..waits(1) };
    let s = redis(refused()).container("cache", c).happened("cache", &[(90.0, died("1"))]);
    expect(s, Certainty::Proven, "its engine brings it back: exit code 1", "docker logs --tail 50 cache");
}

#[test]
fn an_old_death_for_memory_is_not_why_a_container_ended_well() {
    let events = |code: &str| {
        [
            (9000.0, Event::Started),
            (7300.1, Event::OomKilled),
            (7300.0, died("137")),
            (7299.0, Event::Started),
            (90.0, died(code)),
        ]
    };
    let s = |code| redis(refused()).container("cache", Container { oom_killed: false, ..limited(code) });
    expect(
        s(0).happened("cache", &events("0")),
        Certainty::Proven,
        "is exited, exit code 0",
        "docker start cache",
    );
    let told = s(0).happened("cache", &events("0")).told();
    assert!(!told.find(DOWN).summary.contains("memory"), "{}", told.find(DOWN).summary);
    // Nor of what a person killed since then.
    let told = s(137).happened("cache", &events("137")).told();
    assert!(!told.find(DOWN).summary.contains("memory"), "{}", told.find(DOWN).summary);
}

#[test]
fn an_engine_that_does_not_answer_is_no_reason() {
    for (kind, stage) in [
        (FailKind::Missing, Stage::Connect),
        (FailKind::Denied, Stage::Connect),
        (FailKind::TimedOut, Stage::Answer),
        (FailKind::Malformed, Stage::Body),
    ] {
        let s = redis(refused()).no_engine("cache", fail(kind, stage));
        expect(s, Certainty::Proven, "refuses connections: nothing listens there", "docker start cache");
    }
}

fn postgres(c: Container) -> Stack {
    Stack::outage()
        .unlisted(crate::stack::PG_UNIT)
        .postgres(|p| (p.unit, p.container, p.data_directory) = (None, Some("pg".into()), None))
        .container("pg", c)
}

#[test]
fn a_start_that_failed_says_why_in_its_own_log() {
    let why = |s: Stack| {
        s.logged("pg", 90.2, "LOG:  invalid value for parameter \"shared_buffers\": \"none\"").logged(
            "pg",
            90.1,
            "FATAL:  configuration file \"/data/postgresql.auto.conf\" contains errors",
        )
    };
    let told = why(postgres(short(1))).told();
    told.expect_root(START, Certainty::Proven).evidence(START, "shared_buffers");
    assert_eq!(told.find(START).remedy.command, "docker logs --tail 50 pg");
    assert!(told.find(START).remedy.summary.contains("docker start pg"));
    // Its engine goes on trying.
    let told = why(postgres(waits(7))).told();
    told.expect_root(START, Certainty::Proven).evidence(START, "7 times");
    assert!(!told.find(START).remedy.summary.contains("docker start"));
    // Without its log.
    postgres(short(1)).told().expect_root(START, Certainty::Likely);
    let taken =
        postgres(short(1)).logged("pg", 90.2, "LOG:  could not bind IPv4 address: Address already in use");
    let told = taken.logged("pg", 90.1, "FATAL:  could not create any TCP/IP sockets").told();
    assert_eq!(told.find(START).remedy.command, "ss -ltnp 'sport = :5432'");
}

#[test]
fn what_became_ready_did_start() {
    let s = postgres(short(1)).logged("pg", 91.5, "LOG:  database system is ready to accept connections");
    s.told().expect_root(STOPPED, Certainty::Proven);
    // The run before that is another story, however close it is.
    let run = [
        (95.0, Event::Started),
        (92.6, Event::Stopping),
        (92.5, died("0")),
        (92.0, Event::Started),
        (90.0, died("1")),
    ];
    let s = postgres(short(1)).happened("pg", &run);
    let s = s.logged("pg", 92.7, "LOG:  database system is ready to accept connections");
    let s = s.logged("pg", 90.1, "FATAL:  could not load pg_hba.conf");
    s.told().expect_root(START, Certainty::Proven).evidence(START, "pg_hba");
}

/// Its engine gave up: it was brought back as often as it may be, over weeks.
#[test]
fn what_ran_for_days_did_not_fail_to_start() {
    let c = |ran_s| Container {
        policy: "on-failure".into(),
        policy_max: 3,
        restarts: 3,
        started_at: Some(ago(90.0 + ran_s)),
        ..exited(1, 90.0)
    };
    let days = 5.0 * 86_400.0;
    for line in ["role \"root\" does not exist", "could not write lock file \"postmaster.pid\""] {
        let told = postgres(c(days)).logged("pg", 100.0, &format!("FATAL:  {line}")).told().case(line);
        told.expect_root(STOPPED, Certainty::Proven).never("db-down/start-failed");
        assert!(!told.find(STOPPED).summary.contains("again"), "{}", told.find(STOPPED).summary);
    }
    // Each of its tries was as short.
    let told = postgres(c(2.0)).logged("pg", 91.0, "FATAL:  could not load pg_hba.conf").told();
    told.expect_root(START, Certainty::Proven);
    assert!(
        told.find(START).remedy.summary.contains("docker start pg"),
        "{}",
        told.find(START).remedy.summary
    );
}

#[test]
fn what_a_client_is_told_is_not_why_a_start_failed() {
    for line in [
        "role \"root\" does not exist",
        "database \"root\" does not exist",
        "password authentication failed for user \"x\"",
        "sorry, too many clients already",
    ] {
        let s =
            postgres(short(1)).logged("pg", 91.0, &format!("2026-11-24 11:58:29 UTC [61] FATAL:  {line}"));
        s.told().case(line).expect_root(STOPPED, Certainty::Proven).never("db-down/start-failed");
    }
    let s = postgres(short(1)).logged("pg", 91.0, "FATAL:  the database system is starting up");
    s.told().expect_root(START, Certainty::Likely);
}

#[test]
fn a_database_in_a_container_that_does_not_run() {
    let next = |s: Stack, id: &str, certainty, command: &str| {
        let told = s.told().case(command);
        told.expect_root(id, certainty);
        assert_eq!(told.find(id).remedy.command, command);
    };
    let stop = [(91.0, Event::Stopping), (90.0, died("0")), (90.0, Event::Stopped)];
    let stopped = || postgres(exited(0, 90.0)).happened("pg", &stop);
    next(stopped(), STOPPED, Certainty::Proven, "docker start pg");
    assert_eq!(stopped().told().find(STOPPED).since, Some(ago(91.0)));
    let more = "docker update --memory 67108864 --memory-swap 67108864 pg && docker start pg";
    let events = [(3690.0, Event::Started), (90.1, Event::OomKilled), (90.0, died("137"))];
    next(postgres(limited(137)).happened("pg", &events), STOPPED, Certainty::Proven, more);
    next(postgres(runs(1.0)).no_engine("pg", no_container()), STOPPED, Certainty::Likely, "docker ps -a");
    let moving = postgres(runs(900.0)).happened("pg", &[(900.0, Event::Started), (2.0, Event::Stopping)]);
    next(moving, MOVING, Certainty::Likely, "docker logs --tail 50 pg");
    // Its engine is another host's, and knows of it all the same.
    next(stopped().here(Some(false)), STOPPED, Certainty::Likely, "docker start pg");
}

#[test]
fn a_container_of_another_name_is_no_server_that_was_stopped() {
    let gone = || postgres(runs(1.0)).no_engine("pg", no_container());
    // Its postmaster runs, wherever that listens.
    let told = gone().postmasters(vec![postmaster("S", Some("/data"), Some(5432))]).told();
    told.never("db-down/postgres-stopped").expect_root("db-down/refused-remote@postgres", Certainty::Likely);
    // Nothing is known of another's, nor promised of what was in this one.
    let told = gone().similar("pg", "pg-1").postmasters(vec![postmaster("S", None, Some(5433))]).told();
    told.expect_root(STOPPED, Certainty::Likely).evidence(STOPPED, "pg-1").evidence(STOPPED, "of port 5433");
    let f = told.find(STOPPED);
    assert!(!f.remedy.summary.contains("volume") && !f.summary.contains("does not run"), "{}", f.summary);
    let none = redis(refused()).no_engine("cache", no_container()).told();
    assert!(!none.find(DOWN).summary.contains("does not run"), "{}", none.find(DOWN).summary);
}

#[test]
fn a_policy_that_would_bring_a_server_back_tells_of_a_stop() {
    let kept = |c: Container| Container { policy: "unless-stopped".into(), ..c };
    let words = "so it was stopped";
    expect(
        redis(refused()).container("cache", kept(exited(0, 90.0))),
        Certainty::Proven,
        words,
        "docker start cache",
    );
    // What is remembered of it says that it ended by itself.
    let s =
        redis(refused()).container("cache", kept(exited(0, 90.0))).happened("cache", &[(90.0, died("0"))]);
    let s = s.happened("cache", &[(3690.0, Event::Started)]);
    let told = s.told();
    assert!(!told.find(DOWN).summary.contains(words), "{}", told.find(DOWN).summary);
    let told = postgres(kept(exited(0, 90.0))).told();
    told.expect_root(STOPPED, Certainty::Proven);
    assert!(told.find(STOPPED).remedy.summary.contains("who stopped it"));
}

#[test]
fn its_log_tells_of_crashes_as_a_units_does() {
    let crash = "LOG:  server process (PID 57) was terminated by signal 9: Killed";
    let s = || {
        let s = Stack::healthy().unlisted(crate::stack::PG_UNIT);
        let s = s.postgres(|p| (p.unit, p.container) = (None, Some("pg".into())));
        s.container("pg", runs(900.0)).logged("pg", 60.0, crash)
    };
    s().told().healthy();
    let told = s().logged("pg", 30.0, crash).told();
    told.expect_root("db-down/backend-crash@postgres", Certainty::Proven);
}
