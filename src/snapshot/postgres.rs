//! What PostgreSQL says of itself, and what its host says of it.
//! Ages are seconds, computed by the server they come from.

use serde::{Deserialize, Serialize};

use super::reading::{Look, Reading};

/// All readings of one configured server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostgresLook {
    /// `127.0.0.1:5432`, or the path of the socket.
    pub endpoint: String,
    /// Whether that address is the vantage's own; `None` when it could not be told.
    pub here: Option<bool>,
    /// A real login: the symptom of a database.
    pub login: Look<Login>,
    /// Sessions, slots and limits, by SQL.
    pub server: Look<Server>,
    /// Where a login failed on this host: what stands in `postmaster.pid`.
    pub pid_file: Reading<PidFile>,
    /// Where a login failed on this host: the postmasters that run on it.
    pub postmasters: Reading<Vec<Postmaster>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Login {
    pub tls: bool,
}

/// `postmaster.pid`, lines 1, 3 and 8.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PidFile {
    pub pid: u32,
    pub started_unix: i64,
    /// `starting`, `stopping`, `ready` or `standby`.
    pub status: String,
}

/// A running postmaster, from `/proc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Postmaster {
    pub pid: u32,
    /// The kernel's state letter: `R S D T Z …`.
    pub state: String,
    /// `-D`, where it stands in its command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_directory: Option<String>,
    /// Line 4 of `postmaster.pid` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// `server_version`.
    pub version: String,
    pub in_recovery: bool,
    pub uptime_s: f64,
    pub max_connections: u32,
    /// Slots that ordinary roles can't have: `superuser_reserved_connections`, and from 16 on
    /// `reserved_connections`.
    pub reserved: u32,
    /// Client sessions without ours. Exact with `pg_monitor`; else the sum of `numbackends`.
    pub used: u32,
    /// Whether other roles' sessions were shown to us (`pg_monitor`, or superuser).
    pub sees_all: bool,
    /// Who holds the slots, grouped, the largest first; at most `CONSUMERS`.
    pub consumers: Vec<Consumer>,
    /// Sessions that are idle in transaction, wait for a lock, or hold what others wait for; at
    /// most `SESSIONS`, the oldest first.
    pub sessions: Vec<Session>,
}

/// How many groups and sessions a snapshot keeps.
pub const CONSUMERS: usize = 50;
pub const SESSIONS: usize = 200;

impl Server {
    /// Slots that ordinary roles may use.
    pub fn slots(&self) -> u32 {
        self.max_connections.saturating_sub(self.reserved)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Consumer {
    pub application: String,
    pub user: String,
    pub client: String,
    pub database: String,
    pub state: String,
    pub count: u32,
    /// Age of the oldest state in the group.
    pub oldest_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub pid: i32,
    pub application: String,
    pub user: String,
    pub client: String,
    pub database: String,
    /// With the pid it names one session for ever: pids are used again. PostgreSQL's own text.
    pub backend_start: String,
    /// `active`, `idle in transaction`, …
    pub state: String,
    /// Since `state_change`.
    pub state_s: f64,
    /// Since `xact_start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_s: Option<f64>,
    /// `wait_event_type/wait_event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// `pg_blocking_pids`; 0 is a prepared transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<i32>,
    /// The first 200 characters, literals masked.
    pub query: String,
}

impl Session {
    pub fn idle_in_transaction(&self) -> bool {
        self.state.starts_with("idle in transaction")
    }
}
