//! How a unit ended, by its journal: systemd's messages keep what `Restart=` hides (errata 67). Pure.
//! What happens on the way of a job that somebody gave is no failure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::snapshot::Snapshot;
use crate::snapshot::containers::is_group_of;
use crate::snapshot::units::{Event, Journal, Kernel, KernelAct, UnitEvent};

/// A main process that ended badly, by itself.
#[derive(Debug, Clone)]
pub struct Death {
    pub at: Timestamp,
    /// `main process killed, status 9`
    pub how: String,
    /// Its exit status, where it exited.
    pub status: Option<i32>,
    /// By SIGKILL: a person's, or the kernel's.
    pub sigkill: bool,
    /// systemd itself says that it was killed for memory.
    pub oom: bool,
    /// When that run of it began, where the journal reaches back so far: a program speaks before systemd
    /// says that it is started.
    pub began: Option<Timestamp>,
    /// When it was said to be started.
    started: Option<Timestamp>,
}

impl Death {
    /// Seconds from its start to its end.
    pub fn ran_s(&self) -> Option<f64> {
        self.started.map(|s| self.at.duration_since(s).as_secs_f64())
    }
}

/// A run as long as this was a good one, in seconds: what came before it is another story.
const GOOD_RUN_S: f64 = 60.0;

/// The deaths that belong together, oldest first: since the last job to stop, and since its last
/// good run.
pub fn deaths(journal: &Journal) -> Vec<Death> {
    let mut all: Vec<Death> = Vec::new();
    let (mut told_to_stop, mut oom) = (false, false);
    let (mut began, mut started) = (None::<Timestamp>, None::<Timestamp>);
    let mut starting = false;
    for e in &journal.events {
        starting &= e.what == Event::Started;
        match &e.what {
            Event::Stopping => {
                all.clear();
                told_to_stop = true;
            }
            Event::Starting | Event::Started => {
                (told_to_stop, oom) = (false, false);
                started = Some(e.at);
                // The start of this one may have been told before.
                if e.what == Event::Starting || !starting {
                    began = Some(e.at);
                }
                starting = e.what == Event::Starting;
            }
            Event::ProcessExited { .. } | Event::OomKilled if !told_to_stop => {
                let Some(death) = death(e, began, started) else { continue };
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

/// The longest that one of several runs in a row lasted before it died: who has run for as long again is
/// not known to be well yet. None where it died once, or not at all.
pub fn longest_run(now: &Snapshot, unit: &str) -> Option<std::time::Duration> {
    let deaths = deaths(super::facts::journal(now, unit)?);
    let oom = deaths.iter().any(|d| d.oom);
    let runs = deaths.iter().filter_map(Death::ran_s).filter(|s| (0.0..=GOOD_RUN_S).contains(s));
    let longest = runs.fold(None::<f64>, |all, s| Some(all.map_or(s, |all| all.max(s))));
    longest.filter(|_| deaths.len() > 1 || oom).map(std::time::Duration::from_secs_f64)
}

fn death(e: &UnitEvent, began: Option<Timestamp>, started: Option<Timestamp>) -> Option<Death> {
    let by_itself =
        |how: String| Death { at: e.at, how, status: None, sigkill: false, oom: false, began, started };
    match &e.what {
        Event::ProcessExited { code, status } if code != "exited" || status != "0" => Some(Death {
            status: if code == "exited" { status.parse().ok() } else { None },
            sigkill: code == "killed" && status == "9",
            ..by_itself(format!("main process {code}, status {status}"))
        }),
        Event::OomKilled => Some(Death { oom: true, ..by_itself("killed for memory".into()) }),
        _ => None,
    }
}

/// How often `Restart=` brought it back within the window, since the last job to stop and since somebody
/// started it anew.
pub fn restarts(journal: &Journal, now: &Snapshot) -> usize {
    let window = now.config.thresholds.recent_failure.as_secs_f64();
    let young = |e: &UnitEvent| now.taken_at.duration_since(e.at).as_secs_f64() <= window;
    let (mut count, mut scheduled) = (0, false);
    for e in &journal.events {
        match &e.what {
            Event::RestartScheduled { .. } => {
                scheduled = true;
                count += usize::from(young(e));
            }
            Event::ProcessExited { .. } | Event::Failed { .. } => scheduled = false,
            Event::Starting | Event::Started if !scheduled => count = 0,
            Event::Stopping => count = 0,
            _ => {}
        }
    }
    count
}

/// Below what a unit's control group stands, but for its slices.
fn manager<'a>(group: &'a str, unit: &str) -> Option<&'a str> {
    let mut parts: Vec<&str> = group.split('/').collect();
    parts.truncate(parts.iter().position(|p| *p == unit)?);
    while parts.last().is_some_and(|p| p.ends_with(".slice")) {
        parts.pop();
    }
    // The parts are this text's own, from its begin on.
    let length = parts.iter().map(|p| p.len()).sum::<usize>() + parts.len().saturating_sub(1);
    group.get(..length)
}

/// Where the manager of this host's units keeps them, by those that run: a container may have a manager of
/// its own, with units of the same names, and the kernel speaks of both.
fn managers(now: &Snapshot) -> BTreeSet<&str> {
    let seen = now.host.taken.iter().filter_map(|(name, t)| {
        let unit = now.config.placed(name).0?;
        manager(&t.group.seen()?.group, unit)
    });
    seen.collect()
}

fn is_of(act: &KernelAct, name: &str, managers: &BTreeSet<&str>) -> bool {
    let stranger = |at: &str| !managers.is_empty() && !managers.contains(at);
    // No two containers have one id.
    let a_unit = name.contains('.');
    is_group_of(&act.control_group, name)
        && !(a_unit && manager(&act.control_group, name).is_some_and(stranger))
}

/// What the kernel did to the control group of a unit, or of a container by its id, within two seconds
/// of that time.
pub fn kernel_act<'a>(now: &'a Snapshot, name: &str, at: Timestamp) -> Option<&'a KernelAct> {
    let near = |act: &&KernelAct| is_one(act.at, at);
    let managers = managers(now);
    let of_it = |act: &&KernelAct| is_of(act, name, &managers);
    now.units.kernel.seen()?.iter().rev().filter(near).find(of_it)
}

/// The kernel refused it a thread or process within that time.
pub fn fork_refused<'a>(
    now: &'a Snapshot,
    name: &str,
    from: Timestamp,
    to: Timestamp,
) -> Option<&'a KernelAct> {
    let within = |at: Timestamp| at >= from && at.duration_since(to).as_secs_f64() <= KERNEL_S;
    let managers = managers(now);
    let of_it = |act: &KernelAct| is_of(act, name, &managers);
    let mut all = now.units.kernel.seen()?.iter().rev();
    all.find(|a| a.what == Kernel::ForkRefused && within(a.at) && of_it(a))
}

/// The kernel's line and systemd's belong together within so many seconds (causes, edges).
const KERNEL_S: f64 = 2.0;

/// Two that tell of an end tell of the same.
pub fn is_one(told: Timestamp, ended: Timestamp) -> bool {
    told.duration_since(ended).as_secs_f64().abs() <= KERNEL_S
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
pub fn last_job(journal: &Journal) -> Option<&UnitEvent> {
    let events = &journal.events;
    events.iter().rev().find(|e| matches!(e.what, Event::Stopping | Event::Starting | Event::Started))
}

/// A stop job, where none was started after it.
pub fn stop_job(journal: &Journal) -> Option<&UnitEvent> {
    last_job(journal).filter(|e| e.what == Event::Stopping)
}
