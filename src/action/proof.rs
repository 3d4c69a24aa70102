//! Proof by the process itself: what its environment holds, whatever the files say. Where it is another
//! value, the file or variable that wins is named.

use std::io::Read;
use std::time::{Duration, Instant};

use super::apply::{Done, Failed};
use crate::config::Config;
use crate::probe::{blocking, host, systemd};
use crate::snapshot::Failure;

/// A fork takes milliseconds to become its program, also under a sandbox.
const EXEC: Duration = Duration::from_secs(2);
const OTHER: Duration = Duration::from_millis(200);
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
    match bus.limit(unit, key, deadline).await.map_err(unseen)? {
        Some(found) if found == value => Ok(Done::new(format!("{key}={value} is in effect"))),
        found => {
            let has = found.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
            Err(Failed::Broken(format!("{key} of {unit} is {has}: something else sets it, and wins")))
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
