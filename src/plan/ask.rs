//! What a person asks of a recovery, and what was looked at only for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::snapshot::postgres::Session;

/// The options of the command line that change what is planned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    /// `--max-size`: a request, done though nothing is wrong.
    pub max_size: Option<u64>,
    /// `who --kill`: these sessions of the server that is named, by their pids.
    pub kill: Vec<i32>,
    /// The size is set for this process and by the drop-in.
    pub persist: bool,
    pub near: Near,
}

/// What a plan needs to know and a diagnosis does not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// By unit: the text of our own drop-in, where there is one; an error where it can't be read.
    pub drop_ins: BTreeMap<String, Result<Option<String>, String>>,
    /// By unit that runs: the id of its run.
    #[serde(default)]
    pub runs: BTreeMap<String, String>,
    /// Services whose resize interface answers.
    pub resizable: Vec<String>,
    /// By server whose slots are short, or whose sessions are to be ended: all of them.
    #[serde(default)]
    pub sessions: BTreeMap<String, Vec<Session>>,
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
