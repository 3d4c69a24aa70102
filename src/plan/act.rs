//! One change of the world as data, and what has to hold for it. It prints in a plan, stands in the
//! journal, and is read back from there to be taken back.

use serde::{Deserialize, Serialize};

use super::flush::Flush;
use super::upkeep::Upkeep;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    StartUnit {
        unit: String,
    },
    StopUnit {
        unit: String,
    },
    RestartUnit {
        unit: String,
    },
    ResetFailed {
        unit: String,
    },
    /// SIGCONT to the unit's main process.
    Continue {
        unit: String,
    },
    Thaw {
        unit: String,
    },
    Freeze {
        unit: String,
    },
    /// Our own drop-in of a unit, and a reload of systemd. `from` is what stands there, `to` what shall;
    /// `None` is no file.
    DropIn {
        unit: String,
        from: Option<String>,
        to: Option<String>,
    },
    /// Proof that the process that runs has this variable; it changes nothing.
    Prove {
        unit: String,
        variable: String,
        value: String,
    },
    /// Proof that this limit of the unit holds (`MemoryMax`, `TasksMax`); it changes nothing.
    ProveLimit {
        unit: String,
        key: String,
        value: u64,
    },
    /// The service's own interface, at this address, sets its pool's size until its process ends.
    ResizePool {
        service: String,
        url: String,
        from: u64,
        to: u64,
    },
    /// A session of PostgreSQL, while it is the one that was seen, at what it was seen doing.
    EndSession(Whom),
    /// A table or an index of a database is looked after.
    Upkeep(Upkeep),
    /// Keys of a Redis are thrown away.
    Flush(Flush),
    /// What goes on by itself is waited for; it changes nothing.
    Wait {
        subject: String,
    },
}

/// One session at one piece of work. A pool's session lives for days: its pid and start name it, and not
/// what it does now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whom {
    pub server: String,
    /// Where that is, without a password.
    pub url: String,
    pub databases: Vec<String>,
    pub pid: i32,
    /// PostgreSQL's own texts, compared as they are.
    pub backend_start: String,
    pub state: String,
    /// The transaction, the statement, and since when it is in its state: what of these is named has to
    /// be the same still.
    pub xact_start: Option<String>,
    pub query_start: Option<String>,
    pub state_change: Option<String>,
    /// Only while another session waits for it.
    pub blocks: bool,
    /// Only where it holds no advisory lock: that may be how somebody leads.
    pub follows: bool,
    pub how: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    Terminate,
    /// Its statement is cancelled; where that did not help, the session is ended.
    CancelThenTerminate,
}

/// What is looked at again together with the act. What an act itself compares (a file's former text, a
/// pool's former size, a session's state) stands in the act.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "needs", rename_all = "kebab-case")]
pub enum Needs {
    #[default]
    Nothing,
    /// The unit is in one of these states and, where it is named, in the same run as it was seen in.
    Unit { active: Vec<String>, invocation: Option<String> },
}

impl Act {
    /// What nobody else may recover at the same time.
    pub fn target(&self) -> String {
        match self {
            Act::StartUnit { unit }
            | Act::StopUnit { unit }
            | Act::RestartUnit { unit }
            | Act::ResetFailed { unit }
            | Act::Continue { unit }
            | Act::Thaw { unit }
            | Act::Freeze { unit }
            | Act::DropIn { unit, .. }
            | Act::Prove { unit, .. }
            | Act::ProveLimit { unit, .. } => format!("unit {unit}"),
            Act::ResizePool { service, .. } => format!("service {service}"),
            Act::EndSession(Whom { server, .. }) | Act::Upkeep(Upkeep { server, .. }) => {
                format!("server {server}")
            }
            Act::Flush(f) => format!("redis {}", f.redis),
            Act::Wait { subject } => format!("target {subject}"),
        }
    }

    /// Whether what could be looked at before is gone afterwards.
    pub fn destroys_evidence(&self) -> bool {
        matches!(
            self,
            Act::StopUnit { .. }
                | Act::RestartUnit { .. }
                | Act::ResetFailed { .. }
                | Act::EndSession(_)
                | Act::Upkeep(_)
        )
    }

    /// The PostgreSQL that it is done in, by its configured name.
    pub fn server(&self) -> Option<&str> {
        match self {
            Act::EndSession(Whom { server, .. }) | Act::Upkeep(Upkeep { server, .. }) => Some(server),
            _ => None,
        }
    }

    /// Whether the world is another one afterwards.
    pub fn changes(&self) -> bool {
        !matches!(self, Act::Wait { .. } | Act::Prove { .. } | Act::ProveLimit { .. })
    }
}
