//! What this host has of memory, and what each of those under care takes of it and of descriptors.
//! Sizes are bytes. Totals grow since a start, which stands beside them: two looks make a rate of them.

use serde::{Deserialize, Serialize};

use super::reading::Reading;

/// The host as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostMemory {
    /// Its own clock, by which all its totals are dated: seconds since it was started.
    pub uptime_s: f64,
    pub total: u64,
    /// What programs may still have without swapping, by the kernel's estimate.
    pub available: u64,
    pub swap_total: u64,
    pub swap_free: u64,
    /// Pages, since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped_in: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped_out: Option<u64>,
    /// How often the kernel killed for memory, in whatever group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// How often one who wanted memory had to free some first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaims: Option<u64>,
    pub stalled: Stalls,
    /// The largest processes, where little is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub largest: Vec<Large>,
}

/// By what programs were held up; `None` where this kernel does not count it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stalls {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Stall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Stall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Stall>,
}

/// Microseconds in which some, or all, stood still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stall {
    pub some_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_us: Option<u64>,
    /// The kernel's own average of the last ten seconds, in percent of the time.
    pub lately: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Large {
    pub pid: u32,
    pub name: String,
    pub resident: u64,
    /// Its unit or group, where that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// What a service or server takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    pub process: Reading<ProcessUse>,
    pub group: Reading<GroupUse>,
}

/// Of its main process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessUse {
    pub pid: u32,
    /// Seconds of the host's uptime at which it began: with the pid it tells one run from another.
    pub began_s: f64,
    /// Seconds of the host's uptime at which this was read.
    pub uptime_s: f64,
    pub resident: u64,
    pub descriptors: Reading<u64>,
    /// `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors_max: Option<u64>,
    /// How far it may raise that itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors_hard: Option<u64>,
    /// What its descriptors are, the most frequent first; looked at only near the limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
}

/// `TCP to 127.0.0.1:5432`, `TCP clients of port 8000`, `files below /var/log`, `pipes`, …
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    pub what: String,
    pub count: u64,
}

/// Of its control group, or of the one above it whose limit is nearest: that one counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupUse {
    /// Its own, as this host names it.
    pub group: String,
    /// The group that the figures are of.
    pub of: String,
    pub current: u64,
    /// Pages of files that nobody has used for long, which the kernel takes back first; read only where
    /// the limit is near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_file: Option<u64>,
    /// `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The file that holds it: `memory.max`, `memory.high`, `memory.limit_in_bytes`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub limit_file: String,
    /// How often the limit was hit since the group was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<Stall>,
}

impl HostMemory {
    /// What is available, of 1.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 1.0 } else { self.available as f64 / self.total as f64 }
    }
}

impl GroupUse {
    /// What the kernel does not simply take back.
    pub fn working(&self) -> u64 {
        self.current.saturating_sub(self.inactive_file.unwrap_or(0))
    }

    pub fn left(&self) -> Option<u64> {
        self.limit.map(|l| l.saturating_sub(self.working()))
    }
}

impl ProcessUse {
    /// Descriptors and their limit, where both are known.
    pub fn fill(&self) -> Option<(u64, u64)> {
        Some((*self.descriptors.seen()?, self.descriptors_max.filter(|m| *m > 0)?))
    }

    /// The same run of the same process.
    pub fn same_as(&self, other: &Self) -> bool {
        self.pid == other.pid && (self.began_s - other.began_s).abs() < 0.02
    }

    pub fn age_s(&self) -> f64 {
        self.uptime_s - self.began_s
    }
}
