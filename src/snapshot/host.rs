//! What a host says of the file systems that hold what is under care. Sizes are bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::load::{HostLoad, OwnLoad};
use super::memory::{HostMemory, Taken};
use super::reading::Reading;
use super::units::LogLine;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// One for each path; several may stand on one file system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// The end of each server's own log file, by the server's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logs: BTreeMap<String, Reading<Log>>,
    #[serde(default)]
    pub memory: Reading<HostMemory>,
    /// What those under care take, by their configured name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub taken: BTreeMap<String, Taken>,
    /// Read only where something looks slow.
    #[serde(default)]
    pub load: Reading<HostLoad>,
    /// Of those that are slow and of what they need, by their configured name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own: BTreeMap<String, OwnLoad>,
}

impl Host {
    /// What a server's host said when it was asked once more; what came to nothing then leaves what
    /// was seen before.
    pub fn seen_again(&mut self, server: &str, places: Vec<Place>, log: Reading<Log>) {
        if !places.is_empty() {
            self.places.retain(|d| d.subject != server);
            self.places.extend(places);
        }
        if log.seen().is_some() || !self.logs.contains_key(server) {
            self.logs.insert(server.into(), log);
        }
    }
}

/// What of a log tells a cause, oldest first; masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub path: String,
    pub lines: Vec<LogLine>,
}

/// A path, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The configured name of the server or service.
    pub subject: String,
    /// `data`, `WAL`, `tablespace`, …
    pub what: String,
    pub path: String,
    pub file_system: Reading<FileSystem>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileSystem {
    /// As it was mounted: `/dev/sda1`, `tmpfs`.
    pub device: String,
    pub mounted_at: String,
    pub kind: String,
    /// Of the mount and of the file system itself: `rw,relatime,rw,emergency_ro`.
    pub options: String,
    pub read_only: bool,
    pub total: u64,
    /// What plain users may still have: root's reserve is none of it.
    pub available: u64,
    /// 0: it has no fixed number of them.
    pub inodes: u64,
    pub inodes_available: u64,
}

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

impl FileSystem {
    /// What is left, of 1.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 1.0 } else { self.available as f64 / self.total as f64 }
    }

    /// So little of a small one, and no file more in any, is nothing.
    pub fn is_full(&self) -> bool {
        let space = self.total > 0 && self.share() < 0.01 && self.available < 256 * MIB;
        space || (self.inodes > 0 && self.inodes_available == 0)
    }

    /// A tenth of a large one is plenty.
    pub fn is_low(&self) -> bool {
        self.total > 0 && self.share() < 0.1 && self.available < 10 * GIB
    }
}
