//! What Redis, and what is none, answers: each is a fact of its own. A real one is asked elsewhere.

use super::*;
use crate::probe::testbed::{closed, full, on_time, says, silent, soon};

fn by_url(url: &str) -> Redis {
    serde_json::from_value(serde_json::json!({ "url": url })).unwrap()
}

async fn at(address: std::net::SocketAddr) -> RedisLook {
    look(&by_url(&format!("redis://{address}")), None, soon(2000)).await
}

fn why(look: &RedisLook) -> (FailKind, Option<Stage>, Option<&str>) {
    let f = look.ping.failure().expect("PING was answered");
    (f.kind, f.stage, f.code.as_deref())
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let look = at(closed().await).await;
    assert_eq!(why(&look), (FailKind::Refused, Some(Stage::Connect), None));
    assert_eq!(look.here, Some(true));
    assert!(matches!(look.server, Reading::NotAsked { .. }));
}

#[tokio::test]
async fn what_is_silent_ends_at_the_deadline_and_says_where_it_hung() {
    let address = silent().await;
    let redis = by_url(&format!("redis://{address}"));
    let seen = on_time(300, |deadline| look(&redis, None, deadline)).await;
    assert_eq!(why(&seen), (FailKind::TimedOut, Some(Stage::Answer), None));
    let (_listener, _kept, address) = full().await;
    let redis = by_url(&format!("redis://{address}"));
    let seen = on_time(300, |deadline| look(&redis, None, deadline)).await;
    assert_eq!(why(&seen), (FailKind::TimedOut, Some(Stage::Connect), None));
}

#[tokio::test]
async fn a_refusal_keeps_redis_own_word() {
    for (answer, kind, code) in [
        ("-NOAUTH Authentication required.\r\n", FailKind::Denied, "NOAUTH"),
        ("-NOPERM this user has no permissions\r\n", FailKind::Denied, "NOPERM"),
        ("-DENIED Redis is running in protected mode\r\n", FailKind::Denied, "DENIED"),
        ("-LOADING Redis is loading the dataset in memory\r\n", FailKind::Refused, "LOADING"),
        ("-MASTERDOWN Link with MASTER is down\r\n", FailKind::Refused, "MASTERDOWN"),
        ("-ERR unknown command 'PING'\r\n", FailKind::Unsupported, "ERR"),
    ] {
        let look = at(says(answer.repeat(4)).await).await;
        assert_eq!(why(&look), (kind, Some(Stage::Answer), Some(code)), "{answer}");
    }
}

#[tokio::test]
async fn why_a_login_is_refused_is_said_by_the_answer_to_it() {
    let answers = "-WRONGPASS invalid username-password pair\r\n".to_owned() + &"-NOAUTH no\r\n".repeat(4);
    let redis = by_url(&format!("redis://ann@{}", says(answers).await));
    let look = look(&redis, Some(&Secret::new("hunter2")), soon(2000)).await;
    assert_eq!(why(&look), (FailKind::Denied, Some(Stage::Answer), Some("WRONGPASS")));
    assert!(!format!("{look:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_is_no_redis_is_malformed_or_closes() {
    for junk in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\0\0\0\0",
        "+OK\r\n+a\r\n+b\r\n+c\r\n",
    ] {
        // The client library lets go of what it can't read.
        let look = at(says(junk).await).await;
        assert!(matches!(why(&look).0, FailKind::Malformed | FailKind::Closed), "{junk}: {look:?}");
    }
    assert_eq!(why(&at(says("").await).await).0, FailKind::Closed);
}

#[test]
fn info_is_read_and_what_it_does_not_say_stays_unknown() {
    let text = "# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nused_memory:1000\r\nmem_not_counted_for_evict:100\r\n\
                maxmemory:900\r\nmaxmemory_policy:noeviction\r\nloading:0\r\nrdb_last_bgsave_status:err\r\n\
                aof_last_write_status:ok\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n\
                master_link_status:down\r\nslave_read_only:1\r\n# Errorstats\r\nerrorstat_OOM:count=3\r\n";
    let s = info(text);
    assert_eq!((s.used_memory, s.maxmemory, s.policy.as_deref()), (Some(900), Some(900), Some("noeviction")));
    assert_eq!((s.save_ok, s.append_ok, s.loading), (Some(false), Some(true), false));
    assert_eq!(
        (s.role.as_str(), s.master.as_deref(), s.read_only),
        ("slave", Some("10.0.0.1:6379"), Some(true))
    );
    assert_eq!(s.errors.get("OOM"), Some(&3));
    let nothing = info("used_memory:many\r\nmaxmemory:-1\r\nrole\r\n:\r\nerrorstat_X:three\r\n");
    assert_eq!(nothing, RedisServer::default());
}
