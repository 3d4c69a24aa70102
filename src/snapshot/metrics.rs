//! What a service's metrics page tells of its requests: totals since its start. One reading has no
//! rate; two, a known time apart, have.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// When it was asked for, by the clock of the vantage.
    pub at: Timestamp,
    /// `process_start_time_seconds`, where it is said: totals begin anew with a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<f64>,
    /// Of the time that requests took: the whole first, then by route and method, the busiest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub durations: Vec<Histogram>,
}

/// How many routes a snapshot keeps.
pub const ROUTES: usize = 100;

/// Counts of requests, each that took at most so long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub name: String,
    /// The sum over all routes and methods but those that are looks of our own.
    #[serde(default)]
    pub whole: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Upper bounds in seconds, finite and ascending.
    pub bounds: Vec<f64>,
    /// As many as bounds, cumulative.
    pub counts: Vec<f64>,
    pub count: f64,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<f64>,
}
