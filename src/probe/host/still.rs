//! What of a process does not move, or never rests: its control group may be frozen, a thread may run
//! without end. None of these files is held up by a stuck process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::group::{MOUNTED, Seat, Version};
use crate::snapshot::process::{Freezer, Restless};

/// Of a process with more threads than this the first are looked at.
const THREADS: usize = 256;

/// `None` where it can't be known from here.
pub fn freezer(proc: &Path, pid: u32) -> Option<Freezer> {
    let groups = fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).ok()?;
    of(Path::new(MOUNTED), &groups)
}

/// On v2 every group can be frozen, by its own word or its parents'.
fn of(mounted: &Path, groups: &str) -> Option<Freezer> {
    let seat = Seat::of(mounted, groups, "freezer").ok()?;
    let (name, word) = match seat.version {
        Version::One => ("freezer.state", "FROZEN"),
        Version::Two => ("cgroup.events", "frozen 1"),
    };
    let file = seat.folder().join(name);
    let text = fs::read_to_string(&file).ok()?;
    let frozen = text.lines().any(|line| line.trim() == word);
    Some(Freezer { frozen, file: file.to_string_lossy().into_owned() })
}

/// What the threads of some processes had done at one moment.
pub struct Threads {
    at: Instant,
    all: BTreeMap<(u32, u32), Thread>,
}

/// A thread that runs or waits for a processor, and for nothing else.
struct Thread {
    ran_ns: u64,
    /// How often it went to sleep by itself.
    slept: u64,
}

impl Threads {
    pub fn of(proc: &Path, pids: &BTreeSet<u32>) -> Self {
        let at = Instant::now();
        let mut all = BTreeMap::new();
        for pid in pids {
            let folder = proc.join(pid.to_string()).join("task");
            for task in fs::read_dir(&folder).into_iter().flatten().flatten().take(THREADS) {
                let Some(id) = task.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
                if let Some(thread) = thread(&task.path()) {
                    all.insert((*pid, id), thread);
                }
            }
        }
        Self { at, all }
    }

    /// Of each process the thread that has run most since, of those that never slept. On a busy machine
    /// it may have had little of a processor: that it wanted all is what counts.
    pub fn restless(&self, proc: &Path) -> BTreeMap<u32, Restless> {
        let mut out: BTreeMap<u32, Restless> = BTreeMap::new();
        for ((pid, id), before) in &self.all {
            let folder: PathBuf = proc.join(pid.to_string()).join("task").join(id.to_string());
            let Some(now) = thread(&folder).filter(|now| now.slept == before.slept) else { continue };
            let ran = now.ran_ns.saturating_sub(before.ran_ns) as f64 / 1e9;
            let cpu = (100.0 * ran / self.at.elapsed().as_secs_f64()).round();
            if ran > 0.0 && out.get(pid).is_none_or(|r| r.cpu < cpu) {
                out.insert(*pid, Restless { thread: *id, cpu });
            }
        }
        out
    }
}

fn thread(folder: &Path) -> Option<Thread> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let value = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    value("State:").filter(|s| s.starts_with('R'))?;
    let slept = value("voluntary_ctxt_switches:")?.parse().ok()?;
    let times = fs::read_to_string(folder.join("schedstat")).ok()?;
    Some(Thread { ran_ns: times.split_whitespace().next()?.parse().ok()?, slept })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    fn tree(path: &str, text: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        root
    }

    #[test]
    fn a_frozen_group_is_told_on_cgroup_v1_and_v2() {
        let v1 = "6:freezer:/box\n1:name=systemd:/system.slice/a.service\n0::/system.slice/a.service\n";
        let v2 = "0::/system.slice/a.service\n";
        let of_v2 = "system.slice/a.service/cgroup.events";
        for (groups, file, text, frozen) in [
            (v1, "freezer/box/freezer.state", "FROZEN\n", true),
            (v1, "freezer/box/freezer.state", "THAWED\n", false),
            (v1, "freezer/box/freezer.state", "FREEZING\n", false),
            (v2, of_v2, "populated 1\nfrozen 1\n", true),
            (v2, of_v2, "populated 1\nfrozen 0\n", false),
        ] {
            let root = tree(file, text);
            let seen = of(root.path(), groups).unwrap();
            assert_eq!(seen.frozen, frozen, "{file}: {text}");
            assert!(seen.file.ends_with(file), "{seen:?}");
        }
    }

    #[test]
    fn a_group_that_is_not_seen_from_here_is_not_known() {
        let root = tree("elsewhere/cgroup.events", "frozen 1\n");
        for groups in ["0::/system.slice/a.service\n", "0::/../../x\n", "", "1:name=systemd:/a\n", "no line"]
        {
            assert_eq!(of(root.path(), groups), None, "{groups}");
        }
    }

    #[test]
    fn a_thread_that_spins_is_restless_and_one_that_sleeps_is_not() {
        static SPIN: AtomicBool = AtomicBool::new(true);
        let me = BTreeSet::from([std::process::id()]);
        let proc = Path::new("/proc");
        let spinner = std::thread::spawn(|| {
            while SPIN.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        let threads = Threads::of(proc, &me);
        std::thread::sleep(Duration::from_millis(100));
        let seen = threads.restless(proc);
        SPIN.store(false, Ordering::Relaxed);
        spinner.join().unwrap();
        assert!(seen[&std::process::id()].cpu > 1.0, "{seen:?}");
        // Its thread is gone, and this one slept.
        assert!(threads.restless(proc).is_empty());
    }
}
