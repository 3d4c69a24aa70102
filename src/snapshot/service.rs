//! What a service says of itself over HTTP. The four payload shapes are read into one.
//! A number that was not said stays `None`: it is never guessed.

use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::mcp::McpLook;
use super::metrics::Metrics;
use super::network::Target;
use super::reading::{Look, Reading};

/// All readings of one configured service, but those of its unit (`units`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceLook {
    /// Its health answer: the symptom of a service that has a URL.
    pub health: Look<Health>,
    /// The largest size of its pool by the variable in its process's environment, else in its
    /// unit's; looked at only where the payload does not say it.
    pub pool_max: Reading<PoolMax>,
    /// What its environment names as its database, the first that counts first; looked at only where
    /// it is not well, or not seen at its server.
    #[serde(default)]
    pub targets: Reading<Vec<Target>>,
    /// Where an MCP endpoint is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<Box<McpLook>>,
    /// `LOG_LEVEL` of its environment; looked at only where it is slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<Reading<LogLevel>>,
    /// Where a metrics page is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Look<Metrics>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLevel {
    pub value: String,
    /// `LOG_LEVEL of process 123`.
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolMax {
    pub value: u64,
    /// `environment of PID 123` or `unit codebase-mcp.service`.
    pub source: String,
}

/// A health answer that could be understood, or a 5xx whatever its body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub http_status: u16,
    /// `A`, `B`, `C`, `D` as `wire.md` names them, `pointers` for a configured one, `error` for the
    /// error shape, `none` for a 5xx without one.
    pub shape: Shape,
    pub status: Option<Status>,
    /// `connected`, `disconnected`, … as the service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<f64>,
    /// Texts of errors and warnings in the payload, masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// Of https: what was shown with this answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    A,
    B,
    C,
    D,
    Pointers,
    Error,
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Healthy,
    Degraded,
    Unhealthy,
    Other(String),
}

/// A pool in the service's own words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolReport {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_use: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
}

impl Health {
    /// The service says that its database answers.
    pub fn says_connected(&self) -> bool {
        self.database.as_deref().is_some_and(|d| {
            d.eq_ignore_ascii_case("connected")
                || d.eq_ignore_ascii_case("pass")
                || d.eq_ignore_ascii_case("healthy")
        })
    }

    pub fn is_bad(&self) -> bool {
        self.http_status >= 500 || matches!(self.status, Some(Status::Unhealthy))
    }
}
