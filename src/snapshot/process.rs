//! What `/proc` tells of services that are wrong: who listens at their ports, and what their
//! processes do. One pass for all of them.

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
}
