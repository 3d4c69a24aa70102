//! The host's own word, from `/proc` (its root is a parameter): states, postmasters, one variable.
//! In an order that can't block on a stuck process: `stat` first, `cmdline` and `environ` last.

pub mod disk;
pub mod group;
pub mod load;
pub mod memory;
pub mod own;
pub mod still;
pub mod tasks;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::probe::io_failure;
use crate::snapshot::containers::{Tasks, is_group_of};
use crate::snapshot::postgres::{PidFile, Postmaster};
use crate::snapshot::process::Holder;
use crate::snapshot::units::Process;
use crate::snapshot::{FailKind, Failure};

/// Where a path of the machine that `[host] proc` is of is found from here.
pub fn rooted(proc: &str, path: &str) -> PathBuf {
    let root = if is_own(proc) { PathBuf::from("/") } else { Path::new(proc).join("1/root") };
    root.join(path.trim_start_matches('/'))
}

fn is_own(proc: &str) -> bool {
    proc.trim_end_matches('/') == "/proc"
}

/// What `/proc/PID/stat` says, as far as it is used.
struct Stat {
    name: String,
    state: String,
    parent: u32,
    /// In ticks since the boot: field 22.
    began: u64,
}

/// The name may hold spaces, brackets and any byte: it ends at the last bracket.
fn stat(proc: &Path, pid: u32) -> Result<Stat, Failure> {
    let path = proc.join(pid.to_string()).join("stat");
    let bytes = fs::read(&path).map_err(|e| gone(&e, pid))?;
    let text = String::from_utf8_lossy(&bytes);
    let bad = || Failure::new(FailKind::Malformed, format!("{} can't be read", path.display()));
    let (open, close) = (text.find('(').ok_or_else(bad)?, text.rfind(')').ok_or_else(bad)?);
    let mut rest = text.get(close + 1..).unwrap_or_default().split_whitespace();
    let state = rest.next().ok_or_else(bad)?.to_owned();
    let parent = rest.next().and_then(|p| p.parse().ok()).ok_or_else(bad)?;
    let began = rest.nth(17).and_then(|t| t.parse().ok()).unwrap_or(0);
    Ok(Stat { name: text.get(open + 1..close).unwrap_or_default().to_owned(), state, parent, began })
}

/// A process may end between two reads.
fn gone(e: &std::io::Error, pid: u32) -> Failure {
    let f = io_failure(e, &format!("process {pid}"));
    match f.kind {
        FailKind::Missing => Failure { detail: format!("no process {pid}"), ..f },
        _ => f,
    }
}

/// Whether that process is of that unit, or of a group below it. A pid alone may be another
/// process in another namespace.
fn in_cgroup(proc: &Path, pid: u32, control_group: &str) -> bool {
    let file = proc.join(pid.to_string()).join("cgroup");
    let below = format!("{control_group}/");
    // `0::/system.slice/a.service`, or, seen from outside of a container, with more before it.
    let is_in = |line: &str| line.ends_with(control_group) || line.contains(&below);
    control_group.starts_with('/') && fs::read_to_string(file).is_ok_and(|t| t.lines().any(is_in))
}

/// The state of a unit's main process.
pub fn process(proc: &str, pid: u32, control_group: &str) -> Result<Process, Failure> {
    one_of(proc, pid, "unit", |proc| in_cgroup(proc, pid, control_group))
}

/// The state of a container's main process, by its id.
pub fn container_process(proc: &str, pid: u32, id: &str) -> Result<Process, Failure> {
    one_of(proc, pid, "container", |proc| {
        let groups = fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).unwrap_or_default();
        groups.lines().any(|l| is_group_of(l, id))
    })
}

/// How many tasks a container has, by its main process.
pub fn container_tasks(proc: &str, pid: u32, id: &str) -> Result<Tasks, Failure> {
    let file = Path::new(proc).join(pid.to_string()).join("cgroup");
    let groups = fs::read_to_string(&file).map_err(|e| gone(&e, pid))?;
    if !groups.lines().any(|l| is_group_of(l, id)) {
        let text = format!("process {pid} here is not the container's: another /proc");
        return Err(Failure::new(FailKind::Missing, text));
    }
    tasks::of(Path::new(group::MOUNTED), &groups)
}

fn one_of(proc: &str, pid: u32, whose: &str, is_its: impl Fn(&Path) -> bool) -> Result<Process, Failure> {
    let proc = Path::new(proc);
    let s = stat(proc, pid)?;
    if !is_its(proc) {
        return Err(Failure::new(
            FailKind::Missing,
            format!("process {pid} here is not the {whose}'s: another /proc"),
        ));
    }
    Ok(Process { pid, state: s.state, freezer: still::freezer(proc, pid) })
}

/// One variable of a unit's main process; nothing else of its environment is kept.
pub fn variable(proc: &str, pid: u32, control_group: &str, name: &str) -> Result<Option<String>, Failure> {
    Ok(variables(proc, pid, control_group, &[name])?.remove(name))
}

/// The named variables of a unit's main process, those that are set.
pub fn variables(
    proc: &str,
    pid: u32,
    control_group: &str,
    names: &[&str],
) -> Result<BTreeMap<String, String>, Failure> {
    let root = Path::new(proc);
    let s = stat(root, pid)?;
    if !in_cgroup(root, pid, control_group) {
        return Err(Failure::new(
            FailKind::Missing,
            format!("process {pid} here is not the unit's: another /proc"),
        ));
    }
    if s.state == "D" {
        return Err(Failure::new(
            FailKind::TimedOut,
            format!("process {pid} is stuck: its environment is not read"),
        ));
    }
    if s.state == "Z" {
        return Err(Failure::new(
            FailKind::Missing,
            format!("process {pid} has ended: it has no environment"),
        ));
    }
    let bytes = fs::read(root.join(pid.to_string()).join("environ"))
        .map_err(|e| io_failure(&e, &format!("environment of process {pid}")))?;
    let mut found = BTreeMap::new();
    for entry in bytes.split(|b| *b == 0).filter_map(|e| std::str::from_utf8(e).ok()) {
        let Some((name, value)) = entry.split_once('=').filter(|(name, _)| names.contains(name)) else {
            continue;
        };
        // As getenv: the first counts.
        found.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    Ok(found)
}

/// With `hidepid` a plain user sees only what is its own.
pub fn sees_others(root: &Path) -> bool {
    stat(root, 1).is_ok()
}

/// The group as systemd keeps it: in its own hierarchy on cgroup v1, in the only one on v2.
fn own_group(groups: &str) -> Option<String> {
    let of = |mark: &str| groups.lines().find_map(|l| l.split_once(mark).map(|(_, path)| path.to_owned()));
    of(":name=systemd:").or_else(|| of("0::"))
}

/// Its parent, and when it began in ticks since the boot.
pub fn origin(proc: &Path, pid: u32) -> Result<(u32, u64), Failure> {
    stat(proc, pid).map(|s| (s.parent, s.began))
}

/// Whether that very process still runs: one that has ended may wait for its parent.
pub fn lives(proc: &Path, pid: u32, began: u64) -> bool {
    stat(proc, pid).is_ok_and(|s| s.began == began && s.state != "Z" && s.state != "X")
}

/// A process that holds a socket.
pub fn holder(root: &Path, pid: u32) -> Option<Holder> {
    let s = stat(root, pid).ok()?;
    let groups = fs::read_to_string(root.join(pid.to_string()).join("cgroup")).ok();
    let control_group = groups.and_then(|g| own_group(&g));
    let program = fs::read_link(root.join(pid.to_string()).join("exe")).ok();
    Some(Holder {
        pid,
        name: s.name,
        state: s.state,
        control_group,
        program: program.map(|p| p.to_string_lossy().into_owned()),
        freezer: still::freezer(root, pid),
        restless: None,
    })
}

/// Every postmaster: a process named `postgres` whose parent is not one.
pub fn postmasters(proc: &str) -> Result<Vec<Postmaster>, Failure> {
    let root = Path::new(proc);
    let pids = fs::read_dir(root).map_err(|e| io_failure(&e, proc))?;
    // With `hidepid` other users' processes are not shown: then "none" would be a lie.
    if !sees_others(root) {
        return Err(Failure::new(FailKind::Denied, "other users' processes are not shown"));
    }
    let named: Vec<(u32, Stat)> = pids
        .flatten()
        .filter_map(|d| d.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(root, pid).ok()?)))
        .filter(|(_, s)| s.name == "postgres" && s.state != "Z")
        .collect();
    let is_child = |s: &Stat| named.iter().any(|(pid, _)| *pid == s.parent);
    Ok(named
        .iter()
        .filter(|(_, s)| !is_child(s))
        .filter_map(|(pid, s)| {
            let arguments = if s.state == "D" { Vec::new() } else { arguments(root, *pid) };
            // A backend has a title for its arguments. One outlives its postmaster for a while.
            if arguments.first().is_some_and(|a| a.starts_with("postgres: ")) {
                return None;
            }
            let folder = data_directory(&arguments);
            let port = folder.as_deref().and_then(port);
            Some(Postmaster { pid: *pid, state: s.state.clone(), data_directory: folder, port })
        })
        .collect())
}

/// The title of a process, where it is a child of that one: `Some(None)` of one that is stuck, whose
/// title is not read.
pub(super) fn title_of_child(root: &Path, pid: u32, parent: u32) -> Option<Option<String>> {
    let s = stat(root, pid).ok().filter(|s| s.parent == parent && s.state != "Z")?;
    if s.state == "D" {
        return Some(None);
    }
    Some(arguments(root, pid).into_iter().next())
}

/// A process and those that it has begun itself: of a postmaster, all of its server.
pub fn family(proc: &str, pid: u32) -> Vec<u32> {
    let file = Path::new(proc).join(format!("{pid}/task/{pid}/children"));
    let children = fs::read_to_string(file).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|p| p.parse().ok())).collect()
}

/// Its command line as it was given; it may hold a secret.
pub fn arguments(root: &Path, pid: u32) -> Vec<String> {
    let bytes = fs::read(root.join(pid.to_string()).join("cmdline")).unwrap_or_default();
    bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

/// `-D folder` or `-Dfolder`.
fn data_directory(arguments: &[String]) -> Option<String> {
    let at = arguments.iter().skip(1).position(|a| a.starts_with("-D"))? + 1;
    match &arguments[at][2..] {
        "" => arguments.get(at + 1).filter(|d| !d.is_empty()).cloned(),
        folder => Some(folder.to_owned()),
    }
}

/// Line 4 of `postmaster.pid`; `None` also where this user may not read it.
fn port(data_directory: &str) -> Option<u16> {
    let text = fs::read_to_string(Path::new(data_directory).join("postmaster.pid")).ok()?;
    text.lines().nth(3)?.trim().parse().ok()
}

/// `postmaster.pid`: line 1 the pid, line 3 the start, line 8 the status.
pub fn pid_file(data_directory: &str) -> Result<PidFile, Failure> {
    let path: PathBuf = Path::new(data_directory).join("postmaster.pid");
    let text = fs::read(&path).map_err(|e| io_failure(&e, &path.display().to_string()))?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let line = |n: usize| lines.get(n - 1).map(|l| l.trim());
    let bad = || Failure::new(FailKind::Malformed, format!("{} can't be read", path.display()));
    Ok(PidFile {
        pid: line(1).and_then(|l| l.parse().ok()).ok_or_else(bad)?,
        started_unix: line(3).and_then(|l| l.parse().ok()).ok_or_else(bad)?,
        // Written last: not there yet.
        status: line(8).filter(|l| !l.is_empty()).unwrap_or("unknown").to_owned(),
    })
}

#[cfg(test)]
mod tests;
