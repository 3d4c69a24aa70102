//! What systemd and its journal say of the units under care.
//! Details stand only for units that looked wrong; a healthy unit is one row of one call.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::process::Freezer;
use super::reading::Look;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Units {
    /// One call for all: the configured units by name, and those found by a pattern.
    pub listed: Look<BTreeMap<String, Unit>>,
    #[serde(default)]
    pub details: BTreeMap<String, Look<UnitDetail>>,
    #[serde(default)]
    pub journal: BTreeMap<String, Look<Journal>>,
    #[serde(default)]
    pub process: BTreeMap<String, Look<Process>>,
    /// Names that are near to that of a unit that systemd does not know, the nearest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub similar: BTreeMap<String, Vec<String>>,
    /// What the kernel did to control groups; asked only where a unit looked wrong.
    #[serde(default = "no_kernel")]
    pub kernel: Look<Vec<KernelAct>>,
}

/// Of a snapshot that was taken before the kernel was asked.
fn no_kernel() -> Look<Vec<KernelAct>> {
    Look::not_asked("no unit looked wrong")
}

impl Units {
    /// Nothing was asked yet.
    pub fn unasked() -> Self {
        Self {
            listed: Look::not_asked("no unit is configured"),
            details: BTreeMap::new(),
            journal: BTreeMap::new(),
            process: BTreeMap::new(),
            similar: BTreeMap::new(),
            kernel: no_kernel(),
        }
    }
}

/// A row of `ListUnitsByNames`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`, `error`.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
    pub active: String,
    /// `running`, `dead`, `auto-restart`, `exited`, …
    pub sub: String,
    /// The type of the queued job, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// Properties of one unit and its service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitDetail {
    /// `success`, `exit-code`, `signal`, `oom-kill`, `start-limit-hit`, …
    pub result: String,
    /// 1 exited, 2 killed, 3 dumped (siginfo's `CLD_…`); 0 none.
    pub exit_code: i32,
    /// Exit status, or the signal.
    pub exit_status: i32,
    pub main_pid: u32,
    pub restarts: u32,
    /// `no`, `always`, `on-failure`, …
    pub restart: String,
    pub control_group: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_since: Option<Timestamp>,
    /// When its main process ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exited_at: Option<Timestamp>,
    /// Bytes; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// Processes and threads of its control group, while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks_max: Option<u64>,
    /// By systemd's own word, where it knows of freezing: cgroup v2.
    #[serde(default)]
    pub frozen: bool,
    /// The id of its present or last run: what is done to it is done to that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
}

/// The last entries of one unit, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// systemd's own messages about the unit.
    pub events: Vec<UnitEvent>,
    /// What the unit itself said; masked.
    pub lines: Vec<LogLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitEvent {
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: Event,
}

/// By systemd's message ids, not its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    Starting,
    Started,
    StartFailed {
        result: String,
    },
    /// A stop job began.
    Stopping,
    /// A stop job ended.
    Stopped,
    /// The main process ended: `exited`/status, `killed`/signal, `dumped`/signal.
    ProcessExited {
        code: String,
        status: String,
    },
    /// The unit ended well.
    Succeeded,
    /// The unit entered `failed`.
    Failed {
        result: String,
    },
    RestartScheduled {
        restarts: u32,
    },
    OomKilled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Timestamp,
    /// syslog's 0 (emergency) to 7 (debug).
    pub priority: u8,
    pub text: String,
}

/// One process, from `/proc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// The kernel's state letter: `R S D T Z …`.
    pub state: String,
    /// `None` where it could not be read; on cgroup v1 a frozen process is in state D.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freezer: Option<Freezer>,
}

/// A line of the kernel's log that names a control group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelAct {
    pub at: Timestamp,
    /// As the kernel counts from its own root: a unit's group may have more before it.
    pub control_group: String,
    pub what: Kernel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// A process was killed, since the group had reached its limit of memory.
    OomLimit,
    /// A process was killed, since the machine had no memory left.
    OomHost,
    /// A process or thread was not made, since the group had reached its limit of these.
    ForkRefused,
}
