//! Health answers as the servers really send them (wire.md 1), read by the tool's own reader.

use mcp_ir::probe::health::read;
use mcp_ir::probe::http::Answer;
use mcp_ir::snapshot::service::Health;
use mcp_ir::snapshot::{Failure, Look, Reading};

/// What came over the wire, as the probe would have read it.
pub fn answer(status: u16, content_type: &str, body: &str) -> Look<Health> {
    let a = Answer {
        status,
        content_type: content_type.into(),
        location: (300..400).contains(&status).then(|| "https://sso.example/login".into()),
        body: body.as_bytes().to_vec(),
        certificate: None,
    };
    Look { elapsed_ms: 1.0, reading: Reading::from(read(&a, None)) }
}

pub fn json(status: u16, body: &str) -> Look<Health> {
    answer(status, "application/json", body)
}

pub fn no_answer(f: Failure) -> Look<Health> {
    Look { elapsed_ms: 1.0, reading: Reading::Failed(f) }
}

/// Shape A: HTTP 200 whatever it says; `uptime_seconds` is a number in a string.
pub fn a(status: &str, database: &str, size: u64, free: u64, max: u64, details: &str) -> Look<Health> {
    json(
        200,
        &format!(
            r#"{{"status":"{status}","timestamp":"2026-11-24T11:59:59.9Z","database_status":"{database}",
            "connection_pool":{{"size":{size},"min_size":2,"max_size":{max},"free":{free}}},
            "uptime_seconds":"3600.02","details":{details}}}"#
        ),
    )
}

pub fn a_healthy(size: u64, free: u64, max: u64) -> Look<Health> {
    a("healthy", "connected", size, free, max, "null")
}

/// A full pool, the database fine: the payload says "disconnected" all the same (errata 8).
pub fn a_full(max: u64) -> Look<Health> {
    a("unhealthy", "disconnected", max, 0, max, r#"{"error":"no connection from the pool within 1.0 s"}"#)
}

/// As in a real outage: the pool has let go of everything.
pub fn a_down(error: &str) -> Look<Health> {
    a("unhealthy", "disconnected", 0, 0, 10, &format!(r#"{{"error":{error:?}}}"#))
}

/// Unhealthy for a reason of its own.
pub fn a_own() -> Look<Health> {
    a("unhealthy", "connected", 3, 3, 10, r#"{"error":"the search index is not loaded"}"#)
}

/// Shape C: HTTP 503 when unhealthy; `pool_utilization` is of what is open, and no maximum is said.
pub fn c(status: &str, database: &str, total: u64, active: u64, waiting: u64, message: &str) -> Look<Health> {
    let idle = total - active;
    let utilization = if total == 0 { 0.0 } else { active as f64 / total as f64 };
    let check = if database == "connected" { "pass" } else { "fail" };
    json(
        if status == "unhealthy" { 503 } else { 200 },
        &format!(
            r#"{{"status":"{status}","database_status":"{database}","connection_pool":{{
            "total_connections":{total},"active_connections":{active},"idle_connections":{idle},
            "waiting_requests":{waiting},"pool_utilization":{utilization}}},
            "checks":{{"database":{{"status":"{check}","latency_ms":1.5,"message":{message:?}}},
            "memory":{{"usage_mb":45,"limit_mb":2048,"percentage":2.2}},"disk":{{"free_gb":125.3,"percentage_used":45.2}}}},
            "uptime_seconds":3600.5,"metadata":{{"version":"0.1.0","environment":"lab","region":"local"}}}}"#
        ),
    )
}

pub fn c_healthy(total: u64, active: u64) -> Look<Health> {
    c("healthy", "connected", total, active, 0, "SELECT 1 answered")
}

pub fn c_full(total: u64, waiting: u64) -> Look<Health> {
    c("unhealthy", "disconnected", total, total, waiting, "no connection from the pool within 1.0 s")
}

pub fn c_down(error: &str) -> Look<Health> {
    c("unhealthy", "disconnected", 0, 0, 0, error)
}
