//! `mcp-ir incident list|show`: the journals, read; nothing is changed.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Exit;
use super::load::within;
use super::recover::store;
use super::run::say;
use super::tree::Global;
use crate::error::{Error, Result};
use crate::render::{self, Out};

#[derive(Debug, Clone, Subcommand)]
pub enum IncidentCommand {
    /// All incidents, the latest first
    List,
    /// What was done, and when
    Show(Show),
}

#[derive(Debug, Clone, Args)]
pub struct Show {
    /// Its id, such as INC-2026-001
    #[arg(value_name = "INCIDENT")]
    pub incident: String,
}

pub fn run(command: &IncidentCommand, global: &Global, out: &Out) -> Result<Exit> {
    let store = store(true, false)?;
    let text = match command {
        IncidentCommand::List => {
            let mut all = read(move || Ok(store.all()))?;
            all.reverse();
            if global.json() {
                let rows: Vec<_> = all
                    .iter()
                    .map(|i| {
                        json!({
                            "id": i.id, "opened_at": i.opened_at, "status": i.status().word(), "about": i.about,
                            "subject": i.subject, "summary": i.summary,
                        })
                    })
                    .collect();
                render::document(&json!({ "schema": "mcp-ir/incidents/1", "incidents": rows }))?
            } else {
                render::incident_list(&all, out)
            }
        }
        IncidentCommand::Show(show) => {
            let id = show.incident.clone();
            let i = read(move || store.one(&id))?;
            if global.json() {
                render::document(&json!({
                    "schema": "mcp-ir/incident/1", "id": i.id, "opened_at": i.opened_at, "status": i.status().word(),
                    "about": i.about, "subject": i.subject, "summary": i.summary, "torn": i.torn,
                    "unread": i.unread, "events": i.entries,
                }))?
            } else {
                render::timeline(&i, out)
            }
        }
    };
    say(&text, out)
}

/// Within a limit: a folder that does not answer is said, not waited for.
pub fn read<T: Send + 'static>(read: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    within(Duration::from_secs(5), read).unwrap_or_else(|| {
        Err(Error::file("the folder of the incidents does not answer")
            .hint("$MCP_IR_STATE_DIR names another one"))
    })
}
