//! What the host's processors and devices have to do, and who gives it to them. Totals alone; no file here is
//! held up by a stuck process.

use std::fs;
use std::path::Path;

use super::memory::{TICKS, malformed, read, stall, uptime};
use crate::snapshot::Failure;
use crate::snapshot::load::{Device, HostLoad, Worker};
use crate::snapshot::memory::Stalls;

/// Of more processes than this those that were busiest over their lives are kept.
const KEPT: usize = 400;
/// The kernel's unit in `diskstats`, whatever the device's own is.
const SECTOR: u64 = 512;

pub fn of_host(proc: &str) -> Result<HostLoad, Failure> {
    let root = Path::new(proc);
    let path = root.join("stat");
    let text = read(&path)?;
    let value = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    };
    // `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests count as user as well.
    let line = text.lines().find_map(|l| l.strip_prefix("cpu ")).ok_or_else(|| malformed(&path))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|t| t.parse().ok()).collect();
    let sum = |of: &[usize]| of.iter().filter_map(|i| ticks.get(*i)).sum::<u64>() as f64 / TICKS;
    if ticks.len() < 8 {
        return Err(malformed(&path));
    }
    let is_core = |l: &&str| {
        let number = l.strip_prefix("cpu").and_then(|l| l.split(' ').next());
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let cores = text.lines().filter(is_core).count();
    let load = read(&root.join("loadavg"))?;
    let load = load.split(' ').next().and_then(|l| l.parse().ok());
    Ok(HostLoad {
        uptime_s: uptime(root)?,
        booted: value("btime").ok_or_else(|| malformed(&path))?,
        cores: u32::try_from(cores).unwrap_or(u32::MAX).max(1),
        load: load.ok_or_else(|| malformed(&root.join("loadavg")))?,
        running: value("procs_running")
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| malformed(&path))?,
        busy_s: sum(&[0, 1, 2, 5, 6]),
        stolen_s: sum(&[7]),
        stalled: Stalls {
            cpu: stall(&root.join("pressure/cpu")),
            memory: stall(&root.join("pressure/memory")),
            io: stall(&root.join("pressure/io")),
        },
        workers: workers(root),
        devices: devices(root),
    })
}

/// What `/proc/PID/stat` says of its time.
pub struct Ran {
    pub name: String,
    pub state: String,
    pub began_s: f64,
    pub cpu_s: f64,
}

pub fn ran(folder: &Path) -> Option<Ran> {
    let bytes = fs::read(folder.join("stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let fields: Vec<&str> = text.get(close + 1..)?.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<u64>().ok().map(|t| t as f64 / TICKS);
    Some(Ran {
        name: text.get(open + 1..close)?.to_owned(),
        state: (*fields.first()?).to_owned(),
        began_s: ticks(19)?,
        cpu_s: ticks(11)? + ticks(12)?,
    })
}

/// By the files of systemd's own hierarchy on cgroup v1, the only one on v2.
pub fn group(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("cgroup")).ok()?;
    super::own_group(&text)
}

fn workers(root: &Path) -> Vec<Worker> {
    let now = uptime(root).unwrap_or_default();
    let all = fs::read_dir(root).into_iter().flatten().flatten();
    let pids = all.filter_map(|d| d.file_name().to_str()?.parse::<u32>().ok());
    let one = |pid: u32| {
        let folder = root.join(pid.to_string());
        let ran = ran(&folder)?;
        // Of one that stands still in the middle of its start this file would be waited for.
        let moved = if ran.state == "D" { None } else { moved(&folder) };
        (ran.cpu_s > 0.0 || moved.is_some_and(|m| m > 0)).then_some((folder, pid, ran, moved))
    };
    let mut all: Vec<_> = pids.filter_map(one).collect();
    let rate = |r: &Ran| r.cpu_s / (now - r.began_s).max(0.1);
    if all.len() > KEPT {
        all.sort_by(|a, b| rate(&b.2).total_cmp(&rate(&a.2)));
        all.truncate(KEPT);
    }
    let worker = |(folder, pid, ran, moved): (std::path::PathBuf, u32, Ran, Option<u64>)| Worker {
        pid,
        name: ran.name,
        began_s: ran.began_s,
        cpu_s: ran.cpu_s,
        moved,
        group: group(&folder),
    };
    all.into_iter().map(worker).collect()
}

/// Bytes that it had read from devices and written to them.
fn moved(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("io")).ok()?;
    let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(value("read_bytes:")?.saturating_add(value("write_bytes:")?))
}

/// `major minor name reads merged sectors ms writes merged sectors ms in-flight busy weighted …`
fn devices(root: &Path) -> Vec<Device> {
    let text = fs::read_to_string(root.join("diskstats")).unwrap_or_default();
    let device = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
        let name = *fields.get(2)?;
        let bytes = |i| number(i)?.checked_mul(SECTOR);
        Some(Device { name: name.to_owned(), busy_ms: number(12)?, read: bytes(5)?, written: bytes(9)? })
    };
    let used = |d: &Device| d.busy_ms > 0 && !["loop", "ram"].iter().any(|p| d.name.starts_with(p));
    text.lines().filter_map(device).filter(used).take(KEPT).collect()
}

#[cfg(test)]
mod tests;
