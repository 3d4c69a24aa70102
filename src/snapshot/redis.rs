//! What Redis says of itself: PING, INFO, and the settings that make a failed save stop writes.
//! Whether it takes writes is never tried: it follows from these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::reading::{FailKind, Look, Reading};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedisLook {
    /// `127.0.0.1:6379`, or the socket's path.
    pub endpoint: String,
    /// Whether it is on this host; unknown where its name does not resolve.
    pub here: Option<bool>,
    /// PING, or the word by which it refused; the symptom.
    pub ping: Look<()>,
    /// Where it is asked over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    pub server: Reading<RedisServer>,
    pub settings: Reading<RedisSettings>,
}

/// INFO. What a version does not say stays `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RedisServer {
    pub version: String,
    pub loading: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loading_eta_s: Option<f64>,
    /// `master` or `slave`, in its own words.
    pub role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// `up` or `down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_link: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Bytes that count against `maxmemory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_memory: Option<u64>,
    /// 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxmemory: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The last background save, and the last write to the append-only file, went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_ok: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_ok: Option<bool>,
    /// `run_id`: totals begin anew with a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Its own clock, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<u64>,
    /// Calls and microseconds of each command since its start; asked only where something is slow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<String, (u64, u64)>,
    /// How often it answered with which error since its start: `OOM`, `MISCONF`, `READONLY`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, u64>,
}

/// CONFIG GET, where it is permitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RedisSettings {
    pub stop_writes: Option<bool>,
    /// It saves by itself: without that a failed save stops nothing.
    pub saves: Option<bool>,
}

impl RedisLook {
    /// No word of its own came: what runs it may say why.
    pub fn is_silent(&self) -> bool {
        self.ping.failure().is_some_and(|f| f.code.is_none() && f.kind != FailKind::NotTried)
    }
}
