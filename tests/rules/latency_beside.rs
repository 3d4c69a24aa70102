//! Slow by what stands beside the database; and what takes more of the time stands first.

use mcp_ir::scenario;
use mcp_ir::snapshot::ollama::OllamaLook;
use mcp_ir::snapshot::redis::{RedisLook, RedisServer};
use mcp_ir::snapshot::{Again, Look, Looks, Reading};

use crate::payload;
use crate::stack::{A, C};
use crate::two::{SEARCH, Two, evidence};

fn redis(ms: f64, calls: u64, us: u64, second: f64) -> RedisLook {
    let server = RedisServer {
        version: "7.0.15".into(),
        role: "master".into(),
        run: Some("a1".into()),
        time_s: Some(1000.0 + second),
        commands: [("keys".to_owned(), (calls, us))].into(),
        ..RedisServer::default()
    };
    RedisLook {
        endpoint: "127.0.0.1:6379".into(),
        here: Some(true),
        ping: Look { elapsed_ms: ms, reading: Reading::Seen { value: () } },
        certificate: None,
        server: Reading::Seen { value: server },
        settings: Reading::not_asked("-"),
    }
}

fn with_redis(before: RedisLook, now: RedisLook) -> Two {
    let mut two = Two::slow();
    for (look, redis) in [(&mut two.before, before), (&mut two.now, now)] {
        let config: mcp_ir::config::Redis =
            serde_json::from_value(serde_json::json!({"name": "redis", "url": "redis://127.0.0.1:6379"}))
                .unwrap();
        look.now.config.redis.push(config);
        *look = look.clone().service(A, |s| s.needs.push("redis".into()));
        look.now.redis.insert("redis".into(), redis);
    }
    two
}

#[test]
fn a_redis_that_is_busy_with_one_command() {
    let d =
        with_redis(redis(1.0, 10, 1000, 0.0), redis(80.0, 20, 701_000, 1.0)).is(&["redis-slow@redis"], &[]);
    assert!(
        d.findings[0].summary.contains("KEYS takes 70 % of its time, 70 ms each"),
        "{}",
        d.findings[0].summary
    );
    // Many quick ones are load, no reason.
    with_redis(redis(1.0, 10, 1000, 0.0), redis(1.0, 90_010, 701_000, 1.0))
        .is(&["unattributed@codebase-mcp"], &[]);
    with_redis(redis(300.0, 10, 1000, 0.0), redis(250.0, 10, 1000, 1.0)).is(&["redis-slow@redis"], &[]);
    with_redis(redis(300.0, 10, 1000, 0.0), redis(1.0, 10, 1000, 1.0))
        .is(&["unattributed@codebase-mcp"], &[]);
    // Another process: nothing of it is a difference.
    let mut other = redis(1.0, 20, 701_000, 1.0);
    if let Reading::Seen { value } = &mut other.server {
        value.run = Some("b2".into());
    }
    with_redis(redis(1.0, 10, 1000, 0.0), other).is(&["unattributed@codebase-mcp"], &[]);
}

#[test]
fn an_ollama_that_answers_late_both_times() {
    let with = |a: f64, b: f64| {
        let mut two = Two::slow();
        for (look, ms) in [(&mut two.before, a), (&mut two.now, b)] {
            let config: mcp_ir::config::Ollama = serde_json::from_value(
                serde_json::json!({"name": "ollama", "url": "http://127.0.0.1:11434"}),
            )
            .unwrap();
            look.now.config.ollama.push(config);
            *look = look.clone().service(A, |s| s.needs.push("ollama".into()));
            let models = Look { elapsed_ms: ms, reading: Reading::Seen { value: vec!["m".into()] } };
            let ollama = OllamaLook { endpoint: "127.0.0.1:11434".into(), here: Some(true), models };
            look.now.ollama.insert("ollama".into(), ollama);
        }
        two
    };
    with(900.0, 800.0).is(&["ollama-slow@ollama"], &[]);
    with(900.0, 20.0).is(&["unattributed@codebase-mcp"], &[]);
}

#[test]
fn what_takes_more_of_the_time_stands_first() {
    let two = |share: u64, ms: f64| {
        with_redis(redis(1.0, 10, 1000, 0.0), redis(80.0, 20, 1000 + share * 10_000, 1.0))
            .ran(10.0, ms, SEARCH)
    };
    two(70, 4000.0).is(&["redis-slow@redis", "slow-queries@postgres"], &[]);
    two(40, 6000.0).is(&["slow-queries@postgres", "redis-slow@redis"], &[]);
}

/// Redis keeps it waiting, until it gives up: nothing is wrong with the service itself.
#[test]
fn a_service_that_gives_up_on_a_slow_redis_is_not_restarted() {
    let busy = || (redis(1.0, 10, 1000, 0.0), redis(734.0, 11, 701_000, 1.0));
    let unhealthy = |mut two: Two, message: &str| {
        two.now = two.now.health(
            A,
            payload::a("unhealthy", "connected", 3, 3, 10, &format!(r#"{{"error":{message:?}}}"#)),
        );
        two
    };
    let two = unhealthy(with_redis(busy().0, busy().1), "redis: no answer within 1.0 s");
    let d = two.is(&["redis-slow@redis"], &["server-crash/unhealthy@codebase-mcp"]);
    assert_eq!(d.findings[0].severity, mcp_ir::diagnosis::Severity::P1, "as urgent as what it brings about");
    assert!(evidence(&d).contains("redis: no answer within 1.0 s"), "{}", evidence(&d));
    // So too where no histogram tells that anything is slow.
    let mut two = unhealthy(with_redis(busy().0, busy().1), "redis: no answer within 1.0 s");
    for look in [&mut two.before, &mut two.now] {
        *look = look.clone().service(A, |s| s.metrics = None);
        look.now.services.get_mut(A).unwrap().metrics = None;
    }
    assert!(
        scenario::again(&Looks { now: two.now.now.clone(), before: None }, &two.now.now.config, &[])
            .contains(&Again::Redis("redis".into()))
    );
    two.is(&["redis-slow@redis"], &["server-crash/unhealthy@codebase-mcp"]);
    // Who is unhealthy for another reason is not well by Redis being quick again.
    unhealthy(with_redis(busy().0, busy().1), "the search index is not loaded")
        .is(&["server-crash/unhealthy@codebase-mcp", "redis-slow@redis"], &[]);
}

/// Two need it; one says that it waits for it, the other has a trouble of its own, or says nothing.
#[test]
fn a_slow_redis_explains_only_who_names_it() {
    for details in [r#"{"error":"model cache corrupted"}"#, "null"] {
        let mut two = with_redis(redis(1.0, 10, 1000, 0.0), redis(734.0, 11, 701_000, 1.0));
        let says = |details: &str| payload::a("unhealthy", "connected", 3, 3, 10, details);
        for look in [&mut two.before, &mut two.now] {
            *look = look.clone().service(C, |s| s.needs.push("redis".into()));
        }
        two.now = two.now.health(A, says(r#"{"error":"redis: no answer within 1.0 s"}"#));
        two.now = two.now.health(C, says(details));
        two.is(
            &["server-crash/unhealthy@workflow-mcp", "redis-slow@redis"],
            &["server-crash/unhealthy@codebase-mcp"],
        );
    }
}
