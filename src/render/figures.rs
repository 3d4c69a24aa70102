//! The numbers of a look, for monitoring: slots, pools, times. One list for all formats.

use crate::diagnosis::Diagnosis;
use crate::snapshot::Snapshot;

/// A number with its bounds; `None` where it was not seen.
pub struct Figure {
    /// For people and perfdata: `postgres slots`.
    pub label: String,
    /// The metric's name without prefix, as Prometheus has it, and its help.
    pub metric: &'static str,
    pub help: &'static str,
    pub subject: String,
    pub value: Option<f64>,
    /// As perfdata has it: `s`, or none for a count.
    pub unit: &'static str,
    pub critical: Option<f64>,
    pub max: Option<f64>,
}

pub fn figures(d: &Diagnosis, now: &Snapshot) -> Vec<Figure> {
    let threshold = now.config.thresholds.pool;
    let mut out = vec![Figure {
        label: "look".into(),
        metric: "look_duration_seconds",
        help: "How long the whole look took.",
        subject: String::new(),
        value: Some(seconds(d.elapsed_ms)),
        unit: "s",
        critical: None,
        max: None,
    }];
    for (name, p) in &now.postgres {
        let server = p.server.seen();
        let slots = server.map(|s| f64::from(s.slots()));
        out.push(Figure {
            label: format!("{name} slots"),
            metric: "postgres_slots_used",
            help: "Connection slots in use, by PostgreSQL's own count.",
            subject: name.clone(),
            value: server.map(|s| f64::from(s.used)),
            unit: "",
            // A plugin's range alerts above its end, the rule at its threshold.
            critical: slots.map(|s| (s * threshold).ceil() - 1.0),
            max: slots,
        });
        out.push(Figure {
            label: format!("{name} login"),
            metric: "postgres_login_seconds",
            help: "How long a login took.",
            subject: name.clone(),
            value: p.login.seen().map(|_| seconds(p.login.elapsed_ms)),
            unit: "s",
            critical: None,
            max: None,
        });
    }
    for (name, s) in &now.services {
        let pool = s.health.seen().and_then(|h| h.pool.as_ref());
        let max = pool.and_then(|p| p.max).or_else(|| s.pool_max.seen().map(|m| m.value)).map(|m| m as f64);
        if pool.is_some() || s.health.failure().is_some() {
            out.push(Figure {
                label: format!("{name} pool"),
                metric: "service_pool_in_use",
                help: "Connections of the service's own pool in use, as it says.",
                subject: name.clone(),
                value: pool.and_then(|p| p.in_use).map(|u| u as f64),
                unit: "",
                critical: max.map(|m| (m * threshold).floor()),
                max,
            });
        }
        out.push(Figure {
            label: format!("{name} health"),
            metric: "service_health_seconds",
            help: "How long the health answer took.",
            subject: name.clone(),
            value: s.health.seen().map(|_| seconds(s.health.elapsed_ms)),
            unit: "s",
            critical: None,
            max: None,
        });
    }
    out
}

/// To the microsecond: what stands behind is noise of the division.
fn seconds(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1e6
}
