//! A Redis that services need: what it says of itself, what its services say, and what is no fault.

use std::collections::BTreeMap;

use mcp_ir::diagnosis::{Certainty, Severity, SymptomState, Verdict};
use mcp_ir::snapshot::redis::{RedisLook, RedisServer, RedisSettings};
use mcp_ir::snapshot::{FailKind, Failure, Look, Reading, Stage};

use crate::payload;
use crate::stack::{A, A_UNIT, C, Stack, fail, failed, refused, seen, silent};

const DOWN: &str = "server-crash/dependency-down@redis";
const UNIT: &str = "redis-server.service";
const A_BAD: &str = "server-crash/unhealthy@codebase-mcp";

/// Both services need it; it answers, and is empty.
pub fn stack(bend: impl FnOnce(&mut RedisLook)) -> Stack {
    with(false, bend)
}

fn optional(bend: impl FnOnce(&mut RedisLook)) -> Stack {
    with(true, bend)
}

fn with(optional: bool, bend: impl FnOnce(&mut RedisLook)) -> Stack {
    let redis = serde_json::json!({"name": "redis", "url": "redis://127.0.0.1:6379/0",
                                   "unit": UNIT, "optional": optional});
    let mut look = RedisLook {
        endpoint: "127.0.0.1:6379".into(),
        here: Some(true),
        ping: seen(()),
        certificate: None,
        server: Reading::Seen { value: server() },
        settings: Reading::Seen { value: RedisSettings { stop_writes: Some(true), saves: Some(true) } },
    };
    bend(&mut look);
    let mut s = Stack::healthy().config(|c| {
        c.redis = vec![serde_json::from_value(redis).unwrap()];
        c.service.iter_mut().for_each(|s| s.needs.push("redis".into()));
    });
    s.now.redis = BTreeMap::from([("redis".into(), look)]);
    s.unit(UNIT, "active", "running")
}

fn server() -> RedisServer {
    RedisServer {
        version: "7.0.15".into(),
        role: "master".into(),
        used_memory: Some(1 << 20),
        maxmemory: Some(0),
        policy: Some("noeviction".into()),
        save_ok: Some(true),
        append_ok: Some(true),
        ..RedisServer::default()
    }
}

fn info(bend: impl FnOnce(&mut RedisServer)) -> Stack {
    stack(|r| {
        let mut s = server();
        bend(&mut s);
        r.server = Reading::Seen { value: s };
    })
}

fn no_ping(f: Failure) -> impl FnOnce(&mut RedisLook) {
    |r| {
        r.ping = failed(f);
        r.server = Reading::not_asked("no answer to PING");
        r.settings = Reading::not_asked("no answer to PING");
    }
}

fn code(kind: FailKind, code: &str) -> Failure {
    Failure { code: Some(code.into()), ..fail(kind, Stage::Answer) }
}

/// Unhealthy, and the database is not its reason.
fn complains(s: Stack, text: &str) -> Stack {
    s.health(A, payload::a("unhealthy", "connected", 3, 3, 10, &format!(r#"{{"error":{text:?}}}"#)))
}

#[test]
fn a_redis_that_answers_is_a_symptom_of_health() {
    stack(|_| ()).told().healthy().symptom("redis", SymptomState::Good);
}

#[test]
fn a_required_redis_that_refuses_is_down_and_explains_what_needs_it() {
    let s = complains(stack(no_ping(refused())), "redis: Connection refused").unit(UNIT, "failed", "failed");
    let told = s.told();
    told.expect_root(DOWN, Certainty::Proven).explained(A_BAD, &[DOWN]);
    assert_eq!(told.find(DOWN).remedy.command, "systemctl start redis-server.service");
    // Also a service that died of it.
    let s = stack(no_ping(refused())).no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
    s.told().expect_roots(&[DOWN]).explained("server-crash/failed@codebase-mcp", &[DOWN]);
}

#[test]
fn a_port_that_refuses_elsewhere_is_only_likely_down() {
    let s = stack(|r| {
        no_ping(refused())(r);
        r.here = Some(false);
    });
    s.told().expect_root(DOWN, Certainty::Likely);
}

#[test]
fn a_redis_that_loads_is_waited_for() {
    let s = stack(|r| {
        r.ping = failed(code(FailKind::Refused, "LOADING"));
        let s =
            RedisServer { loading: true, loaded_percent: Some(42.4), loading_eta_s: Some(9.0), ..server() };
        r.server = Reading::Seen { value: s };
    });
    let told = s.told();
    told.expect_root(DOWN, Certainty::Proven).evidence(DOWN, "9 s");
    let f = told.find(DOWN);
    assert!(f.summary.contains("42 %") && f.remedy.summary.starts_with("Wait"), "{f:?}");
    info(|s| s.loading = true).told().expect_root(DOWN, Certainty::Proven);
}

#[test]
fn full_without_eviction_refuses_writes_and_full_with_eviction_is_a_cache() {
    let full = |used, policy: &str, refused: bool| {
        info(|s| {
            s.used_memory = Some(used);
            s.maxmemory = Some(1000);
            s.policy = Some(policy.into());
            s.errors = refused.then(|| ("OOM".to_owned(), 7)).into_iter().collect();
        })
    };
    full(1000, "noeviction", true).told().expect_root(DOWN, Certainty::Proven).evidence(DOWN, "7 times");
    full(1001, "noeviction", false).told().expect_root(DOWN, Certainty::Likely);
    full(999, "noeviction", true).told().healthy();
    for policy in ["allkeys-lru", "volatile-ttl"] {
        full(1000, policy, true).told().case(policy).healthy();
    }
    // 0 is no limit; what is not said is not full.
    info(|s| s.used_memory = Some(1 << 40)).told().healthy();
    info(|s| (s.used_memory, s.maxmemory) = (None, Some(1))).told().healthy();
}

#[test]
fn a_failed_save_counts_only_where_it_stops_writes() {
    let failed_save = |settings: Option<(bool, bool)>| {
        stack(|r| {
            r.server = Reading::Seen { value: RedisServer { save_ok: Some(false), ..server() } };
            r.settings = match settings {
                Some((stop, saves)) => {
                    Reading::Seen { value: RedisSettings { stop_writes: Some(stop), saves: Some(saves) } }
                }
                None => Reading::Failed(code(FailKind::Denied, "NOPERM")),
            };
        })
    };
    failed_save(Some((true, true))).told().expect_root(DOWN, Certainty::Proven);
    failed_save(Some((false, true))).told().healthy();
    failed_save(Some((true, false))).told().healthy();
    // Its defaults are not known to hold.
    failed_save(None).told().expect_root(DOWN, Certainty::Likely);
    info(|s| s.append_ok = Some(false)).told().expect_root(DOWN, Certainty::Proven);
}

#[test]
fn a_replica_is_a_fault_only_where_a_primary_is_expected() {
    let replica = |bend: fn(&mut RedisServer)| {
        info(|s| {
            s.role = "slave".into();
            s.read_only = Some(true);
            s.master = Some("10.0.0.7:6379".into());
            bend(s);
        })
    };
    let told = replica(|_| ()).told();
    told.expect_root(DOWN, Certainty::Likely);
    assert!(told.find(DOWN).summary.contains("10.0.0.7:6379"));
    replica(|s| s.errors = BTreeMap::from([("READONLY".into(), 1)]))
        .told()
        .expect_root(DOWN, Certainty::Proven);
    replica(|s| s.read_only = Some(false)).told().healthy();
    replica(|_| ()).config(|c| c.redis[0].expect = mcp_ir::config::Expect::Standby).told().healthy();
}

#[test]
fn our_own_refused_login_is_not_the_services() {
    for word in ["NOAUTH", "WRONGPASS", "NOPERM"] {
        let s = stack(no_ping(code(FailKind::Denied, word)));
        s.told().case(word).healthy().symptom("redis", SymptomState::Good);
        // Nobody vouches for it: then it is not known.
        let s = stack(no_ping(code(FailKind::Denied, word)));
        let s = s.no_answer(A, fail(FailKind::Denied, Stage::Body));
        let s = s.no_answer(C, fail(FailKind::Denied, Stage::Body));
        s.told().case(word).unknown();
    }
}

#[test]
fn a_login_that_the_services_are_refused_is_down_though_ours_works() {
    for text in [
        "NOAUTH Authentication required.",
        "redis: WRONGPASS invalid username-password pair",
        "redis: NOPERM this user has no permissions to run the 'set' command",
    ] {
        let told = complains(stack(|_| ()), text).told().case(text);
        told.expect_root(DOWN, Certainty::Proven).explained(A_BAD, &[DOWN]).evidence(DOWN, text);
    }
    // A service that is well again may have said so in vain.
    stack(|_| ()).line(A_UNIT, 5.0, 3, "redis: NOAUTH Authentication required.").told().healthy();
}

#[test]
fn a_write_that_the_services_are_refused_is_down_though_its_figures_look_well() {
    for text in [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "READONLY You can't write against a read only replica.",
    ] {
        let told = complains(stack(|_| ()), text).told().case(text);
        told.expect_root(DOWN, Certainty::Proven).explained(A_BAD, &[DOWN]).evidence(DOWN, text);
    }
}

#[test]
fn a_redis_that_is_silent_is_likely_hung_and_a_stopped_one_surely() {
    stack(no_ping(silent())).told().expect_root(DOWN, Certainty::Likely);
    let told = stack(no_ping(silent())).process(UNIT, "T").told();
    told.expect_root(DOWN, Certainty::Proven);
    assert_eq!(told.find(DOWN).remedy.command, "kill -CONT 120");
}

#[test]
fn a_redis_that_was_not_looked_at_in_time_is_unknown() {
    stack(no_ping(fail(FailKind::TimedOut, Stage::Query))).told().unknown();
    stack(no_ping(fail(FailKind::TimedOut, Stage::Connect))).told().unknown();
    stack(no_ping(fail(FailKind::NotTried, Stage::Connect))).told().unknown();
}

#[test]
fn an_optional_redis_that_nobody_installed_is_no_fault() {
    let none = || optional(no_ping(refused())).unlisted(UNIT);
    none().told().healthy();
    none().loaded(UNIT, "not-found", "inactive", "dead").told().healthy();
    none().no_bus().told().healthy();
}

#[test]
fn an_optional_redis_that_died_wakes_nobody_and_explains_nothing() {
    let died = || optional(no_ping(refused())).unit(UNIT, "failed", "failed");
    let told = died().told();
    told.expect_root(DOWN, Certainty::Proven);
    assert_eq!(told.find(DOWN).severity, Severity::P3);
    // A service is unhealthy for another reason.
    let told = complains(died(), "the search index is not loaded").told();
    told.expect_roots(&[A_BAD, DOWN]);
    for words in ["redis: ok; database: failed", "cache connected (redis), embeddings missing"] {
        complains(died(), words).told().case(words).expect_roots(&[A_BAD, DOWN]);
    }
    // It says that this is its reason: then it is not optional.
    let told = complains(died(), "redis: Connection refused").told();
    told.expect_root(DOWN, Certainty::Proven).explained(A_BAD, &[DOWN]);
    assert_eq!(told.find(DOWN).severity, Severity::P1);
}

#[test]
fn an_optional_redis_that_is_merely_stopped_is_a_note() {
    let told = optional(no_ping(refused())).unit(UNIT, "inactive", "dead").told();
    told.verdict(Verdict::Healthy);
    assert_eq!(told.find(DOWN).severity, Severity::P4);
}

#[test]
fn two_dead_dependencies_are_two_roots() {
    let s = stack(no_ping(refused())).unit(UNIT, "failed", "failed").login(refused());
    let s = s.unit(crate::stack::PG_UNIT, "inactive", "dead").postmasters(Vec::new());
    let s = s.health(A, payload::a_down("Connection refused"));
    s.told().expect_roots(&[DOWN, "db-down/postgres-stopped@postgres"]);
}

#[test]
fn an_old_snapshot_without_redis_still_reads() {
    let mut v = serde_json::to_value(&Stack::healthy().now).unwrap();
    v.as_object_mut().unwrap().remove("redis");
    let text = v.to_string();
    assert_eq!(mcp_ir::snapshot::Snapshot::from_json(&text).unwrap(), Stack::healthy().now);
    let look: Look<()> = serde_json::from_value(serde_json::to_value(seen(())).unwrap()).unwrap();
    assert!(look.seen().is_some());
}
