//! `mcp-ir undo`: what a recovery did is taken back, the last step first, where it still is what we made.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::incident::read;
use super::load::load;
use super::recover::{Allow, show, store, terminal, typed};
use super::run::say;
use super::tree::Global;
use crate::consent::{self, Policy};
use crate::diagnosis::Risk;
use crate::engine;
use crate::engine::recover::{LOCKS, Stop, Taken, UndoOrder, UndoOutcome, Undone, undo, undo_plan};
use crate::error::Result;
use crate::render::{self, Out, Progress};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir undo INC-2026-001                 all of it, the last step first
  mcp-ir undo INC-2026-001 --step 1
  mcp-ir undo INC-2026-001 --plan

A step is taken back only where what it made is still there: what somebody else
changed since then is left alone.

Exit codes: 0 taken back, or nothing to take back, 4 refused and nothing changed,
6 a step failed, or it is not as it was.")]
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
    /// The most that may be done
    #[arg(long, value_enum, value_name = "RISK")]
    pub allow: Option<Allow>,
    /// The journal is in your own folder
    #[arg(long)]
    pub private_state: bool,
}

pub fn run(args: &UndoArgs, global: &Global, out: &Out) -> Result<Exit> {
    let loaded = load(global)?;
    let store = store(args.private_state, true)?;
    let incident = {
        let (store, id) = (store.clone(), args.incident.clone());
        read(move || store.one(&id))?
    };
    let id = incident.id.clone();
    let end = |undone: &Undone| end(&id, undone, global, out);
    let (steps, plan) = match undo_plan(&incident, args.step) {
        Ok(found) => found,
        Err(why) => return end(&Undone::of(UndoOutcome::Refused, why)).map(|()| Exit::Refused),
    };
    if !plan.steps.is_empty() || !plan.notes.is_empty() {
        let shown = show(&plan, !args.yes && !args.plan, global, out);
        if !args.yes {
            shown?;
        }
    }
    if steps.is_empty() {
        let undone = Undone::of(UndoOutcome::NothingToDo, "nothing that can be taken back stands");
        return end(&undone).map(|()| Exit::Fine);
    }
    if args.plan {
        return end(&Undone::of(UndoOutcome::Planned, "nothing was changed")).map(|()| Exit::Fine);
    }
    let policy = Policy { terminal: terminal(global), yes: args.yes, allow: args.allow.map(Risk::from) };
    let consent = match consent::ask(&plan, &policy, &mut |q| typed(q, out)) {
        Ok(consent) => consent,
        Err(refused) => {
            let hint = refused.hint.map(|h| format!(" ({h})")).unwrap_or_default();
            let why = format!("{}{hint}: nothing was changed", refused.why);
            return end(&Undone::of(UndoOutcome::Refused, why)).map(|()| Exit::Refused);
        }
    };
    let order = UndoOrder {
        loaded: &loaded,
        store: &store,
        incident: &id,
        step: args.step,
        plan: &plan,
        consent: &consent,
        holder: format!("undo of {id} (pid {})", std::process::id()),
        locks: Path::new(LOCKS),
    };
    let runtime = engine::runtime()?;
    let progress = Progress::new(global.quiet || global.json());
    let what = format!("{id} to be taken back");
    let (undone, stop) = runtime.block_on(async {
        let stop = Stop::listen();
        let undone = tokio::select! {
            undone = undo(order, &stop) => undone,
            never = progress.run(Instant::now(), || vec![what.clone()]) => match never {},
        };
        (undone, stop)
    });
    runtime.shutdown_background();
    // It is done: what it came to is its code, whether or not anybody can read the rest.
    if let Err(e) = end(&undone) {
        out.note(&format!("{}\n", e.message));
    }
    Ok(match undone.outcome {
        UndoOutcome::Undone | UndoOutcome::NothingToDo | UndoOutcome::Planned => Exit::Fine,
        UndoOutcome::Refused => Exit::Refused,
        UndoOutcome::Interrupted => Exit::Interrupted(stop.code()),
        UndoOutcome::Failed => Exit::Failed,
    })
}

fn end(id: &str, undone: &Undone, global: &Global, out: &Out) -> Result<()> {
    let (outcome, reason) = (undone.outcome.word(), &undone.reason);
    if !global.json() {
        return say(&render::undone(id, outcome, reason, &undone.taken, out), out).map(drop);
    }
    let row = |t: &Taken| match t {
        Taken::Back { n, detail, .. } => json!({ "n": n, "status": "undone", "detail": detail }),
        Taken::Refused { n, why } => json!({ "n": n, "status": "refused", "detail": why }),
        Taken::Failed { n, why } => json!({ "n": n, "status": "failed", "detail": why }),
    };
    let steps: Vec<_> = undone.taken.iter().map(row).collect();
    let document = json!({
        "schema": "mcp-ir/undo/1", "incident": id, "outcome": outcome, "reason": reason, "steps": steps,
    });
    say(&render::document(&document)?, out).map(drop)
}
