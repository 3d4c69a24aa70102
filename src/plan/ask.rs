//! What a person asks of a recovery, and what was looked at only for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::act::Aside;
use super::parameter::ConnectionsState;
use super::removal::{Removable, Wanted};
use super::risk::Risk;
use super::upkeep::IndexState;
use crate::snapshot::postgres::Session;
use crate::snapshot::process::Occupied;

/// The options of the command line that change what is planned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    /// `--max-size`: a request, done though nothing is wrong.
    pub max_size: Option<u64>,
    /// `who --kill`: these sessions of the server that is named, by their pids.
    pub kill: Vec<i32>,
    /// And only where they are such.
    pub like: Like,
    /// `--flush-cache`: the keys that begin so, of who calls that a cache.
    pub flush_cache: Option<String>,
    /// `--flush-db`: this Redis and this database of it, whatever is in it.
    pub flush_db: Option<(String, u32)>,
    /// `--drop-slot`, `--rollback-prepared`: of a PostgreSQL, by its name.
    pub remove: Option<Wanted>,
    /// `--max-connections` of a PostgreSQL, though nothing is wrong.
    pub max_connections: Option<u64>,
    /// The size is set for this process and by the drop-in.
    pub persist: bool,
    /// `--free-port`: who holds a service's port is ended, after so many seconds by force.
    pub free_port: Option<u64>,
    /// `--memory-max`, in bytes: a request, done though nothing is wrong.
    pub memory_max: Option<u64>,
    /// `--kill-idle`, `--terminate-older-than`: sessions that have been at it for longer.
    pub ages: Ages,
    /// `--reset-state`: the configured caches of a service are set aside, whatever is in them.
    pub reset_state: bool,
    /// What is done to what is found, and only where somebody says so.
    pub told: Told,
    /// `--env`, `--log-level`: variables of a service's environment, a request.
    pub env: Vec<(String, String)>,
    pub near: Near,
}

/// How long a session may be idle, or in one statement, in seconds; what is not named is not asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ages {
    pub idle: Option<f64>,
    pub statement: Option<f64>,
}

/// A person's word for a remedy that would else be advice: it names no value, and does nothing where nothing is
/// found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// `--start`: a database that failed to start, once its reason is gone.
    pub start: bool,
    /// `--restart`: a database that accepts and does not answer, or whose shutdown does not end; or a service that
    /// is slow.
    pub restart: bool,
    /// `--restart-dependencies`: a Redis or an Ollama that runs and gives no answer.
    pub dependencies: bool,
    /// `--grace`: how long who hangs has to end by himself, in seconds.
    pub grace_s: Option<u64>,
}

/// Which sessions are meant; what is not named is any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Like {
    pub application: Option<String>,
    pub user: Option<String>,
    pub database: Option<String>,
    /// How its state begins.
    pub state: Option<String>,
    /// In its state for longer, in seconds.
    pub older: Option<f64>,
    /// It waits for a lock, or another waits for it.
    pub blocked: bool,
}

impl Ages {
    pub fn any(&self) -> bool {
        self.idle.is_some() || self.statement.is_some()
    }
}

impl Like {
    pub fn is(&self, s: &Session, all: &[Session]) -> bool {
        let same = |want: &Option<String>, has: &str| want.as_deref().is_none_or(|w| w == has);
        let blocks = || all.iter().any(|other| other.blocked_by.contains(&s.pid));
        same(&self.application, &s.application)
            && same(&self.user, &s.user)
            && same(&self.database, &s.database)
            && self.state.as_deref().is_none_or(|w| s.state.starts_with(w))
            && self.older.is_none_or(|w| s.state_s > w)
            && (!self.blocked || !s.blocked_by.is_empty() || blocks())
    }
}

impl Ask {
    /// The findings that a value is meant for, where one is asked for.
    pub fn mends(&self) -> Option<&'static [&'static str]> {
        if self.max_size.is_some() {
            // A size that is asked for ends nobody's session.
            return Some(&["pool-exhausted/client-pool-saturated"]);
        }
        if !self.env.is_empty() {
            return Some(&[]);
        }
        self.memory_max.map(|_| &["server-crash/oom-killed", "memory/near-limit"][..])
    }

    /// What is asked for by its name, whatever is found.
    pub fn is_by_name(&self) -> bool {
        self.flush_cache.is_some()
            || self.flush_db.is_some()
            || self.max_connections.is_some()
            || self.reset_state
            || self.ages.any()
            || self.remove.is_some()
    }

    /// What may be done to such a finding beyond what it says itself: by a person's own word.
    pub fn allows(&self, cause: &str) -> Risk {
        match cause {
            "server-crash/port-conflict" if self.free_port.is_some() => Risk::Destructive,
            "server-crash/bad-configuration" if !self.near.written.is_empty() => Risk::Disruptive,
            "db-down/start-failed" if self.told.start => Risk::Disruptive,
            "db-down/hung" | "db-down/shutting-down" if self.told.restart => Risk::Destructive,
            "server-crash/dependency-down" if self.told.dependencies => Risk::Destructive,
            "latency/unattributed" if self.told.restart => Risk::Disruptive,
            _ => Risk::Safe,
        }
    }
}

/// What a plan needs to know and a diagnosis does not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// By unit: the text of our own drop-in, where there is one; an error where it can't be read.
    pub drop_ins: BTreeMap<String, Result<Option<String>, String>>,
    /// By unit whose drop-in a run of ours wrote that did not come to its end: what stood there before.
    #[serde(default)]
    pub former: BTreeMap<String, Option<String>>,
    /// By unit whose drop-in stands as a run of ours has written it: when, and what stood there before.
    #[serde(default)]
    pub written: BTreeMap<String, Written>,
    /// By unit that runs: the id of its run.
    #[serde(default)]
    pub runs: BTreeMap<String, String>,
    /// Services whose resize interface answers.
    pub resizable: Vec<String>,
    /// By server whose slots are short, or whose sessions are to be ended: all of them.
    #[serde(default)]
    pub sessions: BTreeMap<String, Vec<Session>>,
    /// How many descriptors the kernel allows a process at most.
    #[serde(default)]
    pub nr_open: Option<u64>,
    /// By unit, where variables are asked for: those of its process.
    #[serde(default)]
    pub environment: BTreeMap<String, BTreeMap<String, String>>,
    /// By unit, where a limit of memory is asked for: the one that it has; `None` is no limit.
    #[serde(default)]
    pub memory: BTreeMap<String, Option<u64>>,
    /// By service that can't read a cache of its own: the folder that this is in, and what it may be kept as;
    /// `None` where nothing is in it.
    #[serde(default)]
    pub asides: BTreeMap<String, Result<Option<Aside>, String>>,
    /// By service whose state is to be reset: its caches, in the order of the configuration, as `asides` has them.
    #[serde(default)]
    pub caches: BTreeMap<String, Vec<Result<Option<Aside>, String>>>,
    /// By unit that is to be stopped for that: who runs and is stopped with it, or why that can't be told.
    #[serde(default)]
    pub stopped_with: BTreeMap<String, Result<Vec<String>, String>>,
    /// By service whose port is to be freed: who listens there, or why that can't be told.
    #[serde(default)]
    pub occupied: BTreeMap<String, Result<Occupied, String>>,
    /// Servers that shall be restarted, whose unit's process is who listens at their address.
    #[serde(default)]
    pub holds: BTreeSet<String>,
    /// Units whose restart by force a run of ours has begun just now, and did not see the end of.
    #[serde(default)]
    pub forced: BTreeSet<String>,
    /// By server, where more connections are asked for: how many it takes, or why that is not known.
    #[serde(default)]
    pub connections: BTreeMap<String, Result<ConnectionsState, String>>,
    /// By server, where something of it is to be taken away: what there is, or why that is not known.
    #[serde(default)]
    pub removable: BTreeMap<String, Result<Removable, String>>,
    /// By server where some are not valid, or damaged: those, as the catalogue has them.
    #[serde(default)]
    pub indexes: BTreeMap<String, Vec<IndexState>>,
    /// By server where some are damaged, and by index: when a run of ours has built it anew.
    #[serde(default)]
    pub rebuilt: BTreeMap<String, BTreeMap<String, Timestamp>>,
}

/// What a run of ours has written, by its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub from: Option<String>,
    pub at: Timestamp,
}

/// What shall be so afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim<'a> {
    /// Of the finding that shall be gone; none for a request.
    pub cause: Option<&'a str>,
    pub subject: &'a str,
    /// The largest size that its pool shall have.
    pub size: Option<u64>,
}
