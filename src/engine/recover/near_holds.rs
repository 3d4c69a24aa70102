//! Whether what takes nobody at an address is the unit that would be restarted for it, and whether that was begun: only
//! where somebody asks for that restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::choose::Request;
use super::disk;
use super::near::bus_of;
use crate::config::{Config, Loaded};
use crate::diagnosis::{Diagnosis, Finding};
use crate::incident::{Incident, Open, Store};
use crate::plan::Act;
use crate::probe::{blocking, host, listeners};
use crate::scenario;
use crate::snapshot::Looks;
use crate::snapshot::process::{Holder, Listener};

const DOWN: &str = "server-crash/dependency-down";
const HUNG: &str = "db-down/hung";
const SHUTTING_DOWN: &str = "db-down/shutting-down";
const LIMIT: Duration = Duration::from_secs(2);
/// By then another stop may be somebody's.
const FRESH: SignedDuration = SignedDuration::from_mins(15);

pub async fn holds(loaded: &Loaded, looks: &Looks, d: &Diagnosis, request: &Request) -> BTreeSet<String> {
    let (config, end) = (&loaded.config, Instant::now() + LIMIT);
    let told = &request.ask.told;
    let asked = |f: &&Finding| match f.cause.as_str() {
        DOWN => told.dependencies,
        HUNG | SHUTTING_DOWN => told.restart,
        _ => false,
    };
    let mut proven = BTreeSet::new();
    for f in d.findings.iter().filter(asked) {
        if let Some((unit, port)) = place(&f.subject, looks, config)
            && is_of(unit, port, config, end).await == Some(true)
        {
            proven.insert(f.subject.clone());
        }
    }
    proven
}

/// Units whose restart by force was cut off a moment ago: the stop that goes on there is that one's.
pub async fn forced(request: &Request, store: &Store, now: Timestamp) -> BTreeSet<String> {
    if !(request.ask.told.restart || request.ask.told.dependencies) {
        return BTreeSet::new();
    }
    let incidents = disk::of_late(store).await.unwrap_or_default();
    let standing = incidents.iter().filter(|i| i.is_ours()).flat_map(Incident::standing);
    let fresh = |open: &Open| open.cut_off && now.duration_since(open.at) < FRESH;
    standing
        .filter(fresh)
        .filter_map(|open| match open.act {
            Act::RestartByForce { unit, .. } => Some(unit),
            _ => None,
        })
        .collect()
}

/// Its unit, and the port that it was asked at; a Redis at a socket of a file system has none.
fn place<'a>(name: &str, looks: &'a Looks, config: &'a Config) -> Option<(&'a str, u16)> {
    let now = &looks.now;
    if let Some(p) = now.config.postgres(name) {
        // By its socket as well: a cluster listens at both, or its socket has the same number.
        return Some((scenario::own_unit(p, now)?, p.url.port));
    }
    let (unit, endpoint) = match (config.redis(name), now.redis.get(name)) {
        (Some(r), Some(look)) => (r.unit.as_deref()?, &look.endpoint),
        _ => {
            let o = config.ollama.iter().find(|o| o.name == name)?;
            (o.unit.as_deref()?, &now.ollama.get(name)?.endpoint)
        }
    };
    Some((unit, endpoint.rsplit_once(':')?.1.parse().ok()?))
}

/// All who listen at that port are its main process, or what that has begun.
async fn is_of(unit: &str, port: u16, config: &Config, end: Instant) -> Option<bool> {
    let (bus, _) = bus_of(&[unit], config, end).await.ok()?;
    let (main, group) = bus.seat(unit, end).await.ok()?;
    let proc = config.host.proc.clone();
    let look = move || Ok((listeners::at(&proc, &BTreeSet::from([port]), None)?, host::family(&proc, main)));
    let (found, family) = blocking(end, "sockets", look).await.ok()?;
    let ours = |h: &Holder| {
        family.contains(&h.pid) || (!group.is_empty() && h.control_group.as_ref() == Some(&group))
    };
    let own = |l: &Listener| !l.holders.is_empty() && l.holders.iter().all(ours);
    Some(main != 0 && !found.is_empty() && found.iter().all(own))
}
