//! Whether what gives no answer at an address is the unit that would be restarted for it: only where somebody asks
//! for that restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::choose::Request;
use super::near::bus_of;
use crate::config::{Config, Loaded};
use crate::diagnosis::Diagnosis;
use crate::probe::{blocking, listeners};
use crate::snapshot::Looks;

const DOWN: &str = "server-crash/dependency-down";
const LIMIT: Duration = Duration::from_secs(2);

pub async fn holds(loaded: &Loaded, looks: &Looks, d: &Diagnosis, request: &Request) -> BTreeSet<String> {
    let (config, end) = (&loaded.config, Instant::now() + LIMIT);
    let mut proven = BTreeSet::new();
    for f in d.findings.iter().filter(|f| request.ask.told.dependencies && f.cause == DOWN) {
        if let Some((unit, port)) = place(&f.subject, looks, config)
            && is_of(unit, port, config, end).await == Some(true)
        {
            proven.insert(f.subject.clone());
        }
    }
    proven
}

/// Its unit, and the port that it was asked at; a socket of a file system has none.
fn place<'a>(name: &str, looks: &Looks, config: &'a Config) -> Option<(&'a str, u16)> {
    let now = &looks.now;
    let (unit, endpoint) = match (config.redis(name), now.redis.get(name)) {
        (Some(r), Some(look)) => (r.unit.as_deref()?, &look.endpoint),
        _ => {
            let o = config.ollama.iter().find(|o| o.name == name)?;
            (o.unit.as_deref()?, &now.ollama.get(name)?.endpoint)
        }
    };
    Some((unit, endpoint.rsplit_once(':')?.1.parse().ok()?))
}

/// All who listen at that port are of its control group.
async fn is_of(unit: &str, port: u16, config: &Config, end: Instant) -> Option<bool> {
    let (bus, _) = bus_of(&[unit], config, end).await.ok()?;
    let (main, group) = bus.seat(unit, end).await.ok()?;
    let proc = config.host.proc.clone();
    let look = move || listeners::at(&proc, &BTreeSet::from([port]), None);
    let found = blocking(end, "sockets", look).await.ok()?;
    let ours =
        |pid: u32, of: Option<&String>| pid == main || of.is_some_and(|g| !group.is_empty() && *g == group);
    let all = found.iter().flat_map(|l| &l.holders);
    Some(
        found.iter().all(|l| !l.holders.is_empty())
            && !found.is_empty()
            && all.clone().all(|h| ours(h.pid, h.control_group.as_ref())),
    )
}
