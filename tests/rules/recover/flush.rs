//! A cache that is thrown away because somebody asks for it.

use mcp_ir::consent::{Policy, ask};
use mcp_ir::engine::recover::{Choice, Request};
use mcp_ir::plan::{Act, Ask, Flush, Risk};
use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::redis::RedisLook;

use super::{acts, chosen, planned};
use crate::redis;
use crate::stack::Stack;

fn stack() -> Stack {
    with(|_| ())
}

fn with(bend: impl FnOnce(&mut RedisLook)) -> Stack {
    redis::stack(bend).config(|c| c.redis[0].cache_prefixes = vec!["mcp:cache:".into(), String::new()])
}

fn cache(prefix: &str) -> Request {
    Request { ask: Ask { flush_cache: Some(prefix.into()), ..Ask::default() }, ..Request::default() }
}

fn whole(name: &str, database: u32) -> Request {
    Request { ask: Ask { flush_db: Some((name.into(), database)), ..Ask::default() }, ..Request::default() }
}

#[test]
fn errata_46_a_prefix_that_is_configured_is_unlinked_and_no_other() {
    let plan = planned(&stack(), &cache("mcp:cache:"));
    let [Act::Flush(Flush { prefix, database, .. })] = acts(&plan)[..] else { panic!("{plan:?}") };
    assert_eq!((prefix.as_deref(), *database), (Some("mcp:cache:"), 0));
    let step = &plan.steps[0];
    assert_eq!((step.risk, step.undo.is_none()), (Risk::Disruptive, true));
    assert!(
        step.command.contains("--scan --pattern 'mcp:cache:*'") && step.command.contains("UNLINK"),
        "{}",
        step.command
    );
    assert!(plan.notes[0].contains("replicas"), "{:?}", plan.notes);
    // A part of a cache is one.
    assert_eq!(planned(&stack(), &cache("mcp:cache:a:")).steps.len(), 1);
    for other in ["mcp:", "sessions:", "", "*"] {
        let Choice::Refused { why, hints } = chosen(&stack(), &cache(other)) else { panic!("{other}") };
        assert!(why.contains("cache_prefixes") && hints == ["--flush-cache mcp:cache:"], "{why} {hints:?}");
    }
}

#[test]
fn errata_46_a_whole_database_is_flushed_only_by_its_name_and_that_is_destructive() {
    let plan = planned(&stack(), &whole("redis", 3));
    assert_eq!((plan.risk(), plan.subjects.as_slice()), (Risk::Destructive, &["redis".to_owned()][..]));
    assert!(plan.steps[0].command.ends_with("-n 3 FLUSHDB ASYNC"), "{}", plan.steps[0].command);
    let scripted = |allow| ask(&plan, &Policy { terminal: false, yes: true, allow }, &mut |_| None);
    assert!(scripted(None).unwrap_err().hint.unwrap().contains("--allow destructive"));
    assert!(scripted(Some(Risk::Destructive)).is_ok());
    let typed = |text: &'static str| {
        let policy = Policy { terminal: true, yes: true, allow: None };
        ask(&plan, &policy, &mut |_| Some(text.into())).is_ok()
    };
    assert!(typed("redis/3"));
    for other in ["redis", "redis/0", "y"] {
        assert!(!typed(other), "{other}: the number is what is caught by it");
    }
    let Choice::Refused { hints, .. } = chosen(&stack(), &whole("other", 0)) else { panic!() };
    assert_eq!(hints, ["--flush-db redis/0"]);
}

#[test]
fn errata_46_a_replica_is_not_flushed() {
    let s = with(|r| {
        let Reading::Seen { value } = &mut r.server else { panic!() };
        (value.role, value.master) = ("slave".into(), Some("10.0.0.5:6379".into()));
    });
    for request in [cache("mcp:cache:"), whole("redis", 0)] {
        let Choice::Refused { why, .. } = chosen(&s, &request) else { panic!() };
        assert!(why.contains("replica of 10.0.0.5:6379"), "{why}");
    }
}

#[test]
fn errata_46_a_named_service_is_the_promise_that_no_other_redis_is_meant() {
    let s = stack().config(|c| {
        let mut other = c.redis[0].clone();
        other.name = "sessions".into();
        c.redis.push(other);
        c.service[0].needs = vec!["sessions".into()];
        c.service[1].needs.retain(|n| n != "redis");
    });
    let of = |service: &str| Request { services: vec![service.into()], ..cache("mcp:cache:") };
    let Choice::Refused { why, hints } = chosen(&s, &cache("mcp:cache:")) else { panic!() };
    assert!(why.contains("more than one") && hints == ["--service redis", "--service sessions"], "{hints:?}");
    let (first, second) = (s.now.config.service[0].name.clone(), s.now.config.service[1].name.clone());
    for (service, redis) in [("redis", "redis"), ("sessions", "sessions"), (&first, "sessions")] {
        assert_eq!(planned(&s, &of(service)).subjects, [redis], "{service}");
    }
    let Choice::Refused { why, hints } = chosen(&s, &of(&second)) else { panic!() };
    assert!(why.contains(&second) && hints.len() == 2, "{why} {hints:?}");
    // So it is where the other one alone has that prefix.
    let mut alone = s.clone();
    alone.now.config.redis[1].cache_prefixes.clear();
    assert!(matches!(chosen(&alone, &of("sessions")), Choice::Refused { .. }));
    let db = |service: &str| Request { services: vec![service.into()], ..whole("redis", 3) };
    assert_eq!(planned(&s, &db("redis")).subjects, ["redis"]);
    assert!(matches!(chosen(&s, &db("sessions")), Choice::Refused { .. }));
}

#[test]
fn a_flush_does_not_hide_what_else_is_wrong_of_its_scenario() {
    use crate::stack::{A, A_UNIT, refused};
    let s = stack().no_answer(A, refused()).unit(A_UNIT, "failed", "failed");
    let s = s.detail(A_UNIT, "exit-code", 1, 1, 90.0);
    let of = |scenario: &str| Request { scenario: Some(scenario.into()), ..cache("mcp:cache:") };
    let plan = planned(&s, &of("server-crash"));
    assert_eq!(plan.left, [format!("server-crash/failed@{A}")]);
    assert!(plan.notes.iter().any(|n| n.contains("left as it is")), "{:?}", plan.notes);
    assert_eq!(planned(&s, &of("latency")).left, [""; 0], "another scenario's");
    assert_eq!(planned(&stack(), &of("server-crash")).left, [""; 0]);
    let named = Request { services: vec!["redis".into()], ..of("server-crash") };
    assert_eq!(planned(&s, &named).left, [""; 0], "only this one was meant");
}
