//! A second reading, a known while after the first: only of what a rule needs one of, and only where
//! something looks as if it were so. A healthy look waits for nothing here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::awaited::Awaited;
use super::level;
use super::load;
use super::look::Plan;
use super::memory;
use crate::config::Loaded;
use crate::probe::{health, metrics, ollama, postgres, redis, timed};
use crate::scenario;
use crate::snapshot::memory::HostMemory;
use crate::snapshot::metrics::Metrics;
use crate::snapshot::ollama::OllamaLook;
use crate::snapshot::redis::RedisLook;
use crate::snapshot::service::{Health, LogLevel};
use crate::snapshot::work::Work;
use crate::snapshot::{Again, FailKind, Look, Looks, Reading, Snapshot};

/// Between two readings. That of the first look is the first of what it has read already: it counts from
/// there, but for so much of it at most; what is older is read anew, or rates would be of different times.
const INTERVAL: Duration = Duration::from_secs(1);
const OF_THE_FIRST: Duration = Duration::from_millis(100);
const FRESH: Duration = Duration::from_millis(250);
/// How often it is made longer where too little was counted.
const MORE: u32 = 4;
/// What comes in a shorter time than this has no rate that means anything.
const SHORTEST: Duration = Duration::from_millis(250);
/// Kept for the second reading itself, and for what comes after it.
const RESERVE: Duration = Duration::from_millis(400);

/// What came of one reading.
enum Taken {
    Health(String, Look<Health>),
    Metrics(String, Look<Metrics>),
    Work(String, Look<Work>),
    Redis(String, Box<RedisLook>),
    Ollama(String, OllamaLook),
    Level(String, Reading<LogLevel>),
    Memory(Box<Reading<HostMemory>>),
    Of(String, Box<memory::Taken>),
    Load(Box<load::Loads>),
}

/// Where there is an earlier look already, what is wanted is only read once, to stand beside it.
/// `start` is when the first look began.
pub async fn ask(
    mut looks: Looks,
    loaded: &Loaded,
    awaited: &Awaited,
    (start, end): (Instant, Instant),
    plan: &Plan,
) -> Looks {
    let wanted = scenario::again(&looks, &loaded.config, &plan.asked);
    if wanted.is_empty() {
        return looks;
    }
    let begun = Instant::now();
    let left = end.saturating_duration_since(begun);
    let due = (start + INTERVAL).max(begun + INTERVAL - OF_THE_FIRST);
    let wait = due.saturating_duration_since(begun).min(left.saturating_sub(RESERVE));
    let mut ready = Vec::new();
    if looks.before.is_none() && !plan.quick {
        if wait < SHORTEST {
            tracing::debug!(?wanted, "no time was left for a second reading");
            return looks;
        }
        let _guard = awaited.begin(format!("a second reading, {:.1} s after the first", wait.as_secs_f64()));
        let mut before = looks.now.clone();
        let due = begun + wait;
        let fresh = begun.saturating_duration_since(start) < FRESH;
        let is_missing = |w: &&Again| !(fresh && is_read(w, &looks.now));
        let first: Vec<Again> = wanted.iter().filter(is_missing).cloned().collect();
        put(&mut before, read(&first, loaded, &looks.now, Vec::new(), due).await);
        // What is no rate is read once.
        for (name, s) in &before.services {
            if let Some(own) = looks.now.services.get_mut(name) {
                own.log_level.clone_from(&s.log_level);
            }
        }
        ready = ready_to_ask(&wanted, loaded, due).await;
        tokio::time::sleep_until(due.into()).await;
        looks.before = Some(before);
    }
    let rates: Vec<Again> = wanted.iter().filter(|w| !is_known(w, &looks.now)).cloned().collect();
    let taken = read(&rates, loaded, &looks.now, ready, end).await;
    if let Some(before) = looks.before.as_mut().filter(|_| plan.before.is_none()) {
        forget(before, &taken);
    }
    put(&mut looks.now, taken);
    // Requests that take long end seldom, and pages come in bursts: so short a time may not tell.
    let mut more = MORE;
    while more > 0 && !plan.quick && scenario::undecided(&looks, &loaded.config) {
        let next = Instant::now() + INTERVAL;
        if next + RESERVE * 2 > end {
            break;
        }
        let _guard = awaited.begin("another reading, since one second did not tell");
        tokio::time::sleep_until(next.into()).await;
        let taken = read(&rates, loaded, &looks.now, Vec::new(), end).await;
        put(&mut looks.now, taken);
        more -= 1;
    }
    tracing::debug!(?wanted, ms = crate::probe::millis(begun), "read again");
    looks
}

/// The first look has read it, as all that come after: that is the first reading.
fn is_read(what: &Again, now: &Snapshot) -> bool {
    match what {
        Again::Health(name) => now.services.get(name).is_some_and(|s| s.health.seen().is_some()),
        Again::Metrics(name) => {
            now.services.get(name).and_then(|s| s.metrics.as_ref()).is_some_and(|m| m.seen().is_some())
        }
        Again::Ollama(name) => now.ollama.get(name).is_some_and(|o| o.models.seen().is_some()),
        Again::Memory => now.host.memory.seen().is_some(),
        Again::Taken(name) => now.host.taken.get(name).is_some_and(|t| t.process.seen().is_some()),
        Again::Work(_) | Again::Redis(_) | Again::Level(_) | Again::Load(_) => false,
    }
}

/// It is no rate, and was read.
fn is_known(what: &Again, now: &Snapshot) -> bool {
    match what {
        Again::Level(name) => {
            let level = now.services.get(name).and_then(|s| s.log_level.as_ref());
            level.is_some_and(|l| l.seen().is_some())
        }
        _ => false,
    }
}

/// Sessions for the second reading, made while there is time: a login takes longer than the answer.
async fn ready_to_ask(wanted: &[Again], loaded: &Loaded, due: Instant) -> Vec<(String, postgres::Ready)> {
    let names = wanted.iter().filter_map(|what| match what {
        Again::Work(name) => Some(name),
        _ => None,
    });
    let one = |name: &String| {
        let (p, password) = (loaded.config.postgres(name), loaded.secrets.postgres(name));
        let name = name.clone();
        async move { Some((name, postgres::ready(p?, password, due).await.ok()?)) }
    };
    join_all(names.map(one)).await.into_iter().flatten().collect()
}

/// Who is not `ready` logs in now.
async fn read(
    wanted: &[Again],
    loaded: &Loaded,
    now: &Snapshot,
    ready: Vec<(String, postgres::Ready)>,
    deadline: Instant,
) -> Vec<Taken> {
    let mut ready: BTreeMap<String, postgres::Ready> = ready.into_iter().collect();
    let own = |what: &Again| match what {
        Again::Work(name) => ready.remove(name),
        _ => None,
    };
    let all: Vec<Option<postgres::Ready>> = wanted.iter().map(own).collect();
    let timed = |(what, ready)| async move {
        let begun = Instant::now();
        let taken = one(what, ready, loaded, now, deadline).await;
        tracing::debug!(?what, ms = crate::probe::millis(begun), "one reading more");
        taken
    };
    join_all(wanted.iter().zip(all).map(timed)).await.into_iter().flatten().collect()
}

async fn one(
    what: &Again,
    ready: Option<postgres::Ready>,
    loaded: &Loaded,
    now: &Snapshot,
    deadline: Instant,
) -> Option<Taken> {
    let config = &loaded.config;
    Some(match what {
        Again::Health(name) => {
            let look = timed(health::look(config.service(name)?, loaded.secrets.headers(name), deadline));
            Taken::Health(name.clone(), look.await)
        }
        Again::Metrics(name) => {
            let look = timed(metrics::look(config.service(name)?, loaded.secrets.headers(name), deadline));
            Taken::Metrics(name.clone(), look.await)
        }
        Again::Work(name) => {
            let (p, password) = (config.postgres(name)?, loaded.secrets.postgres(name));
            let look = async {
                match ready {
                    // What was cut off meanwhile is no word of the server's.
                    Some(ready) => match ready.ask(deadline).await {
                        Err(f) if f.kind == FailKind::Closed => postgres::work(p, password, deadline).await,
                        answer => answer,
                    },
                    None => postgres::work(p, password, deadline).await,
                }
            };
            Taken::Work(name.clone(), timed(look).await)
        }
        Again::Redis(name) => {
            let look = redis::totals(config.redis(name)?, loaded.secrets.redis(name), deadline).await;
            Taken::Redis(name.clone(), Box::new(look))
        }
        Again::Ollama(name) => {
            Taken::Ollama(name.clone(), ollama::look(config.ollama(name)?, deadline).await)
        }
        Again::Level(name) => {
            let unit = config.service(name)?.unit.as_ref()?;
            Taken::Level(name.clone(), level::of(unit, config, deadline).await)
        }
        Again::Memory => Taken::Memory(Box::new(memory::of_host(config.host.proc.clone(), deadline).await)),
        Again::Load(names) => Taken::Load(Box::new(load::of(names, now, deadline).await)),
        Again::Taken(name) => Taken::Of(name.clone(), Box::new(memory::again(name, now, deadline).await?)),
    })
}

/// What could not be read a second time was read once: that is no reading before another.
fn forget(before: &mut Snapshot, taken: &[Taken]) {
    const WHY: &str = "no second reading";
    for taken in taken {
        match taken {
            Taken::Health(name, look) if look.seen().is_none() => {
                if let Some(s) = before.services.get_mut(name) {
                    s.health = Look::not_asked(WHY);
                }
            }
            Taken::Metrics(name, look) if look.seen().is_none() => {
                if let Some(s) = before.services.get_mut(name) {
                    s.metrics = None;
                }
            }
            Taken::Ollama(name, look) if look.models.seen().is_none() => {
                before.ollama.remove(name);
            }
            Taken::Memory(memory) if memory.seen().is_none() => {
                before.host.memory = Reading::not_asked(WHY);
            }
            Taken::Of(name, taken) if taken.process.seen().is_none() => {
                before.host.taken.remove(name);
            }
            _ => {}
        }
    }
}

/// What could not be read a second time leaves what was seen before: it makes nothing worse.
fn put(snapshot: &mut Snapshot, all: Vec<Taken>) {
    for taken in all {
        match taken {
            Taken::Health(name, look) => {
                if let Some(s) = snapshot.services.get_mut(&name).filter(|_| look.seen().is_some()) {
                    s.health = look;
                }
            }
            Taken::Metrics(name, look) => {
                if let Some(s) = snapshot.services.get_mut(&name).filter(|_| look.seen().is_some()) {
                    s.metrics = Some(look);
                }
            }
            Taken::Work(name, look) => {
                let server = snapshot.postgres.get_mut(&name);
                if let Some(p) = server.filter(|p| look.seen().is_some() || p.work.is_none()) {
                    p.work = Some(Box::new(look));
                }
            }
            Taken::Redis(name, look) => {
                if look.ping.seen().is_some() && look.server.seen().is_some() {
                    snapshot.redis.insert(name, *look);
                }
            }
            Taken::Ollama(name, look) => {
                if look.models.seen().is_some() {
                    snapshot.ollama.insert(name, look);
                }
            }
            Taken::Level(name, reading) => {
                if let Some(s) = snapshot.services.get_mut(&name) {
                    s.log_level = Some(reading);
                }
            }
            Taken::Memory(memory) => {
                if memory.seen().is_some() {
                    snapshot.host.memory = *memory;
                }
            }
            Taken::Load(loads) => {
                if loads.host.seen().is_some() || snapshot.host.load.seen().is_none() {
                    snapshot.host.load = loads.host;
                }
                snapshot.host.own.extend(loads.own);
            }
            Taken::Of(name, taken) => {
                if taken.process.seen().is_some() {
                    snapshot.host.taken.insert(name, *taken);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_read_once_is_no_reading_before_another() {
        let text = include_str!("../../tests/snapshots/healthy-idle.json");
        let mut before: Snapshot = serde_json::from_str(text).unwrap();
        let name = "codebase-mcp".to_owned();
        let health = before.services[&name].health.clone();
        assert!(health.seen().is_some());
        forget(&mut before, &[Taken::Health(name.clone(), health)]);
        assert!(before.services[&name].health.seen().is_some(), "it was read twice");
        forget(&mut before, &[Taken::Health(name.clone(), Look::not_asked("refused meanwhile"))]);
        assert!(before.services[&name].health.seen().is_none());
    }
}
