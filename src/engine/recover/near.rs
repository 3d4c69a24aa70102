//! What a plan needs to know beyond a diagnosis: our own drop-ins, which runs of units these are, and which
//! resize interfaces answer.
//! All at once, each by the deadline; it changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;

use super::choose::Request;
use super::disk;
use crate::action::{drop_in, ours};
use crate::config::{Config, Loaded, Service};
use crate::diagnosis::Diagnosis;
use crate::incident::Store;
use crate::plan::{Act, IndexState, Near};
use crate::probe::{http, postgres, systemd};
use crate::scenario;
use crate::snapshot::postgres::Session;

/// Of 128 that a bus takes.
const AT_ONCE: usize = 32;

pub async fn near(loaded: &Loaded, store: &Store, deadline: Instant) -> Near {
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
    let (drop_ins, resizable, runs) = tokio::join!(drop_ins, resizable, runs(&units, config, deadline));
    let drop_ins = drop_ins.into_iter().collect();
    Near {
        former: former(&drop_ins, store).await,
        drop_ins,
        runs,
        resizable: resizable.into_iter().flatten().collect(),
        ..Near::default()
    }
}

/// Of drop-ins that stand there, by the journals of today: what each was before a run of ours that stands.
async fn former(drop_ins: &Texts, store: &Store) -> BTreeMap<String, Option<String>> {
    let written = |d: &&Result<Option<String>, String>| matches!(d, Ok(Some(_)));
    if !drop_ins.values().any(|d| written(&d)) {
        return BTreeMap::new();
    }
    let incidents = disk::of_late(store).await.unwrap_or_default();
    let mut all = BTreeMap::new();
    for open in incidents.iter().filter(|i| i.is_open() && i.is_ours()).flat_map(|i| i.standing()) {
        if let Act::DropIn { unit, from, to } = open.act
            && drop_ins.get(&unit) == Some(&Ok(to.clone()))
            && from != to
        {
            all.insert(unit, from);
        }
    }
    all
}

type Texts = BTreeMap<String, Result<Option<String>, String>>;

/// Of servers whose slots are short, all sessions. Behind the look: where one slot is left, it was taken.
/// So too where some are to be ended.
pub async fn sessions(loaded: &Loaded, d: &Diagnosis, request: &Request) -> BTreeMap<String, Vec<Session>> {
    let short = d.findings.iter().filter(|f| f.cause == SLOTS && f.is_root()).map(|f| &f.subject);
    let named = request.services.iter().filter(|_| !request.ask.kill.is_empty());
    let servers: BTreeSet<&String> = short.chain(named).collect();
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

const INVALID: &str = "latency/invalid-index";
const DAMAGED: &str = "db-down/index-corrupt";
const SLOTS: &str = "pool-exhausted/server-slots-full";
const SESSIONS: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

/// What could not be seen is missing: then nothing is restarted.
pub(super) async fn runs(units: &[&str], config: &Config, deadline: Instant) -> BTreeMap<String, String> {
    if units.is_empty() {
        return BTreeMap::new();
    }
    let Ok(mut bus) = systemd::Bus::connect(&config.systemd.bus, deadline).await else {
        return BTreeMap::new();
    };
    let listed = bus.list(units, &[], deadline).await.unwrap_or_default();
    let bus = &bus;
    let run = |unit: String| async move { Some((unit.clone(), bus.run(&unit, deadline).await.ok()??)) };
    let active = listed.into_iter().filter(|(_, u)| u.active == "active").map(|(unit, _)| run(unit));
    let all: Vec<Option<(String, String)>> = iter(active).buffer_unordered(AT_ONCE).collect().await;
    all.into_iter().flatten().collect()
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
