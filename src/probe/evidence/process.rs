//! One process: what the kernel says of it and of its threads. In an order that a stuck one can't hold up:
//! what needs the lock of its memory is asked by itself, and not of one that is stuck.

use std::fs;
use std::path::Path;

use super::{Excerpt, files};
use crate::config::mask;
use crate::probe::host::group::MOUNTED;
use crate::probe::host::memory::read;
use crate::probe::io_failure;
use crate::snapshot::{FailKind, Failure};

/// None of these needs the lock of its memory.
const FILES: [&str; 7] = ["stat", "status", "limits", "cgroup", "io", "schedstat", "oom_score"];
/// Of more threads than this the first are listed.
const THREADS: usize = 500;

/// A process by its number and, where that is known, by when it began: seconds of the host's uptime.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    pub pid: u32,
    pub began_s: Option<f64>,
}

impl Known {
    /// Its number may be another's by now.
    fn is_still(self, root: &Path) -> Result<(), Failure> {
        let stat = thread(&root.join(self.pid.to_string()))?;
        match self.began_s.filter(|began| (began - stat.began_s).abs() > 0.02) {
            Some(_) => {
                let text = format!("process {} has ended, and another has its number", self.pid);
                Err(Failure::new(FailKind::Missing, text))
            }
            None => Ok(()),
        }
    }
}

/// What was asked of it never blocks.
pub fn of(root: &Path, p: Known) -> Result<Excerpt, Failure> {
    p.is_still(root)?;
    let folder = root.join(p.pid.to_string());
    files::together(FILES.iter().map(|f| folder.join(f)), false)
}

pub fn group(root: &Path, p: Known) -> Result<Excerpt, Failure> {
    p.is_still(root)?;
    files::of_group(Path::new(MOUNTED), &read(&root.join(p.pid.to_string()).join("cgroup"))?)
}

/// Its memory by kind. The kernel walks through all of it, by the lock that a stuck thread may hold.
pub fn memory(root: &Path, p: Known) -> Result<Excerpt, Failure> {
    p.is_still(root)?;
    if let Some(stuck) = all(root, p.pid)?.iter().find(|t| t.state == "D") {
        let text = format!("thread {} is stuck (state D): it is not asked what may wait for it", stuck.id);
        return Err(Failure::new(FailKind::TimedOut, text));
    }
    files::together(std::iter::once(root.join(p.pid.to_string()).join("smaps_rollup")), false)
}

struct Thread {
    id: u32,
    name: String,
    state: String,
    /// Of a processor, in its own code and in the kernel's.
    ran_s: f64,
    began_s: f64,
}

/// Fields of `stat` after the name: state 3, utime 14, stime 15, starttime 22.
fn thread(folder: &Path) -> Result<Thread, Failure> {
    let path = folder.join("stat");
    let bytes = fs::read(&path).map_err(|e| io_failure(&e, &path.display().to_string()))?;
    let text = String::from_utf8_lossy(&bytes);
    let bad = || Failure::new(FailKind::Malformed, format!("{} can't be read", path.display()));
    let (open, close) = (text.find('(').ok_or_else(bad)?, text.rfind(')').ok_or_else(bad)?);
    let fields: Vec<&str> = text.get(close + 1..).unwrap_or_default().split_whitespace().collect();
    let seconds = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<u64>().ok()).map(|t| t as f64 / 100.0);
    Ok(Thread {
        id: text[..open].trim().parse().map_err(|_| bad())?,
        name: mask::text(text.get(open + 1..close).unwrap_or_default()),
        state: fields.first().ok_or_else(bad)?.to_string(),
        ran_s: seconds(14).zip(seconds(15)).map(|(u, s)| u + s).ok_or_else(bad)?,
        began_s: seconds(22).ok_or_else(bad)?,
    })
}

fn all(root: &Path, pid: u32) -> Result<Vec<Thread>, Failure> {
    let folder = root.join(pid.to_string()).join("task");
    let tasks = fs::read_dir(&folder).map_err(|e| io_failure(&e, &folder.display().to_string()))?;
    Ok(tasks.flatten().filter_map(|t| thread(&t.path()).ok()).collect())
}

/// What each of its threads does, or waits for, by the kernel's name for that.
pub fn threads(root: &Path, p: Known) -> Result<Excerpt, Failure> {
    p.is_still(root)?;
    let all = all(root, p.pid)?;
    let mut out = Excerpt { cut: all.len() > THREADS, ..Excerpt::default() };
    out.text = format!("{} threads\n\n{:>8} ST {:>10}  {:<16} WAITS IN\n", all.len(), "TID", "CPU s", "NAME");
    let mut hidden = true;
    for t in all.iter().take(THREADS) {
        let place = root.join(p.pid.to_string()).join("task").join(t.id.to_string());
        let waits = fs::read_to_string(place.join("wchan")).unwrap_or_default();
        hidden &= waits.is_empty() || waits == "0";
        let waits = if waits == "0" { "" } else { waits.trim() };
        let row = format!("{:>8} {:<2} {:>10.2}  {:<16} {waits}", t.id, t.state, t.ran_s, t.name);
        out.text.push_str(row.trim_end());
        out.text.push('\n');
    }
    if hidden && all.iter().any(|t| t.state != "R") {
        out.missed.push("what the threads wait in: the kernel shows it to root only, or not at all".into());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn this_process_is_told_whole() {
        let (root, me) = (Path::new("/proc"), Known { pid: std::process::id(), began_s: None });
        for name in ["status", "limits", "cgroup"] {
            assert!(of(root, me).unwrap().text.contains(&format!("/{name} <==")), "{name}");
        }
        assert!(memory(root, me).unwrap().text.contains("Rss:"));
        let seen = threads(root, me).unwrap().text;
        assert!(seen.contains(&format!("{:>8} ", std::process::id())), "{seen}");
    }

    #[test]
    fn a_number_that_is_anothers_by_now_is_told() {
        let root = Path::new("/proc");
        let me = Known { pid: std::process::id(), began_s: Some(1.0) };
        assert!(of(root, me).unwrap_err().detail.contains("another has its number"));
    }

    #[test]
    fn the_memory_of_a_stuck_process_is_not_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let fields = "D 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 2 0 1234 0";
        for (place, stat) in [
            ("7", format!("7 (a) {}", fields.replacen('D', "S", 1))),
            ("7/task/7", format!("7 (a) {}", fields.replacen('D', "S", 1))),
            ("7/task/8", format!("8 (x) y) {fields}")),
        ] {
            fs::create_dir_all(root.path().join(place)).unwrap();
            fs::write(root.path().join(place).join("stat"), stat).unwrap();
        }
        let p = Known { pid: 7, began_s: Some(12.34) };
        assert!(memory(root.path(), p).unwrap_err().detail.contains("thread 8 is stuck"));
        let seen = threads(root.path(), p).unwrap().text;
        assert!(seen.contains("       8 D        3.00  x) y"), "{seen}");
    }
}
