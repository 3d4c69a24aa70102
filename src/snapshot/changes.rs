//! What was changed on this host of late. Never a cause: what to think of first.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    pub all: Vec<Change>,
    /// What could not be looked at, and why: there may be more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// By the clock of the host: of a file, when it was written.
    pub at: Timestamp,
    pub kind: ChangeKind,
    /// The configured name that it is about; none: the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// In a few words: `drop-in override.conf of api.service (POOL_MAX_SIZE)`.
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    DropIn,
    UnitFile,
    EnvironmentFile,
    /// A file of settings of PostgreSQL or Redis.
    Settings,
    Deployment,
    Package,
    Restart,
    /// It ended by itself, and was brought back.
    End,
    Boot,
}
