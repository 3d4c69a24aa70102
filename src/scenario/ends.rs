//! How a unit ended, by its journal: systemd's messages keep what `Restart=` hides (errata 67). Pure.
//! What happens on the way of a job that somebody gave is no failure.

use jiff::Timestamp;

use super::facts;
use crate::snapshot::Snapshot;
use crate::snapshot::units::{Event, Journal, UnitEvent};

/// A main process that ended badly, by itself.
#[derive(Debug, Clone)]
pub struct Death {
    pub at: Timestamp,
    /// `main process killed, status 9`
    pub how: String,
    /// Its exit status, where it exited.
    pub status: Option<i32>,
}

/// A run as long as this was a good one, in seconds: what came before it is another story.
const GOOD_RUN_S: f64 = 60.0;

/// The deaths that belong together, oldest first: since the last job to stop, and since its last
/// good run.
pub fn deaths(journal: &Journal) -> Vec<Death> {
    let mut all: Vec<Death> = Vec::new();
    let (mut told_to_stop, mut started, mut oom) = (false, None::<Timestamp>, false);
    for e in &journal.events {
        match &e.what {
            Event::Stopping => {
                all.clear();
                told_to_stop = true;
            }
            Event::Starting | Event::Started => {
                (told_to_stop, oom) = (false, false);
                started = Some(e.at);
            }
            Event::ProcessExited { .. } | Event::OomKilled if !told_to_stop => {
                let Some(death) = death(e) else { continue };
                if started.is_some_and(|s| e.at.duration_since(s).as_secs_f64() > GOOD_RUN_S) {
                    all.clear();
                    started = None;
                }
                // The kernel's word and the end of the process are one death.
                if !oom {
                    all.push(death);
                }
                oom = e.what == Event::OomKilled;
            }
            _ => {}
        }
    }
    all
}

fn death(e: &UnitEvent) -> Option<Death> {
    match &e.what {
        Event::ProcessExited { code, status } if code != "exited" || status != "0" => Some(Death {
            at: e.at,
            how: format!("main process {code}, status {status}"),
            status: if code == "exited" { status.parse().ok() } else { None },
        }),
        Event::OomKilled => Some(Death { at: e.at, how: "killed for memory".into(), status: None }),
        _ => None,
    }
}

/// Those that are young enough to explain what is seen now.
pub fn recent(deaths: &[Death], now: &Snapshot) -> Vec<Death> {
    let window = now.config.thresholds.recent_failure.as_secs_f64();
    deaths.iter().filter(|d| now.taken_at.duration_since(d.at).as_secs_f64() <= window).cloned().collect()
}

/// Whether the last that was heard of it is a failure: `systemctl reset-failed` makes a failed unit
/// look like one that ended well.
pub fn badly(journal: &Journal) -> bool {
    let last = journal.events.iter().rev().find_map(|e| match &e.what {
        Event::Failed { .. } | Event::OomKilled | Event::StartFailed { .. } => Some(true),
        Event::ProcessExited { code, status } => Some(code != "exited" || status != "0"),
        Event::Starting | Event::Started | Event::Stopping | Event::Succeeded => Some(false),
        Event::Stopped | Event::RestartScheduled { .. } => None,
    });
    last == Some(true)
}

/// The newest of: a stop job began, a start began or ended.
pub fn last_job<'a>(now: &'a Snapshot, unit: &str) -> Option<&'a UnitEvent> {
    let events = &facts::journal(now, unit)?.events;
    events.iter().rev().find(|e| matches!(e.what, Event::Stopping | Event::Starting | Event::Started))
}

/// A stop job, where none was started after it.
pub fn stop_job<'a>(now: &'a Snapshot, unit: &str) -> Option<&'a UnitEvent> {
    last_job(now, unit).filter(|e| e.what == Event::Stopping)
}
