//! The largest processes of the host, and those that take the most of its processors. By `stat` alone, which
//! nothing can hold up; so there are names here, and no arguments.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Excerpt;
use crate::config::mask;
use crate::probe::{host, io_failure};
use crate::snapshot::Failure;

/// So many of each.
const SHOWN: usize = 25;
/// Between the two readings of what they take now.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct One {
    name: String,
    state: String,
    parent: u32,
    threads: u64,
    /// Of a processor, in seconds.
    ran_s: f64,
    began: u64,
    /// Bytes.
    resident: u64,
}

/// Fields after the name: state 3, ppid 4, utime 14, stime 15, threads 20, start 22, rss 24.
fn one(root: &Path, pid: u32) -> Option<One> {
    let bytes = fs::read(root.join(pid.to_string()).join("stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let fields: Vec<&str> = text.get(close + 1..)?.split_whitespace().collect();
    let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some(One {
        name: mask::text(text.get(open + 1..close)?),
        state: fields.first()?.to_string(),
        parent: number(4).and_then(|p| u32::try_from(p).ok())?,
        threads: number(20)?,
        ran_s: (number(14)? + number(15)?) as f64 / 100.0,
        began: number(22)?,
        resident: number(24)?.saturating_mul(rustix::param::page_size() as u64),
    })
}

fn all(root: &Path) -> Result<BTreeMap<u32, One>, Failure> {
    let entries = fs::read_dir(root).map_err(|e| io_failure(&e, &root.display().to_string()))?;
    let pids = entries.flatten().filter_map(|d| d.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.filter_map(|pid| Some((pid, one(root, pid)?))).collect())
}

/// Two tables: by resident memory, and by what was taken of the processors between two readings.
pub fn of(root: &Path) -> Result<Excerpt, Failure> {
    let (before, begun) = (all(root)?, Instant::now());
    std::thread::sleep(PAUSE);
    let (now, seconds) = (all(root)?, begun.elapsed().as_secs_f64());
    let taken = |pid: &u32, p: &One| {
        let same = before.get(pid).filter(|b| b.began == p.began);
        same.map_or(0.0, |b| 100.0 * (p.ran_s - b.ran_s).max(0.0) / seconds)
    };
    let mut rows: Vec<(u32, &One, f64)> = now.iter().map(|(pid, p)| (*pid, p, taken(pid, p))).collect();
    let mut out = Excerpt::of(format!("{} processes\n", now.len()));
    rows.sort_by_key(|(_, p, _)| std::cmp::Reverse(p.resident));
    table(&mut out.text, "by resident memory", root, &rows);
    rows.sort_by(|a, b| b.2.total_cmp(&a.2).then(b.1.ran_s.total_cmp(&a.1.ran_s)));
    table(
        &mut out.text,
        "by what they took of a processor in half a second, then by all their time",
        root,
        &rows,
    );
    if !host::sees_others(root) {
        out.missed.push("other users' processes: they are not shown to this user".into());
    }
    Ok(out)
}

fn table(text: &mut String, title: &str, root: &Path, rows: &[(u32, &One, f64)]) {
    text.push_str(&format!(
        "\n{title}\n{:>8} {:>8} ST {:>6} {:>10} {:>6} {:>10}  {:<16} GROUP\n",
        "PID", "PARENT", "THR", "RSS KiB", "CPU %", "CPU s", "NAME"
    ));
    for (pid, p, now) in rows.iter().take(SHOWN) {
        let group = host::holder(root, *pid).and_then(|h| h.control_group).unwrap_or_default();
        let row = format!(
            "{pid:>8} {:>8} {:<2} {:>6} {:>10} {now:>6.1} {:>10.2}  {:<16} {group}",
            p.parent,
            p.state,
            p.threads,
            p.resident >> 10,
            p.ran_s,
            p.name
        );
        text.push_str(row.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn who_spins_stands_among_those_that_take_processors() {
        static SPIN: AtomicBool = AtomicBool::new(true);
        let spinner = std::thread::spawn(|| {
            while SPIN.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let seen = of(Path::new("/proc")).unwrap().text;
        SPIN.store(false, Ordering::Relaxed);
        spinner.join().unwrap();
        let second = seen.split("by what they took").nth(1).unwrap();
        let me = format!("{:>8} ", std::process::id());
        assert!(second.lines().any(|l| l.starts_with(&me)), "{seen}");
    }
}
