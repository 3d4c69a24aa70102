//! The way back: each act of a step's undo is a compare-and-swap, written to the journal before it begins;
//! last in, first out. What can't be taken back says why.

use std::time::{Duration, Instant};

use crate::action::{Failed, World, apply};
use crate::consent::Consent;
use crate::error::Result;
use crate::incident::{Event, Incident, Journal, Open};
use crate::plan::{Act, Needs, Plan, Risk, draft};

/// Of one act: a unit may take its time to stop.
pub(super) const ACT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    Back { n: usize, detail: String },
    Refused { n: usize, why: String },
    Failed { n: usize, why: String },
}

/// The steps to take back, the last one first, and a plan of their acts to consent to. `Err` says why not.
pub fn undo_plan(incident: &Incident, step: Option<usize>) -> std::result::Result<(Vec<Open>, Plan), String> {
    let mut standing = incident.standing();
    standing.reverse();
    if let Some(n) = step {
        let at = standing.iter().position(|o| o.n == n);
        let at = at.ok_or_else(|| format!("step {n} of {} does not stand", incident.id))?;
        let target = standing[at].act.target();
        if let Some(later) = standing[..at].iter().find(|o| o.act.target() == target && o.undo.is_some()) {
            return Err(format!("step {} was done to the same later: that one first", later.n));
        }
        standing = vec![standing.swap_remove(at)];
    }
    let mut plan = Plan::default();
    for open in standing.iter() {
        let Some(undo) = &open.undo else {
            // Its drop-in's undo starts it anew.
            let with_another = |o: &&Open| o.undo.as_ref().is_some_and(|u| u.acts.contains(&open.act));
            if standing.iter().any(|o| with_another(&o)) {
                continue;
            }
            let why = open.undo_reason.as_deref().unwrap_or("it can't be taken back");
            plan.notes.push(format!("step {} ({}) stays: {why}", open.n, open.describe));
            continue;
        };
        for act in &undo.acts {
            let risk = if matches!(act, Act::DropIn { .. }) { Risk::Safe } else { undo.risk };
            let step = draft(act.clone(), risk).needs(needs(open, act)).because("it is itself a way back");
            plan.add(None, &incident.subject, vec![step], Vec::new());
        }
    }
    standing.retain(|o| o.undo.is_some());
    Ok((standing, plan))
}

/// What we made, and nothing that came after it. Where it is not known what we made (we were cut off), only
/// what is down already is as it was.
fn needs(open: &Open, act: &Act) -> Needs {
    let list = |all: &[&str]| all.iter().map(|a| (*a).to_owned()).collect();
    match act {
        Act::StopUnit { .. } | Act::Freeze { .. } => match &open.made {
            Some(made) => Needs::Unit {
                active: list(&["active", "reloading", "activating", "inactive", "failed"]),
                invocation: Some(made.clone()),
            },
            None => Needs::Unit { active: list(&["inactive", "failed"]), invocation: None },
        },
        // Who was stopped meanwhile is not started by it.
        Act::RestartUnit { .. } => {
            let active = list(&["active", "reloading", "activating", "failed"]);
            Needs::Unit { active, invocation: None }
        }
        _ => Needs::Nothing,
    }
}

/// Takes one step back.
pub async fn take_back(
    open: &Open,
    restart: bool,
    journal: &mut Journal,
    consent: &Consent,
    world: World<'_>,
    by: &str,
) -> Result<Taken> {
    let (run, n) = (open.run, open.n);
    let Some(undo) = &open.undo else {
        let why = open.undo_reason.clone().unwrap_or_default();
        return Ok(Taken::Refused { n, why });
    };
    let describe = undo.describe();
    journal.write(Event::UndoIntent { run, n, describe, by: by.to_owned() }).await?;
    let (mut details, mut touched) = (Vec::new(), false);
    for act in &undo.acts {
        // What no process has seen needs no restart to be forgotten.
        if matches!(act, Act::RestartUnit { .. }) && !restart {
            continue;
        }
        match apply(act, &needs(open, act), consent, world, Instant::now() + ACT).await {
            Ok(done) => {
                touched |= !done.already;
                details.push(done.detail);
            }
            Err(Failed::Changed(why)) if matches!(act, Act::RestartUnit { .. }) => {
                details.push(format!("not restarted: {why}"));
            }
            Err(failed) => {
                touched |= failed.touched();
                let why = words(open, &failed);
                journal.write(Event::UndoFailed { run, n, why: why.clone(), touched }).await?;
                return Ok(if touched { Taken::Failed { n, why } } else { Taken::Refused { n, why } });
            }
        }
    }
    let detail = details.join("; ");
    journal.write(Event::Undone { run, n, detail: detail.clone() }).await?;
    Ok(Taken::Back { n, detail })
}

fn words(open: &Open, failed: &Failed) -> String {
    match failed {
        Failed::Changed(why) if open.made.is_none() && open.cut_off => {
            format!("{why}, and whether by us is not known: the run that began this step was cut off")
        }
        other => other.words(),
    }
}
