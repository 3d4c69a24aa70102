//! An undo that was agreed to, done: lock, read again, take back the last step first, look. What somebody
//! else took back meanwhile is another undo, and not done on this consent.

use std::path::Path;
use std::time::{Duration, Instant};

use super::back::{Hands, Taken, UNDONE, started_since, take_back, undo_plan};
use super::guard::never;
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
    match veto::hold(order.store).await {
        Ok(None) => {}
        // Its way back is in that very folder.
        Ok(Some(unread)) => return Undone::refused(&unread),
        Err(held) => {
            let hint = held.hint.map(|h| format!(" ({h})")).unwrap_or_default();
            return Undone::refused(&format!("{}{hint}", held.why));
        }
    }
    // What is left to people, and the site's own word, hold for a way back as for what it takes back.
    if let Some(name) = never(order.plan, &order.loaded.config) {
        return Undone::refused(&format!("{name} is left to people (`guard.never`)"));
    }
    if let Err(held) = veto::by_program(order.plan, &order.loaded.config).await {
        return Undone::refused(&held.why);
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
            Hands { journal: &mut journal, consent: order.consent, loaded: order.loaded, stop, by: UNDONE };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;
    use crate::consent::{Policy, ask};
    use crate::incident::{Event, Hold, Incident, Journal, now, open};
    use crate::plan::{Risk, Undo};

    struct Bed {
        dir: tempfile::TempDir,
        store: Store,
        journal: Option<Journal>,
        loaded: Loaded,
    }

    fn unit() -> String {
        "codebase-mcp.service".into()
    }

    impl Bed {
        /// An incident with two starts that stand; no system bus answers.
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let state = dir.path().join("state").into_os_string();
            let vars = [("MCP_IR_STATE_DIR".into(), state)].into();
            let euid = rustix::process::geteuid().as_raw();
            let env = Env { vars, euid, user: None, home: None, etc: "/x".into() };
            let store = open(&env, false, true).unwrap();
            let mut journal = store.begin().unwrap();
            let incident = journal.id.clone();
            let opened = Event::Opened {
                incident,
                id: "server-crash/stopped@codebase-mcp".into(),
                subject: "codebase-mcp".into(),
                severity: None,
                summary: String::new(),
                host: "h".into(),
                user: "u".into(),
                program: "mcp-ir".into(),
            };
            journal.write(opened).await.unwrap();
            for n in [1, 2] {
                let undo = Undo { acts: vec![Act::StopUnit { unit: unit() }], risk: Risk::Disruptive };
                let intent = Event::Intent {
                    run: 1,
                    n,
                    describe: "start".into(),
                    act: Act::StartUnit { unit: unit() },
                    undo: Some(undo),
                    undo_reason: None,
                };
                journal.write(intent).await.unwrap();
            }
            let mut loaded = crate::config::defaults().unwrap();
            loaded.config.systemd.bus = "unix:path=/nonexistent/bus".into();
            Self { dir, store, journal: Some(journal), loaded }
        }

        fn incident(&self) -> Incident {
            self.store.all().remove(0)
        }

        async fn undo(&self, plan: &Plan) -> Undone {
            let policy = Policy { terminal: false, yes: true, allow: None };
            let consent = ask(plan, &policy, &mut |_| None).unwrap();
            let order = UndoOrder {
                loaded: &self.loaded,
                store: &self.store,
                incident: &self.incident().id,
                step: None,
                plan,
                consent: &consent,
                holder: "a test".into(),
                locks: &self.dir.path().join("locks"),
            };
            undo(order, &Stop::default()).await
        }

        async fn taken_back(&mut self, steps: &[usize]) {
            let mut journal = self.journal.take().unwrap();
            for n in steps {
                journal.write(Event::Undone { run: 1, n: *n, detail: String::new() }).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn rule_3_an_undo_is_of_what_stands_under_the_lock() {
        for (meanwhile, outcome) in [
            (&[2, 1][..], UndoOutcome::NothingToDo),
            (&[2], UndoOutcome::Refused),
            // Nobody came before: now it is the bus that does not answer.
            (&[], UndoOutcome::Refused),
        ] {
            let mut bed = Bed::new().await;
            let (_, plan) = undo_plan(&bed.incident(), None).unwrap();
            bed.taken_back(meanwhile).await;
            let undone = bed.undo(&plan).await;
            assert_eq!(undone.outcome, outcome, "{meanwhile:?}: {undone:?}");
            assert_eq!(undone.taken.is_empty(), !meanwhile.is_empty(), "{undone:?}");
        }
    }

    #[tokio::test]
    async fn rule_4_a_journal_that_another_run_writes_to_is_left_to_it() {
        let bed = Bed::new().await;
        let (_, plan) = undo_plan(&bed.incident(), None).unwrap();
        let undone = bed.undo(&plan).await;
        assert!(undone.reason.contains("another run"), "{undone:?}");
        assert_eq!((undone.outcome, undone.taken.len()), (UndoOutcome::Refused, 0));
    }

    #[tokio::test]
    async fn rule_12_who_is_left_to_people_is_not_stopped_by_an_undo_nor_past_a_veto() {
        let mut bed = Bed::new().await;
        let (_, plan) = undo_plan(&bed.incident(), None).unwrap();
        bed.taken_back(&[]).await;
        bed.loaded.config.guard.never = vec!["codebase-mcp".into()];
        let undone = bed.undo(&plan).await;
        assert!(
            undone.outcome == UndoOutcome::Refused && undone.reason.contains("left to people"),
            "{undone:?}"
        );
        bed.loaded.config.guard.never.clear();
        let argv = vec!["/usr/bin/false".into()];
        bed.loaded.config.guard.veto = Some(crate::config::Program { argv });
        let undone = bed.undo(&plan).await;
        assert!(undone.outcome == UndoOutcome::Refused && undone.reason.contains("veto"), "{undone:?}");
        assert_eq!(bed.incident().standing().len(), 2, "both stand");
    }

    #[tokio::test]
    async fn rule_3_what_a_later_version_wrote_is_not_taken_back_by_halves() {
        let bed = Bed::new().await;
        let mut incident = bed.incident();
        incident.unread = 1;
        assert!(undo_plan(&incident, None).unwrap_err().contains("this version"));
    }

    #[tokio::test]
    async fn rule_12_a_hold_stops_an_undo() {
        let mut bed = Bed::new().await;
        let (_, plan) = undo_plan(&bed.incident(), None).unwrap();
        bed.taken_back(&[]).await;
        let hold = Hold { by: "ann".into(), since: now(), until: None, reason: "an index is built".into() };
        bed.store.set_hold(&hold).unwrap();
        let undone = bed.undo(&plan).await;
        assert!(undone.reason.contains("an index is built"), "{undone:?}");
        assert!(bed.store.end_hold().unwrap() && !bed.store.end_hold().unwrap());
        assert!(!bed.undo(&plan).await.reason.contains("an index"));
    }
}
