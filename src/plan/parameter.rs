//! How many connections a PostgreSQL takes. `ALTER SYSTEM` writes it down, and it counts from the next start on:
//! until then it lies there armed for whoever restarts next (errata 21).

use serde::{Deserialize, Serialize};

use super::risk::shell_word;

pub const MAX_CONNECTIONS: &str = "max_connections";
/// What `ALTER SYSTEM` writes; read last, so that it counts.
pub const AUTO_CONF: &str = "postgresql.auto.conf";

/// What stands in `postgresql.auto.conf`, and what shall; `None` is no line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    pub server: String,
    /// Where that is, without a password.
    pub url: String,
    /// Of the server: it has to be down where its file is written without it.
    pub unit: String,
    pub data_directory: String,
    pub from: Option<u64>,
    pub to: Option<u64>,
}

/// As it is before anything is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsState {
    /// By the server that runs.
    pub running: u64,
    /// In its `postgresql.auto.conf`.
    #[serde(default)]
    pub written: Option<u64>,
    /// What stood there before a run of ours wrote that, and was cut off before the restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_ours: Option<Former>,
    /// `configuration file`, `command line`, `default`.
    pub source: String,
    pub huge_pages: String,
    /// Who copies from it at this moment.
    pub copies: u64,
    /// Other settings that wait for a restart, as its server knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// Sessions of clients, ours not among them.
    pub sessions: u64,
    pub may_alter: bool,
    #[serde(default)]
    pub data_directory: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former(pub Option<u64>);

impl Connections {
    pub fn statement(&self) -> String {
        match self.to {
            Some(n) => format!("ALTER SYSTEM SET {MAX_CONNECTIONS} = {n}"),
            None => format!("ALTER SYSTEM RESET {MAX_CONNECTIONS}"),
        }
    }

    pub fn describe(&self) -> String {
        format!("{} in {} (it counts from the next start on)", self.statement(), self.server)
    }

    pub fn command(&self) -> String {
        format!("psql {} -c {}", shell_word(&self.url), shell_word(&self.statement()))
    }

    /// And back.
    pub fn back(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }
}

/// The last line that sets it counts. Names are of any case, `=` may be missing.
/// `Err`: what stands there is no plain number.
pub fn written(text: &str) -> Result<Option<u64>, String> {
    let found = text.lines().rev().find_map(value);
    let number = |v: &str| v.parse().map_err(|_| format!("{AUTO_CONF} has {MAX_CONNECTIONS} = {v}"));
    found.map(number).transpose()
}

/// The text of the file with this line, and all others as they are.
pub fn with(text: &str, to: Option<u64>) -> String {
    let kept = text.lines().filter(|l| value(l).is_none()).map(|l| format!("{l}\n"));
    kept.chain(to.map(|n| format!("{MAX_CONNECTIONS} = '{n}'\n"))).collect()
}

fn value(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let name = line.get(..MAX_CONNECTIONS.len()).filter(|n| n.eq_ignore_ascii_case(MAX_CONNECTIONS))?;
    let rest = line.get(name.len()..).filter(|r| r.starts_with([' ', '\t', '=']))?;
    let rest = rest.trim_start().trim_start_matches('=').trim_start();
    let end = rest.find('#').unwrap_or(rest.len());
    Some(rest.get(..end)?.trim().trim_matches('\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errata_21_one_line_is_written_and_all_others_stay_as_they_are() {
        let text = "# Do not edit\nwork_mem = '8MB'\nMax_Connections='200' # once\nmax_connectionsx = '1'\n";
        assert_eq!(written(text), Ok(Some(200)));
        let raised = with(text, Some(300));
        let others = "# Do not edit\nwork_mem = '8MB'\nmax_connectionsx = '1'\n";
        assert_eq!(raised, format!("{others}max_connections = '300'\n"));
        assert_eq!(with(&raised, None), others);
        assert_eq!((written(others), written("max_connections 90\n")), (Ok(None), Ok(Some(90))));
        assert_eq!(written("#max_connections = 5\n"), Ok(None));
        assert!(written("max_connections = '0x64'\n").is_err(), "its way back would be another");
    }
}
