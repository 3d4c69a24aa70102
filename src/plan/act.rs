//! One change of the world as data, and what has to hold for it. It prints in a plan, stands in the
//! journal, and is read back from there to be taken back.

use serde::{Deserialize, Serialize};

use super::flush::Flush;
use super::parameter::Connections;
use super::removal::Removal;
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
    /// The same; what has not ended after that many seconds is killed, all of it. A unit that hangs may have no
    /// limit of its own for that.
    RestartByForce {
        unit: String,
        grace_s: u64,
    },
    /// The same of a PostgreSQL, whose main process is told SIGINT first: a fast shutdown ends the sessions that a
    /// smart one waits for. We kill nobody where no time is named; its unit may, by its `TimeoutStopSec`.
    RestartFast {
        unit: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_s: Option<u64>,
    },
    ResetFailed {
        unit: String,
    },
    /// SIGCONT to the unit's processes, whose main one is stopped.
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
    /// Proof that its log has no line below this level since its start: a variable that is not heeded
    /// changes nothing.
    ProveQuiet {
        unit: String,
        level: String,
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
    /// A configured cache of a service is set aside, and an empty folder stands in its place.
    SetAside {
        service: String,
        aside: Aside,
    },
    /// And back; what was made since is kept aside.
    PutBack {
        service: String,
        aside: Aside,
    },
    /// Whoever holds a service's port is ended.
    EndHolder(Holding),
    /// A table or an index of a database is looked after.
    Upkeep(Upkeep),
    /// Keys of a Redis are thrown away.
    Flush(Flush),
    /// A replication slot or a prepared transaction is taken away.
    Remove(Removal),
    /// How many connections a PostgreSQL takes from its next start on.
    Connections(Connections),
    /// Proof that the server which runs takes so many; it changes nothing.
    ProveConnections {
        server: String,
        value: u64,
    },
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

/// A folder, and what it is kept as, beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    pub folder: String,
    pub to: String,
    /// Of the folder that is set aside: it says which of the two it is.
    pub inode: u64,
}

/// A port of a service, and all processes that listen there: nobody who is only connected to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    pub service: String,
    pub port: u16,
    /// The first is the one that the others came from. It is told to end; who is left after that many
    /// seconds is killed.
    pub processes: Vec<Named>,
    pub grace_s: u64,
}

/// A process, by what no other will ever have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub pid: u32,
    /// When it began, in the kernel's ticks since the boot.
    pub began: u64,
    pub program: String,
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
    /// The unit that it is done to.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Act::StartUnit { unit }
            | Act::StopUnit { unit }
            | Act::RestartUnit { unit }
            | Act::RestartByForce { unit, .. }
            | Act::RestartFast { unit, .. }
            | Act::ResetFailed { unit }
            | Act::Continue { unit }
            | Act::Thaw { unit }
            | Act::Freeze { unit }
            | Act::DropIn { unit, .. }
            | Act::Prove { unit, .. }
            | Act::ProveQuiet { unit, .. }
            | Act::ProveLimit { unit, .. } => Some(unit),
            Act::ResizePool { .. }
            | Act::EndSession(_)
            | Act::SetAside { .. }
            | Act::PutBack { .. }
            | Act::EndHolder(_)
            | Act::Upkeep(_)
            | Act::Flush(_)
            | Act::Remove(_)
            | Act::Connections(_)
            | Act::ProveConnections { .. }
            | Act::Wait { .. } => None,
        }
    }

    /// What else than a unit it is done to, by its configured name.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Act::ResizePool { service: name, .. }
            | Act::SetAside { service: name, .. }
            | Act::PutBack { service: name, .. }
            | Act::Wait { subject: name } => Some(name),
            Act::EndHolder(h) => Some(&h.service),
            Act::Flush(f) => Some(&f.redis),
            Act::Connections(Connections { server, .. }) | Act::ProveConnections { server, .. } => {
                Some(server)
            }
            _ => self.server(),
        }
    }

    /// What nobody else may recover at the same time.
    pub fn target(&self) -> String {
        let kind = match self {
            Act::ResizePool { .. } | Act::SetAside { .. } | Act::PutBack { .. } | Act::EndHolder(_) => {
                "service"
            }
            Act::EndSession(_)
            | Act::Upkeep(_)
            | Act::Remove(_)
            | Act::Connections(_)
            | Act::ProveConnections { .. } => "server",
            Act::Flush(_) => "redis",
            Act::Wait { .. } => "target",
            _ => "unit",
        };
        format!("{kind} {}", self.unit().or(self.subject()).unwrap_or_default())
    }

    /// Whether what could be looked at before is gone afterwards.
    pub fn destroys_evidence(&self) -> bool {
        self.ends_its_unit()
            || matches!(
                self,
                Act::ResetFailed { .. }
                    | Act::EndSession(_)
                    | Act::EndHolder(_)
                    | Act::Upkeep(_)
                    | Act::Remove(_)
            )
    }

    /// The PostgreSQL that it is done in, by its configured name.
    pub fn server(&self) -> Option<&str> {
        match self {
            Act::EndSession(Whom { server, .. })
            | Act::Upkeep(Upkeep { server, .. })
            | Act::Remove(Removal { server, .. }) => Some(server),
            _ => None,
        }
    }

    /// Whether it ends the processes of its unit.
    pub fn ends_its_unit(&self) -> bool {
        match self {
            Act::StartUnit { .. } => false,
            Act::StopUnit { .. } => true,
            _ => self.starts().is_some(),
        }
    }

    /// The unit that it starts, or starts anew.
    pub fn starts(&self) -> Option<&str> {
        match self {
            Act::StartUnit { unit }
            | Act::RestartUnit { unit }
            | Act::RestartByForce { unit, .. }
            | Act::RestartFast { unit, .. } => Some(unit),
            _ => None,
        }
    }

    /// Processes that it ends by their numbers.
    pub fn processes(&self) -> Vec<u32> {
        match self {
            Act::EndHolder(h) => h.processes.iter().map(|p| p.pid).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the world is another one afterwards.
    pub fn changes(&self) -> bool {
        !self.proves() && !matches!(self, Act::Wait { .. })
    }

    /// Whether it only looks at what came of another.
    pub fn proves(&self) -> bool {
        matches!(
            self,
            Act::Prove { .. }
                | Act::ProveQuiet { .. }
                | Act::ProveLimit { .. }
                | Act::ProveConnections { .. }
        )
    }
}
