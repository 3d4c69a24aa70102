//! Which containers are looked at, and how closely: those that alone speak for a service in the first look,
//! those of what is wrong in the second.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::config::{Config, Service};
use crate::probe::docker::Engine;
use crate::probe::{blocking, host, timed};
use crate::snapshot::containers::{Container, ContainerLook};
use crate::snapshot::ollama::OllamaLook;
use crate::snapshot::redis::RedisLook;
use crate::snapshot::units::Journal;
use crate::snapshot::{FailKind, Look, Reading, Snapshot};

/// An engine answers one after another in the end: more at once only wait there.
pub const AT_ONCE: usize = 16;
/// So many are looked at closely; of more the cost would be felt.
const CLOSELY: usize = 32;

/// Of services of which no health answer tells.
pub fn alone(config: &Config) -> BTreeSet<String> {
    let silent = |s: &&Service| s.url.is_none() || s.health.is_none();
    config.service.iter().filter(silent).filter_map(|s| s.container.clone()).collect()
}

pub async fn inspect(host: &str, name: &str, gate: &Semaphore, deadline: Instant) -> Look<Container> {
    let permit = tokio::time::timeout_at(deadline.into(), gate.acquire()).await;
    let look = timed(async { Engine::at(host)?.inspect(name, deadline).await }).await;
    drop(permit);
    look
}

/// Those of what is wrong; all of them, for a preflight.
pub fn wrong(now: &Snapshot, config: &Config, servers: &[String], everything: bool) -> BTreeSet<String> {
    let services = config.service.iter().filter(|s| everything || super::closer::unwell(s, now));
    // Its engine may be another host's, and knows of it all the same.
    let mute = |name: &str| {
        let login = now.postgres.get(name).and_then(|p| p.login.failure());
        login.is_some_and(|f| f.postgres.is_none() && f.kind != FailKind::Denied)
    };
    let servers = config.postgres.iter().filter(|p| everything || servers.contains(&p.name) || mute(&p.name));
    let silent = |name: &str| now.redis.get(name).is_some_and(RedisLook::is_silent);
    let redis = config.redis.iter().filter(|r| everything || silent(&r.name));
    let silent = |name: &str| now.ollama.get(name).is_some_and(OllamaLook::is_silent);
    let ollama = config.ollama.iter().filter(|o| everything || silent(&o.name));
    services
        .filter_map(|s| s.container.clone())
        .chain(servers.filter_map(|p| p.container.clone()))
        .chain(redis.filter_map(|r| r.container.clone()))
        .chain(ollama.filter_map(|o| o.container.clone()))
        .collect()
}

/// Each with all that its engine has of it.
pub async fn look(
    names: BTreeSet<String>,
    config: &Config,
    deadline: Instant,
) -> Vec<(String, ContainerLook)> {
    let gate = Semaphore::new(AT_ONCE);
    join_all(names.into_iter().enumerate().map(|(i, name)| {
        let gate = &gate;
        async move {
            let inspected = inspect(&config.docker.host, &name, gate, deadline).await;
            let mut look = ContainerLook::unasked(inspected);
            if i < CLOSELY {
                closely(&name, &mut look, config, deadline).await;
            } else {
                look.journal = Look::not_asked("of many wrong containers a few were looked at closely");
            }
            (name, look)
        }
    }))
    .await
}

async fn closely(name: &str, look: &mut ContainerLook, config: &Config, deadline: Instant) {
    let Ok(engine) = Engine::at(&config.docker.host) else { return };
    if look.is_missing() {
        // A help only: that it could not be asked is no fact.
        look.similar = engine.similar(name, deadline).await.unwrap_or_default();
    }
    let Some(c) = look.inspected.seen() else { return };
    let process = async {
        if c.pid == 0 || !engine.is_here() {
            return Look::not_asked("it has no process here");
        }
        let (proc, pid, id) = (config.host.proc.clone(), c.pid, c.id.clone());
        timed(blocking(deadline, "/proc", move || host::container_process(&proc, pid, &id))).await
    };
    let tasks = async {
        if c.pid == 0 || !engine.is_here() {
            return Reading::not_asked("it has no process here");
        }
        let (proc, pid, id) = (config.host.proc.clone(), c.pid, c.id.clone());
        blocking(deadline, "/proc", move || host::container_tasks(&proc, pid, &id)).await.into()
    };
    let events = timed(engine.events(c, deadline));
    let (events, lines, process, tasks) = tokio::join!(events, engine.lines(&c.id, deadline), process, tasks);
    let (lines, log) = match lines {
        Ok(lines) => (lines.clone(), Reading::Seen { value: lines.len() }),
        Err(f) => (Vec::new(), Reading::Failed(f)),
    };
    let reading = match events.reading {
        Reading::Seen { value } => Reading::Seen { value: Journal { events: value, lines } },
        Reading::Failed(f) => Reading::Failed(f),
        Reading::NotAsked { why } => Reading::NotAsked { why },
    };
    look.journal = Look { elapsed_ms: events.elapsed_ms, reading };
    (look.log, look.process, look.tasks) = (log, process, tasks);
}
