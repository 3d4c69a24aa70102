//! What the host has of memory, and what a process takes of it and of descriptors. No file here is held
//! up by a stuck process: neither `cmdline` nor `maps` is opened. What is not there is never zero.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rustix::fs::{StatFs, statfs};

use super::group;
use crate::probe::{io_failure, listeners};
use crate::snapshot::memory::{HostMemory, Kind, Large, ProcessUse, Stall, Stalls, Taken};
use crate::snapshot::{FailKind, Failure, Reading};

/// The kernel's unit of time in `/proc/PID/stat`: the same on every architecture.
pub(super) const TICKS: f64 = 100.0;
/// Of a process with more descriptors than this the first are looked at.
const LOOKED_AT: usize = 20_000;
/// So many kinds of descriptors, and large processes, say it.
const SHOWN: usize = 6;
/// So little is a reason to see who has the rest.
const LITTLE: f64 = 0.15;
/// Of the limit: from there on it is worth a look what the descriptors are.
const MANY: f64 = 0.85;

pub fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| io_failure(&e, &path.display().to_string()))
}

pub fn malformed(path: &Path) -> Failure {
    Failure::new(FailKind::Malformed, format!("{} can't be read", path.display()))
}

/// The host as a whole.
pub fn of_host(proc: &str) -> Result<HostMemory, Failure> {
    let root = Path::new(proc);
    let path = root.join("meminfo");
    let text = read(&path)?;
    let size = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let needed = |name: &str| size(name).ok_or_else(|| malformed(&path));
    let pages = read(&root.join("vmstat")).unwrap_or_default();
    let total_of = |is: &dyn Fn(&str) -> bool| {
        let values = pages.lines().filter_map(|l| l.split_once(' ')).filter(|(name, _)| is(name));
        values.filter_map(|(_, n)| n.trim().parse::<u64>().ok()).reduce(u64::saturating_add)
    };
    let mut host = HostMemory {
        uptime_s: uptime(root)?,
        total: needed("MemTotal")?,
        available: needed("MemAvailable")?,
        swap_total: size("SwapTotal").unwrap_or(0),
        swap_free: size("SwapFree").unwrap_or(0),
        swapped_in: total_of(&|name| name == "pswpin"),
        swapped_out: total_of(&|name| name == "pswpout"),
        oom_kills: total_of(&|name| name == "oom_kill"),
        reclaims: total_of(&|name| name.starts_with("allocstall")),
        stalled: Stalls {
            cpu: stall(&root.join("pressure/cpu")),
            memory: stall(&root.join("pressure/memory")),
            io: stall(&root.join("pressure/io")),
        },
        largest: Vec::new(),
    };
    if host.share() < LITTLE {
        host.largest = largest(root);
    }
    Ok(host)
}

pub(super) fn uptime(root: &Path) -> Result<f64, Failure> {
    let path = root.join("uptime");
    let text = read(&path)?;
    text.split_whitespace().next().and_then(|t| t.parse().ok()).ok_or_else(|| malformed(&path))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=109577`
pub fn stall(path: &Path) -> Option<Stall> {
    let text = fs::read_to_string(path).ok()?;
    let field = |kind: &str, name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(kind)?.strip_prefix(' '))?;
        line.split(' ').find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    };
    Some(Stall {
        some_us: field("some", "total")?.parse().ok()?,
        full_us: field("full", "total").and_then(|t| t.parse().ok()),
        lately: field("some", "avg10").and_then(|t| t.parse().ok()).unwrap_or(0.0),
    })
}

fn page() -> u64 {
    rustix::param::page_size() as u64
}

fn resident(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("statm")).ok()?;
    text.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(page())
}

fn largest(root: &Path) -> Vec<Large> {
    let all = fs::read_dir(root).into_iter().flatten().flatten();
    let pids = all.filter_map(|d| d.file_name().to_str()?.parse::<u32>().ok());
    let mut sizes: Vec<(u64, u32)> =
        pids.filter_map(|pid| Some((resident(&root.join(pid.to_string()))?, pid))).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let large = |(resident, pid): (u64, u32)| {
        let holder = super::holder(root, pid)?;
        Some(Large { pid, name: holder.name, resident, group: holder.control_group })
    };
    sizes.into_iter().filter(|(size, _)| *size > 0).filter_map(large).take(SHOWN).collect()
}

/// A unit's main process and its group, or those of a container.
pub fn taken(proc: &str, groups: &Path, pid: u32, is_its: impl Fn(&str) -> bool) -> Taken {
    let root = Path::new(proc);
    let folder = root.join(pid.to_string());
    let text = match read(&folder.join("cgroup")) {
        Ok(text) if text.lines().any(is_its) => text,
        Ok(_) => {
            let why = format!("process {pid} here is another's: another /proc");
            let f = Failure::new(FailKind::Missing, why);
            return Taken { process: Reading::Failed(f.clone()), group: Reading::Failed(f) };
        }
        Err(f) => return Taken { process: of_process(root, pid).into(), group: Reading::Failed(f) },
    };
    Taken { process: of_process(root, pid).into(), group: group::of(groups, &text).into() }
}

/// First what never blocks; the descriptors last.
pub fn of_process(root: &Path, pid: u32) -> Result<ProcessUse, Failure> {
    let folder = root.join(pid.to_string());
    let (state, began_s) = began(&folder, pid)?;
    if state == "Z" || state == "X" {
        return Err(Failure::new(FailKind::Missing, format!("process {pid} has ended: it has no memory")));
    }
    let (descriptors_max, descriptors_hard) = descriptors(&folder)?;
    let mut seen = ProcessUse {
        pid,
        began_s,
        uptime_s: uptime(root)?,
        resident: resident(&folder).ok_or_else(|| malformed(&folder.join("statm")))?,
        descriptors_max,
        descriptors_hard,
        descriptors: open(&folder.join("fd")).into(),
        kinds: Vec::new(),
    };
    if seen.fill().is_some_and(|(open, max)| open as f64 > MANY * max as f64) {
        seen.kinds = kinds(&folder);
    }
    Ok(seen)
}

/// State and start: fields 3 and 22 of `stat`, whose name in brackets may hold anything.
fn began(folder: &Path, pid: u32) -> Result<(String, f64), Failure> {
    let path = folder.join("stat");
    let bytes = fs::read(&path).map_err(|e| super::gone(&e, pid))?;
    let text = String::from_utf8_lossy(&bytes);
    let rest = text.rfind(')').and_then(|at| text.get(at + 1..)).ok_or_else(|| malformed(&path))?;
    let mut fields = rest.split_whitespace();
    let state = fields.next().ok_or_else(|| malformed(&path))?.to_owned();
    let ticks = fields.nth(18).and_then(|t| t.parse::<u64>().ok()).ok_or_else(|| malformed(&path))?;
    Ok((state, ticks as f64 / TICKS))
}

/// `Max open files            20000                20000                files`: how many it may open, and how
/// far it may raise that itself; `None` is no limit.
pub fn descriptors(folder: &Path) -> Result<(Option<u64>, Option<u64>), Failure> {
    let path = folder.join("limits");
    let text = read(&path)?;
    let line = text.lines().find_map(|l| l.strip_prefix("Max open files"));
    let mut numbers = line.unwrap_or_default().split_whitespace();
    let mut next = || match numbers.next() {
        Some("unlimited") => Ok(None),
        Some(n) => n.parse().map(Some).map_err(|_| malformed(&path)),
        None => Err(malformed(&path)),
    };
    Ok((next()?, next()?))
}

/// Since Linux 6.2 the size of the folder is their number; before, they are counted.
fn open(folder: &Path) -> Result<u64, Failure> {
    const PROC: u32 = 0x9fa0;
    let failed = |e: &std::io::Error| io_failure(e, &folder.display().to_string());
    let size = fs::metadata(folder).map_err(|e| failed(&e))?.len();
    if size > 0 && statfs(folder).is_ok_and(|s: StatFs| s.f_type as u32 == PROC) {
        return Ok(size);
    }
    Ok(fs::read_dir(folder).map_err(|e| failed(&e))?.flatten().count() as u64)
}

/// What they are: sockets by their other end, as the process's own network has them.
fn kinds(folder: &Path) -> Vec<Kind> {
    let sockets = listeners::peers(folder);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for d in fs::read_dir(folder.join("fd")).into_iter().flatten().flatten().take(LOOKED_AT) {
        let Ok(to) = fs::read_link(d.path()) else { continue };
        *counts.entry(kind(&to.to_string_lossy(), &sockets)).or_default() += 1;
    }
    let mut all: Vec<Kind> = counts.into_iter().map(|(what, count)| Kind { what, count }).collect();
    all.sort_by(|a, b| (b.count, &a.what).cmp(&(a.count, &b.what)));
    all.truncate(SHOWN);
    all
}

fn kind(to: &str, sockets: &BTreeMap<u64, String>) -> String {
    if let Some(inode) = to.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']')) {
        let known = inode.parse().ok().and_then(|i| sockets.get(&i));
        return known.cloned().unwrap_or_else(|| "sockets other than TCP, or closed ones".into());
    }
    if to.starts_with("pipe:[") {
        return "pipes".into();
    }
    if let Some(name) = to.strip_prefix("anon_inode:") {
        return format!("{} of the kernel's", name.trim_matches(['[', ']']));
    }
    match to.rsplit_once('/') {
        Some((folder, _)) if to.starts_with("/dev/") => format!("devices in {folder}"),
        Some(("", _)) => "files in /".into(),
        Some((folder, _)) if folder.starts_with('/') => format!("files in {folder}"),
        _ => "others".into(),
    }
}

/// One pass for all: each by the name, main process and control group of its unit.
pub fn of_units(proc: &str, groups: &Path, all: &[(String, u32, String)]) -> Vec<(String, Taken)> {
    let mut seen = BTreeSet::new();
    let of = |(name, pid, group): &(String, u32, String)| {
        let below = format!("{group}/");
        let its =
            |line: &str| group.starts_with('/') && (line.ends_with(group.as_str()) || line.contains(&below));
        (name.clone(), taken(proc, groups, *pid, its))
    };
    all.iter().filter(|(name, ..)| seen.insert(name)).map(of).collect()
}

#[cfg(test)]
mod tests;
