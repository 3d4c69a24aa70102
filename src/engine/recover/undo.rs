//! An undo that was agreed to, done: lock, read again, take back the last step first, look. What somebody
//! else took back meanwhile is another undo, and not done on this consent.

use std::path::Path;
use std::time::{Duration, Instant};

use super::back::{Hands, Taken, started_since, take_back, undo_plan};
use super::stop::Stop;
use super::world::settled;
use super::{disk, veto};
use crate::config::Loaded;
use crate::consent::Consent;
use crate::incident::Store;
use crate::plan::{Act, Plan};

/// Of the look at what came of it.
const LOOK: Duration = Duration::from_secs(5);

pub struct UndoOrder<'a> {
    pub loaded: &'a Loaded,
    pub store: &'a Store,
    pub incident: &'a str,
    pub step: Option<usize>,
    /// What was agreed to.
    pub plan: &'a Plan,
    pub consent: &'a Consent,
    pub holder: String,
    pub locks: &'a Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoOutcome {
    Undone,
    NothingToDo,
    Planned,
    /// Nothing was changed.
    Refused,
    /// By a signal, before anything was changed.
    Interrupted,
    /// A step failed, or it is not as it was.
    Failed,
}

impl UndoOutcome {
    pub fn word(self) -> &'static str {
        match self {
            UndoOutcome::Undone => "undone",
            UndoOutcome::NothingToDo => "nothing-to-do",
            UndoOutcome::Planned => "planned",
            UndoOutcome::Refused | UndoOutcome::Interrupted => "refused",
            UndoOutcome::Failed => "failed",
        }
    }
}

/// What an undo came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    pub outcome: UndoOutcome,
    pub reason: String,
    pub taken: Vec<Taken>,
}

impl Undone {
    pub fn of(outcome: UndoOutcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into(), taken: Vec::new() }
    }

    fn refused(why: &str) -> Self {
        Self::of(UndoOutcome::Refused, format!("{why}: nothing was changed"))
    }
}

pub async fn undo(order: UndoOrder<'_>, stop: &Stop) -> Undone {
    let _locks = match disk::locks(order.locks, order.loaded, order.plan, &order.holder).await {
        Ok(locks) => locks,
        Err(why) => return Undone::refused(&why),
    };
    if let Err(held) = veto::hold(order.store).await {
        let hint = held.hint.map(|h| format!(" ({h})")).unwrap_or_default();
        return Undone::refused(&format!("{}{hint}", held.why));
    }
    // Only now nobody else changes what it says.
    let read = async {
        let incident = disk::one(order.store, order.incident).await?;
        let journal = disk::go_on(order.store, &incident).await?;
        let incident = journal.so_far()?;
        Ok::<_, crate::error::Error>((incident, journal))
    };
    let (incident, mut journal) = match read.await {
        Ok(read) => read,
        Err(e) => {
            let hints = e.hints.join("; ");
            let hints = if hints.is_empty() { hints } else { format!(" ({hints})") };
            return Undone::refused(&format!("{}{hints}", e.message));
        }
    };
    let steps = match undo_plan(&incident, order.step) {
        Ok((steps, now)) if now.digest() == order.plan.digest() => steps,
        Ok((steps, _)) if steps.is_empty() => {
            return Undone::of(
                UndoOutcome::NothingToDo,
                "somebody else took it back meanwhile: nothing was changed",
            );
        }
        Ok(_) => return Undone::refused("what stands is another now than what was agreed to take back"),
        Err(why) => return Undone::refused(&why),
    };
    let mut done = Undone::of(UndoOutcome::Undone, "");
    let mut acts: Vec<(Act, jiff::Timestamp)> = Vec::new();
    for open in &steps {
        if stop.asked() {
            return interrupted(done);
        }
        let started = started_since(open, &incident);
        let mut hands =
            Hands { journal: &mut journal, consent: order.consent, loaded: order.loaded, stop, by: "undo" };
        let taken = match take_back(open, started, &mut hands).await {
            Ok(taken) => taken,
            // Its journal can't be written: what was done is told by what stands in it.
            Err(e) => Taken::Failed { n: open.n, why: e.message },
        };
        if let Taken::Back { acts: those, .. } = &taken {
            acts.extend(those.iter().map(|a| (a.clone(), open.at)));
        }
        let went = matches!(taken, Taken::Back { .. });
        done.taken.push(taken);
        if !went {
            break;
        }
    }
    ended(done, &acts, &order).await
}

fn interrupted(done: Undone) -> Undone {
    if done.taken.is_empty() {
        Undone {
            outcome: UndoOutcome::Interrupted,
            reason: "interrupted: nothing was changed".into(),
            ..done
        }
    } else {
        let reason = "interrupted: the steps before this one were taken back, the others stand".into();
        Undone { outcome: UndoOutcome::Failed, reason, ..done }
    }
}

/// It is looked at once more: that all acts were answered is no proof that it is as it was.
async fn ended(done: Undone, acts: &[(Act, jiff::Timestamp)], order: &UndoOrder<'_>) -> Undone {
    let back = done.taken.iter().any(|t| matches!(t, Taken::Back { .. }));
    let (outcome, reason) = match done.taken.last() {
        Some(Taken::Failed { why, .. }) => (UndoOutcome::Failed, why.clone()),
        Some(Taken::Refused { why, .. }) if back => (UndoOutcome::Failed, why.clone()),
        Some(Taken::Refused { why, .. }) => (UndoOutcome::Refused, why.clone()),
        _ => {
            let not_so = settled(acts, order.loaded, Instant::now() + LOOK).await;
            match (not_so.is_empty(), order.plan.notes.is_empty()) {
                (true, true) => (UndoOutcome::Undone, "it is as it was before".into()),
                (true, false) => (UndoOutcome::Undone, "what can be taken back is as it was before".into()),
                (false, _) => {
                    (UndoOutcome::Failed, format!("each step was taken back, but {}", not_so.join("; ")))
                }
            }
        }
    };
    Undone { outcome, reason, ..done }
}
