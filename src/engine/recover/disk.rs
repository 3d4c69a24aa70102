//! What touches a disk beside the journal's lines: off the runtime, each by its deadline. A state folder
//! that does not answer must not hold up the cure of the machine it is on.

use std::path::Path;
use std::time::{Duration, Instant};

use super::lock::{self, Locks};
use super::targets;
use crate::config::Loaded;
use crate::error::{Error, Result};
use crate::incident::{Hold, Incident, Journal, Store};
use crate::plan::Plan;

/// A local disk takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(2);

/// `None`: it did not come back in time. Its thread is left behind, and ends with the program.
async fn off<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    within(LIMIT, call).await
}

async fn within<T: Send + 'static>(limit: Duration, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let end = Instant::now() + limit;
    tokio::time::timeout_at(end.into(), tokio::task::spawn_blocking(call)).await.ok()?.ok()
}

fn hangs(what: &str) -> Error {
    Error::file(format!("{what} did not answer within {} s", LIMIT.as_secs()))
        .hint("$MCP_IR_STATE_DIR names another folder")
}

pub async fn locks(
    folder: &Path,
    loaded: &Loaded,
    plan: &Plan,
    holder: &str,
) -> std::result::Result<Locks, String> {
    let targets = targets::names(plan, loaded).await?;
    let (folder, holder) = (folder.to_owned(), holder.to_owned());
    let say = format!("{} did not answer", folder.display());
    off(move || lock::take(&folder, &targets, &holder)).await.unwrap_or(Err(say))
}

/// What is locked before anybody looks: then the look is the one that decides, and there is no second.
#[derive(Debug)]
pub struct Beforehand {
    names: Vec<String>,
    locks: Locks,
}

impl Beforehand {
    /// `None`: the plan is about something else as well. Then nothing of this is held any more.
    pub async fn covers(self, plan: &Plan, loaded: &Loaded) -> Option<Locks> {
        let asked = targets::names(plan, loaded).await.ok()?;
        asked.iter().all(|name| self.names.contains(name)).then_some(self.locks)
    }
}

/// Of those that were named, where the same run has agreed beforehand to what will be found. `None`: they are held
/// by somebody, or can't be: that is said where the plan is known.
pub async fn beforehand(
    folder: &Path,
    loaded: &Loaded,
    services: &[String],
    holder: &str,
) -> Option<Beforehand> {
    let plan = Plan { subjects: services.to_vec(), ..Plan::default() };
    let names = targets::names(&plan, loaded).await.ok()?;
    let (folder, targets, holder) = (folder.to_owned(), names.clone(), holder.to_owned());
    let locks = off(move || lock::take(&folder, &targets, &holder)).await?.ok()?;
    Some(Beforehand { names, locks })
}

/// The incidents of the last two days, the oldest first; `None` where the folder does not answer.
pub async fn of_late(store: &Store) -> Option<Vec<Incident>> {
    let store = store.clone();
    off(move || store.recent(jiff::SignedDuration::from_hours(48))).await
}

/// The holds that there are. `None`: the folder does not answer, which holds nobody: that could be for ever.
pub async fn hold(store: &Store) -> Result<Option<Vec<Hold>>> {
    let store = store.clone();
    match off(move || store.holds()).await {
        Some(holds) => holds.map(Some),
        None => Ok(None),
    }
}

/// The incident of this finding that is open, and that may be gone on with: of today, and readable to its
/// end. What was left weeks ago is not taken back with what is done now. None too where the folder does not
/// answer: that is no reason to leave a database down.
pub async fn open_about(store: &Store, id: &str) -> Option<Incident> {
    let (store, id) = (store.clone(), id.to_owned());
    let now = crate::incident::now();
    let young = move |i: &Incident| {
        i.entries.last().is_some_and(|e| now.duration_since(e.at) < jiff::SignedDuration::from_hours(24))
    };
    let open = move |i: &Incident| i.is_open() && i.about == id && i.is_ours() && i.unread == 0 && young(i);
    off(move || store.all().into_iter().rev().find(open)).await?
}

pub async fn one(store: &Store, id: &str) -> Result<Incident> {
    let (store, id) = (store.clone(), id.to_owned());
    off(move || store.one(&id)).await.unwrap_or_else(|| Err(hangs("the folder of the incidents")))
}

pub async fn go_on(store: &Store, incident: &Incident) -> Result<Journal> {
    let (store, incident) = (store.clone(), incident.clone());
    off(move || Journal::go_on(&store, &incident)).await.unwrap_or_else(|| Err(hangs("the journal")))
}

/// A new journal: in the other place, where its folder does not answer.
pub async fn begin(store: &Store) -> Result<Journal> {
    let (first, second) = (store.clone(), store.clone());
    match off(move || first.begin()).await {
        Some(begun) => begun,
        None => off(move || second.begin_in_spare())
            .await
            .unwrap_or_else(|| Err(hangs("the folder of the incidents"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rule_10_a_disk_that_does_not_answer_is_left_behind() {
        let (never, blocked) = std::sync::mpsc::channel::<()>();
        let begun = Instant::now();
        assert!(within(Duration::from_millis(20), move || blocked.recv()).await.is_none());
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(never);
        assert_eq!(within(LIMIT, || 7).await, Some(7));
    }
}
