//! A service lacks what its unit or this host gives: threads, or room for files of its own.
//! Its own words alone prove neither: another limit, another disk sound the same.

use jiff::Timestamp;

use super::cause;
use super::died::End;
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::ends;
use crate::scenario::facts;
use crate::scenario::place::{Place as Where, container};
use crate::scenario::witness;
use crate::snapshot::Snapshot;
use crate::snapshot::host::{FileSystem, MIB, Place};
use crate::snapshot::units::LogLine;

pub static TASKS_LIMIT: Cause =
    cause("server-crash/tasks-limit", Severity::P1, "the service may start no more threads");
pub static DISK_FULL: Cause =
    cause("server-crash/disk-full", Severity::P1, "no space left for the service's own files");

/// It lives and is not well: unhealthy by its own word, or silent.
pub fn alive(s: &Service, now: &Snapshot) -> Option<Finding> {
    let place = Where::of(s)?;
    let lines = recent(place, now)?;
    tasks(s, place, &lines, now).or_else(|| disk(s, &lines, true, now))
}

/// It is silent: only its threads tell; what it could not write does not keep it from answering.
pub fn tasks_of(s: &Service, now: &Snapshot) -> Option<Finding> {
    let place = Where::of(s)?;
    tasks(s, place, &recent(place, now)?, now)
}

fn recent<'a>(place: Where, now: &'a Snapshot) -> Option<Vec<&'a LogLine>> {
    let window = now.config.thresholds.recent_failure.as_secs_f64();
    let young = |l: &&LogLine| now.taken_at.duration_since(l.at).as_secs_f64() <= window;
    Some(place.journal(now)?.lines.iter().filter(young).collect())
}

/// It ended: what the run said that ended last.
pub fn ended(end: &End) -> Option<Finding> {
    let lines = end.lines();
    let last = end.last.as_ref()?;
    let from = last.began.unwrap_or(last.at);
    let act = ends::fork_refused(end.now, end.kernel_name, from, last.at);
    if let Some((act, line)) = act.zip(lines.iter().rev().find(|l| no_thread(&l.text))) {
        let summary = format!("{} ended as it could start no more threads{}", end.s.name, end.again());
        let max = match end.place {
            Where::Unit(unit) => facts::detail(end.now, unit).and_then(|d| d.tasks_max),
            Where::Container(_) => None,
        };
        let f =
            end.finding(&TASKS_LIMIT, Certainty::Proven, summary).saw(end.place.log(), "says", &line.text);
        return Some(more_tasks(f.saw("kernel log", "fork refused", act.at.to_string()), end.place, max));
    }
    // What one run could not write may be what the next can't read.
    let proven =
        || disk(end.s, &end.all_lines(), false, end.now).filter(|f| f.certainty == Certainty::Proven);
    let found = disk(end.s, &lines, false, end.now).or_else(proven)?;
    let f = end.finding(&DISK_FULL, found.certainty, found.summary.clone());
    Some(Finding { evidence: [f.evidence, found.evidence.clone()].concat(), since: f.since, ..found })
}

/// At its limit; that somebody wanted more is by the kernel's word, or its own.
fn tasks(s: &Service, place: Where, lines: &[&LogLine], now: &Snapshot) -> Option<Finding> {
    let (all, from, kernel_name) = match place {
        Where::Unit(unit) => {
            let d = facts::detail(now, unit)?;
            (d.tasks.zip(d.tasks_max), d.state_since, unit)
        }
        Where::Container(name) => {
            let tasks = now.containers.get(name)?.tasks.seen()?;
            let c = container(now, name)?;
            (Some(tasks.current).zip(tasks.max), c.started_at, c.id.as_str())
        }
    };
    let (tasks, max) = all.filter(|(tasks, max)| tasks >= max)?;
    let act = ends::fork_refused(now, kernel_name, from.unwrap_or(Timestamp::MIN), now.taken_at);
    let health = facts::health(now, &s.name).map(|h| h.messages.as_slice()).unwrap_or_default();
    let line = lines.iter().rev().map(|l| (place.log(), l.text.as_str()));
    let says = line.chain(health.iter().map(|m| ("http health", m.as_str()))).find(|(_, t)| no_thread(t));
    if act.is_none() && says.is_none() {
        return None;
    }
    let (keeper, limit) = match place {
        Where::Unit(_) => ("unit", "TasksMax"),
        Where::Container(_) => ("container", "pids.max"),
    };
    let summary = format!("{} has all the threads that its {keeper} allows, {tasks} of {max}", s.name);
    let mut f = Finding::new(&TASKS_LIMIT, &s.name, Certainty::Proven, summary)
        .saw(place.keeper(), place.name(), format!("{tasks} tasks, {limit}={max}"))
        .saw_if("kernel log", "fork refused", act.map(|a| a.at.to_string()));
    if let Some((probe, text)) = says {
        f = f.saw(probe, "says", text);
    }
    Some(more_tasks(f, place, Some(max)))
}

fn more_tasks(f: Finding, place: Where, max: Option<u64>) -> Finding {
    let unit = shell_word(place.name());
    let restart = place.restart();
    let f = f.restarts(
        match (max.map(|m| m.saturating_mul(2)), place) {
            (Some(more), Where::Unit(_)) => {
                format!("systemctl set-property --runtime {unit} TasksMax={more} && {restart}")
            }
            (Some(more), Where::Container(_)) => {
                format!("docker update --pids-limit {more} {unit} && {restart}")
            }
            (None, _) => restart,
        },
        "See first what its threads wait for; then a larger limit, and restart that one service",
    );
    match max {
        Some(max) => f.raises("TasksMax", max.saturating_mul(2)),
        None => f,
    }
}

/// What runtimes say of a thread or process that they were not given.
fn no_thread(text: &str) -> bool {
    let lower = text.to_lowercase();
    let again = lower.contains("resource temporarily unavailable") || lower.contains("eagain");
    let of_threads = ["thread", "fork", "spawn", "clone"].iter().any(|w| lower.contains(w));
    (again && of_threads)
        || ["can't start new thread", "unable to create new native thread", "unable to create native thread"]
            .iter()
            .any(|w| lower.contains(w))
}

/// How far before its last line the reason may stand: errors are told from the outside in.
const CONTEXT: usize = 4;

/// Its own write found no space. Of one that goes on that line may be of before, and its trouble another:
/// then only a file system of its own that is full proves it.
fn disk(s: &Service, lines: &[&LogLine], goes_on: bool, now: &Snapshot) -> Option<Finding> {
    let at = lines.iter().rposition(|l| no_space(&l.text))?;
    let context = &lines[at.saturating_sub(CONTEXT)..=at];
    // What a server's disk has none of, it says by its clients.
    if context.iter().any(|l| of_another(&l.text)) {
        return None;
    }
    let places = now.host.places.iter().filter(|d| d.subject == s.name);
    let places: Vec<(&Place, &FileSystem)> =
        places.filter_map(|d| Some((d, d.file_system.seen()?))).collect();
    let full = places.iter().find(|(_, f)| f.is_full());
    if full.is_none() && goes_on {
        return None;
    }
    let summary = match full {
        Some((_, f)) => format!("{} can't write: its file system at {} is full", s.name, f.mounted_at),
        None => format!("{} can't write: it finds no space left on its device", s.name),
    };
    let certainty = if full.is_some() { Certainty::Proven } else { Certainty::Likely };
    let mut f = Finding::new(&DISK_FULL, &s.name, certainty, summary).own(!shared(full, s, now));
    for l in context.iter().filter(|l| no_space(&l.text) || path(&l.text).is_some()) {
        f = f.saw(Where::of(s).map_or("journal", Where::log), "says", &l.text);
    }
    if let Some((d, x)) = full {
        let left = if x.inodes > 0 && x.inodes_available == 0 {
            "no inode left".to_owned()
        } else {
            format!("{} of {} MiB left", x.available / MIB, x.total / MIB)
        };
        f = f.saw("file system", &format!("{} at {}", d.what, x.mounted_at), left);
    }
    let named = context.iter().find_map(|l| path(&l.text));
    let folder =
        full.map(|(_, x)| x.mounted_at.as_str()).or(named.and_then(|p| p.rsplit_once('/')).map(|p| p.0));
    let command = match folder.filter(|f| !f.is_empty()) {
        Some(folder) => format!("du -xh --max-depth=2 {} | sort -h | tail", shell_word(folder)),
        None => "df -h".into(),
    };
    let words = "See what is large; make room by what is old and known, then start the service";
    Some(f.since(lines.get(at).map(|l| l.at)).remedy(command, words, Risk::Safe))
}

/// A server that it needs lives on the same full file system: one fault, told once.
fn shared(full: Option<&(&Place, &FileSystem)>, s: &Service, now: &Snapshot) -> bool {
    let Some((_, own)) = full else { return false };
    let needs = crate::diagnosis::needs(&s.name, &now.config);
    let servers = now.host.places.iter().filter(|d| needs.contains(d.subject.as_str()));
    servers.filter_map(|d| d.file_system.seen()).any(|f| f.mounted_at == own.mounted_at)
}

fn no_space(text: &str) -> bool {
    ["No space left on device", "ENOSPC", "Errno 28]"].iter().any(|w| text.contains(w))
}

/// A server's words, or those of shared memory, semaphores and watchers of files, which are on no disk.
fn of_another(text: &str) -> bool {
    let lower = text.to_lowercase();
    witness::disk_full(text)
        || [
            "postgres",
            "database",
            "sqlstate",
            "redis",
            "shared memory",
            "semaphore",
            "inotify",
            "watch",
            "epoll",
        ]
        .iter()
        .any(|w| lower.contains(w))
}

/// The first absolute path in a line.
pub fn path(text: &str) -> Option<&str> {
    let words = text.split([' ', '"', '\'', '`', '(', ')', '<', '>', '=']);
    let plain = words.map(|w| w.trim_end_matches([':', ',', ';', '.']));
    plain.into_iter().find(|w| w.starts_with('/') && w.len() > 1 && !w.starts_with("//"))
}
