//! What `/proc` tells of services that are wrong: who listens at their ports, and what their
//! processes do. One pass for all of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A listening socket at the port of a service that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub port: u16,
    /// `127.0.0.1:8000`, as it was bound.
    pub address: String,
    /// Connections that are made and that nobody took yet.
    pub queued: u32,
    /// How many of these were still there a moment later; `None` where it was not looked at twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still_queued: Option<u32>,
    /// Who holds it. Several where it is shared: workers, or systemd and the service it started.
    pub holders: Vec<Holder>,
    /// Whether all processes could be looked at: else somebody who was not seen may hold it.
    pub sees_all: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub name: String,
    /// `R S D T Z …`
    pub state: String,
    /// As systemd keeps it, seen from the vantage; `None` where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,
    /// The file of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freezer: Option<Freezer>,
    /// Looked for where the queues are looked at twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restless: Option<Restless>,
}

/// Who listens at the port of a service that somebody wants freed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Occupied {
    pub by: Vec<Occupant>,
    /// Whether all processes could be looked at.
    pub sees_all: bool,
}

/// One of them, as exactly as it takes to end no other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Occupant {
    pub pid: u32,
    pub parent: u32,
    /// When it began, in the kernel's ticks since the boot: with its pid that names it for ever.
    pub began: u64,
    pub name: String,
    pub program: Option<String>,
    /// Its command line, masked.
    pub arguments: String,
    pub user: String,
    /// When it began, by the host's clock.
    pub since: Option<Timestamp>,
    pub control_group: Option<String>,
    /// Where it listens, as that was bound.
    pub addresses: Vec<String>,
    /// It is this program, or one that this program runs under; or it can't be reached from here.
    pub spared: Option<String>,
}

/// Whether the kernel keeps a control group from running, and the file that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freezer {
    pub frozen: bool,
    pub file: String,
}

/// A thread that never slept between two looks: it took all that it could get of a processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restless {
    pub thread: u32,
    /// What it got, in percent of one processor.
    pub cpu: f64,
}
