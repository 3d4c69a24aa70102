//! What lies between: where names lead, and what answers at a door that a service was told of.
//! Only what a second look asked for: a healthy stack asks for nothing of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::reading::Reading;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// By the name, the address or the socket's folder as it stands in a URL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Reading<Host>>,
    /// By `127.0.0.1:6432` or the socket's path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub doors: BTreeMap<String, Reading<Door>>,
    /// The routes of this host that lead to an address or take it, of all its tables; asked for where a
    /// way is shut.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<IpAddr, Reading<Vec<Route>>>,
    /// The rules of this host's packet filter that drop or reject; asked for where a way is shut.
    #[serde(default)]
    pub rules: Reading<Vec<FilterRule>>,
}

/// What a name means to this machine's resolver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// None for the folder of a socket.
    pub addresses: Vec<IpAddr>,
    /// Whether it is the vantage's own.
    pub here: bool,
}

/// What answers, as far as it says without a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// It refuses a login's first words as only a pgbouncer does.
    Pooler,
    /// A postmaster of this host listens there: a cluster of its own, not a way to another.
    Cluster { pid: u32 },
    /// It listens: a server, or something that leads to one.
    Other,
}

/// Where a service's own environment says that its database is. There is no password in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `DATABASE_URL of process 123`
    pub source: String,
    pub user: Option<String>,
    /// A name, an address, or the folder of a socket.
    pub host: String,
    pub port: u16,
    pub database: Option<String>,
}

impl Target {
    pub fn endpoint(&self) -> String {
        endpoint(&self.host, self.port)
    }
}

/// The address as people write it.
pub fn endpoint(host: &str, port: u16) -> String {
    match host {
        h if h.starts_with('/') => format!("{}/.s.PGSQL.{port}", h.trim_end_matches('/')),
        h if h.contains(':') => format!("[{h}]:{port}"),
        h => format!("{h}:{port}"),
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.endpoint())?;
        self.database.iter().try_for_each(|d| write!(f, ", database {d}"))
    }
}

/// A route as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub kind: RouteKind,
    pub to: Net,
    /// The gateway, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The device's link is down: what is sent is lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// To one host or network.
    Unicast,
    /// To this host.
    Local,
    Blackhole,
    Prohibit,
    Unreachable,
    Throw,
    Other,
}

/// A rule of this host's packet filter that drops or rejects, with all that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRule {
    pub family: String,
    pub table: String,
    pub chain: String,
    pub handle: u64,
    pub hook: Hook,
    pub verdict: Verdict,
    pub matches: Vec<Match>,
    /// Its counter, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    Input,
    Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Drop,
    Reject,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    ToPort(Vec<(u16, u16)>),
    FromPort(Vec<(u16, u16)>),
    ToAddress(Vec<Net>),
    FromAddress(Vec<Net>),
    /// By the interface `lo`, or by another.
    Loopback(bool),
    Tcp,
    /// Of no TCP connection.
    Never,
    /// Not read: may hold, or not.
    Unknown(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    pub address: IpAddr,
    pub bits: u8,
}

impl Net {
    pub fn contains(&self, other: IpAddr) -> bool {
        let high = |a: u128, b: u128, width: u32| {
            let low = width.saturating_sub(self.bits.into());
            low >= width || a >> low == b >> low
        };
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => high(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => high(a.into(), b.into(), 128),
            _ => false,
        }
    }
}
