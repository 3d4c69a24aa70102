//! What a pgbouncer says of itself, by its admin console.

use serde::{Deserialize, Serialize};

use super::reading::Look;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolerLook {
    /// `127.0.0.1:6432`, or the path of the socket.
    pub endpoint: String,
    /// A login to its console, and what that shows: the symptom of a pooler.
    pub pools: Look<Pools>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pools {
    /// Clients of all pools, and how many it takes: `max_client_conn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_clients: Option<u64>,
    pub all: Vec<Pool>,
}

/// One pool: of a database and a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    pub database: String,
    pub user: String,
    /// Clients that wait for a connection to the server, and the longest of them for how long.
    pub waiting: u64,
    pub max_wait_s: f64,
    /// Connections to the server that are taken, and those that are free.
    pub busy: u64,
    pub idle: u64,
    /// How many there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// By somebody's `PAUSE`: then all wait, and nothing is full.
    #[serde(default)]
    pub paused: bool,
}

impl Pool {
    /// Every connection that there may be is taken.
    pub fn taken(&self) -> bool {
        !self.paused && self.idle == 0 && self.size.is_some_and(|s| s > 0 && self.busy >= s)
    }
}

impl Pools {
    /// How long the first of those has waited who wait for a connection.
    pub fn longest_wait_s(&self) -> Option<f64> {
        self.all.iter().filter(|p| p.waiting > 0 && p.idle == 0).map(|p| p.max_wait_s).reduce(f64::max)
    }

    /// It takes no more clients.
    pub fn no_more_clients(&self) -> bool {
        self.clients.zip(self.max_clients).is_some_and(|(n, max)| max > 0 && n >= max)
    }
}
