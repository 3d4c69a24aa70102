//! What a database's time goes into: its statements, what its sessions wait for, and what its catalogue
//! says of the tables. Asked only where something is slow; ages and times are the server's own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::postgres::Session;
use super::reading::Reading;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// By the server's clock.
    pub at: Timestamp,
    /// `pg_postmaster_start_time`, in seconds: totals may begin anew with it.
    pub started: f64,
    /// `pg_stat_statements`, where it is there: those that took the most time.
    pub statements: Reading<Statements>,
    /// What active client sessions wait for: `Lock/transactionid`, `IPC/SyncRep`; those that compute
    /// stand under `CPU`.
    #[serde(default)]
    pub waits: Vec<Waits>,
    /// Active client statements of over a tenth of a second, the longest first.
    #[serde(default)]
    pub running: Vec<Session>,
    #[serde(default)]
    pub tables: Vec<Table>,
    #[serde(default)]
    pub invalid_indexes: Vec<Index>,
    /// What keeps dead rows from being removed, the oldest first.
    #[serde(default)]
    pub holders: Vec<Holder>,
    #[serde(default)]
    pub standbys: Vec<Standby>,
    /// `synchronous_standby_names`.
    #[serde(default)]
    pub synchronous: String,
    /// Of a standby: since the last transaction that it replayed, where it has more to replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_s: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statements {
    /// `stats_reset`, in seconds; from 14 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<f64>,
    /// All that there are: one that is missing here had not run yet.
    pub complete: bool,
    pub all: Vec<Statement>,
}

/// Totals of one statement in one database, since its statistics began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// `queryid`, as text: JSON has no such numbers.
    pub id: String,
    pub database: String,
    pub calls: f64,
    pub total_ms: f64,
    /// Normalised by the server, and masked.
    pub query: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    pub event: String,
    pub count: u32,
    /// The longest.
    pub longest_s: f64,
}

/// `pg_stat_user_tables` of the database that was logged in to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub live: f64,
    pub dead: f64,
    /// Rows changed since it was analyzed.
    pub changed: f64,
    /// Reads from its beginning to its end, the rows of these, and reads by an index.
    pub scans: f64,
    pub scanned: f64,
    pub by_index: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    pub schema: String,
    pub name: String,
    pub table: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// `session`, `standby`, `prepared transaction`, `replication slot`.
    pub kind: String,
    pub name: String,
    /// Transactions since what it still sees.
    pub age: f64,
    /// Since it began; a slot does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standby {
    pub name: String,
    pub state: String,
    /// `sync`, `quorum`, `potential`, `async`.
    pub sync_state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_s: Option<f64>,
    /// Bytes of WAL that it has not replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<f64>,
}
