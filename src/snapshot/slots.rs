//! Who holds a server's slots by its host's word: asked where the server lets nobody in any more, so
//! that SQL can't say it. The titles of its backends, the kernel's table of sockets.

use serde::{Deserialize, Serialize};

/// The client backends of one postmaster, grouped, the largest group first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slots {
    /// All client backends, those of no group too.
    pub backends: u32,
    /// Of these without a title that could be read.
    #[serde(default)]
    pub untitled: u32,
    pub holders: Vec<SlotHolder>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotHolder {
    pub user: String,
    pub database: String,
    /// Its address without the port, or `[local]`.
    pub client: String,
    /// `idle`, `idle in transaction`, `active`, `waiting` for a lock, `copying`, `logging in`; `unknown` where titles are not kept up to date.
    pub state: String,
    pub count: u32,
    /// The process at the other end, where that is on this host and could be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The age of the state of the newest and of the oldest, in seconds, by the kernel, where it is known
    /// of every connection of the group: since the server sent something last or, where it is at work,
    /// since it was asked something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_s: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    pub pid: u32,
    pub name: String,
    /// As systemd keeps it; `None` where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,
}
