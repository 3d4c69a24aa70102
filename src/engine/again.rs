//! A second reading, a known while after the first: only of what a rule needs one of, and only where
//! something looks as if it were so. A healthy look waits for nothing here.

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
use crate::snapshot::{Again, Look, Looks, Reading, Snapshot};

/// Between two readings.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often it is made longer where too little was counted.
const MORE: u32 = 2;
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
pub async fn ask(mut looks: Looks, loaded: &Loaded, awaited: &Awaited, end: Instant, plan: &Plan) -> Looks {
    let wanted = scenario::again(&looks, &loaded.config, &plan.asked);
    if wanted.is_empty() {
        return looks;
    }
    let begun = Instant::now();
    let left = end.saturating_duration_since(begun);
    let wait = INTERVAL.min(left.saturating_sub(RESERVE));
    if looks.before.is_none() && !plan.quick {
        if wait < SHORTEST {
            tracing::debug!(?wanted, "no time was left for a second reading");
            return looks;
        }
        let _guard = awaited.begin(format!("a second reading, {:.1} s after the first", wait.as_secs_f64()));
        let mut before = looks.now.clone();
        put(&mut before, read(&wanted, loaded, &looks.now, begun + wait).await);
        tokio::time::sleep_until((begun + wait).into()).await;
        looks.before = Some(before);
    }
    let taken = read(&wanted, loaded, &looks.now, end).await;
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
        let taken = read(&wanted, loaded, &looks.now, end).await;
        put(&mut looks.now, taken);
        more -= 1;
    }
    tracing::debug!(?wanted, ms = crate::probe::millis(begun), "read again");
    looks
}

async fn read(wanted: &[Again], loaded: &Loaded, now: &Snapshot, deadline: Instant) -> Vec<Taken> {
    join_all(wanted.iter().map(|what| one(what, loaded, now, deadline))).await.into_iter().flatten().collect()
}

async fn one(what: &Again, loaded: &Loaded, now: &Snapshot, deadline: Instant) -> Option<Taken> {
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
            let look = postgres::work(config.postgres(name)?, loaded.secrets.postgres(name), deadline);
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
