//! `mcp-ir incident list|show`: the journals, read; nothing is changed.

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Exit;
use super::run::say;
use super::tree::Global;
use crate::config::Env;
use crate::error::Result;
use crate::incident;
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
    let store = incident::open(&Env::process(), true, false)?;
    let text = match command {
        IncidentCommand::List => {
            let mut all = store.all();
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
            let i = store.one(&show.incident)?;
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
