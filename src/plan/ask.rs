//! What a person asks of a recovery, and what was looked at only for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::upkeep::IndexState;
use crate::snapshot::postgres::Session;

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
    /// The size is set for this process and by the drop-in.
    pub persist: bool,
    pub near: Near,
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

/// What a plan needs to know and a diagnosis does not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// By unit: the text of our own drop-in, where there is one; an error where it can't be read.
    pub drop_ins: BTreeMap<String, Result<Option<String>, String>>,
    /// By unit whose drop-in a run of ours wrote that did not come to its end: what stood there before.
    #[serde(default)]
    pub former: BTreeMap<String, Option<String>>,
    /// By unit that runs: the id of its run.
    #[serde(default)]
    pub runs: BTreeMap<String, String>,
    /// Services whose resize interface answers.
    pub resizable: Vec<String>,
    /// By server whose slots are short, or whose sessions are to be ended: all of them.
    #[serde(default)]
    pub sessions: BTreeMap<String, Vec<Session>>,
    /// By server where some are not valid, or damaged: those, as the catalogue has them.
    #[serde(default)]
    pub indexes: BTreeMap<String, Vec<IndexState>>,
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
