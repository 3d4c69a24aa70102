//! The way back: each act of a step's undo is a compare-and-swap, written to the journal before it begins;
//! last in, first out. What can't be taken back says why.

use std::time::{Duration, Instant};

use super::stop::Stop;
use super::world::{Carried, carried, is_nobody, running};
use crate::action::{Failed, World, apply};
use crate::config::Loaded;
use crate::consent::Consent;
use crate::error::Result;
use crate::incident::{Event, Incident, Journal, Open};
use crate::plan::{Act, Connections, Needs, Plan, Risk, Undo, draft};

/// Of one act: a unit may take its time to stop.
pub(super) const ACT: Duration = Duration::from_secs(90);

/// What takes longer to start, or to go through, is waited for as long as somebody would wait until it is well.
pub fn limit(act: &Act, wait: Duration) -> Duration {
    match act {
        Act::Upkeep(_) | Act::Flush(_) => ACT.max(wait),
        // What is killed at its end has to come up then.
        Act::RestartByForce { grace_s, .. } | Act::RestartFast { grace_s: Some(grace_s), .. } => {
            ACT.max(wait).max(Duration::from_secs(*grace_s) + ACT)
        }
        _ if act.starts().is_some() => ACT.max(wait),
        _ => ACT,
    }
}

/// Of a look at a unit between two acts.
pub(super) const GLANCE: Duration = Duration::from_secs(5);
pub(super) const LEFT: &str = "left by the second signal: what it came to is not known";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// `acts` are those that were done, or were so already.
    Back {
        n: usize,
        detail: String,
        acts: Vec<Act>,
    },
    Refused {
        n: usize,
        why: String,
    },
    Failed {
        n: usize,
        why: String,
    },
}

/// The steps to take back, the last one first, and a plan of their acts to consent to. `Err` says why not.
pub fn undo_plan(incident: &Incident, step: Option<usize>) -> std::result::Result<(Vec<Open>, Plan), String> {
    if incident.unread > 0 {
        return Err(format!(
            "{} lines of {} are none that this version can read: what stands beneath a later step is not \
             taken back",
            incident.unread,
            incident.path.display()
        ));
    }
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
        let acts = acts_of(undo, UNDONE);
        for &act in &acts {
            let restarts = matches!(act, Act::RestartUnit { .. }) && acts.len() > 1;
            let why = if restarts { ONLY_IF } else { "it is itself a way back" };
            // What it costs is the restart's; alone, as a smaller limit, it may cost the process.
            let written = matches!(act, Act::DropIn { .. } | Act::Connections(_)) && acts.len() > 1;
            let risk = if written { Risk::Safe } else { undo.risk };
            let step = draft(act.clone(), risk).needs(needs(open, act)).because(why);
            plan.add(None, &incident.subject, vec![step], Vec::new());
        }
    }
    standing.retain(|o| o.undo.is_some());
    Ok((standing, plan))
}

const ONLY_IF: &str = "only where its process was started with what is taken back; it is itself a way back";

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
        // Not under a service that runs.
        Act::PutBack { .. } => Needs::Unit { active: list(&["inactive", "failed"]), invocation: None },
        // It may have failed of what is taken back; who was stopped is inactive.
        Act::RestartUnit { .. } if matches!(open.act, Act::Connections(_)) => {
            let active = list(&["active", "reloading", "activating", "failed"]);
            Needs::Unit { active, invocation: None }
        }
        // Who was stopped meanwhile is not started by it; many end as failed when they are.
        Act::RestartUnit { .. } => {
            let active = list(&["active", "reloading", "activating"]);
            Needs::Unit { active, invocation: None }
        }
        _ => Needs::Nothing,
    }
}

/// With what, and by whom, a step is taken back.
pub struct Hands<'a> {
    pub journal: &'a mut Journal,
    pub consent: &'a Consent,
    pub loaded: &'a Loaded,
    pub stop: &'a Stop,
    /// `UNDONE`, or `ROLLED_BACK`.
    pub by: &'a str,
}

pub(super) const ROLLED_BACK: &str = "rolled back";
pub(super) const UNDONE: &str = "undo";

/// What of a way back is done by whom. A count of starts is reset only within the run that used it up: who has
/// failed since may have been stopped, and is told by that.
fn acts_of<'a>(undo: &'a Undo, by: &str) -> Vec<&'a Act> {
    undo.acts.iter().filter(|a| by == ROLLED_BACK || !matches!(a, Act::ResetFailed { .. })).collect()
}

/// Whether a unit that this step set something for was started since, by any run of the incident.
pub fn started_since(open: &Open, incident: &Incident) -> bool {
    let (Act::DropIn { unit, .. } | Act::Connections(Connections { unit, .. })) = &open.act else {
        return false;
    };
    incident.standing().iter().any(|o| o.at >= open.at && o.act.starts() == Some(unit))
}

/// Takes one step back. `started`: a run of ours started its unit since it was done.
pub async fn take_back(open: &Open, started: bool, hands: &mut Hands<'_>) -> Result<Taken> {
    let (run, n) = (open.run, open.n);
    let Some(undo) = &open.undo else {
        let why = open.undo_reason.clone().unwrap_or_default();
        return Ok(Taken::Refused { n, why });
    };
    let mine = acts_of(undo, hands.by).into_iter().cloned().collect();
    let describe = Undo { acts: mine, ..undo.clone() }.describe();
    hands.journal.write(Event::UndoIntent { run, n, describe, by: hands.by.to_owned() }).await?;
    let (mut details, mut acts, mut touched) = (Vec::new(), Vec::new(), false);
    for act in acts_of(undo, hands.by) {
        if let Act::RestartUnit { unit } = act
            && let Some(why_not) = needless(unit, open, started, hands).await
        {
            details.push(format!("{unit} is not restarted: {why_not}"));
            continue;
        }
        let (end, mut needs) = (Instant::now() + ACT, needs(open, act));
        // Within the run that set it: it failed of that, and nobody has stopped it.
        if let (ROLLED_BACK, Act::RestartUnit { .. }, Needs::Unit { active, .. }) =
            (hands.by, act, &mut needs)
        {
            active.extend(["failed", "inactive"].map(str::to_owned));
        }
        let done = tokio::select! {
            done = apply(act, &needs, hands.consent, World(hands.loaded, None, None), end) => done,
            () = hands.stop.times(2) => {
                // What is not known to have ended stays begun, whether or not this line can be written.
                let _ = hands.journal.write(Event::Left { run, n: Some(n) }).await;
                return Ok(Taken::Failed { n, why: LEFT.into() });
            }
        };
        match done {
            Ok(done) => {
                touched |= !done.already;
                details.push(done.detail);
                acts.push(act.clone());
            }
            Err(Failed::Changed(why)) if matches!(act, Act::RestartUnit { .. }) => {
                // Where its process has what is taken back, it is not taken back: it stands in the journal.
                if carries(open, hands.loaded).await == Carried::Yes {
                    let why = format!("it runs with what is taken back, and was not restarted: {why}");
                    hands.journal.write(Event::UndoFailed { run, n, why: why.clone(), touched }).await?;
                    return Ok(Taken::Failed { n, why });
                }
                details.push(format!("not restarted: {why}"));
            }
            // A counter that stays is no reason to leave it down.
            Err(failed) if matches!(act, Act::ResetFailed { .. }) => {
                details.push(format!("its starts are counted on: {}", failed.words()));
            }
            Err(failed) => {
                touched |= failed.touched();
                let why = words(open, &failed);
                hands.journal.write(Event::UndoFailed { run, n, why: why.clone(), touched }).await?;
                return Ok(if touched { Taken::Failed { n, why } } else { Taken::Refused { n, why } });
            }
        }
    }
    let detail = details.join("; ");
    hands.journal.write(Event::Undone { run, n, detail: detail.clone() }).await?;
    Ok(Taken::Back { n, detail, acts })
}

/// Why a unit need not be restarted for its drop-in to be forgotten: by its process, not by the journal.
async fn needless(unit: &str, open: &Open, started: bool, hands: &Hands<'_>) -> Option<String> {
    if let Act::Connections(c) = &open.act {
        return match running(&c.server, hands.loaded, is_nobody, Instant::now() + GLANCE).await? {
            Ok(now) if Some(now) == c.to => None,
            Ok(now) => Some(format!("{} runs with {now}", c.server)),
            // Nobody is there to be disturbed.
            Err(f) if is_nobody(&f) => None,
            Err(f) => Some(format!("what {} runs with could not be seen: {}", c.server, f.detail)),
        };
    }
    if !matches!(open.act, Act::DropIn { .. }) {
        return None;
    }
    let why = match carries(open, hands.loaded).await {
        Carried::Yes => return None,
        Carried::No => "no process of it has what is taken back",
        // What we started, and can't see into or came to nothing, is started with what stands there now.
        Carried::Failed if started && hands.by == ROLLED_BACK => return None,
        Carried::Starting | Carried::Unknown if started => return None,
        // Who stops a service may make it fail as well, and wants it down.
        Carried::Failed => return Some(format!("it failed, or was stopped: systemctl start {unit}")),
        Carried::Starting | Carried::Unknown => "it was not started since, as far as the journal knows",
    };
    Some(why.to_owned())
}

async fn carries(open: &Open, loaded: &Loaded) -> Carried {
    let Act::DropIn { unit, from, to } = &open.act else { return Carried::No };
    let end = Instant::now() + GLANCE;
    carried(unit, to.as_deref(), from.as_deref(), open.at, &loaded.config, end).await
}

fn words(open: &Open, failed: &Failed) -> String {
    match failed {
        Failed::Changed(why) if open.made.is_none() && open.cut_off => {
            format!("{why}, and whether by us is not known: the run that began this step was cut off")
        }
        other => other.words(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undo_resets_no_count_of_starts_and_a_roll_back_does() {
        let unit = || "postgresql@15-main.service".to_owned();
        let acts = vec![Act::ResetFailed { unit: unit() }, Act::RestartUnit { unit: unit() }];
        let undo = Undo { acts, risk: Risk::Destructive };
        assert_eq!(acts_of(&undo, UNDONE), [&Act::RestartUnit { unit: unit() }]);
        assert_eq!(acts_of(&undo, ROLLED_BACK).len(), 2);
    }
}
