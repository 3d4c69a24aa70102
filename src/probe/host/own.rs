//! What one under care waits for: a processor, by the kernel's own count for each thread; its quota; devices.
//! No file here is held up by a stuck process.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::group::{Seat, Version};
use super::load::{group, ran};
use super::memory::{read, stall, uptime};
use crate::snapshot::load::{OwnLoad, Quota, Waits};
use crate::snapshot::{FailKind, Failure, Reading};

/// Of more than this nothing is told: those that are looked at would be others each time.
const THREADS: usize = 2048;
const PROCESSES: usize = 1024;

/// Every process that is in a control group of its own kind, and that group.
pub type Groups = Vec<(u32, String)>;

pub fn groups(proc: &str) -> Groups {
    let root = Path::new(proc);
    let all = fs::read_dir(root).into_iter().flatten().flatten();
    let pids = all.filter_map(|d| d.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|p| Some((p, group(&root.join(p.to_string()))?))).collect()
}

/// Of this main process, and of all of `all` in its group. What it does in its network is asked of others.
pub fn of(proc: &str, mounted: &Path, pid: u32, all: &Groups) -> Result<OwnLoad, Failure> {
    let root = Path::new(proc);
    let folder = root.join(pid.to_string());
    let main = ran(&folder).ok_or_else(|| Failure::new(FailKind::Missing, format!("no process {pid}")))?;
    let groups = read(&folder.join("cgroup")).unwrap_or_default();
    let own = super::own_group(&groups).filter(|g| g != "/");
    let mut pids = BTreeSet::from([pid]);
    if let Some(own) = &own {
        pids.extend(all.iter().filter(|(_, g)| is_in(g, own)).map(|(p, _)| *p));
    }
    if pids.len() > PROCESSES {
        pids.clear();
    }
    let seat = Seat::of(mounted, &groups, "cpu").ok();
    let io = Seat::of(mounted, &groups, "io").ok().filter(|s| s.version == Version::Two && s.path != "/");
    Ok(OwnLoad {
        uptime_s: uptime(root)?,
        began_s: main.began_s,
        group: own,
        processes: pids.iter().filter_map(|p| waits(&root.join(p.to_string()), *p)).collect(),
        quotas: seat.as_ref().map(quotas).unwrap_or_default(),
        io: io.and_then(|s| stall(&s.folder().join("io.pressure"))),
        network: Reading::default(),
    })
}

/// In that group, or in one below it.
fn is_in(group: &str, own: &str) -> bool {
    group.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn waits(folder: &Path, pid: u32) -> Option<Waits> {
    let ran = ran(folder)?;
    let tasks: Vec<_> = fs::read_dir(folder.join("task")).ok()?.flatten().take(THREADS + 1).collect();
    if tasks.len() > THREADS {
        return None;
    }
    // `on a processor, waiting for one, time slices`: ns, ns.
    let waited = |text: String| text.split_whitespace().nth(1)?.parse::<u64>().ok();
    let each = tasks.iter().filter_map(|t| waited(fs::read_to_string(t.path().join("schedstat")).ok()?));
    // A kernel that does not count it has no such file: that is no zero.
    let waited_s = each.reduce(u64::saturating_add)? as f64 / 1e9;
    Some(Waits { pid, began_s: ran.began_s, state: ran.state, waited_s })
}

/// Of the group, and of those above it, that have one.
fn quotas(seat: &Seat) -> Vec<Quota> {
    seat.upwards().filter_map(|at| quota(seat, at)).collect()
}

fn quota(seat: &Seat, at: &str) -> Option<Quota> {
    let folder = seat.root.join(at.trim_start_matches('/'));
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let (quota, period, unit) = match seat.version {
        // `-1` is none.
        Version::One => (text("cpu.cfs_quota_us")?, text("cpu.cfs_period_us")?, ("throttled_time", 1e9)),
        // `max 100000`, `50000 100000`
        Version::Two => {
            let both = text("cpu.max")?;
            let (quota, period) = both.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned(), ("throttled_usec", 1e6))
        }
    };
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| *n > 0.0);
    let cores = number(&quota)? / number(&period)?;
    let stat = text("cpu.stat")?;
    let value = |name: &str| {
        stat.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
    };
    Some(Quota {
        group: if at.is_empty() { "/".into() } else { at.into() },
        cores,
        periods: value("nr_periods")?,
        throttled: value("nr_throttled")?,
        throttled_s: value(unit.0)? as f64 / unit.1,
    })
}

#[cfg(test)]
mod tests;
