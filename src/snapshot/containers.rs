//! What a container engine says of the containers under care. Asked only of what looked wrong, and of
//! what nothing else tells of: a healthy service with a URL costs no question.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::reading::{Failure, Look, Reading};
use super::units::{Journal, Process};
use super::{FailKind, Stage};

/// All that is known of one container, by the name that it is configured with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerLook {
    pub inspected: Look<Container>,
    /// What happened to it, as far back as the engine remembers: its last 256 events, of all that it runs;
    /// and what the container itself said last.
    pub journal: Look<Journal>,
    /// How many lines of its log were read: an engine may keep none.
    #[serde(default)]
    pub log: Reading<usize>,
    /// Its main process, where the engine is this machine's.
    pub process: Look<Process>,
    /// How many processes and threads it has, where the engine is this machine's.
    #[serde(default)]
    pub tasks: Reading<Tasks>,
    /// Names that are near to that of a container that the engine does not know, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub similar: Vec<String>,
}

impl ContainerLook {
    pub fn unasked(inspected: Look<Container>) -> Self {
        let why = "the container did not look wrong";
        Self {
            inspected,
            journal: Look::not_asked(why),
            log: Reading::not_asked(why),
            process: Look::not_asked(why),
            tasks: Reading::not_asked(why),
            similar: Vec::new(),
        }
    }

    /// Not known to run, by its engine, as it should.
    pub fn is_wrong(&self) -> bool {
        self.is_missing() || self.inspected.seen().is_some_and(|c| c.state != "running" || c.is_unhealthy())
    }

    /// The engine answered that it has no such container; that there is no engine is another fact.
    pub fn is_missing(&self) -> bool {
        self.inspected.failure().is_some_and(is_missing)
    }
}

/// Of its control group; no `max` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    pub current: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

fn is_missing(f: &Failure) -> bool {
    f.kind == FailKind::Missing && f.stage == Some(Stage::Body)
}

/// As the engine's `inspect` has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub state: String,
    /// Of its last run; 128 and a signal's number where a signal ended it.
    pub exit_code: i32,
    /// A process of it was killed for memory since it was started.
    pub oom_killed: bool,
    /// Why the engine could not start it; masked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// 0 where it does not run.
    pub pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How often its policy brought it back since a person started it.
    pub restarts: u32,
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub policy: String,
    /// How often `on-failure` tries; 0 is without end.
    #[serde(default)]
    pub policy_max: u32,
    /// The engine's own check, where the container has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Check>,
    /// Bytes; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// By so many seconds its engine's clock is ahead of ours: the times here are ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_s: Option<f64>,
    /// Memory and swap together, in bytes; -1 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `starting`, `healthy`, `unhealthy`.
    pub status: String,
    /// How often it failed in a row.
    pub failed: u32,
    /// What it said last; masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

impl Container {
    pub fn is_down(&self) -> bool {
        matches!(self.state.as_str(), "exited" | "dead" | "created")
    }

    /// What its policy would start again by itself, had nobody told the engine to stop it.
    pub fn comes_back(&self) -> bool {
        match self.policy.as_str() {
            "always" | "unless-stopped" => true,
            "on-failure" => self.exit_code != 0 && !self.gave_up(),
            _ => false,
        }
    }

    /// `on-failure:3`, and it failed a fourth time.
    pub fn gave_up(&self) -> bool {
        self.policy == "on-failure" && self.policy_max > 0 && self.restarts >= self.policy_max
    }

    /// Of its last run, in seconds, where it has ended.
    pub fn ran_s(&self) -> Option<f64> {
        let (from, to) = (self.started_at?, self.finished_at?);
        Some(to.duration_since(from).as_secs_f64()).filter(|s| *s >= 0.0)
    }

    /// The engine's own check says that it does not work.
    pub fn is_unhealthy(&self) -> bool {
        self.state == "running" && self.health.as_ref().is_some_and(|h| h.status == "unhealthy")
    }

    /// `exited, exit code 137 (SIGKILL)`, `running`
    pub fn words(&self) -> String {
        let health = self.health.as_ref().filter(|_| self.state == "running");
        match (self.state.as_str(), health) {
            ("exited" | "dead" | "restarting", _) => format!("{}, {}", self.state, self.exit()),
            (state, Some(h)) => format!("{state} ({})", h.status),
            (state, None) => state.to_owned(),
        }
    }

    pub fn exit(&self) -> String {
        exit(self.exit_code)
    }
}

/// `exit code 137 (SIGKILL)`
pub fn exit(code: i32) -> String {
    let name = match code {
        130 => " (SIGINT)",
        132 => " (SIGILL)",
        134 => " (SIGABRT)",
        135 => " (SIGBUS)",
        136 => " (SIGFPE)",
        137 => " (SIGKILL)",
        139 => " (SIGSEGV)",
        143 => " (SIGTERM)",
        _ => "",
    };
    format!("exit code {code}{name}")
}

/// Whether a control group is this unit's, or this container's by any of the ways in which engines
/// name them: `docker-<id>.scope`. A unit's name may be the end of another's.
pub fn is_group_of(group: &str, name: &str) -> bool {
    let is_id = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let of_id = |g: &str| {
        let g = g.strip_suffix(".scope").unwrap_or(g);
        is_id && (g == name || g.strip_suffix(name).is_some_and(|before| before.ends_with('-')))
    };
    !name.is_empty() && group.split('/').any(|g| g == name || of_id(g))
}

/// The id of the container that a control group is, as `docker ps` shows it; engines name their groups
/// by it, whatever stands before.
pub fn id_of(group: &str) -> Option<&str> {
    const SHOWN: usize = 12;
    let id = |g: &'_ str| -> Option<usize> {
        let g = g.strip_suffix(".scope").unwrap_or(g);
        let at = g.rfind(['-', ':']).map_or(0, |i| i + 1);
        let id = g.get(at..)?;
        (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(at)
    };
    group.split('/').find_map(|g| g.get(id(g)?..)?.get(..SHOWN))
}
