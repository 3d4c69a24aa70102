//! The health answer of a service, read tolerantly: four payload shapes, or configured pointers.
//! A number that is not there stays unknown; what can't be read at all is a fact of its own.

use serde_json::Value;

use super::http::{self, Answer, excerpt};
use super::said;
use crate::config::{Header, Health as HealthConfig, HealthPointers, Service};
use crate::snapshot::service::{Health, PoolReport, Shape, Status};
use crate::snapshot::{FailKind, Failure, Stage};

/// How many texts of a payload are kept, and how many characters a word of its own may have.
const MESSAGES: usize = 10;
const WORD: usize = 60;

/// Asks the health path of a service.
pub async fn look(s: &Service, headers: &[Header], deadline: std::time::Instant) -> Result<Health, Failure> {
    let (Some(url), Some(health)) = (&s.url, &s.health) else {
        return Err(Failure::new(FailKind::Unsupported, "no health path is configured"));
    };
    let client = http::client_for(url, s.ca_file.as_deref(), deadline).await?;
    let url = format!("{}{}", url.trim_end_matches('/'), health.path());
    let answer = http::get(&client, &url, headers, deadline).await?;
    let pointers = match health {
        HealthConfig::Path(_) => None,
        HealthConfig::Pointers(p) => Some(p),
    };
    read(&answer, pointers)
}

/// From an answer to what it says. Pure: the same for a live and for a recorded answer.
pub fn read(a: &Answer, pointers: Option<&HealthPointers>) -> Result<Health, Failure> {
    let fail = |kind, text: String| Err(Failure::new(kind, text).at(Stage::Body));
    match a.status {
        401 | 403 => return fail(FailKind::Denied, format!("HTTP {}", a.status)),
        404 | 410 => return fail(FailKind::Missing, format!("HTTP {}: no such path", a.status)),
        300..=399 => {
            let to = a.location.as_deref().unwrap_or("nowhere");
            return fail(FailKind::Malformed, format!("HTTP {}, a redirect to {}", a.status, said(to, 200)));
        }
        400..=499 => return fail(FailKind::Unsupported, format!("HTTP {}", a.status)),
        _ => {}
    }
    // Some servers begin with a byte order mark.
    let body = a.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&a.body);
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let health = value.as_ref().and_then(|v| match pointers {
        Some(p) => by_pointers(v, p, a.status),
        None => by_shape(v),
    });
    match health {
        Some(h) => Ok(Health { http_status: a.status, certificate: a.certificate, ..h }),
        // A 5xx is a word of its own, whatever its body.
        None if a.status >= 500 => Ok(Health {
            http_status: a.status,
            shape: Shape::None,
            status: None,
            database: None,
            pool: None,
            uptime_s: None,
            messages: vec![excerpt(body)].into_iter().filter(|m| !m.is_empty()).collect(),
            certificate: a.certificate,
        }),
        None => {
            let html = a.content_type.to_ascii_lowercase().contains("html")
                || body.trim_ascii_start().starts_with(b"<");
            let what = match (value, pointers.and_then(|p| p.status.as_ref())) {
                _ if body.is_empty() => "an empty body".to_owned(),
                (Some(_), Some(pointer)) => format!("no status at {pointer}: {}", excerpt(body)),
                (Some(_), None) => format!("JSON of another shape: {}", excerpt(body)),
                (None, _) if html => format!("HTML: {}", excerpt(body)),
                (None, _) => format!("not JSON: {}", excerpt(body)),
            };
            fail(FailKind::Malformed, format!("HTTP {}, {what}", a.status))
        }
    }
}

fn by_shape(v: &Value) -> Option<Health> {
    let status = v.get("status").and_then(Value::as_str).map(status)?;
    let top = |key: &str| v.get(key).and_then(Value::as_str).map(|t| said(t, WORD));
    let pool = v.get("connection_pool");
    let inner = v.get("database").filter(|d| d.is_object());
    let has = |p: Option<&Value>, key: &str| p.and_then(|p| p.get(key)).is_some();
    let (shape, database, pool) = if has(pool, "size") || has(pool, "max_size") {
        let shape = if has(pool, "utilization_percent") { Shape::B } else { Shape::A };
        (shape, top("database_status"), pool.map(pool_a))
    } else if has(pool, "total_connections")
        || has(pool, "active_connections")
        || has(pool, "pool_utilization")
    {
        (Shape::C, top("database_status"), pool.map(pool_c))
    } else if let Some(db) = inner {
        let word = db.get("status").and_then(Value::as_str).map(|t| said(t, WORD));
        (Shape::D, word, db.get("pool").filter(|p| p.is_object()).map(pool_d))
    } else if v.get("error").is_some_and(|e| !e.is_null()) {
        (Shape::Error, top("database_status"), None)
    } else if v.get("database_status").is_some() {
        (Shape::A, top("database_status"), None)
    } else {
        return None;
    };
    Some(Health {
        http_status: 0,
        shape,
        status: Some(status),
        database,
        pool: pool.map(consistent).filter(|p| *p != PoolReport::default()),
        uptime_s: v.get("uptime_seconds").and_then(number).filter(|n| *n >= 0.0),
        messages: messages(v),
        certificate: None,
    })
}

fn by_pointers(v: &Value, p: &HealthPointers, http_status: u16) -> Option<Health> {
    let at = |pointer: &Option<String>| pointer.as_ref().and_then(|p| v.pointer(p));
    let word = match &p.status {
        Some(pointer) => Some(match v.pointer(pointer)? {
            Value::Bool(true) => Status::Healthy,
            Value::Bool(false) => Status::Unhealthy,
            other => status(other.as_str()?),
        }),
        None if !v.is_object() => return None,
        // No pointer to a status: the HTTP status is the word, and the document is there.
        None => (200..300).contains(&http_status).then_some(Status::Healthy),
    };
    let pool = PoolReport {
        in_use: at(&p.pool_used).and_then(whole),
        max: at(&p.pool_max).and_then(whole).filter(|m| *m > 0),
        ..PoolReport::default()
    };
    Some(Health {
        http_status: 0,
        shape: Shape::Pointers,
        status: word,
        database: None,
        pool: (pool != PoolReport::default()).then_some(pool),
        uptime_s: None,
        messages: messages(v),
        certificate: None,
    })
}

fn status(word: &str) -> Status {
    match word.trim().to_ascii_lowercase().as_str() {
        "healthy" | "ok" | "pass" | "up" => Status::Healthy,
        "degraded" | "warn" | "warning" => Status::Degraded,
        "unhealthy" | "fail" | "error" | "down" => Status::Unhealthy,
        _ => Status::Other(said(word, 40)),
    }
}

/// More in use than open contradicts itself: then it is not known how many are in use.
fn consistent(p: PoolReport) -> PoolReport {
    PoolReport { in_use: p.in_use.filter(|used| p.open.is_none_or(|open| *used <= open)), ..p }
}

/// `in use` is `size - free`, of `max_size`: never `size` itself (errata 9).
fn pool_a(p: &Value) -> PoolReport {
    let n = |key: &str| p.get(key).and_then(whole);
    let (open, idle) = (n("size"), n("free"));
    let in_use = open.zip(idle).and_then(|(o, i)| o.checked_sub(i));
    PoolReport { open, in_use, idle, max: n("max_size").filter(|m| *m > 0), waiting: n("waiting") }
}

/// No maximum in this shape: `pool_utilization` is of what is open.
fn pool_c(p: &Value) -> PoolReport {
    let n = |key: &str| p.get(key).and_then(whole);
    PoolReport {
        open: n("total_connections"),
        in_use: n("active_connections"),
        idle: n("idle_connections"),
        max: n("max_connections").or_else(|| n("max_size")).filter(|m| *m > 0),
        waiting: n("waiting_requests"),
    }
}

fn pool_d(p: &Value) -> PoolReport {
    let n = |key: &str| p.get(key).and_then(whole);
    PoolReport {
        open: n("total"),
        in_use: n("active"),
        idle: n("idle"),
        max: n("max").filter(|m| *m > 0),
        waiting: n("waiting"),
    }
}

/// A number, also in a string.
fn number(v: &Value) -> Option<f64> {
    match v {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
    .filter(|n: &f64| n.is_finite())
}

/// A count: whole, not negative, below a million. What is absurd is not a number.
fn whole(v: &Value) -> Option<u64> {
    number(v).filter(|n| (0.0..1e6).contains(n) && n.fract() == 0.0).map(|n| n as u64)
}

/// Texts that explain a bad status, where the shapes keep them. What a check that passed says is
/// none of them.
fn messages(v: &Value) -> Vec<String> {
    let plain = ["/details/error", "/details/warning", "/error", "/message", "/database/last_error"];
    let plain = plain.iter().filter_map(|p| v.pointer(p));
    let checks = v.get("checks").and_then(Value::as_object).into_iter().flatten();
    let failed = checks.map(|(_, check)| check).filter(|check| {
        let word = check.get("status").and_then(Value::as_str).map(status);
        word.is_some_and(|s| s != Status::Healthy)
    });
    plain
        .chain(failed.filter_map(|check| check.get("message")))
        .filter_map(Value::as_str)
        .filter(|t| !t.trim().is_empty())
        .map(|t| said(t, 300))
        .take(MESSAGES)
        .collect()
}

#[cfg(test)]
mod tests;
