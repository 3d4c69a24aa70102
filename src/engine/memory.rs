//! Memory and descriptors of this host and of who is under care: in the first look a few files of each
//! unit that runs; of what has no unit, or was found later, once it is known what runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::probe::{blocking, host, systemd};
use crate::scenario::bare_process;
use crate::snapshot::containers::is_group_of;
pub use crate::snapshot::memory::Taken;

use crate::snapshot::memory::HostMemory;
use crate::snapshot::units::Unit;
use crate::snapshot::{FailKind, Failure, Reading, Snapshot};

/// Each takes two calls on the bus: of more units these stand for the rest.
const UNITS: usize = 32;

/// Who is under care, by name, with its unit.
fn units(config: &Config) -> Vec<(String, String)> {
    let services = config.service.iter().map(|s| (&s.name, &s.unit));
    let servers = config.postgres.iter().map(|p| (&p.name, &p.unit));
    let redis = config.redis.iter().map(|r| (&r.name, &r.unit));
    let ollama = config.ollama.iter().map(|o| (&o.name, &o.unit));
    let all = servers.chain(services).chain(redis).chain(ollama);
    all.filter_map(|(name, unit)| Some((name.clone(), unit.clone()?))).collect()
}

pub async fn of_host(proc: String, deadline: Instant) -> Reading<HostMemory> {
    blocking(deadline, "memory of this host", move || host::memory::of_host(&proc)).await.into()
}

/// What the list of units tells it: the bus, and which of them run.
pub type Listed = oneshot::Receiver<(systemd::Bus, BTreeMap<String, Unit>)>;

pub async fn of_units(config: Config, listed: Listed, deadline: Instant) -> BTreeMap<String, Taken> {
    let Ok((bus, listed)) = listed.await else { return BTreeMap::new() };
    let runs = |unit: &str| listed.get(unit).is_some_and(|u| u.active == "active" || u.active == "reloading");
    let all: Vec<(String, String)> =
        units(&config).into_iter().filter(|(_, u)| runs(u)).take(UNITS).collect();
    let seats = join_all(all.iter().map(|(_, unit)| bus.seat(unit, deadline))).await;
    let (mut out, mut seated) = (BTreeMap::new(), Vec::new());
    for ((name, unit), seat) in all.into_iter().zip(seats) {
        match seat {
            Ok((pid, group)) if pid > 0 => seated.push((name, pid, group)),
            Ok(_) => {
                let f = Failure::new(FailKind::Missing, format!("{unit} has no main process"));
                out.insert(name, failed(&f));
            }
            Err(f) => {
                out.insert(name, failed(&f));
            }
        }
    }
    let names: Vec<String> = seated.iter().map(|(name, ..)| name.clone()).collect();
    let proc = config.host.proc.clone();
    let look = move || Ok(host::memory::of_units(&proc, Path::new(host::group::MOUNTED), &seated));
    match blocking(deadline, "processes", look).await {
        Ok(all) => out.extend(all),
        Err(f) => out.extend(names.into_iter().map(|name| (name, failed(&f)))),
    }
    out
}

fn failed(f: &Failure) -> Taken {
    Taken { process: Reading::Failed(f.clone()), group: Reading::Failed(f.clone()) }
}

/// Whose process was found by the second questions: in a container, or by its listener alone.
pub async fn of_found(now: &mut Snapshot, deadline: Instant) {
    let config = &now.config;
    let local = config.docker.host.starts_with("unix:");
    let contained = |name: &Option<String>| {
        let c = now.containers.get(name.as_deref()?)?.inspected.seen()?;
        (local && c.pid > 0).then(|| (c.pid, c.id.clone()))
    };
    let mut found: Vec<(String, u32, String)> = Vec::new();
    for s in config.service.iter().filter(|s| !now.host.taken.contains_key(&s.name)) {
        let by_port = || {
            let own = bare_process(s, now).filter(|_| s.unit.is_none() && s.container.is_none());
            own.map(|pid| (pid, String::new()))
        };
        found.extend(contained(&s.container).or_else(by_port).map(|(pid, id)| (s.name.clone(), pid, id)));
    }
    let servers = config.postgres.iter().map(|p| (&p.name, &p.container));
    let redis = config.redis.iter().map(|r| (&r.name, &r.container));
    let ollama = config.ollama.iter().map(|o| (&o.name, &o.container));
    for (name, container) in servers.chain(redis).chain(ollama) {
        found.extend(contained(container).map(|(pid, id)| (name.clone(), pid, id)));
    }
    if found.is_empty() {
        return;
    }
    let proc = config.host.proc.clone();
    let look = move || {
        let of = |(name, pid, id): (String, u32, String)| {
            let its = |line: &str| id.is_empty() || is_group_of(line, &id);
            (name, host::memory::taken(&proc, Path::new(host::group::MOUNTED), pid, its))
        };
        Ok(found.into_iter().map(of).collect::<Vec<_>>())
    };
    if let Ok(all) = blocking(deadline, "processes", look).await {
        now.host.taken.extend(all);
    }
}

/// The same process and group a second time; `None` where it was not seen before.
pub async fn again(name: &str, now: &Snapshot, deadline: Instant) -> Option<Taken> {
    let pid = now.host.taken.get(name)?.process.seen()?.pid;
    let proc = now.config.host.proc.clone();
    let look = move || Ok(host::memory::taken(&proc, Path::new(host::group::MOUNTED), pid, |_| true));
    blocking(deadline, "processes", look).await.ok()
}
