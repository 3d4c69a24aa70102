//! A snapshot: all readings of one look, when and where it was taken, and the configuration.
//! Replayable on any machine: the rules know nothing but this.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::containers::ContainerLook;
use super::host::Host;
use super::network::Network;
use super::ollama::OllamaLook;
use super::pooler::PoolerLook;
use super::postgres::PostgresLook;
use super::process::Listener;
use super::reading::Look;
use super::redis::RedisLook;
use super::service::ServiceLook;
use super::units::{Unit, Units};
use crate::config::Config;
use crate::error::{Error, Result};

/// The name and version that a saved snapshot carries.
pub const SCHEMA: &str = "mcp-ir/snapshot/1";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub schema: String,
    pub taken_at: Timestamp,
    pub vantage: Vantage,
    pub elapsed_ms: f64,
    pub config: Config,
    pub postgres: BTreeMap<String, PostgresLook>,
    #[serde(default)]
    pub poolers: BTreeMap<String, PoolerLook>,
    pub services: BTreeMap<String, ServiceLook>,
    pub units: Units,
    /// By the name that they are configured with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub containers: BTreeMap<String, ContainerLook>,
    #[serde(default)]
    pub network: Network,
    #[serde(default)]
    pub host: Host,
    #[serde(default)]
    pub redis: BTreeMap<String, RedisLook>,
    #[serde(default)]
    pub ollama: BTreeMap<String, OllamaLook>,
    /// At the ports of services that are wrong.
    #[serde(default = "no_listeners")]
    pub listeners: Look<Vec<Listener>>,
    /// Of the last hour, or so long as is configured; asked only where there is a finding.
    #[serde(default = "no_changes")]
    pub changes: Look<Changes>,
}

pub fn no_changes() -> Look<Changes> {
    Look::not_asked("nothing was found to be wrong")
}

pub fn no_listeners() -> Look<Vec<Listener>> {
    Look::not_asked("no service looked wrong")
}

/// The host and the user that looked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vantage {
    pub host: String,
    pub user: String,
}

/// The present snapshot, and an earlier one where there is one.
#[derive(Debug, Clone)]
pub struct Looks {
    pub now: Snapshot,
    pub before: Option<Snapshot>,
}

impl Snapshot {
    /// Reads a saved snapshot; says which version it has when it can't be read.
    pub fn from_json(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let not_ours = |e: serde_json::Error| {
            Error::usage(format!("not a snapshot of mcp-ir: {e}"))
                .hint("make one with `mcp-ir diagnose --save FILE`")
        };
        let head: Head = serde_json::from_str(text).map_err(not_ours)?;
        if head.schema != SCHEMA {
            return Err(Error::usage(format!("a snapshot of schema `{}`, not `{SCHEMA}`", head.schema))
                .hint("read it with the version of mcp-ir that wrote it"));
        }
        let snapshot: Self = serde_json::from_str(text).map_err(not_ours)?;
        match snapshot.named_twice() {
            None => Ok(snapshot),
            Some(name) => {
                Err(Error::usage(format!("not a snapshot of mcp-ir: two targets are called `{name}`"))
                    .hint("make one with `mcp-ir diagnose --save FILE`"))
            }
        }
    }

    /// Findings are about names: two that share one can't be told apart.
    fn named_twice(&self) -> Option<&str> {
        let mut seen = BTreeSet::new();
        self.config.names().into_iter().map(|(_, name)| name).find(|name| !seen.insert(*name))
    }

    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map(|s| s + "\n").map_err(|e| {
            Error::new(crate::error::Kind::Internal, format!("the snapshot can't be written: {e}"))
        })
    }

    /// The same without blanks, for what nobody reads.
    pub fn to_compact_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| {
            Error::new(crate::error::Kind::Internal, format!("the snapshot can't be written: {e}"))
        })
    }

    /// A listed unit that is there: loaded, or failed to load, but not unknown to systemd.
    pub fn unit(&self, name: &str) -> Option<&Unit> {
        self.units.listed.seen().and_then(|l| l.get(name)).filter(|u| u.load != "not-found")
    }
}
