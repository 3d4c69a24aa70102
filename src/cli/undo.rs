//! `mcp-ir undo`: what a recovery did is taken back, the last step first, where it still is what we made.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::load::load;
use super::recover::{terminal, typed};
use super::run::say;
use super::tree::Global;
use crate::action::World;
use crate::config::Env;
use crate::consent::{self, Policy};
use crate::engine;
use crate::engine::recover::{LOCKS, Taken, lock_targets, take_back, undo_plan};
use crate::error::Result;
use crate::incident::{self, Journal, Open};
use crate::plan::Act;
use crate::render::{self, Out};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir undo INC-2026-001                 all of it, the last step first
  mcp-ir undo INC-2026-001 --step 1
  mcp-ir undo INC-2026-001 --plan

A step is taken back only where what it made is still there: what somebody else
changed since then is left alone.

Exit codes: 0 taken back, or nothing to take back, 4 refused and nothing changed,
6 a step failed.")]
pub struct UndoArgs {
    /// Its id: `mcp-ir incident list`
    #[arg(value_name = "INCIDENT")]
    pub incident: String,
    /// Only this step
    #[arg(long, value_name = "N")]
    pub step: Option<usize>,
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// Agree beforehand
    #[arg(long, short)]
    pub yes: bool,
    /// The journal is in your own folder
    #[arg(long)]
    pub private_state: bool,
}

pub fn run(args: &UndoArgs, global: &Global, out: &Out) -> Result<Exit> {
    let loaded = load(global)?;
    let store = incident::open(&Env::process(), args.private_state, true)?;
    let incident = store.one(&args.incident)?;
    let id = incident.id.clone();
    let end = |outcome: &str, reason: &str, taken: &[Taken]| end(&id, outcome, reason, taken, global, out);
    let (steps, plan) = match undo_plan(&incident, args.step) {
        Ok(found) => found,
        Err(why) => return end("refused", &why, &[]).map(|()| Exit::Refused),
    };
    if !global.json() && (!plan.steps.is_empty() || !plan.notes.is_empty()) {
        say(&render::plan(&plan, out), out)?;
    }
    if steps.is_empty() {
        return end("nothing-to-do", "nothing that can be taken back stands", &[]).map(|()| Exit::Fine);
    }
    if args.plan {
        return end("planned", "nothing was changed", &[]).map(|()| Exit::Fine);
    }
    let policy = Policy { terminal: terminal(global), yes: args.yes, allow: None };
    let consent = match consent::ask(&plan, &policy, &mut |q| typed(q, out)) {
        Ok(consent) => consent,
        Err(refused) => {
            let hint = refused.hint.map(|h| format!(" ({h})")).unwrap_or_default();
            let why = format!("{}{hint}: nothing was changed", refused.why);
            return end("refused", &why, &[]).map(|()| Exit::Refused);
        }
    };
    let holder = format!("undo of {id} (pid {})", std::process::id());
    let locks = lock_targets(Path::new(LOCKS), &loaded.config.systemd.bus, &plan.targets(), &holder);
    let _locks = match locks {
        Ok(locks) => locks,
        Err(why) => {
            return end("refused", &format!("{why}: nothing was changed"), &[]).map(|()| Exit::Refused);
        }
    };
    let mut journal = Journal::go_on(&store, &incident)?;
    let runtime = engine::runtime()?;
    let start = Instant::now();
    let taken = runtime.block_on(async {
        let mut all = Vec::new();
        for open in &steps {
            let restart = seen_by_a_process(open, &incident);
            let taken = take_back(open, restart, &mut journal, &consent, World(&loaded), "undo").await?;
            let went = matches!(taken, Taken::Back { .. });
            all.push(taken);
            if !went {
                break;
            }
        }
        Ok::<_, crate::error::Error>(all)
    });
    runtime.shutdown_background();
    let taken = match taken {
        Ok(taken) => taken,
        // Its journal can't be written: what was done is told by what stands in it.
        Err(e) => return end("failed", &e.message, &[]).map(|()| Exit::Failed),
    };
    tracing::debug!(ms = start.elapsed().as_millis(), "taken back");
    let back = taken.iter().any(|t| matches!(t, Taken::Back { .. }));
    match taken.last() {
        Some(Taken::Failed { why, .. }) => end("failed", why, &taken).map(|()| Exit::Failed),
        Some(Taken::Refused { why, .. }) if back => end("failed", why, &taken).map(|()| Exit::Failed),
        Some(Taken::Refused { why, .. }) => end("refused", why, &taken).map(|()| Exit::Refused),
        _ => end("undone", "it is as it was before", &taken).map(|()| Exit::Fine),
    }
}

/// Whether the unit was started with what the step wrote: by that recovery, or by the next one.
fn seen_by_a_process(open: &Open, incident: &incident::Incident) -> bool {
    let Act::DropIn { unit, .. } = &open.act else { return true };
    let started =
        |act: &Act| matches!(act, Act::RestartUnit { unit: u } | Act::StartUnit { unit: u } if u == unit);
    incident.standing().iter().any(|o| o.at >= open.at && started(&o.act))
}

fn end(id: &str, outcome: &str, reason: &str, taken: &[Taken], global: &Global, out: &Out) -> Result<()> {
    if !global.json() {
        return say(&render::undone(id, outcome, reason, taken, out), out).map(drop);
    }
    let steps: Vec<_> = taken
        .iter()
        .map(|t| match t {
            Taken::Back { n, detail } => json!({ "n": n, "status": "undone", "detail": detail }),
            Taken::Refused { n, why } => json!({ "n": n, "status": "refused", "detail": why }),
            Taken::Failed { n, why } => json!({ "n": n, "status": "failed", "detail": why }),
        })
        .collect();
    let document = json!({
        "schema": "mcp-ir/undo/1", "incident": id, "outcome": outcome, "reason": reason, "steps": steps,
    });
    say(&render::document(&document)?, out).map(drop)
}
