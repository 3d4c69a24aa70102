//! What a cause is: its public name, its weight, and what it makes red elsewhere.
//! The causes themselves are declared by the scenarios, each in its own file.

use serde::{Deserialize, Serialize};

/// The runbook's levels. `P4` is a note: it never makes a stack unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    P1,
    P2,
    P3,
    P4,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::P1 => "P1",
            Severity::P2 => "P2",
            Severity::P3 => "P3",
            Severity::P4 => "P4",
        }
    }
}

/// *Proven*: the evidence can mean nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    Proven,
    Likely,
}

impl Certainty {
    pub fn word(self) -> &'static str {
        match self {
            Certainty::Proven => "proven",
            Certainty::Likely => "likely",
        }
    }
}

/// How the subject of a consequence stands to the subject of its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same subject.
    Same,
    /// The consequence's subject needs the cause's (directly, or through what it needs).
    NeededBy,
    /// The cause's subject is a service that needs the consequence's: it broke its own server.
    Needs,
    /// The cause's subject is the host, and the consequence's runs on it: it has a unit or container there.
    Host,
}

/// One cause of the catalogue. Its name is a public contract and never changes its meaning.
#[derive(Debug)]
pub struct Cause {
    /// `scenario/cause`.
    pub name: &'static str,
    pub severity: Severity,
    /// What the cause is, in a few words, for tables.
    pub title: &'static str,
    pub explains: &'static [(&'static str, Relation)],
}

impl Cause {
    pub fn scenario(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(s, _)| s)
    }
}
