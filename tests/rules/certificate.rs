//! A certificate that ends soon: a note for as long as it is taken, whoever showed it; and nothing where
//! nobody knows.

use mcp_ir::config::Redis;
use mcp_ir::diagnosis::{Certainty, Severity};
use mcp_ir::snapshot::certificate::Certificate;
use mcp_ir::snapshot::postgres::Login;
use mcp_ir::snapshot::redis::RedisLook;
use mcp_ir::snapshot::{FailKind, Reading, Stage};

use crate::payload;
use crate::stack::{A, Stack, ago, fail, seen};

const DB: &str = "db-down/certificate-ends@postgres";
const API: &str = "server-crash/certificate-ends@codebase-mcp";
const DAY: f64 = 86_400.0;

/// It lives for so many days, and so many of them are left.
fn lives(days: f64, left: f64) -> Certificate {
    Certificate { begins: ago((days - left) * DAY), ends: ago(-left * DAY) }
}

fn postgres(shown: Option<Certificate>) -> Stack {
    Stack::healthy().look(|p| {
        p.login = seen(Login { tls: true });
        p.certificate = shown;
    })
}

fn https(shown: Option<Certificate>) -> Stack {
    let mut health = payload::a_healthy(2, 2, 10);
    if let Reading::Seen { value } = &mut health.reading {
        value.certificate = shown;
    }
    Stack::healthy().service(A, |s| s.url = Some("https://api.example:8443".into())).health(A, health)
}

#[test]
fn one_with_less_than_two_weeks_left_is_a_note_that_says_how_long_it_lasts() {
    for (days, left, says) in [
        (365.0, 13.9, "ends in 14 days"),
        (90.0, 5.0, "ends in 5 days"),
        (90.0, 1.5, "ends in 36 h"),
        (90.0, 0.01, "ends in 14 min"),
        // One that is short by intent is told of in its last quarter.
        (6.0, 1.4, "ends in 34 h"),
        (1.0, 0.2, "ends in 5 h"),
    ] {
        let case = format!("{left} of {days} days");
        let told = postgres(Some(lives(days, left))).told().case(&case);
        told.expect_roots(&[]).verdict(mcp_ir::diagnosis::Verdict::Healthy);
        let f = told.find(DB);
        assert_eq!((f.severity, f.certainty), (Severity::P4, Certainty::Proven), "{case}");
        assert_eq!(f.summary, format!("the certificate of 127.0.0.1:5432 {says}"));
        assert!(f.remedy.command.contains("-starttls postgres -connect 127.0.0.1:5432 "), "{case}");
        let told = https(Some(lives(days, left))).told().case(&case);
        told.expect_roots(&[]).verdict(mcp_ir::diagnosis::Verdict::Healthy);
        assert_eq!(told.find(API).summary, format!("the certificate of api.example:8443 {says}"));
    }
}

#[test]
fn one_with_enough_time_left_is_nothing() {
    for (days, left) in [(365.0, 14.1), (90.0, 89.0), (6.0, 1.6), (1.0, 0.3), (1.0, 0.9)] {
        postgres(Some(lives(days, left))).told().case(format!("{left} of {days}")).healthy();
        https(Some(lives(days, left))).told().case(format!("{left} of {days}")).healthy();
    }
    // As it is set.
    let patient = |s: Stack| s.config(|c| c.thresholds.certificate = "48h".parse().unwrap());
    patient(postgres(Some(lives(90.0, 5.0)))).told().healthy();
    assert_eq!(patient(https(Some(lives(90.0, 1.0)))).told().find(API).severity, Severity::P4);
}

#[test]
fn what_was_not_shown_is_not_known() {
    postgres(None).told().healthy();
    https(None).told().healthy();
    // Nobody came so far.
    let refused = fail(FailKind::Refused, Stage::Connect);
    Stack::healthy().login(refused.clone()).told().never("db-down/certificate-ends");
    https(None).no_answer(A, refused).told().never("server-crash/certificate-ends");
}

#[test]
fn one_that_has_ended_and_is_taken_all_the_same_was_not_checked() {
    let f = postgres(Some(lives(90.0, -3.0))).told();
    let said = &f.find(DB).summary;
    assert!(said.contains("ended 3 days ago; this look did not check it"), "{said}");
    f.expect_roots(&[]);
}

#[test]
fn one_that_a_service_refuses_is_that_and_no_note() {
    let refuses = "error performing TLS handshake: invalid peer certificate: certificate expired";
    let both = |s: Stack| s.health(A, payload::a_down(refuses));
    let told = both(postgres(Some(lives(90.0, -3.0)))).told();
    // Its date is over by our reading too: that is no matter of whom one trusts.
    told.expect_root("db-down/tls-failed@postgres", Certainty::Proven).never("db-down/certificate-ends");
    told.evidence("db-down/tls-failed@postgres", "ended 3 days ago");
    let told = both(postgres(Some(lives(90.0, 60.0)))).told();
    told.expect_root("db-down/tls-failed@postgres", Certainty::Likely);
    // By our clock, which may be the wrong one: the service has another reason.
    let refuses = "error performing TLS handshake: certificate does not match host name";
    let told = postgres(Some(lives(90.0, -3.0))).health(A, payload::a_down(refuses)).told();
    told.expect_root("db-down/tls-failed@postgres", Certainty::Likely);
}

#[test]
fn so_is_a_redis_that_is_asked_over_tls() {
    let with = |url: &str, shown| {
        let redis: Redis = serde_json::from_value(serde_json::json!({"name": "redis", "url": url})).unwrap();
        let mut s = Stack::healthy().config(|c| c.redis = vec![redis]);
        let look = RedisLook {
            endpoint: "cache.example:6379".into(),
            here: Some(false),
            ping: seen(()),
            certificate: shown,
            server: Reading::not_asked("-"),
            settings: Reading::not_asked("-"),
        };
        s.now.redis.insert("redis".into(), look);
        s.told()
    };
    let told = with("rediss://cache.example:6379/0", Some(lives(90.0, 5.0)));
    let said = &told.find("server-crash/certificate-ends@redis").summary;
    assert_eq!(said, "the certificate of cache.example:6379 ends in 5 days");
    with("rediss://cache.example:6379/0", Some(lives(90.0, 50.0))).never("server-crash/certificate-ends");
    with("rediss://cache.example:6379/0", None).never("server-crash/certificate-ends");
}
