//! The first questions, all at once: a login, a health answer, one list of units.
//! A task that does not come back in time is left behind, and its reading says so.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::admission::{Admission, in_time};
use super::awaited::Awaited;
use super::look::Patience;
use super::{containers, memory, silence};
use crate::config::Loaded;
use crate::probe::{blocking, health, host, log, mcp, metrics, ollama, postgres, redis, systemd, timed};
use crate::snapshot::containers::{Container, ContainerLook};
use crate::snapshot::host::{Log, Place};
use crate::snapshot::mcp::McpLook;
use crate::snapshot::memory::{HostMemory, Taken};
use crate::snapshot::metrics::Metrics;
use crate::snapshot::ollama::OllamaLook;
use crate::snapshot::pooler::{PoolerLook, Pools};
use crate::snapshot::postgres::PostgresLook;
use crate::snapshot::redis::RedisLook;
use crate::snapshot::service::{Health, ServiceLook};
use crate::snapshot::units::Unit;
use crate::snapshot::{FailKind, Failure, Look, Reading, Snapshot, Stage};

/// What one task brings home.
enum Seen {
    Postgres(String, Box<PostgresLook>),
    Pooler(String, Look<Pools>),
    Redis(String, Box<RedisLook>),
    Ollama(String, OllamaLook),
    Health(String, Look<Health>),
    Mcp(String, Box<McpLook>),
    Metrics(String, Look<Metrics>),
    Host(String, Vec<Place>, Reading<Log>),
    Units(Look<BTreeMap<String, Unit>>, Option<systemd::Bus>),
    Container(String, Look<Container>),
    Memory(Box<Reading<HostMemory>>),
    Taken(BTreeMap<String, Taken>),
}

impl Seen {
    /// For `-vv`: what came home, and when.
    fn log(&self) {
        let (what, outcome, ms) = match self {
            Seen::Postgres(name, p) => (name.as_str(), p.login.reading.word(), p.login.elapsed_ms),
            Seen::Pooler(name, p) => (name.as_str(), p.reading.word(), p.elapsed_ms),
            Seen::Redis(name, r) => (name.as_str(), r.ping.reading.word(), r.ping.elapsed_ms),
            Seen::Ollama(name, o) => (name.as_str(), o.models.reading.word(), o.models.elapsed_ms),
            Seen::Health(name, h) => (name.as_str(), h.reading.word(), h.elapsed_ms),
            Seen::Mcp(name, m) => (name.as_str(), m.initialize.reading.word(), m.initialize.elapsed_ms),
            Seen::Metrics(name, m) => (name.as_str(), m.reading.word(), m.elapsed_ms),
            Seen::Host(name, ..) => (name.as_str(), "host", 0.0),
            Seen::Units(l, _) => ("systemd", l.reading.word(), l.elapsed_ms),
            Seen::Container(name, c) => (name.as_str(), c.reading.word(), c.elapsed_ms),
            Seen::Memory(m) => ("memory", m.word(), 0.0),
            Seen::Taken(_) => ("processes", "looked at", 0.0),
        };
        tracing::debug!(what, outcome, ms, "first look");
    }
}

/// Looked for where a server's unit is not configured. Only loaded units fit a pattern.
const CLUSTERS: &[&str] = &["postgresql*.service"];

pub async fn ask(
    loaded: &Loaded,
    awaited: &Awaited,
    deadline: Instant,
    known: &BTreeMap<String, Patience>,
    mut snapshot: Snapshot,
) -> (Snapshot, Option<systemd::Bus>) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let config = &loaded.config;
    let spawn = |name: String, work: std::pin::Pin<Box<dyn Future<Output = Seen> + Send>>| {
        let (tell, guard) = (tell.clone(), awaited.begin(name));
        tokio::spawn(async move {
            let seen = work.await;
            drop(guard);
            let _ = tell.send(seen);
        });
    };
    // Until they are heard of, all are late: so a lost task can't leave a hole.
    if let Some((names, patterns)) = units(loaded) {
        snapshot.units.listed = late(deadline);
        let address = config.systemd.bus.clone();
        let (bus, listed) = oneshot::channel();
        spawn("systemd".into(), Box::pin(list(address, names, patterns, bus, deadline)));
        let config = config.clone();
        let taken = async move { Seen::Taken(memory::of_units(config, listed, glance(deadline)).await) };
        spawn("processes".into(), Box::pin(taken));
    }
    let proc = config.host.proc.clone();
    // A host without memory takes its time to say so: that is no reason not to hear it.
    let memory = async move { Seen::Memory(Box::new(memory::of_host(proc, deadline).await)) };
    spawn("memory".into(), Box::pin(memory));
    for p in config.postgres.clone() {
        snapshot.postgres.insert(p.name.clone(), late_postgres(&p, deadline));
        if p.data_directory.is_some() || p.unit.is_some() || p.log.is_some() {
            let (p, proc) = (p.clone(), config.host.proc.clone());
            spawn(format!("the host of {}", p.name), Box::pin(around(p, proc, glance(deadline))));
        }
        let password = loaded.secrets.postgres(&p.name).cloned();
        let (name, proc) = (p.name.clone(), config.host.proc.clone());
        spawn(
            name.clone(),
            Box::pin(async move {
                let hopeless = silence::hopeless(p.clone(), proc, deadline);
                let look = postgres::look_unless(hopeless, &p, password.as_ref(), deadline).await;
                Seen::Postgres(name, Box::new(look))
            }),
        );
    }
    for p in config.pooler.clone() {
        let endpoint = postgres::endpoint(&postgres::console(&p));
        snapshot.poolers.insert(p.name.clone(), PoolerLook { endpoint, pools: late(deadline) });
        let password = loaded.secrets.postgres(&p.name).cloned();
        let name = p.name.clone();
        let ask = async move {
            let pools = timed(postgres::pools(&p, password.as_ref(), deadline)).await;
            Seen::Pooler(p.name, pools)
        };
        spawn(name, Box::pin(ask));
    }
    let with_url = || config.service.iter().filter(|s| s.url.is_some());
    let more =
        with_url().map(|s| usize::from(s.mcp.is_some()) + usize::from(s.metrics.is_some())).sum::<usize>();
    let admission = Admission::new(config.service.len() + more, deadline);
    for s in config.service.clone() {
        let asks = s.url.is_some() && s.health.is_some();
        let (health, brief) = match known.get(&s.name) {
            _ if !asks => (Look::not_asked("no URL, or no health path, is configured"), None),
            Some(Patience::Known(known)) => ((**known).clone(), None),
            Some(Patience::Brief(time)) => (unasked(deadline), Some(*time)),
            None => (unasked(deadline), Some(Duration::MAX)),
        };
        let pool_max = Reading::not_asked("the payload says it, or names no pool");
        let mut look = ServiceLook {
            health,
            pool_max,
            targets: Reading::default(),
            mcp: None,
            log_level: None,
            metrics: None,
        };
        if s.url.is_some() && s.metrics.is_some() {
            look.metrics = Some(unasked(deadline));
            let (s, headers) = (s.clone(), loaded.secrets.headers(&s.name).to_vec());
            let (name, admission) = (format!("the metrics of {}", s.name), admission.clone());
            let page = async move {
                let page = admission.run(|| timed(metrics::look(&s, &headers, deadline))).await;
                Seen::Metrics(s.name, page)
            };
            spawn(name, Box::pin(page));
        }
        if s.url.is_some() && s.mcp.is_some() {
            look.mcp = Some(Box::new(mcp::failed(unasked(deadline))));
            let (s, headers) = (s.clone(), loaded.secrets.headers(&s.name).to_vec());
            let (name, admission) = (format!("the MCP of {}", s.name), admission.clone());
            let shake = async move {
                let look = admission.run(|| mcp::look(&s, &headers, deadline)).await;
                Seen::Mcp(s.name, Box::new(look))
            };
            spawn(name, Box::pin(shake));
        }
        snapshot.services.insert(s.name.clone(), look);
        if let Some(brief) = brief {
            let headers = loaded.secrets.headers(&s.name).to_vec();
            let (name, admission) = (s.name.clone(), admission.clone());
            let patience = deadline.saturating_duration_since(Instant::now()) / 2;
            let look = async move {
                let look = || timed(health::look(&s, &headers, deadline));
                let seen = tokio::time::timeout(brief, admission.run(look)).await;
                let seen = seen.unwrap_or_else(|_| Look::not_asked("no answer as yet, and not waited for"));
                Seen::Health(s.name.clone(), in_time(seen, patience))
            };
            spawn(name, Box::pin(look));
        }
    }
    let gate = Arc::new(Semaphore::new(containers::AT_ONCE));
    for name in containers::alone(config) {
        snapshot.containers.insert(name.clone(), ContainerLook::unasked(unasked(deadline)));
        let (host, gate, of) = (config.docker.host.clone(), gate.clone(), name.clone());
        let ask = async move {
            let inspected = containers::inspect(&host, &of, &gate, deadline).await;
            Seen::Container(of, inspected)
        };
        spawn(name, Box::pin(ask));
    }
    for r in config.redis.clone() {
        snapshot.redis.insert(r.name.clone(), late_redis(&r, deadline));
        let password = loaded.secrets.redis(&r.name).cloned();
        let name = r.name.clone();
        spawn(
            name.clone(),
            Box::pin(async move {
                let look = redis::look(&r, password.as_ref(), deadline).await;
                Seen::Redis(name, Box::new(look))
            }),
        );
    }
    for o in config.ollama.clone() {
        snapshot.ollama.insert(o.name.clone(), late_ollama(&o, deadline));
        let name = o.name.clone();
        let ask = async move {
            let look = ollama::look(&o, deadline).await;
            Seen::Ollama(o.name, look)
        };
        spawn(name, Box::pin(ask));
    }
    drop(tell);
    // A little later than the looks' own deadline: they say better what they waited for.
    let close = deadline + Duration::from_millis(15);
    let mut bus = None;
    while let Ok(Some(seen)) = tokio::time::timeout_at(close.into(), told.recv()).await {
        seen.log();
        match seen {
            Seen::Postgres(name, look) => {
                snapshot.postgres.insert(name, *look);
            }
            Seen::Pooler(name, pools) => {
                if let Some(p) = snapshot.poolers.get_mut(&name) {
                    p.pools = pools;
                }
            }
            Seen::Redis(name, look) => {
                snapshot.redis.insert(name, *look);
            }
            Seen::Ollama(name, look) => {
                snapshot.ollama.insert(name, look);
            }
            Seen::Health(name, look) => {
                if let Some(s) = snapshot.services.get_mut(&name) {
                    s.health = look;
                }
            }
            Seen::Container(name, inspected) => {
                snapshot.containers.insert(name, ContainerLook::unasked(inspected));
            }
            Seen::Mcp(name, look) => {
                if let Some(s) = snapshot.services.get_mut(&name) {
                    s.mcp = Some(look);
                }
            }
            Seen::Metrics(name, page) => {
                if let Some(s) = snapshot.services.get_mut(&name) {
                    s.metrics = Some(page);
                }
            }
            Seen::Host(name, places, log) => {
                snapshot.host.places.extend(places);
                snapshot.host.logs.insert(name, log);
            }
            Seen::Units(listed, connected) => {
                snapshot.units.listed = listed;
                bus = connected;
            }
            Seen::Memory(memory) => snapshot.host.memory = *memory,
            Seen::Taken(taken) => snapshot.host.taken = taken,
        }
    }
    // In the same order every time, whoever came first.
    snapshot.host.places.sort_by(|a, b| a.subject.cmp(&b.subject));
    (snapshot, bus)
}

/// Beside a healthy login a file is worth a short wait and no more: what is wrong is asked again. A
/// journal, which takes a process to read, is asked only then.
fn glance(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + Duration::from_millis(300))
}

/// What this host has of a server, whether or not it runs: its file systems and its log.
async fn around(p: crate::config::Postgres, proc: String, deadline: Instant) -> Seen {
    let name = p.name.clone();
    let both = blocking(deadline, "this host", move || {
        let places = p.data_directory.as_deref().map(|data| host::disk::of_server(&proc, &p.name, data));
        Ok((places.unwrap_or_default(), log::read(&proc, &p)))
    });
    match both.await {
        Ok((places, log)) => Seen::Host(name, places, log.into()),
        Err(f) => Seen::Host(name, Vec::new(), Reading::Failed(f)),
    }
}

async fn list(
    address: String,
    names: Vec<String>,
    patterns: &'static [&'static str],
    tell: oneshot::Sender<(systemd::Bus, BTreeMap<String, Unit>)>,
    deadline: Instant,
) -> Seen {
    let mut bus = None;
    let listed = timed(async {
        let mut connected = systemd::Bus::connect(&address, deadline).await?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let listed = connected.list(&names, patterns, deadline).await;
        if let Ok(listed) = &listed {
            let _ = tell.send((connected.clone(), listed.clone()));
        }
        bus = Some(connected);
        listed
    })
    .await;
    Seen::Units(listed, bus)
}

/// The units under care, and the patterns for those that are not named. `None`: there are none.
fn units(loaded: &Loaded) -> Option<(Vec<String>, &'static [&'static str])> {
    let config = &loaded.config;
    let mut names: Vec<String> = config.service.iter().filter_map(|s| s.unit.clone()).collect();
    names.extend(config.postgres.iter().filter_map(|p| p.unit.clone()));
    names.extend(config.redis.iter().filter_map(|r| r.unit.clone()));
    names.extend(config.ollama.iter().filter_map(|o| o.unit.clone()));
    names.sort_unstable();
    names.dedup();
    let unnamed = config.postgres.iter().any(|p| p.unit.is_none() && p.container.is_none());
    let patterns = if unnamed { CLUSTERS } else { &[] };
    (!names.is_empty() || unnamed).then_some((names, patterns))
}

fn late<T>(deadline: Instant) -> Look<T> {
    let waited = deadline.saturating_duration_since(Instant::now());
    let failure = Failure::new(FailKind::TimedOut, "the look itself did not end in time").at(Stage::Answer);
    Look { elapsed_ms: waited.as_secs_f64() * 1000.0, reading: Reading::Failed(failure) }
}

/// Not even begun, or lost: whose fault that is is not known, and so nothing is known of the service.
fn unasked<T>(deadline: Instant) -> Look<T> {
    let mut look = late(deadline);
    if let Reading::Failed(f) = &mut look.reading {
        f.kind = FailKind::NotTried;
    }
    look
}

fn late_redis(r: &crate::config::Redis, deadline: Instant) -> RedisLook {
    RedisLook {
        endpoint: redis::endpoint(r),
        here: None,
        ping: unplaced(late(deadline)),
        certificate: None,
        server: Reading::not_asked("no answer to PING"),
        settings: Reading::not_asked("no answer to PING"),
    }
}

fn late_ollama(o: &crate::config::Ollama, deadline: Instant) -> OllamaLook {
    OllamaLook { endpoint: ollama::endpoint(o), here: None, models: unplaced(late(deadline)) }
}

/// Where it hung is not known: no rule may take this for a hung server.
fn unplaced<T>(mut look: Look<T>) -> Look<T> {
    if let Reading::Failed(f) = &mut look.reading {
        f.stage = Some(Stage::Query);
    }
    look
}

fn late_postgres(p: &crate::config::Postgres, deadline: Instant) -> PostgresLook {
    let login = unplaced(late(deadline));
    PostgresLook {
        endpoint: postgres::endpoint(p),
        here: None,
        login,
        certificate: None,
        server: Look::not_asked("no login"),
        work: None,
        pid_file: Reading::not_asked("no login"),
        postmasters: Reading::not_asked("no login"),
        slots: Reading::default(),
    }
}
