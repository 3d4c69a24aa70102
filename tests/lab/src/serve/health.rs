//! The health answer, in the payload shapes A and C.
//! It repeats the real servers' half-truth: a full pool is called "disconnected".

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use deadpool_postgres::Status;
use serde_json::{Value, json};

use super::admin::Answer;
use super::database::ACQUIRE;
use super::run::{Server, Shape};

pub async fn status(State(server): State<Arc<Server>>) -> Response {
    let began = Instant::now();
    let answer = match server.admin.answer() {
        Answer::Normal => usual(&server, server.needs.trouble(&server.database.name).await.as_deref()).await,
        Answer::Unhealthy => usual(&server, Some("the search index is not loaded")).await,
        Answer::Html => Html("<html><body><h1>502 Bad Gateway</h1></body></html>").into_response(),
        Answer::Garbage => "\u{1b}[31mnot json {]\u{7}".into_response(),
        Answer::Denied => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response(),
        Answer::Redirect => Redirect::temporary("/login").into_response(),
        Answer::Never => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
    };
    server.metrics.observe("/health/status", began.elapsed());
    answer
}

/// What one look at the database through the pool came to.
struct Checked {
    error: Option<String>,
    took: Duration,
    pool: Status,
    max: usize,
    min: usize,
    since_start: f64,
}

async fn usual(server: &Server, fault: Option<&str>) -> Response {
    let began = Instant::now();
    let error = query(server).await.err();
    let database = &server.database;
    let checked = Checked {
        error,
        took: began.elapsed(),
        pool: database.status(),
        max: database.max(),
        min: database.min,
        since_start: server.started.elapsed().as_secs_f64(),
    };
    match server.shape {
        Shape::A => axum::Json(shape_a(&checked, fault)).into_response(),
        Shape::C => {
            let body = shape_c(&checked, fault);
            let code = match body["status"].as_str() {
                Some("unhealthy") => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::OK,
            };
            (code, axum::Json(body)).into_response()
        }
    }
}

/// The wait for a connection is limited, the query is not: so did the server whose
/// answers were recorded, and so a stopped database makes it mute.
async fn query(server: &Server) -> Result<(), String> {
    let client = server.database.acquire(Some(ACQUIRE)).await?;
    match client.simple_query("SELECT 1").await {
        Ok(_) => Ok(()),
        Err(e) => Err(server.database.logged(&(&e).into())),
    }
}

fn shape_a(seen: &Checked, fault: Option<&str>) -> Value {
    let pool = &seen.pool;
    let used = pool.size.saturating_sub(pool.available);
    let utilisation = 100.0 * used as f64 / seen.max as f64;
    let details = match (&seen.error, fault) {
        (Some(text), _) => json!({ "error": text }),
        (None, Some(text)) => json!({ "error": text }),
        (None, None) if utilisation > 80.0 => json!({
            "warning": format!("Connection pool utilization exceeds 80% (current: {utilisation:.2}%)")
        }),
        (None, None) => Value::Null,
    };
    json!({
        "status": status_word(seen, fault, utilisation > 80.0),
        "timestamp": jiff::Timestamp::now().to_string(),
        "database_status": database_word(seen),
        "connection_pool": {
            "size": pool.size, "min_size": seen.min, "max_size": seen.max, "free": pool.available
        },
        "uptime_seconds": format!("{:.2}", seen.since_start),
        "details": details
    })
}

fn shape_c(seen: &Checked, fault: Option<&str>) -> Value {
    let pool = &seen.pool;
    let used = pool.size.saturating_sub(pool.available);
    // Of what is open, not of what may be: the guide's own number, and a trap for its readers.
    let utilisation = if pool.size == 0 { 0.0 } else { used as f64 / pool.size as f64 };
    let (check, message) = match (&seen.error, fault) {
        (Some(text), _) => ("fail", text.as_str()),
        (None, Some(_)) => ("pass", "SELECT 1 answered"),
        (None, None) => ("pass", "SELECT 1 answered"),
    };
    let mut body = json!({
        "status": status_word(seen, fault, used * 100 > seen.max * 80),
        "database_status": database_word(seen),
        "connection_pool": {
            "total_connections": pool.size, "active_connections": used, "idle_connections": pool.available,
            "waiting_requests": pool.waiting, "pool_utilization": utilisation
        },
        "checks": {
            "database": { "status": check, "latency_ms": seen.took.as_secs_f64() * 1000.0, "message": message },
            "memory": { "usage_mb": 45, "limit_mb": 2048, "percentage": 2.2 },
            "disk": { "free_gb": 125.3, "percentage_used": 45.2 }
        },
        "uptime_seconds": seen.since_start,
        "metadata": { "version": env!("CARGO_PKG_VERSION"), "environment": "lab", "region": "local" }
    });
    if let Some(text) = fault {
        body["checks"]["index"] = json!({ "status": "fail", "message": text });
    }
    body
}

fn status_word(seen: &Checked, fault: Option<&str>, busy: bool) -> &'static str {
    match (&seen.error, fault, busy) {
        (Some(_), _, _) | (_, Some(_), _) => "unhealthy",
        (None, None, true) => "degraded",
        (None, None, false) => "healthy",
    }
}

fn database_word(seen: &Checked) -> &'static str {
    if seen.error.is_some() { "disconnected" } else { "connected" }
}
