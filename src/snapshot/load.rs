//! What this host has to do, read only where something looks slow: its processors and devices, and what
//! each of those that are slow, or that these need, waits for. Totals grow since a start: two make a rate.

use serde::{Deserialize, Serialize};

use super::memory::{Stall, Stalls};
use super::reading::Reading;

/// The host as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Its own clock, by which all of its totals are dated: seconds since it was started.
    pub uptime_s: f64,
    /// When that was, in seconds of the epoch, by its clock of the wall.
    pub booted: u64,
    pub cores: u32,
    /// The kernel's average of the last minute: who runs, wants to, or waits for a device.
    pub load: f64,
    /// Threads that ran or wanted to, at the moment of the look.
    pub running: u32,
    /// Of all processors together: at work, and had by other guests of the machine beneath.
    pub busy_s: f64,
    pub stolen_s: f64,
    pub stalled: Stalls,
    /// Those that have run, the busiest of their lives first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<Worker>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
}

/// A process, and what it took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    pub pid: u32,
    pub name: String,
    /// Seconds of the host's uptime at which it began: with the pid it tells one run from another.
    pub began_s: f64,
    pub cpu_s: f64,
    /// Bytes from and to devices; `None` where they are not ours to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<u64>,
    /// As systemd keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub name: String,
    /// In which it had something to do.
    pub busy_ms: u64,
    pub read: u64,
    pub written: u64,
}

/// Of one that is slow, or that such a one needs, where it runs here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnLoad {
    pub uptime_s: f64,
    /// Of its main process: with the pid it tells one run from another.
    pub began_s: f64,
    /// Its control group, as systemd keeps it; `None` where it is in none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// All of its control group; the main one alone where it is in none of its own. Those with more
    /// threads than are looked at are left out.
    pub processes: Vec<Waits>,
    /// Its own group's quota of processor time, and of those above it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<Quota>,
    /// What its group waited for devices; `None` on cgroup v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Stall>,
    pub network: Reading<OwnNetwork>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    pub pid: u32,
    pub began_s: f64,
    pub state: String,
    /// All of its threads together: ready to run, and no processor to run on.
    pub waited_s: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    pub group: String,
    /// So many processors' time.
    pub cores: f64,
    /// In which it wanted to run, and of these, in which it was not let.
    pub periods: u64,
    pub throttled: u64,
    pub throttled_s: f64,
}

/// The network that it is in: a host's, or a container's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnNetwork {
    /// Names it: `net:[4026531840]`.
    pub id: String,
    /// Whether the look was made from within it: else the kernel tells less.
    pub here: bool,
    pub sent: u64,
    pub retransmitted: u64,
    pub overflows: u64,
    /// The listeners of its own port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<Queue>,
    /// Connections that had to send something again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lossy: Vec<Lossy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked: Option<Tracked>,
    /// The ports that connections go out from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(u16, u16)>,
    /// How many of them are taken towards one place, the most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub towards: Vec<Towards>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    pub address: String,
    /// Connections that nobody took yet.
    pub queued: u32,
    /// How many may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// Turned away by this one, since it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lossy {
    pub local: String,
    pub remote: String,
    pub sent: u64,
    pub retransmitted: u64,
}

/// The firewall's table of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    pub count: u64,
    pub max: u64,
    /// Packets that found no place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Towards {
    pub remote: String,
    pub taken: u32,
}

/// Whether two readings are of one run of one process: the kernel gives a pid again.
fn is_one_run(a: (u32, f64), b: (u32, f64)) -> bool {
    a.0 == b.0 && (a.1 - b.1).abs() < 0.02
}

impl Waits {
    pub fn same_as(&self, other: &Self) -> bool {
        is_one_run((self.pid, self.began_s), (other.pid, other.began_s))
    }
}

impl Worker {
    pub fn same_as(&self, other: &Self) -> bool {
        is_one_run((self.pid, self.began_s), (other.pid, other.began_s))
    }
}

impl HostLoad {
    /// The same run of the same host, later.
    pub fn follows(&self, before: &Self) -> bool {
        self.booted.abs_diff(before.booted) <= 2 && self.uptime_s > before.uptime_s
    }
}

impl OwnNetwork {
    /// So many connections that lose something are kept, the worst.
    pub const LOSSY: usize = 256;
}

impl OwnLoad {
    pub fn follows(&self, before: &Self) -> bool {
        (self.began_s - before.began_s).abs() < 0.02 && self.uptime_s > before.uptime_s
    }
}
