//! What an MCP endpoint says when a client shakes hands with it: who it is, and what it offers.
//! A step that failed carries its own words in `detail`.

use serde::{Deserialize, Serialize};

use super::reading::{FailKind, Failure, Look, Reading};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct McpLook {
    /// The first step, on which all others hang.
    pub initialize: Look<Hello>,
    pub ping: Reading<()>,
    /// How many tools it lists; not asked where it says that it has none to list.
    pub tools: Look<u64>,
}

/// The answer to `initialize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: String,
    /// Its name and version, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// It made a session, which was ended afterwards.
    pub session: bool,
    /// It answers by events, not by plain JSON.
    pub events: bool,
    /// It says that it has tools to list.
    pub has_tools: bool,
}

impl McpLook {
    /// The step that did not come to its end, and how long it was waited for where that is known.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.initialize.reading {
            Reading::Failed(f) => Some(f),
            Reading::NotAsked { .. } => None,
            // Its tools are what it is for; where it has none to list, it lives while it answers.
            Reading::Seen { value } if value.has_tools => self.tools.failure(),
            // A handshake that was not accepted fails the tools of whoever has none, too.
            Reading::Seen { .. } => self.ping.failure().or_else(|| self.tools.failure()),
        }
    }

    /// Worth a closer look at what runs it.
    pub fn looks_wrong(&self) -> bool {
        let ours = |k| matches!(k, FailKind::NotTried | FailKind::Denied);
        self.tools.seen() == Some(&0) || self.failure().is_some_and(|f| !ours(f.kind))
    }
}
