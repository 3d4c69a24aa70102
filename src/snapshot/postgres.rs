//! What PostgreSQL says of itself, and what its host says of it.
//! Ages are seconds, computed by the server they come from.

use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::reading::{Look, Reading};
use super::slots::Slots;
use super::work::Work;

/// All readings of one configured server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostgresLook {
    /// `127.0.0.1:5432`, or the path of the socket.
    pub endpoint: String,
    /// Whether that address is the vantage's own; `None` when it could not be told.
    pub here: Option<bool>,
    /// A real login: the symptom of a database.
    pub login: Look<Login>,
    /// Where that login was encrypted, and its certificate could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Sessions, slots and limits, by SQL.
    pub server: Look<Server>,
    /// What its time goes into; asked only where something is slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Box<Look<Work>>>,
    /// Where a login failed on this host: what stands in `postmaster.pid`.
    pub pid_file: Reading<PidFile>,
    /// Where a login failed on this host: the postmasters that run on it.
    pub postmasters: Reading<Vec<Postmaster>>,
    /// Where it lets nobody in any more, on this host: who holds its slots.
    #[serde(default)]
    pub slots: Reading<Slots>,
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
    /// Since its checkpointer began: with the server, and anew after each crash of one of its
    /// processes. Shown only with `pg_monitor`; absent too in looks of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpointer_s: Option<f64>,
    /// Since it read its settings last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_s: Option<f64>,
    /// `default_transaction_read_only`, set for the server or the database: for our own role it says
    /// nothing of others.
    #[serde(default)]
    pub read_only: bool,
    /// The oldest `age(datfrozenxid)` of all databases, in transactions, and whose it is.
    #[serde(default)]
    pub oldest_xid: Option<OldestXid>,
    /// Only where archiving is on.
    #[serde(default)]
    pub archiver: Option<Archiver>,
    #[serde(default)]
    pub replication_slots: Vec<ReplicationSlot>,
    /// Databases with a checksum failure since their statistics began.
    #[serde(default)]
    pub checksum_failures: Vec<ChecksumFailure>,
    #[serde(default)]
    pub prepared: Vec<Prepared>,
    /// Whether other roles' sessions were shown to us (`pg_monitor`, or superuser).
    pub sees_all: bool,
    /// Who holds the slots, grouped, the largest first; at most `CONSUMERS`.
    pub consumers: Vec<Consumer>,
    /// Sessions that are idle in transaction, run a statement for over a second, wait for a lock, or
    /// hold what others wait for; at most `SESSIONS`, the oldest first.
    pub sessions: Vec<Session>,
}

/// How many groups and sessions a snapshot keeps.
pub const CONSUMERS: usize = 50;
pub const SESSIONS: usize = 200;
/// A checkpointer that began so soon after the server began with it.
const WITH_THE_SERVER_S: f64 = 2.0;

impl Server {
    /// Slots that ordinary roles may use.
    pub fn slots(&self) -> u32 {
        self.max_connections.saturating_sub(self.reserved)
    }

    /// Since the last crash that it recovered from without a restart of the whole. Before version 15
    /// a long recovery at its start looks the same: alone it is a sign, and no proof.
    pub fn crash_restart_s(&self) -> Option<f64> {
        self.checkpointer_s.filter(|s| self.uptime_s - s > WITH_THE_SERVER_S)
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
    /// Age of the newest state in the group; absent in looks of before.
    #[serde(default)]
    pub newest_s: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OldestXid {
    pub database: String,
    pub age: u64,
}

/// `pg_stat_archiver`: counts since its reset, ages by the server's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Archiver {
    pub failed_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_wal: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicationSlot {
    pub name: String,
    pub active: bool,
    /// `reserved`, `extended`, `unreserved`, `lost`; from 13 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_status: Option<String>,
    /// Bytes of WAL kept for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChecksumFailure {
    pub database: String,
    pub count: u64,
    /// Since the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_s: Option<f64>,
}

/// A prepared transaction: it holds its locks without a session (its pid is 0 where it blocks).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    pub gid: String,
    pub owner: String,
    pub database: String,
    pub age_s: f64,
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
    /// Which transaction, which statement, and since when it is in its state: PostgreSQL's own texts, for
    /// who acts on it. Absent in looks of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xact_start: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_start: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_change: Option<String>,
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
    /// Its commit is done here, and waits for a standby: to end it would lose nothing but the answer, and
    /// bring nothing back.
    pub fn waits_for_standby(&self) -> bool {
        self.wait.as_deref() == Some("IPC/SyncRep")
    }

    pub fn idle_in_transaction(&self) -> bool {
        self.state.starts_with("idle in transaction")
    }
}
