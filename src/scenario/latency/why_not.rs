//! What speaks against each cause of slow answers: first, that nobody is slow; then, what was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::super::against::{Against, ruled_out, unseen, why};
use super::super::facts;
use super::database::{self, ran, slow_ones, waiting, work};
use super::slow::{Pace, pace};
use super::{beneath, beside, detect, devices, network, processors, service, tables};
use crate::config::Config;
use crate::diagnosis::{Cause, Stand, needs};
use crate::snapshot::Looks;

pub static WHY_NOT: &[(&Cause, Against)] = &[
    (&database::SLOW_QUERIES, Against::Named(|l, c| servers(&database::SLOW_QUERIES, l, c, statements))),
    (&database::LOCK_WAITS, Against::Named(|l, c| servers(&database::LOCK_WAITS, l, c, locks))),
    (
        &database::SYNC_REPLICATION_WAIT,
        Against::Named(|l, c| servers(&database::SYNC_REPLICATION_WAIT, l, c, commits)),
    ),
    (&tables::XMIN_HELD, Against::Named(|l, c| servers(&tables::XMIN_HELD, l, c, holders))),
    (&tables::STALE_STATISTICS, Against::Named(|l, c| servers(&tables::STALE_STATISTICS, l, c, rows))),
    (&tables::INVALID_INDEX, Against::Named(|l, c| servers(&tables::INVALID_INDEX, l, c, indexes))),
    (&service::POOL_WAIT, Against::Named(|l, c| services(&service::POOL_WAIT, l, c, pool))),
    (&processors::CPU_SATURATED, Against::Named(|l, c| host(&processors::CPU_SATURATED, l, c))),
    (&processors::CPU_THROTTLED, Against::Named(quotas)),
    (&devices::IO_SATURATED, Against::Named(|l, c| host(&devices::IO_SATURATED, l, c))),
    (
        &network::LISTEN_OVERFLOW,
        Against::Named(|l, c| services(&network::LISTEN_OVERFLOW, l, c, beneath::queue)),
    ),
    (&network::NETWORK_LOSS, Against::Named(|l, c| host(&network::NETWORK_LOSS, l, c))),
    (&network::CONNTRACK_FULL, Against::Named(|l, c| host(&network::CONNTRACK_FULL, l, c))),
    (
        &network::EPHEMERAL_PORTS,
        Against::Named(|l, c| services(&network::EPHEMERAL_PORTS, l, c, beneath::ports)),
    ),
    (&beside::REDIS_SLOW, Against::Named(redis)),
    (&beside::OLLAMA_SLOW, Against::Named(ollama)),
    (&service::DEBUG_LOGGING, Against::Named(|l, c| services(&service::DEBUG_LOGGING, l, c, level))),
    (&tables::REPLICATION_LAG, Against::Named(|l, c| servers(&tables::REPLICATION_LAG, l, c, standbys))),
    (&service::UNATTRIBUTED, Against::Named(|l, c| services(&service::UNATTRIBUTED, l, c, attributed))),
];

type Seen = fn(&str, &Looks, &Config) -> Stand;
const SLOW: &str = "a service that is slow, in two readings";

/// Whether one of these services is slow; else what speaks against it.
fn slow_among<'a>(names: impl Iterator<Item = &'a str>, looks: &Looks, config: &Config) -> Stand {
    let mut stands: Vec<Stand> = names
        .filter_map(|n| config.service(n))
        .map(|s| match pace(s, looks, config) {
            Pace::Slow(_) => Stand::Holds,
            Pace::Quick(probe, says) => ruled_out(probe, &s.name, says, SLOW),
            Pace::Unseen(probe, says) => unseen(probe, &s.name, says, SLOW),
        })
        .collect();
    if stands.is_empty() {
        stands.push(ruled_out("configuration", "services that need it", "none", SLOW));
    }
    Stand::any(stands)
}

/// At each of these: found, or nobody who is slow, or what was seen there. What is found is found once for all.
fn each<'a>(
    cause: &Cause,
    names: impl Iterator<Item = (&'a str, Stand)>,
    looks: &Looks,
    config: &Config,
    seen: Seen,
) -> Vec<(String, Stand)> {
    let all = detect(looks, config);
    let found: BTreeSet<&str> =
        all.iter().filter(|f| f.cause == cause.name).map(|f| f.subject.as_str()).collect();
    let one = |(name, slow): (&str, Stand)| {
        let stand = match slow {
            _ if found.contains(name) => Stand::Holds,
            Stand::Holds => seen(name, looks, config),
            other => other,
        };
        (name.to_owned(), stand)
    };
    names.map(one).collect()
}

fn servers(cause: &Cause, looks: &Looks, config: &Config, seen: Seen) -> Vec<(String, Stand)> {
    let names = config.postgres.iter().map(|p| p.name.as_str());
    let names = names.map(|n| (n, slow_among(dependents(n, config), looks, config)));
    each(cause, names, looks, config, seen)
}

fn services(cause: &Cause, looks: &Looks, config: &Config, seen: Seen) -> Vec<(String, Stand)> {
    let names = config.service.iter().map(|s| s.name.as_str());
    let names = names.map(|n| (n, slow_among([n].into_iter(), looks, config)));
    each(cause, names, looks, config, seen)
}

fn dependents<'a>(name: &'a str, config: &'a Config) -> impl Iterator<Item = &'a str> {
    config.service.iter().map(|s| s.name.as_str()).filter(move |s| needs(s, config).contains(name))
}

/// A cause of the host as a whole.
fn host(cause: &Cause, looks: &Looks, config: &Config) -> Vec<(String, Stand)> {
    let subject = looks.now.vantage.host.clone();
    let all = detect(looks, config);
    if all.iter().any(|f| f.cause == cause.name) {
        return vec![(subject, Stand::Holds)];
    }
    let slow = slow_among(config.service.iter().map(|s| s.name.as_str()), looks, config);
    let stand = match slow {
        Stand::Holds => beneath::stand(cause, &all, looks, config),
        other => other,
    };
    vec![(subject, stand)]
}

/// Services, and what they need.
fn quotas(looks: &Looks, config: &Config) -> Vec<(String, Stand)> {
    let mut who: BTreeMap<&str, Vec<&str>> =
        config.names().into_iter().map(|(_, n)| (n, Vec::new())).collect();
    for s in &config.service {
        for name in needs(&s.name, config).into_iter().chain([s.name.as_str()]) {
            who.entry(name).or_default().push(&s.name);
        }
    }
    let names = who.into_iter().map(|(n, who)| (n, slow_among(who.into_iter(), looks, config)));
    each(&processors::CPU_THROTTLED, names, looks, config, beneath::quota)
}

/// What the second look into a database says; or why there is none.
fn inside(
    server: &str,
    looks: &Looks,
    needs: &str,
    fact: &str,
    says: impl FnOnce() -> Option<String>,
) -> Stand {
    match says() {
        Some(says) => ruled_out("postgres catalogue", fact, says, needs),
        None => {
            let look = looks.now.postgres.get(server).and_then(|p| p.work.as_ref());
            unseen("postgres catalogue", server, look.map_or_else(|| "not asked".into(), |w| why(w)), needs)
        }
    }
}

fn statements(server: &str, looks: &Looks, config: &Config) -> Stand {
    let needs = "statements over the limit, with a large share of the time; or one that runs for over 1 s";
    inside(server, looks, needs, "statements", || {
        let all = ran(looks, server)?;
        let slow = slow_ones(looks, server, config).unwrap_or_default();
        let longest = all.iter().map(database::Ran::mean_ms).fold(0.0, f64::max);
        Some(format!("{} slow, the longest {longest:.0} ms on average", slow.len()))
    })
}

fn waits(server: &str, looks: &Looks, what: fn(&str) -> bool, fact: &str, needs: &str) -> Stand {
    inside(server, looks, needs, fact, || {
        database::works(looks, server)?;
        let n = waiting(looks, server, what).map_or(0.0, |(n, _)| n);
        Some(format!("{n:.0} in both readings"))
    })
}

fn locks(server: &str, looks: &Looks, _: &Config) -> Stand {
    waits(
        server,
        looks,
        database::is_lock,
        "sessions that wait for a lock",
        "some, with a large share of the time",
    )
}

fn commits(server: &str, looks: &Looks, _: &Config) -> Stand {
    waits(
        server,
        looks,
        database::is_sync,
        "commits that wait for a standby",
        "some, and no standby that counts",
    )
}

fn holders(server: &str, looks: &Looks, config: &Config) -> Stand {
    let needs = "an old one, and many dead rows in a table that slow statements use";
    inside(server, looks, needs, "what keeps dead rows", || {
        let now = work(&looks.now, server)?;
        let old = tables::holder(now, config).map(|h| format!("{} {}", h.kind, h.name));
        Some(old.unwrap_or_else(|| "nothing old".into()))
    })
}

/// The tables that slow statements use, and how many there are.
fn used(
    server: &str,
    looks: &Looks,
    config: &Config,
    of: fn(&crate::snapshot::work::Table) -> bool,
) -> Option<String> {
    let (p, now) = (config.postgres(server)?, work(&looks.now, server)?);
    let used = tables::used(p, now, looks, config);
    let n = used.iter().filter(|t| of(t)).count();
    Some(format!("{n} of {}", facts::count(used.len(), "table")))
}

fn rows(server: &str, looks: &Looks, config: &Config) -> Stand {
    let needs = "over 20 % and 10,000 rows dead or changed, in a table that slow statements use";
    inside(server, looks, needs, "tables not vacuumed or analyzed", || {
        used(server, looks, config, tables::is_stale)
    })
}

fn indexes(server: &str, looks: &Looks, _: &Config) -> Stand {
    let needs = "one of a table that slow statements use";
    inside(server, looks, needs, "indexes that are not valid", || {
        Some(work(&looks.now, server)?.invalid_indexes.len().to_string())
    })
}

fn standbys(server: &str, looks: &Looks, _: &Config) -> Stand {
    inside(server, looks, "one that is over 10 s late", "standbys", || {
        Some(format!("{} connected", work(&looks.now, server)?.standbys.len()))
    })
}

fn pool(name: &str, looks: &Looks, config: &Config) -> Stand {
    let needs = format!(
        "over {:.0} %, or callers that wait, in both readings",
        config.thresholds.pool_recovered * 100.0
    );
    match facts::fill(&looks.now, name) {
        Some(f) => ruled_out("http health", "pool", format!("{} of {}", f.in_use, f.max), &needs),
        None => unseen("http health", "pool", "its size or use is not known", &needs),
    }
}

fn level(name: &str, looks: &Looks, _: &Config) -> Stand {
    let look = looks.now.services.get(name).and_then(|s| s.log_level.as_ref());
    match look {
        Some(l) => match (l.seen(), l.failure()) {
            (Some(l), _) => ruled_out("/proc", &l.source, l.value.clone(), "DEBUG"),
            (None, Some(f)) if f.kind == crate::snapshot::FailKind::Missing => {
                ruled_out("/proc", "LOG_LEVEL", "not set", "DEBUG")
            }
            (None, f) => {
                unseen("/proc", name, f.map_or_else(|| "not asked".into(), |f| f.detail.clone()), "DEBUG")
            }
        },
        None => unseen("/proc", name, "not asked", "its environment"),
    }
}

fn attributed(_: &str, _: &Looks, _: &Config) -> Stand {
    ruled_out(
        "findings",
        "causes that are told",
        "one fits, or something needed is not well",
        "none that fits",
    )
}

fn redis(looks: &Looks, config: &Config) -> Vec<(String, Stand)> {
    let seen: Seen = |name, looks, _| {
        let needs =
            "a command over 10 ms that takes over 30 % of the time, or a PING over 100 ms, both times";
        match beside::busiest(name, looks) {
            Some((command, share, ms, _)) => ruled_out(
                "redis info",
                &command.to_uppercase(),
                format!("{:.0} % of the time, {ms:.1} ms each", share * 100.0),
                needs,
            ),
            None => unseen("redis info", name, "two readings of its commands were not had", needs),
        }
    };
    let names = config.redis.iter().map(|r| r.name.as_str());
    others(&beside::REDIS_SLOW, "redis", names, looks, config, seen)
}

fn ollama(looks: &Looks, config: &Config) -> Vec<(String, Stand)> {
    let seen: Seen = |name, looks, _| match looks.now.ollama.get(name).map(|o| &o.models) {
        Some(m) if m.seen().is_some() => ruled_out(
            "http ollama",
            name,
            format!("answered in {:.0} ms", m.elapsed_ms),
            "over the limit, both times",
        ),
        Some(m) => unseen("http ollama", name, why(m), "an answer"),
        None => unseen("http ollama", name, "not looked at", "an answer"),
    };
    let names = config.ollama.iter().map(|o| o.name.as_str());
    others(&beside::OLLAMA_SLOW, "ollama", names, looks, config, seen)
}

/// Where none is configured, that is the reason.
fn others<'a>(
    cause: &Cause,
    kind: &str,
    names: impl Iterator<Item = &'a str>,
    looks: &Looks,
    config: &Config,
    seen: Seen,
) -> Vec<(String, Stand)> {
    let names = names.map(|n| (n, slow_among(dependents(n, config), looks, config)));
    let mut all = each(cause, names, looks, config, seen);
    if all.is_empty() {
        all.push((kind.to_owned(), ruled_out("configuration", kind, "none is configured", SLOW)));
    }
    all
}
