//! Proof by the process itself: what its environment holds, whatever the files say. Where it is another
//! value, the file or variable that wins is named.

use std::io::Read;
use std::time::{Duration, Instant};

use super::apply::{Done, Failed};
use crate::config::Config;
use crate::probe::{blocking, host, systemd};
use crate::snapshot::units::{Event, LogLine};

/// A fork takes milliseconds to become its program, also under a sandbox.
const EXEC: Duration = Duration::from_secs(2);
const OTHER: Duration = Duration::from_millis(200);
/// Of its first lines to come to the journal.
const SPEAKS: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
/// Of a file of an environment.
const LARGEST: u64 = 1 << 20;

pub async fn variable(
    unit: &str,
    variable: &str,
    value: &str,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    // Not seen is not another value.
    let unseen = |f: crate::snapshot::Failure| Failed::Unseen(f.detail);
    let mut bus = systemd::Bus::connect(&config.systemd.bus, deadline).await.map_err(unseen)?;
    bus.list(&[unit], &[], deadline).await.map_err(unseen)?;
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
    // Not seen is not another value.
    let unseen = |f: crate::snapshot::Failure| Failed::Unseen(f.detail);
    let mut bus = systemd::Bus::connect(&config.systemd.bus, deadline).await.map_err(unseen)?;
    bus.list(&[unit], &[], deadline).await.map_err(unseen)?;
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
        Err(f) => return Ok(Done::new(format!("whether it heeds {level} could not be seen: {}", f.detail))),
    };
    let Some(start) = journal.events.iter().rev().find(|e| e.what == Event::Starting).map(|e| e.at) else {
        return Ok(Done::new(format!(
            "whether it heeds {level} could not be seen: its start is not in its journal"
        )));
    };
    let (since, before): (Vec<&LogLine>, Vec<&LogLine>) = journal.lines.iter().partition(|l| l.at >= start);
    let below = |all: &[&LogLine]| all.iter().filter(|l| is_below(l)).count();
    match (below(&since), below(&before)) {
        (0, 0) => Ok(Done::new(format!("no line below {level} before, nor since: no effect can be seen"))),
        (0, n) => {
            Ok(Done::new(format!("{n} such lines of late before its start, none of {} since", since.len())))
        }
        (n, _) => Err(Failed::Broken(format!(
            "{unit} has logged {n} lines below {level} since its start: it does not heed the variable"
        ))),
    }
}

/// By the journal's own priority, or by the word that loggers write first.
fn is_below(l: &LogLine) -> bool {
    let words = l.text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
    l.priority == 7 || words.take(12).any(|w| ["DEBUG", "TRACE"].contains(&w))
}

/// By the process itself: what it was started with is what it has.
async fn descriptors(
    bus: &systemd::Bus,
    unit: &str,
    value: u64,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    let broken = |f: crate::snapshot::Failure| Failed::Broken(f.detail);
    let pid = bus.detail(unit, deadline).await.map_err(broken)?.main_pid;
    let folder = std::path::Path::new(&config.host.proc).join(pid.to_string());
    let start = Instant::now();
    loop {
        let folder = folder.clone();
        let read = move || host::memory::descriptors(&folder);
        match blocking(deadline, "/proc", read).await.map_err(broken)?.0 {
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
