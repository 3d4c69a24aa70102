//! Proof by the process itself: what its environment holds, whatever the files say. Where it is another
//! value, the file or variable that wins is named.

use std::io::Read;
use std::time::{Duration, Instant};

use super::apply::{Done, Failed};
use crate::config::Config;
use crate::probe::{blocking, host, systemd};
use crate::snapshot::Failure;
use crate::snapshot::units::{Event, LogLine};

/// A fork takes milliseconds to become its program, also under a sandbox.
const EXEC: Duration = Duration::from_secs(2);
const OTHER: Duration = Duration::from_millis(200);
/// Fewer such lines are no evidence.
const SEVERAL: usize = 3;
/// Of its first lines to come to the journal.
const SPEAKS: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
/// Of a file of an environment.
const LARGEST: u64 = 1 << 20;

/// Not seen is not another value.
fn unseen(f: Failure) -> Failed {
    Failed::Unseen(f.detail)
}

/// A bus that knows the unit.
async fn bus_of(unit: &str, config: &Config, deadline: Instant) -> Result<systemd::Bus, Failed> {
    let mut bus = systemd::Bus::connect(&config.systemd.bus, deadline).await.map_err(unseen)?;
    bus.list(&[unit], &[], deadline).await.map_err(unseen)?;
    Ok(bus)
}

pub async fn variable(
    unit: &str,
    variable: &str,
    value: &str,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    let bus = bus_of(unit, config, deadline).await?;
    let d = bus.detail(unit, deadline).await.map_err(unseen)?;
    let look = async || {
        let (proc, group, name) = (config.host.proc.clone(), d.control_group.clone(), variable.to_owned());
        let pid = d.main_pid;
        blocking(deadline, "/proc", move || host::variable(&proc, pid, &group, &name)).await.map_err(unseen)
    };
    // A simple unit counts as started before its program is: until then this is the manager's environment,
    // which hardly has the variable.
    let start = Instant::now();
    let mut found = look().await?;
    while found.as_deref() != Some(value) {
        let limit = if found.is_none() { EXEC } else { OTHER };
        if start.elapsed() >= limit || Instant::now() + PAUSE >= deadline {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        found = look().await?;
    }
    let pid = d.main_pid;
    match found {
        Some(found) if found == value => {
            Ok(Done::new(format!("{variable}={value} in the environment of process {pid}")))
        }
        found => {
            let has = found
                .map_or_else(|| "is not set".to_owned(), |v| format!("is {}", crate::probe::said(&v, 40)));
            let winner = winner(&bus, unit, variable, config, deadline).await;
            Err(Failed::Broken(format!("{variable} {has} in process {pid}{winner}")))
        }
    }
}

/// A drop-in of another name may win, or what `systemctl set-property` wrote.
pub async fn limit(
    unit: &str,
    key: &str,
    value: u64,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    let bus = bus_of(unit, config, deadline).await?;
    if key == "LimitNOFILE" {
        return descriptors(&bus, unit, value, config, deadline).await;
    }
    match bus.limit(unit, key, deadline).await.map_err(unseen)? {
        Some(found) if found == value => Ok(Done::new(format!("{key}={value} is in effect"))),
        found => {
            let has = found.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
            Err(Failed::Broken(format!("{key} of {unit} is {has}: something else sets it, and wins")))
        }
    }
}

/// By its own lines since its start: one below the level is of a service that does not heed it (errata 52).
pub async fn quiet(unit: &str, level: &str, config: &Config, deadline: Instant) -> Result<Done, Failed> {
    let folder = config.systemd.journal.as_deref();
    // What it logs, it logs from its start on.
    tokio::time::sleep(SPEAKS.min(deadline.saturating_duration_since(Instant::now()))).await;
    let journal = match systemd::journal(unit, folder, deadline).await {
        Ok(journal) => journal,
        Err(f) => {
            return Err(Failed::Unseen(format!("whether it heeds {level} could not be seen: {}", f.detail)));
        }
    };
    let Some(start) = journal.events.iter().rev().find(|e| e.what == Event::Starting).map(|e| e.at) else {
        let why = format!("whether it heeds {level} could not be seen: its start is not in its journal");
        return Err(Failed::Unseen(why));
    };
    let (since, before): (Vec<&LogLine>, Vec<&LogLine>) = journal.lines.iter().partition(|l| l.at >= start);
    let below = |all: &[&LogLine]| all.iter().filter(|l| is_below(l)).count();
    let (since, before) = ((below(&since), since.len()), (below(&before), before.len()));
    match (since, before) {
        ((0, all), (n, _)) if n > 0 => {
            Ok(Done::new(format!("{n} such lines of late before its start, none of {all} since")))
        }
        _ if goes_on(since, before) => Err(Failed::Broken(format!(
            "{unit} has logged {} lines below {level} since its start: it does not heed the variable",
            since.0
        ))),
        ((n, _), (was, _)) => Ok(Done::new(format!(
            "{was} lines below {level} of late before its start, {n} since: no effect can be seen"
        ))),
    }
}

/// Such lines, of all. One that speaks of debugging is no level, and a restart for it a second outage: several,
/// and of what it says not less than half as large a share as before.
fn goes_on((n, all): (usize, usize), (was, of): (usize, usize)) -> bool {
    n >= SEVERAL && was > 0 && 2 * n * of >= was * all
}

/// By the journal's own priority, or by the level where loggers write it: first, behind the time or behind who
/// speaks, or as a field of its own.
fn is_below(l: &LogLine) -> bool {
    const LEVELS: [&str; 2] = ["DEBUG", "TRACE"];
    const FIELDS: [&str; 6] = [
        "level=debug",
        "level=trace",
        "\"level\":\"debug\"",
        "\"level\":\"trace\"",
        "\"level\": \"debug\"",
        "\"level\": \"trace\"",
    ];
    // `[DEBUG]`, `DEBUG:root:`, `2026-11-27T10:00:00.1Z`, `10:00:00,123`.
    let bare = |w: &'_ str| w.trim_matches(|c: char| "[]()<>|:".contains(c)).to_owned();
    let is_time = |w: &String| w.is_empty() || w.starts_with(|c: char| c.is_ascii_digit() || c == '+');
    let is_level = |w: String| LEVELS.contains(&w.split(':').next().unwrap_or_default());
    let mut words = l.text.split_whitespace().map(bare).filter(|w| !is_time(w)).take(2);
    let lower = l.text.to_lowercase();
    l.priority == 7 || words.any(is_level) || FIELDS.iter().any(|f| lower.contains(f))
}

/// By the process itself: what it was started with is what it has.
async fn descriptors(
    bus: &systemd::Bus,
    unit: &str,
    value: u64,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    // A process that is gone, or that is not shown to us, has no other value.
    let pid = bus.detail(unit, deadline).await.map_err(unseen)?.main_pid;
    let folder = std::path::Path::new(&config.host.proc).join(pid.to_string());
    let start = Instant::now();
    loop {
        let folder = folder.clone();
        let read = move || host::memory::descriptors(&folder);
        match blocking(deadline, "/proc", read).await.map_err(unseen)?.0 {
            // It may have raised it further by itself.
            Some(soft) if soft >= value => {
                return Ok(Done::new(format!("{soft} descriptors in the limits of process {pid}")));
            }
            None => return Ok(Done::new(format!("no limit of descriptors for process {pid}"))),
            Some(soft) if start.elapsed() >= EXEC || Instant::now() + PAUSE >= deadline => {
                let why = format!("process {pid} may open {soft}: something else sets LimitNOFILE, and wins");
                return Err(Failed::Broken(why));
            }
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// `EnvironmentFile=` outranks every `Environment=` (errata 38).
async fn winner(
    bus: &systemd::Bus,
    unit: &str,
    variable: &str,
    config: &Config,
    deadline: Instant,
) -> String {
    // The last one that sets it.
    for file in bus.environment_files(unit, deadline).await.unwrap_or_default().into_iter().rev() {
        let path = host::rooted(&config.host.proc, &file);
        let text = blocking(deadline, "the file of its environment", move || {
            let mut text = String::new();
            let read = std::fs::File::open(path).and_then(|f| f.take(LARGEST).read_to_string(&mut text));
            Ok(read.map_or_else(|_| String::new(), |_| text))
        });
        let text = text.await.unwrap_or_default();
        if text
            .lines()
            .any(|l| l.trim_start().trim_start_matches("export ").starts_with(&format!("{variable}=")))
        {
            return format!(": EnvironmentFile={file} sets it, and wins");
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(priority: u8, text: &str) -> LogLine {
        LogLine { at: jiff::Timestamp::UNIX_EPOCH, priority, text: text.into() }
    }

    #[test]
    fn errata_52_a_level_stands_where_loggers_write_it_and_a_word_is_none() {
        for text in [
            "DEBUG:root:a query",
            "DEBUG here is one",
            "2026-11-27 10:00:00,123 DEBUG pool: taken",
            "2026-11-27T10:00:00.1Z [DEBUG] pool: taken",
            "[2026-11-27 10:00:00 +0000] [12] [DEBUG] GET /health",
            "app.pool TRACE taken",
            "{\"level\":\"debug\",\"msg\":\"taken\"}",
            "time=\"10:00\" level=debug msg=taken",
        ] {
            assert!(is_below(&line(6, text)), "{text}");
        }
        assert!(is_below(&line(7, "by the journal's own priority")));
        for text in [
            "Debug mode: off",
            "DEBUG=False",
            "INFO:     settings: DEBUG is off",
            "WARNING pool: set DEBUG to see more",
            " * Debugger is active!",
            "GET /debug/heap 200",
            "",
        ] {
            assert!(!is_below(&line(6, text)), "{text}");
        }
    }

    #[test]
    fn errata_52_a_restart_is_taken_back_only_for_a_log_that_goes_on_as_before() {
        assert!(goes_on((5, 8), (50, 80)), "as before");
        assert!(goes_on((3, 10), (50, 100)), "somewhat less");
        assert!(!goes_on((2, 2), (50, 80)), "of two lines nothing is known");
        assert!(!goes_on((3, 60), (50, 100)), "far less: before it had read its settings");
        assert!(!goes_on((5, 8), (0, 80)), "it was not so before");
    }
}
