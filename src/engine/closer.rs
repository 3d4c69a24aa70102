//! The second questions: only about what looked wrong, and only what a rule needs to tell causes
//! apart. A healthy stack is asked nothing here.

mod near;
mod network;
mod pool;
pub mod server;
mod slots;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::awaited::Awaited;
use super::containers;
use super::look::Depth;
use crate::config::{Config, Service};
use crate::probe::{blocking, host, listeners, systemd, timed};
use crate::scenario::is_shutting_down;
use crate::snapshot::containers::ContainerLook;
use crate::snapshot::host::Place;
use crate::snapshot::ollama::OllamaLook;
use crate::snapshot::process::Listener;
use crate::snapshot::redis::RedisLook;
use crate::snapshot::units::KernelAct;
use crate::snapshot::{FailKind, Look, Reading, Snapshot, no_listeners};

pub async fn ask(
    snapshot: &mut Snapshot,
    bus: Option<systemd::Bus>,
    awaited: &Awaited,
    deadline: Instant,
    depth: Depth,
) {
    let config = snapshot.config.clone();
    let everything = depth == Depth::Everything;
    let units = if everything { all_units(snapshot, &config) } else { wrong_units(snapshot, &config) };
    let postgres = wrong_postgres(snapshot);
    let pools = pool::unclear(snapshot, &config, everything);
    let doubtful = target::doubtful(snapshot, &config, everything);
    let shut = network::shut(snapshot);
    let servers = server::doubtful(snapshot, &config, &units, everything);
    let (ports, twice) = ports(snapshot, &config, everything);
    let slots = slots::closed(snapshot, &config);
    let asked: Vec<String> = servers.iter().map(|(p, _)| p.name.clone()).chain(postgres.clone()).collect();
    let containers = containers::wrong(snapshot, &config, &asked, everything);
    let wrong = !units.is_empty()
        || !containers.is_empty()
        || !servers.is_empty()
        || !ports.is_empty()
        || !slots.is_empty()
        || !shut.is_empty();
    if !wrong && pools.is_empty() && doubtful.is_empty() {
        return;
    }
    tracing::debug!(?units, ?postgres, ?pools, "closer look");
    let _guard = awaited.begin("a closer look at what is wrong");
    let bus = bus.as_ref();
    let down = !units.is_empty() || !containers.is_empty();
    let (units, left_out) = match depth {
        Depth::Wrong => near::first(units, snapshot, &config),
        Depth::Everything | Depth::Symptoms => (units.into_iter().collect(), Vec::new()),
    };
    near::not_asked(left_out, snapshot);
    let units = join_all(units.into_iter().map(|unit| one_unit(unit, bus, &config, deadline)));
    let hosts = join_all(postgres.into_iter().map(|name| {
        let folder = config.postgres(&name).and_then(|p| p.data_directory.clone());
        one_host(name, folder, &config, deadline)
    }));
    let pools = join_all(pools.into_iter().map(|asked| pool::largest(asked, bus, &config, deadline)));
    let targets = join_all(
        doubtful.into_iter().map(|(service, unit)| target::of_service(service, unit, bus, &config, deadline)),
    );
    let words = join_all(servers.into_iter().map(|(p, unit)| server::words(p, unit, &config, deadline)));
    let caches = join_all(caches(snapshot, &config).into_iter().map(|s| cache_places(s, &config, deadline)));
    let similar = similar(unknown_units(snapshot, &config), bus, deadline);
    let kernel = kernel(down, &config, deadline);
    let listeners = listeners(ports, twice, &config, deadline);
    // What comes after the others needs time, too, whatever an engine takes.
    let half = deadline.checked_sub(deadline.saturating_duration_since(Instant::now()) / 2);
    let containers = containers::look(containers, &config, half.unwrap_or(deadline));
    let slots = slots::look(slots, &config, deadline);
    let (units, hosts, words, pools, targets, kernel, listeners, similar, caches, containers, slots) = tokio::join!(
        units, hosts, words, pools, targets, kernel, listeners, similar, caches, containers, slots
    );
    for (name, reading) in slots {
        if let Some(p) = snapshot.postgres.get_mut(&name) {
            p.slots = reading;
        }
    }
    snapshot.host.places.extend(caches.into_iter().flatten());
    for (name, mut look) in containers {
        // What the first look saw stands, where the second one came to nothing.
        if let Some(before) = snapshot.containers.remove(&name)
            && look.inspected.seen().is_none()
            && !look.is_missing()
            && before.inspected.seen().is_some()
        {
            look.inspected = before.inspected;
        }
        snapshot.containers.insert(name, look);
    }
    snapshot.units.kernel = kernel;
    snapshot.units.similar = similar;
    snapshot.listeners = listeners;
    for (unit, looks) in units {
        snapshot.units.details.insert(unit.clone(), looks.detail);
        snapshot.units.journal.insert(unit.clone(), looks.journal);
        snapshot.units.process.insert(unit, looks.process);
    }
    for (name, pid_file, postmasters) in hosts {
        if let Some(p) = snapshot.postgres.get_mut(&name) {
            p.pid_file = pid_file;
            p.postmasters = postmasters;
        }
    }
    for w in words {
        snapshot.units.journal.extend(w.journal);
        snapshot.host.seen_again(&w.name, w.places, w.log);
    }
    for (service, reading) in pools {
        if let Some(s) = snapshot.services.get_mut(&service) {
            s.pool_max = reading;
        }
    }
    for (service, reading) in targets {
        if let Some(s) = snapshot.services.get_mut(&service) {
            s.targets = reading;
        }
    }
    super::memory::of_found(snapshot, deadline).await;
    target::look_there(snapshot, deadline).await;
    // Now it is known who listens: a port that is refused and open is shut by something between.
    let shut = network::shut(snapshot);
    if !shut.is_empty() || everything {
        network::look(shut, snapshot, deadline).await;
    }
}

/// The largest sizes of pools that leave them out: without these it can't be said how full they are.
pub async fn sizes(snapshot: &mut Snapshot, bus: Option<&systemd::Bus>, deadline: Instant) {
    let config = &snapshot.config;
    let asked = pool::unclear(snapshot, config, false);
    let all = join_all(asked.into_iter().map(|asked| pool::largest(asked, bus, config, deadline))).await;
    for (service, reading) in all {
        if let Some(s) = snapshot.services.get_mut(&service) {
            s.pool_max = reading;
        }
    }
}

/// Every configured unit that systemd knows.
fn all_units(now: &Snapshot, config: &Config) -> BTreeSet<String> {
    let configured = config.service.iter().filter_map(|s| s.unit.clone());
    configured
        .chain(config.postgres.iter().filter_map(|p| p.unit.clone()))
        .chain(config.redis.iter().filter_map(|r| r.unit.clone()))
        .chain(config.ollama.iter().filter_map(|o| o.unit.clone()))
        .filter(|u| now.unit(u).is_some())
        .collect()
}

/// Units of services and servers whose symptom is not good.
fn wrong_units(now: &Snapshot, config: &Config) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let listed = now.units.listed.seen();
    for s in &config.service {
        out.extend(s.unit.clone().filter(|_| unwell(s, now) || no_mcp(s, now)));
    }
    for name in wrong_postgres(now) {
        let configured = config.postgres(&name).and_then(|p| p.unit.clone());
        match configured {
            Some(unit) => out.extend([unit]),
            None => out.extend(
                listed.into_iter().flatten().map(|(n, _)| n).filter(|n| n.starts_with("postgresql")).cloned(),
            ),
        }
    }
    let silent = config.redis.iter().filter(|r| now.redis.get(&r.name).is_some_and(RedisLook::is_silent));
    out.extend(silent.filter_map(|r| r.unit.clone()));
    let silent = config.ollama.iter().filter(|o| now.ollama.get(&o.name).is_some_and(OllamaLook::is_silent));
    out.extend(silent.filter_map(|o| o.unit.clone()));
    // What systemd does not know has no details.
    out.retain(|u| listed.and_then(|l| l.get(u)).is_some_and(|u| u.load != "not-found"));
    out
}

/// By its health answer; where none is asked for, by its unit or container.
pub fn unwell(s: &Service, now: &Snapshot) -> bool {
    match now.services.get(&s.name).map(|l| &l.health.reading) {
        Some(Reading::Seen { value }) => value.is_bad(),
        Some(Reading::Failed(_)) => true,
        Some(Reading::NotAsked { .. }) | None => {
            let unit = || s.unit.as_deref().and_then(|u| now.unit(u)).is_some_and(|u| u.active != "active");
            let of_it = || s.container.as_deref().and_then(|name| now.containers.get(name));
            unit() || of_it().is_some_and(ContainerLook::is_wrong)
        }
    }
}

/// Its own last words may say why.
fn no_mcp(s: &Service, now: &Snapshot) -> bool {
    now.services.get(&s.name).and_then(|l| l.mcp.as_ref()).is_some_and(|m| m.looks_wrong())
}

/// Servers on this host whose login failed by other than their own word, or that are being shut down by that.
fn wrong_postgres(now: &Snapshot) -> Vec<String> {
    now.postgres
        .iter()
        .filter(|(_, p)| p.here == Some(true))
        .filter(|(_, p)| {
            is_shutting_down(p)
                || p.login.failure().is_some_and(|f| f.postgres.is_none() && f.kind != FailKind::Denied)
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// Units of services that are wrong, which systemd does not know.
fn unknown_units(now: &Snapshot, config: &Config) -> Vec<String> {
    let wrong = config.service.iter().filter(|s| unwell(s, now)).filter_map(|s| s.unit.clone());
    let listed = now.units.listed.seen();
    wrong.filter(|u| listed.and_then(|l| l.get(u)).is_some_and(|u| u.load == "not-found")).collect()
}

/// Services of this host that are wrong and keep files: no more of them than units are looked at closely.
fn caches(now: &Snapshot, config: &Config) -> Vec<Service> {
    let here = |s: &Service| s.unit.as_deref().is_some_and(|u| now.unit(u).is_some());
    let wrong = config.service.iter().filter(|s| !s.caches.is_empty() && here(s) && unwell(s, now));
    wrong.take(near::CLOSELY).cloned().collect()
}

async fn cache_places(s: Service, config: &Config, deadline: Instant) -> Vec<Place> {
    let proc = config.host.proc.clone();
    let look = move || Ok(host::disk::of_folders(&proc, &s.name, &s.caches));
    blocking(deadline, "this host", look).await.unwrap_or_default()
}

/// What these may have been meant to be. A help only: that it could not be asked is no fact.
async fn similar(
    names: Vec<String>,
    bus: Option<&systemd::Bus>,
    deadline: Instant,
) -> BTreeMap<String, Vec<String>> {
    let mut out = BTreeMap::new();
    let Some(bus) = bus else { return out };
    // For a thousand that are missing the first few say it as well.
    for name in names.into_iter().take(8) {
        if let Ok(near) = bus.similar(&name, deadline).await {
            out.insert(name, near);
        }
    }
    out
}

/// The ports of services that are wrong: one pass finds the listeners of all. And whether one of them
/// keeps silent: then what does not move is told by a second look.
fn ports(now: &Snapshot, config: &Config, everything: bool) -> (BTreeSet<u16>, bool) {
    let wrong = || config.service.iter().filter(|s| everything || unwell(s, now));
    let ports = wrong().filter_map(Service::address).map(|(_, port)| port).collect();
    let silent = |s: &Service| {
        let look = now.services.get(&s.name);
        look.and_then(|l| l.health.failure()).is_some_and(|f| f.kind == FailKind::TimedOut)
    };
    (ports, wrong().any(silent))
}

/// Between two looks at what should move.
const PAUSE: Duration = Duration::from_millis(300);

async fn listeners(
    ports: BTreeSet<u16>,
    twice: bool,
    config: &Config,
    deadline: Instant,
) -> Look<Vec<Listener>> {
    if ports.is_empty() {
        return no_listeners();
    }
    let (proc, pause) = (config.host.proc.clone(), twice.then_some(PAUSE));
    timed(blocking(deadline, "sockets", move || listeners::at(&proc, &ports, pause))).await
}

async fn kernel(asked: bool, config: &Config, deadline: Instant) -> Look<Vec<KernelAct>> {
    if !asked {
        return Look::not_asked("no unit looked wrong");
    }
    timed(systemd::kernel(config.systemd.journal.as_deref(), deadline)).await
}

struct UnitLooks {
    detail: Look<crate::snapshot::units::UnitDetail>,
    journal: Look<crate::snapshot::units::Journal>,
    process: Look<crate::snapshot::units::Process>,
}

async fn one_unit(
    unit: String,
    bus: Option<&systemd::Bus>,
    config: &Config,
    deadline: Instant,
) -> (String, UnitLooks) {
    let journal = timed(systemd::journal(&unit, config.systemd.journal.as_deref(), deadline));
    let bus_side = async {
        let Some(bus) = bus else {
            return (Look::not_asked("no system bus"), Look::not_asked("no system bus"));
        };
        let detail = timed(bus.detail(&unit, deadline)).await;
        let process = match detail.seen().filter(|d| d.main_pid > 0) {
            None => Look::not_asked("no main process is known"),
            Some(d) => {
                let (proc, pid, group) = (config.host.proc.clone(), d.main_pid, d.control_group.clone());
                timed(blocking(deadline, "/proc", move || host::process(&proc, pid, &group))).await
            }
        };
        (detail, process)
    };
    let (journal, (detail, process)) = tokio::join!(journal, bus_side);
    (unit, UnitLooks { detail, journal, process })
}

type HostLooks = (
    String,
    Reading<crate::snapshot::postgres::PidFile>,
    Reading<Vec<crate::snapshot::postgres::Postmaster>>,
);

async fn one_host(name: String, folder: Option<String>, config: &Config, deadline: Instant) -> HostLooks {
    let proc = config.host.proc.clone();
    let postmasters = blocking(deadline, "/proc", move || host::postmasters(&proc));
    let pid_file = async {
        match folder {
            None => Reading::not_asked("no data_directory is configured"),
            Some(folder) => {
                blocking(deadline, "postmaster.pid", move || host::pid_file(&folder)).await.into()
            }
        }
    };
    let (postmasters, pid_file) = tokio::join!(postmasters, pid_file);
    (name, pid_file, postmasters.into())
}
