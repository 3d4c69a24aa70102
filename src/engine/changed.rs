//! The third question: what was changed of late. Asked only where something is wrong, of the units and
//! servers that it is about and of those beside them; a healthy look pays nothing for it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::awaited::Awaited;
use super::diagnose::{detect, wrong};
use super::look::Looked;
use crate::config::Config;
use crate::diagnosis::needs;
use crate::probe::changes::{Asked, look};
use crate::probe::docker::Engine;
use crate::probe::{millis, timed};
use crate::snapshot::changes::Change;
use crate::snapshot::{FailKind, Failure, Look, Looks, Reading, Snapshot};

/// Files are there at once, or on something that hangs: then nobody waits for them.
const LONGEST: Duration = Duration::from_millis(400);
/// With less than this left nothing would come home.
const SHORTEST: Duration = Duration::from_millis(20);
/// Of more units than these: the servers', on which others hang, then those that are wrong.
const UNITS: usize = 32;

pub async fn ask(mut looks: Looks, awaited: &Awaited, deadline: Instant) -> Looked {
    let begun = Instant::now();
    if begun + SHORTEST > deadline {
        let late = Failure::new(FailKind::TimedOut, "no time was left to ask");
        looks.now.changes = Look { elapsed_ms: 0.0, reading: Reading::Failed(late) };
        return Looked { looks, found: None };
    }
    let found = detect(&looks);
    let wrong = wrong(&found);
    tracing::debug!(ms = millis(begun), wrong = wrong.len(), "what changed of late");
    if !wrong.is_empty() {
        let _guard = awaited.begin("what changed of late");
        let asked = asked(&wrong, &looks.now);
        let deadline = deadline.min(Instant::now() + LONGEST);
        let (proc, docker) = (looks.now.config.host.proc.clone(), looks.now.config.docker.host.clone());
        let ahead = clock(&looks.now);
        looks.now.changes = timed(async {
            let engine = contained(&docker, &asked, ahead, deadline);
            let (mut all, of_engine) = tokio::join!(look(&proc, asked.clone(), deadline), engine);
            match of_engine {
                Ok(more) => all.all.extend(more),
                Err(f) => all.missed.push(format!("containers: {}", f.detail)),
            }
            Ok(all)
        })
        .await;
    }
    Looked { looks, found: Some(found) }
}

/// The engine's clock, where a look has shown it: how far it is ahead.
fn clock(now: &Snapshot) -> Option<Option<f64>> {
    now.containers.values().find_map(|c| c.inspected.seen()).map(|c| c.clock_ahead_s)
}

async fn contained(
    docker: &str,
    asked: &Asked,
    ahead: Option<Option<f64>>,
    deadline: Instant,
) -> Result<Vec<Change>, Failure> {
    if asked.containers.is_empty() {
        return Ok(Vec::new());
    }
    let engine = Engine::at(docker)?;
    let ahead = match ahead {
        Some(known) => known,
        None => engine.ahead_s(deadline).await?,
    };
    engine.acts(&asked.containers, asked.since, ahead, deadline).await
}

fn asked(wrong: &HashSet<String>, now: &Snapshot) -> Asked {
    let config = &now.config;
    let here = |unit: &Option<String>| unit.clone().filter(|u| now.unit(u).is_some());
    let mut units: Vec<(String, String)> =
        named(config).filter_map(|(name, unit)| Some((name.to_owned(), here(unit)?))).collect();
    let near: HashSet<&str> =
        wrong.iter().flat_map(|w| needs(w, config)).chain(wrong.iter().map(String::as_str)).collect();
    units.sort_by_key(|(name, _)| {
        (config.service(name).is_some(), !wrong.contains(name), !near.contains(name.as_str()))
    });
    units.truncate(UNITS);
    let postgres = config.postgres.iter();
    let postgres = postgres.filter(|p| now.postgres.get(&p.name).is_some_and(|l| l.here == Some(true)));
    let deployed = config.service.iter().filter_map(|s| Some((s.name.clone(), s.deploy.clone()?)));
    let window = jiff::SignedDuration::try_from(config.thresholds.recent_change.0);
    let since = window.ok().and_then(|w| now.taken_at.checked_sub(w).ok());
    Asked {
        units,
        postgres: postgres.map(|p| (p.name.clone(), p.unit.clone(), p.data_directory.clone())).collect(),
        containers: containers(config),
        redis: config.redis.iter().filter_map(|r| Some((r.name.clone(), here(&r.unit)?))).collect(),
        deployments: deployed.take(UNITS).collect(),
        since: since.unwrap_or(now.taken_at),
    }
}

/// All that are configured: one question tells of them all.
fn containers(config: &Config) -> Vec<(String, String)> {
    let services = config.service.iter().map(|s| (&s.name, &s.container));
    let postgres = config.postgres.iter().map(|p| (&p.name, &p.container));
    let redis = config.redis.iter().map(|r| (&r.name, &r.container));
    let ollama = config.ollama.iter().map(|o| (&o.name, &o.container));
    let all = services.chain(postgres).chain(redis).chain(ollama);
    all.filter_map(|(name, container)| Some((name.clone(), container.clone()?))).take(UNITS).collect()
}

/// All that may have a unit.
fn named(config: &Config) -> impl Iterator<Item = (&str, &Option<String>)> {
    let services = config.service.iter().map(|s| (s.name.as_str(), &s.unit));
    let postgres = config.postgres.iter().map(|p| (p.name.as_str(), &p.unit));
    let poolers = config.pooler.iter().map(|p| (p.name.as_str(), &p.unit));
    let redis = config.redis.iter().map(|r| (r.name.as_str(), &r.unit));
    let ollama = config.ollama.iter().map(|o| (o.name.as_str(), &o.unit));
    services.chain(postgres).chain(poolers).chain(redis).chain(ollama)
}
