//! A pool that leaks: its service calls its connections in use, and they have been idle for long. Told
//! by PostgreSQL's own table of sessions or, where that lets nobody in any more, by its host.

use std::collections::BTreeSet;

use super::super::facts;
use super::full::{self, SERVER_SLOTS_FULL};
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::Relation::{Needs, Same};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::place::Place;
use crate::snapshot::Snapshot;
use crate::snapshot::postgres::Server;
use crate::snapshot::slots::{Owner, Slots};

pub static POOL_LEAK: Cause = Cause {
    name: "pool-exhausted/pool-leak",
    severity: Severity::P2,
    title: "the service does not give its connections back",
    explains: &[
        ("pool-exhausted/client-pool-saturated", Same),
        ("server-crash/unhealthy", Same),
        ("server-crash/hung", Same),
        ("server-crash/mcp-broken", Same),
        ("latency/pool-wait", Same),
        ("pool-exhausted/server-slots-full", Needs),
    ],
};

/// The idle connections of one service.
pub struct Idle {
    pub count: u32,
    /// Of all that the server has, these too.
    used: u32,
    /// Since when even the one that did something last has been idle; `None`: not known of all.
    pub newest_s: Option<f64>,
    /// The server would have room without them.
    frees: bool,
    pub probe: &'static str,
}

/// The servers that have no slot left, by name: looked at once for all services.
pub fn full<'a>(now: &Snapshot, config: &'a Config) -> BTreeSet<&'a str> {
    let full = |p: &&Postgres| full::is_full(p, now, config);
    config.postgres.iter().filter(full).map(|p| p.name.as_str()).collect()
}

pub fn detect(s: &Service, full: &BTreeSet<&str>, now: &Snapshot, config: &Config) -> Option<Finding> {
    let in_use = facts::pool(now, &s.name)?.in_use?;
    let saturated = facts::saturated(now, &s.name, config);
    if !saturated && full.is_empty() {
        return None;
    }
    let limit = config.thresholds.long_query.as_secs_f64();
    let (p, idle) = servers(s, config).find_map(|p| {
        let idle = idle(s, p, now, config)?;
        // All of them, and for long: a busy pool's connections are idle for moments.
        let leaked = idle.newest_s.is_some_and(|s| s > limit)
            && f64::from(idle.count) >= config.thresholds.pool * in_use as f64;
        // A pool with room is harmed by none; but a server is by one that holds most of its slots.
        let harms = saturated || full.contains(p.name.as_str()) && idle.count * 2 >= idle.used;
        (leaked && harms && in_use > 0 && idle.count > 0).then_some((p, idle))
    })?;
    // Those of another server that it needs are not held by these.
    let all = crate::diagnosis::needs(&s.name, config);
    let frees = idle.frees && !full.iter().any(|q| *q != p.name && all.contains(q));
    let Idle { count, newest_s, probe, .. } = idle;
    let newest = facts::age(newest_s.unwrap_or(limit));
    let summary = format!(
        "{} holds {in_use} connections as in use, and PostgreSQL sees {count} of them idle for over {newest}",
        s.name
    );
    Some(
        // Grown while requests did not is what a second look proves.
        Finding::new(&POOL_LEAK, &s.name, Certainty::Likely, summary)
            .spares_if(SERVER_SLOTS_FULL.name, !frees)
            .saw("http health", "pool", format!("{in_use} in use"))
            .saw(probe, &p.name, format!("{count} idle, the newest for {newest}"))
            .remedy(
                match Place::of(s) {
                    Some(Place::Unit(unit)) => format!("systemctl restart {}", shell_word(unit)),
                    Some(Place::Container(name)) => format!("docker restart {}", shell_word(name)),
                    None => format!("mcp-ir runbook {}", POOL_LEAK.name.replace('/', "#")),
                },
                "Save a look and its logs as evidence first, then restart that one service",
                Risk::Disruptive,
            ),
    )
}

/// The servers that it is configured to use.
pub fn servers<'a>(s: &'a Service, config: &'a Config) -> impl Iterator<Item = &'a Postgres> {
    config.postgres.iter().filter(|p| s.needs.contains(&p.name))
}

/// Without the spares that the pool itself calls idle.
pub fn idle(s: &Service, p: &Postgres, now: &Snapshot, config: &Config) -> Option<Idle> {
    let spares = facts::pool(now, &s.name).and_then(|r| r.idle.or(r.open?.checked_sub(r.in_use?)));
    let spares = spares.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    if let Some(server) = facts::server(now, &p.name) {
        return by_session(s, spares, server, config);
    }
    let look = now.postgres.get(&p.name)?;
    by_title(s, spares, look.slots.seen().filter(|_| facts::is_closed(look))?, now, config)
}

fn by_session(s: &Service, spares: u32, server: &Server, config: &Config) -> Option<Idle> {
    let own = server.consumers.iter().filter(|c| c.application == s.name && c.state == "idle");
    let (count, newest_s) = sum(own.map(|c| (c.count, c.newest_s)));
    let count = count.saturating_sub(spares);
    let used = server.used;
    let frees = !facts::slots_full(used.saturating_sub(count), server, config);
    Some(Idle { count, used, newest_s, frees, probe: "postgres sessions" })
}

/// Titles name no application: a session is the service's whose process is at its other end.
fn by_title(s: &Service, spares: u32, slots: &Slots, now: &Snapshot, config: &Config) -> Option<Idle> {
    let idle = || slots.holders.iter().filter(|h| matches!(h.state.as_str(), "idle" | "unknown"));
    let own = idle().filter(|h| h.owner.as_ref().is_some_and(|o| is_of(s, o, now)));
    let (count, newest_s) = sum(own.map(|h| (h.count, h.newest_s)));
    let count = count.saturating_sub(spares);
    let used = slots.backends;
    let frees = f64::from(count) > (1.0 - config.thresholds.pool) * f64::from(used);
    // Those of nobody may be its own.
    let newest_s = newest_s.filter(|_| idle().all(|h| h.owner.is_some() && h.state == "idle"));
    Some(Idle { count, used, newest_s, frees, probe: "/proc backends" })
}

/// How many, and the newest of all.
fn sum(groups: impl Iterator<Item = (u32, Option<f64>)>) -> (u32, Option<f64>) {
    groups.fold((0, Some(f64::INFINITY)), |(count, newest), (n, s)| {
        (count + n, newest.zip(s).map(|(a, b)| a.min(b)))
    })
}

/// By its unit or container, else by the process that listens at its port.
fn is_of(s: &Service, owner: &Owner, now: &Snapshot) -> bool {
    match (Place::of(s), &owner.control_group) {
        (Some(place), Some(group)) => place.owns(group, now),
        (Some(_), None) => false,
        (None, _) => {
            let port = s.address().map(|(_, port)| port);
            let mut at = now.listeners.seen().into_iter().flatten().filter(|l| Some(l.port) == port);
            at.any(|l| l.holders.iter().any(|h| h.pid == owner.pid))
        }
    }
}
