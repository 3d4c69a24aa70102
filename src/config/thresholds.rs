//! The limits by which the rules judge. What came later has a default of its own, for looks from before.

use serde::{Deserialize, Serialize};

use super::span::Span;

/// All limits of the catalogue of causes, under plain names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// In use / maximum of a service's pool, and used / available slots of a server, above which it is exhausted (0 to 1).
    pub pool: f64,
    /// The same, below which a pool counts as recovered (0 to 1).
    pub pool_recovered: f64,
    pub p95: Span,
    pub idle_in_transaction: Span,
    pub long_query: Span,
    pub terminate_after: Span,
    pub slow_query: Span,
    /// How far back a unit's failure in the journal still explains what is seen now.
    pub recent_failure: Span,
    /// How far back a change is told of, where something is wrong.
    #[serde(default = "an_hour")]
    pub recent_change: Span,
    /// Taken / limit of a control group's memory, above which it is near its limit (0 to 1).
    #[serde(default = "nine_tenths")]
    pub memory: f64,
    /// Available / total memory of the host, below which it is low (0 to 1).
    #[serde(default = "a_twentieth")]
    pub memory_available: f64,
    /// Open / allowed descriptors of a process, above which they are exhausted (0 to 1).
    #[serde(default = "nine_tenths")]
    pub descriptors: f64,
    /// What is left of a certificate's time, below which it is told of.
    #[serde(default = "a_fortnight")]
    pub certificate: Span,
    /// Pages a second, in and out, above which the host thrashes.
    #[serde(default = "a_thousand")]
    pub swap: u32,
}

/// Of a snapshot from before it could be set.
fn an_hour() -> Span {
    Span::secs(3600)
}

fn a_fortnight() -> Span {
    Span::secs(14 * 86_400)
}

fn nine_tenths() -> f64 {
    0.9
}

fn a_twentieth() -> f64 {
    0.05
}

fn a_thousand() -> u32 {
    1000
}
