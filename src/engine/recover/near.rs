//! What a plan needs to know beyond a diagnosis: our own drop-ins, which runs of units these are, and which
//! resize interfaces answer.
//! All at once, each by the deadline; it changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;
use jiff::Timestamp;

use super::choose::Request;
use super::disk;
use crate::action::{aside, connections_written as written, drop_in, listens_at, ours};
use crate::config::{Config, Loaded, Postgres, Service};
use crate::diagnosis::Diagnosis;
use crate::engine::closer::server;
use crate::incident::{Incident, Store};
use crate::plan::{Act, Aside, Ask, Chore, ConnectionsState, Former, IndexState, Near, Written};
use crate::probe::{blocking, host, http, postgres, systemd};
use crate::scenario;
use crate::snapshot::postgres::Session;
use crate::snapshot::process::Occupied;
use crate::snapshot::units::Unit;
use crate::snapshot::{FailKind, Failure, Looks};

/// Of 128 that a bus takes.
const AT_ONCE: usize = 32;

pub async fn near(loaded: &Loaded, ask: &Ask, store: &Store, deadline: Instant) -> Near {
    let config = &loaded.config;
    let pools = || config.service.iter().filter(|s| s.pool.is_some());
    let of = async |s: &Service, unit: &String| {
        let found = drop_in(unit, config, deadline).await;
        // What is not ours is not shown in a plan, nor kept in a journal: it may be a secret.
        let found = found.and_then(|text| text.as_ref().map_or(Ok(()), |t| ours(t, s)).map(|()| text));
        (unit.clone(), found)
    };
    let placed = || config.service.iter().filter_map(|s| Some((s, s.unit.as_ref()?)));
    let drop_ins = join_all(placed().map(|(s, unit)| of(s, unit)));
    let resizable =
        join_all(pools().map(async |s| answers(s, loaded, deadline).await.then(|| s.name.clone())));
    let units: Vec<&str> = placed().map(|(_, unit)| unit.as_str()).collect();
    let limited: &[&str] = if ask.memory_max.is_some() { &units } else { &[] };
    let names: Vec<&str> = ask.env.iter().map(|(name, _)| name.as_str()).collect();
    let told: &[&str] = if names.is_empty() { &[] } else { &units };
    let (drop_ins, resizable, runs, memory, nr_open, environment) = tokio::join!(
        drop_ins,
        resizable,
        runs(&units, config, deadline),
        memory(limited, config, deadline),
        nr_open(config, deadline),
        environment(told, &names, config, deadline)
    );
    let drop_ins = drop_ins.into_iter().collect();
    let (former, written) = before(&drop_ins, store).await;
    Near {
        former,
        written,
        drop_ins,
        runs,
        resizable: resizable.into_iter().flatten().collect(),
        memory,
        nr_open,
        environment,
        ..Near::default()
    }
}

/// Of drop-ins that stand there, by the journals of late: what each was before a run of ours that stands. Apart,
/// those of runs that did not come to their end.
async fn before(
    drop_ins: &Texts,
    store: &Store,
) -> (BTreeMap<String, Option<String>>, BTreeMap<String, Written>) {
    let (mut former, mut written) = (BTreeMap::new(), BTreeMap::new());
    let stands = |d: &&Result<Option<String>, String>| matches!(d, Ok(Some(_)));
    if !drop_ins.values().any(|d| stands(&d)) {
        return (former, written);
    }
    let incidents = disk::of_late(store).await.unwrap_or_default();
    let standing =
        |i: &Incident| i.standing().into_iter().map(|open| (i.is_open(), open)).collect::<Vec<_>>();
    for (is_open, open) in incidents.iter().filter(|i| i.is_ours()).flat_map(standing) {
        if let Act::DropIn { unit, from, to } = open.act
            && drop_ins.get(&unit) == Some(&Ok(to.clone()))
            && from != to
        {
            if is_open {
                former.insert(unit.clone(), from.clone());
            }
            written.insert(unit, Written { from, at: open.at });
        }
    }
    (former, written)
}

type Texts = BTreeMap<String, Result<Option<String>, String>>;

/// Of servers whose slots are short, all sessions. Behind the look: where one slot is left, it was taken.
/// So too where some are to be ended.
pub async fn sessions(loaded: &Loaded, d: &Diagnosis, request: &Request) -> BTreeMap<String, Vec<Session>> {
    let short = d.findings.iter().filter(|f| f.cause == SLOTS && f.is_root()).map(|f| &f.subject);
    let named = request.services.iter().filter(|_| !request.ask.kill.is_empty());
    let asked = |p: &&Postgres| request.services.is_empty() || request.services.contains(&p.name);
    let aged = loaded.config.postgres.iter().filter(|_| request.ask.ages.any()).filter(asked);
    let servers: BTreeSet<&String> = short.chain(named).chain(aged.map(|p| &p.name)).collect();
    let ask = async |name: &String| {
        let (p, end) = (loaded.config.postgres(name)?, Instant::now() + SESSIONS);
        loop {
            match postgres::who(p, loaded.secrets.postgres(name), end).await {
                Ok(who) => return Some((name.clone(), who.sessions)),
                Err(f) if f.postgres.as_ref().is_some_and(|e| e.sqlstate == "53300") => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(_) => return None,
            }
            if Instant::now() >= end {
                return None;
            }
        }
    };
    join_all(servers.into_iter().map(ask)).await.into_iter().flatten().collect()
}

/// Who listens at the ports that are to be freed.
pub async fn occupied(
    loaded: &Loaded,
    d: &Diagnosis,
    request: &Request,
) -> BTreeMap<String, Result<Occupied, String>> {
    let asked = request.ask.free_port.is_some();
    let taken = d.findings.iter().filter(|f| asked && f.cause == PORT).map(|f| &f.subject);
    let services: BTreeSet<&String> = taken.collect();
    let look = async |name: &String| {
        let s = loaded.config.service(name)?;
        Some((name.clone(), listens_at(s, &loaded.config, Instant::now() + SESSIONS).await))
    };
    join_all(services.into_iter().map(look)).await.into_iter().flatten().collect()
}

/// Of servers that shall take more connections: how many these are, and the run of their unit.
pub async fn connections(
    loaded: &Loaded,
    looks: &Looks,
    request: &Request,
    store: &Store,
) -> (BTreeMap<String, Result<ConnectionsState, String>>, BTreeMap<String, String>) {
    let (config, end) = (&loaded.config, Instant::now() + SESSIONS);
    let named = |p: &&Postgres| request.services.is_empty() || request.services.contains(&p.name);
    let all = config.postgres.iter().filter(|_| request.ask.max_connections.is_some()).filter(named);
    let ask = async |p: &Postgres| {
        let seen = state(p, loaded, end).await;
        let (own, proc) = (p.clone(), config.host.proc.clone());
        let find = move || Ok(own.data_directory.clone().or_else(|| server::folder(&proc, &own)));
        let folder = blocking(end, "its data directory", find).await.ok().flatten();
        let seen = match (seen, folder) {
            (Err(f), _) => Err(f.detail),
            (_, None) => Err("its data directory on this host is not known (`data_directory`)".into()),
            (Ok(state), _) if state.data_directory.is_empty() => Err(format!(
                "where it keeps its data is not shown (GRANT pg_read_all_settings TO {})",
                p.url.user
            )),
            // A lone cluster of this host may have its port, and be another.
            (Ok(state), Some(folder))
                if state.data_directory.trim_end_matches('/') != folder.trim_end_matches('/') =>
            {
                Err(format!("it keeps its data in {}, and here that is {folder}", state.data_directory))
            }
            (Ok(mut state), Some(folder)) => written(&folder, config, end).await.map(|is| {
                state.written = is;
                state
            }),
        };
        (p.name.clone(), seen)
    };
    let ours = match request.ask.max_connections {
        Some(_) => disk::of_late(store).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let units: Vec<&str> = all.clone().filter_map(|p| scenario::own_unit(p, &looks.now)).collect();
    let (seen, runs) = tokio::join!(join_all(all.clone().map(ask)), runs(&units, config, end));
    // That its folder is this server's says nothing of the unit.
    let seat = async |p: &Postgres, folder: &str| {
        let unit = scenario::own_unit(p, &looks.now)?;
        let (bus, _) = bus_of(&[unit], config, end).await.ok()?;
        let (main, _) = bus.seat(unit, end).await.ok()?;
        let path = host::rooted(&config.host.proc, folder);
        let read = move || host::pid_file(&path.to_string_lossy());
        let file = blocking(end, "its pid file", read).await.ok()?;
        (file.pid == main).then_some(())
    };
    let mut seen: BTreeMap<String, Result<ConnectionsState, String>> = seen.into_iter().collect();
    for p in all {
        if let Some(Ok(state)) = seen.get(&p.name)
            && seat(p, &state.data_directory).await.is_none()
        {
            let why = "which unit it is the main process of could not be seen".to_owned();
            seen.insert(p.name.clone(), Err(why));
        }
    }
    for open in ours.iter().filter(|i| i.is_open() && i.is_ours()).flat_map(|i| i.standing()) {
        if let Act::Connections(c) = open.act
            && let Some(Ok(state)) = seen.get_mut(&c.server)
            && c.to == state.written
            && c.to.is_some()
            && state.written != Some(state.running)
        {
            state.before_ours = Some(Former(c.from));
        }
    }
    (seen, runs)
}

/// By two logins, one after the other; slots may be short.
async fn state(p: &Postgres, loaded: &Loaded, end: Instant) -> Result<ConnectionsState, Failure> {
    let password = loaded.secrets.postgres(&p.name);
    let full = |f: &Failure| f.postgres.as_ref().is_some_and(|e| e.sqlstate == "53300");
    loop {
        let seen = async {
            let mut state = postgres::connections(p, password, end).await?;
            let pending: Vec<String> = state
                .pending
                .take()
                .into_iter()
                .chain(postgres::not_taken(p, password, end).await?)
                .collect();
            state.pending = (!pending.is_empty()).then(|| pending.join(", "));
            Ok(state)
        };
        match seen.await {
            Err(f) if full(&f) && Instant::now() + AGAIN < end => tokio::time::sleep(AGAIN).await,
            other => return other,
        }
    }
}

/// The caches that are to be set aside, as they stand.
pub async fn asides(loaded: &Loaded, d: &Diagnosis) -> BTreeMap<String, Result<Option<Aside>, String>> {
    let broken = d.findings.iter().filter_map(|f| Some((&f.subject, f.remedy.aside.as_deref()?)));
    let look = async |(name, folder): (&String, &str)| {
        let end = Instant::now() + SESSIONS;
        let seen = match elsewhere(name, folder, &loaded.config, end).await {
            Some(why) => Err(why),
            None => aside(folder, &loaded.config, end).await,
        };
        (name.clone(), seen)
    };
    join_all(broken.map(look)).await.into_iter().collect()
}

/// Why a folder of this name is not the unit's: with `PrivateTmp=` that is another, which nobody sees from here.
pub(super) async fn elsewhere(
    service: &str,
    folder: &str,
    config: &Config,
    deadline: Instant,
) -> Option<String> {
    if !["/tmp", "/var/tmp"].iter().any(|tmp| Path::new(folder).starts_with(tmp)) {
        return None;
    }
    let unit = config.service(service)?.unit.as_deref()?;
    let asked = async { bus_of(&[unit], config, deadline).await?.0.has_own_tmp(unit, deadline).await };
    match asked.await {
        Ok(false) => None,
        Ok(true) => Some(format!("with PrivateTmp= the {folder} of {unit} is another than the machine's")),
        Err(f) => Some(format!("whether {folder} is that of {unit} could not be seen: {}", f.detail)),
    }
}

/// Of servers that have indexes to build or drop: these.
pub async fn indexes(loaded: &Loaded, d: &Diagnosis) -> BTreeMap<String, Vec<IndexState>> {
    let about = d.findings.iter().filter_map(|f| match f.cause.as_str() {
        INVALID => Some((&f.subject, None)),
        DAMAGED => Some((&f.subject, scenario::damaged_index(f))),
        _ => None,
    });
    let ask = async |(name, index): (&String, Option<&str>)| {
        let p = loaded.config.postgres(name)?;
        let seen =
            postgres::indexes(p, loaded.secrets.postgres(name), index, Instant::now() + SESSIONS).await;
        Some((name.clone(), seen.ok()?))
    };
    let mut all: BTreeMap<String, Vec<IndexState>> = BTreeMap::new();
    for (name, found) in join_all(about.map(ask)).await.into_iter().flatten() {
        let of = all.entry(name).or_default();
        for i in found {
            // Both looks see those that are not valid.
            if !of.iter().any(|o| o.schema == i.schema && o.name == i.name) {
                of.push(i);
            }
        }
    }
    all
}

/// Of servers that have a damaged one: which were built anew by a run of ours of late, and when.
pub async fn rebuilt(d: &Diagnosis, store: &Store) -> BTreeMap<String, BTreeMap<String, Timestamp>> {
    let mut all: BTreeMap<String, BTreeMap<String, Timestamp>> = BTreeMap::new();
    if !d.findings.iter().any(|f| f.cause == DAMAGED) {
        return all;
    }
    let incidents = disk::of_late(store).await.unwrap_or_default();
    for (act, at) in incidents.iter().flat_map(|i| i.done()) {
        if let Act::Upkeep(u) = act
            && u.chore == Chore::Reindex
        {
            let last = all.entry(u.server.clone()).or_default().entry(u.name.clone()).or_insert(at);
            *last = at.max(*last);
        }
    }
    all
}

const INVALID: &str = "latency/invalid-index";
const DAMAGED: &str = "db-down/index-corrupt";
const PORT: &str = "server-crash/port-conflict";
const SLOTS: &str = "pool-exhausted/server-slots-full";
const SESSIONS: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

/// A bus that knows these units, and what it says of them. Of none nothing is asked.
pub(super) async fn bus_of(
    units: &[&str],
    config: &Config,
    deadline: Instant,
) -> Result<(systemd::Bus, BTreeMap<String, Unit>), Failure> {
    if units.is_empty() {
        return Err(Failure::new(FailKind::NotTried, "no unit is named"));
    }
    let mut bus = systemd::Bus::connect(&config.systemd.bus, deadline).await?;
    let listed = bus.list(units, &[], deadline).await?;
    Ok((bus, listed))
}

/// What could not be seen is missing: then nothing is restarted.
pub(super) async fn runs(units: &[&str], config: &Config, deadline: Instant) -> BTreeMap<String, String> {
    let Ok((bus, listed)) = bus_of(units, config, deadline).await else { return BTreeMap::new() };
    let bus = &bus;
    let run = |unit: String| async move { Some((unit.clone(), bus.run(&unit, deadline).await.ok()??)) };
    let active = listed.into_iter().filter(|(_, u)| u.active == "active").map(|(unit, _)| run(unit));
    let all: Vec<Option<(String, String)>> = iter(active).buffer_unordered(AT_ONCE).collect().await;
    all.into_iter().flatten().collect()
}

async fn memory(units: &[&str], config: &Config, deadline: Instant) -> BTreeMap<String, Option<u64>> {
    let mut all = BTreeMap::new();
    let Ok((bus, _)) = bus_of(units, config, deadline).await else { return all };
    for unit in units {
        if let Ok(limit) = bus.limit(unit, "MemoryMax", deadline).await {
            all.insert((*unit).to_owned(), limit);
        }
    }
    all
}

/// Of each one's process, the variables that are asked for.
async fn environment(
    units: &[&str],
    names: &[&str],
    config: &Config,
    deadline: Instant,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let Ok((bus, _)) = bus_of(units, config, deadline).await else { return all };
    for unit in units {
        let Ok((pid, group)) = bus.seat(unit, deadline).await else { continue };
        let (proc, names) =
            (config.host.proc.clone(), names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        let read = move || {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            host::variables(&proc, pid, &group, &names)
        };
        if let Ok(found) = blocking(deadline, "/proc", read).await {
            all.insert((*unit).to_owned(), found);
        }
    }
    all
}

async fn nr_open(config: &Config, deadline: Instant) -> Option<u64> {
    let file = std::path::Path::new(&config.host.proc).join("sys/fs/nr_open");
    let read = move || Ok(std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok()));
    blocking(deadline, "fs.nr_open", read).await.ok().flatten()
}

/// There is something at that path: a GET of what takes only a POST gets 405, and a path that is not
/// there 404 (errata 35).
async fn answers(s: &Service, loaded: &Loaded, deadline: Instant) -> bool {
    let Some((base, path)) = s.url.as_ref().zip(s.pool.as_ref().and_then(|p| p.resize.as_ref())) else {
        return false;
    };
    let url = format!("{base}{path}");
    let Ok(client) = http::client_for(&url, s.ca_file.as_deref(), deadline).await else { return false };
    let answer = http::get(&client, &url, loaded.secrets.headers(&s.name), deadline).await;
    answer.is_ok_and(|a| a.status == 405)
}
