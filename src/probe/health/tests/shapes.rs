//! The payloads as they were recorded (wire.md, section 1), and configured pointers.

use super::*;

const HEALTHY: &str = r#"{"status":"healthy","timestamp":"2026-11-24T14:31:02.037155Z","database_status":"connected","connection_pool":{"size":20,"min_size":20,"max_size":30,"free":20},"uptime_seconds":"0.02","details":null}"#;
const DEGRADED: &str = r#"{"status":"degraded","timestamp":"2026-11-24T14:31:02.037155Z","database_status":"connected","connection_pool":{"size":20,"min_size":5,"max_size":20,"free":3},"uptime_seconds":"36.08","details":{"warning":"Connection pool utilization exceeds 80% (current: 85.00%)"}}"#;
const OUTAGE: &str = r#"{"status":"unhealthy","timestamp":"2026-11-24T14:31:02.037155Z","database_status":"disconnected","connection_pool":{"size":0,"min_size":5,"max_size":20,"free":0},"uptime_seconds":"55.33","details":{"error":"Database connection lost, reconnection in progress"}}"#;
const FULL: &str = r#"{"connection_pool":{"free":0,"max_size":10,"min_size":2,"size":10},"database_status":"disconnected","details":{"error":"no connection from the pool within 1.0 s"},"status":"unhealthy","timestamp":"2026-11-24T17:16:38.386217191Z","uptime_seconds":"39.13"}"#;
const GUIDE: &str = r#"{"status":"healthy","database_status":"connected","connection_pool":{"total_connections":10,"active_connections":3,"idle_connections":7,"waiting_requests":0,"pool_utilization":0.3},
 "checks":{"database":{"status":"pass","latency_ms":12.5,"message":"SELECT 1 answered"},"memory":{"usage_mb":245,"limit_mb":2048,"percentage":11.9},"disk":{"free_gb":125.3,"percentage_used":45.2}},
 "uptime_seconds":3600.5,"metadata":{"version":"1","environment":"e","region":"r"}}"#;
const FULL_GUIDE: &str = r#"{"checks":{"database":{"latency_ms":1001.2,"message":"no connection from the pool within 1.0 s","status":"fail"}},"connection_pool":{"active_connections":10,"idle_connections":0,"pool_utilization":1.0,"total_connections":10,"waiting_requests":4},"database_status":"disconnected","status":"unhealthy","uptime_seconds":41.3}"#;
const OWN_REPORT: &str = r#"{"status":"healthy","database":{"status":"healthy","pool":{"total":10,"idle":7,"active":3,"waiting":0},"latency_ms":2.1,"last_error":null,"leak_count":0},"uptime_seconds":12.5}"#;

fn pool(open: u64, in_use: u64, idle: u64, max: Option<u64>, waiting: Option<u64>) -> Option<PoolReport> {
    Some(PoolReport { open: Some(open), in_use: Some(in_use), idle: Some(idle), max, waiting })
}

#[test]
fn shape_a_healthy_is_read_with_its_uptime_in_a_string() {
    let h = seen(HEALTHY);
    assert_eq!((h.http_status, h.shape, h.status.clone()), (200, Shape::A, Some(Status::Healthy)));
    assert_eq!(h.pool, pool(20, 0, 20, Some(30), None));
    assert_eq!(h.uptime_s, Some(0.02));
    assert!(h.messages.is_empty());
    assert!(h.says_connected() && !h.is_bad());
}

#[test]
fn shape_a_degraded_keeps_its_warning() {
    let h = seen(DEGRADED);
    assert_eq!(h.status, Some(Status::Degraded));
    assert_eq!(h.pool, pool(20, 17, 3, Some(20), None));
    assert_eq!(h.messages, ["Connection pool utilization exceeds 80% (current: 85.00%)"]);
    assert!(!h.is_bad());
}

#[test]
fn a_full_pool_and_an_outage_both_say_disconnected_and_differ_in_their_size() {
    let (full, outage) = (seen(FULL), seen(OUTAGE));
    assert_eq!(
        (full.database.as_deref(), outage.database.as_deref()),
        (Some("disconnected"), Some("disconnected"))
    );
    assert_eq!(full.pool, pool(10, 10, 0, Some(10), None));
    assert_eq!(outage.pool, pool(0, 0, 0, Some(20), None));
    assert!(full.is_bad() && outage.is_bad() && !full.says_connected());
    assert_eq!(full.messages, ["no connection from the pool within 1.0 s"]);
}

#[test]
fn an_unhealthy_payload_is_read_whatever_its_http_status() {
    for status in [200, 503] {
        let h = read(&answer(status, OUTAGE), None).unwrap();
        assert_eq!((h.http_status, h.status, h.shape), (status, Some(Status::Unhealthy), Shape::A));
    }
}

#[test]
fn the_error_shape_is_read() {
    let h = seen(
        r#"{"status":"unhealthy","error":"Health check failed: ValidationError","message":"1 validation error for X"}"#,
    );
    assert_eq!((h.shape, h.status), (Shape::Error, Some(Status::Unhealthy)));
    assert_eq!(h.messages, ["Health check failed: ValidationError", "1 validation error for X"]);
    assert_eq!((h.pool, h.database, h.uptime_s), (None, None, None));
}

#[test]
fn shape_b_is_told_by_its_percent_which_is_not_taken_for_a_count() {
    let h = seen(
        r#"{"status":"healthy","database_status":"connected","connection_pool":{"size":10,"min_size":5,"max_size":20,"free":6,"utilization_percent":20.0},"uptime_seconds":3600.5}"#,
    );
    assert_eq!((h.shape, h.uptime_s), (Shape::B, Some(3600.5)));
    assert_eq!(h.pool, pool(10, 4, 6, Some(20), None));
}

#[test]
fn shape_c_has_no_maximum_and_none_is_made_up() {
    let h = seen(GUIDE);
    assert_eq!((h.shape, h.status.clone(), h.uptime_s), (Shape::C, Some(Status::Healthy), Some(3600.5)));
    assert_eq!(h.pool, pool(10, 3, 7, None, Some(0)));
    let full = seen(FULL_GUIDE);
    assert_eq!(full.pool, pool(10, 10, 0, None, Some(4)));
    assert_eq!(full.messages, ["no connection from the pool within 1.0 s"]);
}

#[test]
fn what_a_passed_check_says_is_no_trouble_and_what_a_failed_one_says_is() {
    assert!(seen(GUIDE).messages.is_empty());
    let h = seen(
        r#"{"status":"unhealthy","database_status":"connected","connection_pool":{"total_connections":2},"checks":{"database":{"status":"pass","message":"SELECT 1 answered"},"index":{"status":"fail","message":"the search index is not loaded"}}}"#,
    );
    assert_eq!(h.messages, ["the search index is not loaded"]);
}

#[test]
fn shape_d_is_read_with_its_own_word_for_the_database() {
    let h = seen(OWN_REPORT);
    assert_eq!((h.shape, h.status.clone(), h.uptime_s), (Shape::D, Some(Status::Healthy), Some(12.5)));
    assert_eq!(h.pool, pool(10, 3, 7, None, Some(0)));
    assert!(h.says_connected() && h.messages.is_empty());
}

#[test]
fn a_status_word_counts_in_any_case_and_an_unknown_one_is_kept_as_it_is() {
    let says = |word: &str| {
        seen(&format!(r#"{{"status":{},"database_status":"connected"}}"#, serde_json::json!(word)))
            .status
            .unwrap()
    };
    assert_eq!(says("HEALTHY"), Status::Healthy);
    assert_eq!(says(" Ok\n"), Status::Healthy);
    assert_eq!(says("Degraded"), Status::Degraded);
    assert_eq!(says("UnHealthy"), Status::Unhealthy);
    assert_eq!(says("not healthy"), Status::Other("not healthy".into()));
    assert_eq!(says(""), Status::Other(String::new()));
    assert_eq!(says("hеalthy"), Status::Other("hеalthy".into()), "a Cyrillic е makes another word");
}

#[test]
fn a_configured_pointer_decides_by_bool_or_by_word() {
    let by = |body: &str| read(&ok(body), Some(&pointers(Some("/ready"))));
    for (body, want) in [
        (r#"{"ready":true}"#, Status::Healthy),
        (r#"{"ready":false}"#, Status::Unhealthy),
        (r#"{"ready":"pass"}"#, Status::Healthy),
        (r#"{"ready":"fail"}"#, Status::Unhealthy),
    ] {
        let h = by(body).unwrap();
        assert_eq!((h.shape, h.status, h.pool), (Shape::Pointers, Some(want), None), "{body}");
    }
}

#[test]
fn a_pointer_to_nothing_is_not_healthy() {
    for body in [
        r#"{"status":"healthy"}"#,
        r#"{"ready":1}"#,
        r#"{"ready":null}"#,
        r#"{"ready":{"a":true}}"#,
        "[]",
        "null",
    ] {
        let f = read(&ok(body), Some(&pointers(Some("/ready")))).unwrap_err();
        assert_eq!(f.kind, FailKind::Malformed, "{body}");
        assert!(f.detail.starts_with("HTTP 200, no status at /ready: "), "{}", f.detail);
    }
}

#[test]
fn configured_numbers_are_read_and_a_missing_one_is_unknown_not_zero() {
    let pool = |body: &str| read(&ok(body), Some(&pointers(None))).unwrap().pool;
    let report = |in_use, max| Some(PoolReport { in_use, max, ..PoolReport::default() });
    assert_eq!(pool(r#"{"pool":{"used":3,"max":"10"}}"#), report(Some(3), Some(10)));
    assert_eq!(pool(r#"{"pool":{"used":3}}"#), report(Some(3), None));
    assert_eq!(pool(r#"{"pool":{"used":-1,"max":0}}"#), None);
    assert_eq!(pool("{}"), None);
}

#[test]
fn without_a_pointer_to_a_status_a_5xx_is_not_healthy() {
    let by = |status| read(&answer(status, r#"{"pool":{"used":3}}"#), Some(&pointers(None))).unwrap();
    assert_eq!(by(200).status, Some(Status::Healthy));
    let bad = by(503);
    assert!(bad.status.is_none() && bad.is_bad());
}
