//! Which pool is full: the server's slots, or a service's own pool.

use super::super::facts::{self, Fill};
use super::STARVED;
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::Relation::Same;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::snapshot::Snapshot;
use crate::snapshot::postgres::Server;

pub static SERVER_SLOTS_FULL: Cause = Cause {
    name: "pool-exhausted/server-slots-full",
    severity: Severity::P2,
    title: "no slot is left on the server",
    explains: &STARVED,
};
pub static CLIENT_POOL_SATURATED: Cause = Cause {
    name: "pool-exhausted/client-pool-saturated",
    severity: Severity::P2,
    title: "the service's own pool is used up",
    explains: &[
        ("server-crash/unhealthy", Same),
        ("server-crash/hung", Same),
        ("server-crash/mcp-broken", Same),
        ("latency/pool-wait", Same),
    ],
};
pub static POOL_OVER_BUDGET: Cause = Cause {
    name: "pool-exhausted/pool-over-budget",
    severity: Severity::P4,
    title: "the pools together may want more than there is",
    explains: &[],
};

/// By its own word, or by its count.
pub fn is_full(p: &Postgres, now: &Snapshot, config: &Config) -> bool {
    now.postgres.get(&p.name).is_some_and(facts::is_closed)
        || facts::server(now, &p.name).is_some_and(|s| facts::slots_full(s.used, s, config))
}

pub fn server(p: &Postgres, now: &Snapshot, config: &Config) -> Option<Finding> {
    let look = now.postgres.get(&p.name)?;
    // A pool at its own maximum has all that it may have: more slots would give it nothing.
    let own = facts::dependents(&p.name, config)
        .any(|s| facts::fill(now, &s.name).is_some_and(|f| f.over(config.thresholds.pool)));
    let ask = |f: Finding| {
        f.spares_if(CLIENT_POOL_SATURATED.name, own).remedy(
            format!("mcp-ir runbook {}", SERVER_SLOTS_FULL.name.replace('/', "#")),
            "Free the slots of the useless first: idle in transaction, then idle",
            Risk::Disruptive,
        )
    };
    if facts::is_closed(look) {
        let said = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
        let mut f = Finding::new(
            &SERVER_SLOTS_FULL,
            &p.name,
            Certainty::Proven,
            "PostgreSQL runs and has no ordinary connection slot left",
        )
        .saw("postgres login", &look.endpoint, said);
        for h in look.slots.seen().into_iter().flat_map(|s| &s.holders).take(5) {
            f = f.saw("/proc backends", &facts::holder(h), facts::held(h));
        }
        return Some(ask(f));
    }
    let server = facts::server(now, &p.name).filter(|s| facts::slots_full(s.used, s, config))?;
    let mut f = Finding::new(
        &SERVER_SLOTS_FULL,
        &p.name,
        // `numbackends` counts also what takes no ordinary slot: autovacuum, parallel workers.
        if server.sees_all { Certainty::Proven } else { Certainty::Likely },
        format!("PostgreSQL reports {} of {} ordinary connection slots used", server.used, server.slots()),
    )
    .saw(
        "postgres sessions",
        "slots",
        format!(
            "{} used; max_connections {} - {} reserved",
            server.used, server.max_connections, server.reserved
        ),
    );
    if !server.sees_all {
        f = f.saw("postgres sessions", "partial", "without pg_monitor: counted by numbackends");
    }
    for c in server.consumers.iter().take(5) {
        let who = if c.application.is_empty() { "(no application name)" } else { &c.application };
        f = f.saw(
            "postgres sessions",
            &format!("{} as {} from {}", who, c.user, c.client),
            format!("{} {}, oldest {}", c.count, c.state, facts::age(c.oldest_s)),
        );
    }
    Some(ask(f))
}

/// In use / max over the threshold, or callers wait. The payload may say "disconnected".
pub fn client_pool(s: &Service, now: &Snapshot, config: &Config) -> Option<Finding> {
    if !facts::saturated(now, &s.name, config) {
        return None;
    }
    let report = facts::pool(now, &s.name)?;
    let fill = facts::fill(now, &s.name);
    let servers: Vec<&Postgres> = config
        .postgres
        .iter()
        .filter(|p| crate::diagnosis::needs(&s.name, config).contains(p.name.as_str()))
        .collect();
    let proven = !servers.is_empty() && servers.iter().all(|p| facts::server(now, &p.name).is_some());
    let summary = match &fill {
        Some(Fill { in_use, max, .. }) => {
            format!("{} reports {in_use} of {max} connections of its own pool in use", s.name)
        }
        None => format!("{} reports callers waiting for its own pool, and none idle", s.name),
    };
    let certainty = if proven && fill.is_some() { Certainty::Proven } else { Certainty::Likely };
    let mut f = Finding::new(&CLIENT_POOL_SATURATED, &s.name, certainty, summary);
    if let Some(Fill { in_use, max, max_source }) = &fill {
        f = f.saw("http health", "pool", format!("{in_use} in use, at most {max} (by {max_source})"));
    }
    f = f.saw_if("http health", "callers waiting", report.waiting.filter(|w| *w > 0).map(|w| w.to_string()));
    let says = facts::health(now, &s.name).and_then(|h| h.database.clone());
    f = f.saw_if("http health", "says of its database", says.filter(|d| d != "connected"));
    for p in servers {
        if let Some(server) = facts::server(now, &p.name) {
            f = f.saw(
                "postgres sessions",
                &p.name,
                format!("accepts logins; {} of {} slots used", server.used, server.slots()),
            );
        }
    }
    Some(f.remedy(
        format!("mcp-ir runbook {}", CLIENT_POOL_SATURATED.name.replace('/', "#")),
        "Raise the pool's size, within the server's slots; nothing to restart in the database",
        Risk::Disruptive,
    ))
}

/// A note: what may happen when all pools grow to their maximum. Those unknown would only add to it.
pub fn over_budget(p: &Postgres, server: &Server, now: &Snapshot, config: &Config) -> Option<Finding> {
    let pools: Vec<(&str, u64)> = config
        .service
        .iter()
        .filter(|s| s.needs.contains(&p.name))
        .filter_map(|s| Some((s.name.as_str(), facts::pool_max(now, &s.name)?.0)))
        .filter(|(_, max)| *max > 0)
        .collect();
    let sum: u64 = pools.iter().map(|(_, max)| max).sum();
    if sum <= u64::from(server.slots()) {
        return None;
    }
    let terms: Vec<String> = pools.iter().map(|(name, max)| format!("{name} {max}")).collect();
    Some(
        Finding::new(
            &POOL_OVER_BUDGET,
            &p.name,
            Certainty::Proven,
            format!("the pools may grow to {sum} connections, and {} has {} slots", p.name, server.slots()),
        )
        .saw("http health", "largest sizes", terms.join(" + "))
        .remedy(
            format!("mcp-ir runbook {}", POOL_OVER_BUDGET.name.replace('/', "#")),
            "Lower a pool, or plan a restart with more max_connections",
            Risk::Safe,
        ),
    )
}
