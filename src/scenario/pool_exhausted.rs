//! No connection is left: on the server, or in a service's own pool. A full pool is not a dead
//! database, whatever the payload says: an independent login decides (errata 8).

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{self, Fill};
use super::login::Meaning;
use super::registry::Scenario;
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::Relation::{self, NeededBy, Same};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, Symptom};
use crate::snapshot::postgres::{Server, Session};
use crate::snapshot::{Looks, Snapshot};

/// What services show whose connections are gone.
const STARVED: [(&str, Relation); 5] = [
    ("pool-exhausted/client-pool-saturated", NeededBy),
    ("server-crash/unhealthy", NeededBy),
    ("server-crash/hung", NeededBy),
    ("server-crash/failed", NeededBy),
    ("server-crash/malformed-health", NeededBy),
];
/// The same, where sessions hold the server's slots.
const HOLDS: [(&str, Relation); 6] =
    [("pool-exhausted/server-slots-full", Same), STARVED[0], STARVED[1], STARVED[2], STARVED[3], STARVED[4]];

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
    explains: &[("server-crash/unhealthy", Same), ("server-crash/hung", Same)],
};
pub static IDLE_IN_TRANSACTION: Cause = Cause {
    name: "pool-exhausted/idle-in-transaction",
    severity: Severity::P2,
    title: "sessions sit idle in a transaction",
    explains: &HOLDS,
};
pub static BLOCKING_CHAIN: Cause = Cause {
    name: "pool-exhausted/blocking-chain",
    severity: Severity::P2,
    title: "one session's lock holds up others",
    explains: &HOLDS,
};

pub static SCENARIO: Scenario = Scenario {
    name: "pool-exhausted",
    alias: "pool",
    severity: Severity::P2,
    title: "Pool exhaustion",
    first_action: "see who holds the connections",
    causes: &[&SERVER_SLOTS_FULL, &CLIENT_POOL_SATURATED, &IDLE_IN_TRANSACTION, &BLOCKING_CHAIN],
    detect,
    symptoms: |_, _| -> Vec<Symptom> { Vec::new() },
};

fn detect(looks: &Looks, config: &Config) -> Vec<Finding> {
    let now = &looks.now;
    let mut out = Vec::new();
    for p in &config.postgres {
        out.extend(slots_full(p, now, config));
        if let Some(server) = facts::server(now, &p.name) {
            out.extend(blocking_chain(p, server, now, config));
            out.extend(idle_in_transaction(p, server, now, config));
        }
    }
    out.extend(config.service.iter().filter_map(|s| client_pool(s, now, config)));
    out
}

fn slots_full(p: &Postgres, now: &Snapshot, config: &Config) -> Option<Finding> {
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
    if facts::login_meaning(look) == Some(Meaning::SlotsFull) {
        let said = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
        return Some(ask(Finding::new(
            &SERVER_SLOTS_FULL,
            &p.name,
            Certainty::Proven,
            "PostgreSQL runs and has no ordinary connection slot left",
        )
        .saw("postgres login", &look.endpoint, said)));
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
fn client_pool(s: &Service, now: &Snapshot, config: &Config) -> Option<Finding> {
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

/// A root blocker with victims that wait over a second. Victims are not ended: they are freed.
fn blocking_chain(p: &Postgres, server: &Server, now: &Snapshot, config: &Config) -> Option<Finding> {
    let roots = facts::root_blockers(server);
    let worst = roots.iter().max_by_key(|r| r.victims.len())?;
    // Who waits for two of them is one victim.
    let members: BTreeSet<i32> =
        roots.iter().flat_map(|r| r.victims.iter().copied().chain([r.session.pid])).collect();
    let members: Vec<&Session> = server.sessions.iter().filter(|s| members.contains(&s.pid)).collect();
    let freed = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let others = match roots.len() {
        1 => String::new(),
        n => format!("; and {} more like it", facts::count(n - 1, "session")),
    };
    // A pool is behind the lock where its own sessions are; the nameless may be its own.
    let behind = |s: &Service| {
        let own = members.iter().filter(|m| m.application == s.name || m.application.is_empty()).count();
        frees(s, own, now, config)
    };
    let mut saturated =
        facts::dependents(&p.name, config).filter(|s| facts::saturated(now, &s.name, config)).peekable();
    let apart = saturated.peek().is_some() && !saturated.any(behind);
    let mut f = Finding::new(
        &BLOCKING_CHAIN,
        &p.name,
        Certainty::Proven,
        format!(
            "{} of {} ({}) holds locks that {} wait for{others}",
            session_name(worst.session),
            worst.session.user,
            worst.session.state,
            facts::count(worst.victims.len(), "session")
        ),
    )
    .spares_if(SERVER_SLOTS_FULL.name, facts::slots_full(server.used.saturating_sub(freed), server, config))
    .spares_if(CLIENT_POOL_SATURATED.name, apart);
    for r in roots.iter().take(5) {
        f = f.saw(
            "postgres sessions",
            &format!("pid {} blocks {}", r.session.pid, r.victims.len()),
            format!("{} for {}: {}", r.session.state, facts::age(r.session.state_s), r.session.query),
        );
    }
    let roots: Vec<&Session> = roots.iter().map(|r| r.session).collect();
    Some(f.remedy(
        end_sessions(p, &roots),
        "End the root only: its victims go on by themselves",
        Risk::Disruptive,
    ))
}

/// Idle in transaction longer than the threshold. A finding where the slots they hold are what is
/// missing; else a note.
fn idle_in_transaction(p: &Postgres, server: &Server, now: &Snapshot, config: &Config) -> Option<Finding> {
    let limit = config.thresholds.idle_in_transaction.as_secs_f64();
    let chain = facts::root_blockers(server);
    let idle: Vec<&Session> = server
        .sessions
        .iter()
        .filter(|s| s.idle_in_transaction() && s.state_s > limit)
        .filter(|s| !chain.iter().any(|root| root.session.pid == s.pid))
        .collect();
    if idle.is_empty() {
        return None;
    }
    let n = u32::try_from(idle.len()).unwrap_or(u32::MAX);
    let holds_slots = facts::slots_full(server.used, server, config)
        && !facts::slots_full(server.used.saturating_sub(n), server, config);
    let starved: Vec<(&Service, bool)> = facts::dependents(&p.name, config)
        .filter(|s| facts::saturated(now, &s.name, config))
        .filter_map(|s| Some((s, starves(s, &idle, now, p, config)?)))
        .collect();
    let oldest = idle.iter().map(|s| s.state_s).fold(0.0, f64::max);
    let certainty = if holds_slots || starved.iter().any(|(_, by_name)| *by_name) {
        Certainty::Proven
    } else {
        Certainty::Likely
    };
    let harm = match (holds_slots, starved.as_slice()) {
        (true, _) => "and hold the server's slots".to_owned(),
        (false, [(s, _), ..]) => format!("and hold the pool of {}", s.name),
        (false, []) => "and harm nobody yet".to_owned(),
    };
    let harmless = !holds_slots && starved.is_empty();
    let mut f = Finding::new(
        &IDLE_IN_TRANSACTION,
        &p.name,
        if harmless { Certainty::Proven } else { certainty },
        format!(
            "{} of {} idle in a transaction for up to {}, {harm}",
            facts::count(idle.len(), "session"),
            whose(&idle),
            facts::age(oldest)
        ),
    )
    .severity(if harmless { Severity::P4 } else { Severity::P2 })
    .spares_if(SERVER_SLOTS_FULL.name, !holds_slots)
    .spares_if(CLIENT_POOL_SATURATED.name, starved.is_empty())
    .saw("postgres sessions", "idle in transaction", format!("{n}, oldest {}", facts::age(oldest)));
    for s in idle.iter().take(5) {
        f = f.saw(
            "postgres sessions",
            &format!("pid {} ({} as {} from {})", s.pid, session_name(s), s.user, s.client),
            format!("{}: {}", facts::age(s.state_s), s.query),
        );
    }
    Some(f.remedy(
        end_sessions(p, &idle),
        "End these sessions: cancelling does nothing to an idle one",
        Risk::Disruptive,
    ))
}

/// Whether the pool of this service would be free without these sessions, and whether they are
/// known to be its own by their application name. `None`: it would not, or they are others'.
fn starves(s: &Service, idle: &[&Session], now: &Snapshot, p: &Postgres, config: &Config) -> Option<bool> {
    if frees(s, idle.iter().filter(|x| x.application == s.name).count(), now, config) {
        return Some(true);
    }
    // Nameless sessions can only be this service's where no other service uses the server.
    let alone = facts::dependents(&p.name, config).count() == 1;
    let nameless = idle.iter().filter(|x| x.application.is_empty()).count();
    (alone && frees(s, nameless, now, config)).then_some(false)
}

/// Whether so many connections fewer would leave the pool with room, and nobody waiting for it.
fn frees(s: &Service, n: usize, now: &Snapshot, config: &Config) -> bool {
    let n = n as u64;
    let served = facts::pool(now, &s.name).and_then(|p| p.waiting).is_none_or(|w| w <= n);
    let room = facts::fill(now, &s.name)
        .is_none_or(|f| !Fill { in_use: f.in_use.saturating_sub(n), ..f }.over(config.thresholds.pool));
    n > 0 && served && room
}

/// By the name that most of them have.
fn whose(sessions: &[&Session]) -> String {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for s in sessions {
        *names.entry(session_name(s)).or_default() += 1;
    }
    let most = names.iter().max_by_key(|(_, n)| **n).map_or("", |(name, _)| name);
    if names.len() > 1 { format!("{most} and others") } else { most.to_owned() }
}

fn session_name(s: &Session) -> &str {
    if s.application.is_empty() { "a session without application name" } else { &s.application }
}

/// The precondition stands in the statement itself: a session that went on, or whose pid is
/// another's by now, is left alone.
fn end_sessions(p: &Postgres, sessions: &[&Session]) -> String {
    let idle = sessions.iter().all(|s| s.idle_in_transaction());
    let still = if idle { "state LIKE 'idle in transaction%'" } else { "state <> 'idle'" };
    // The server's own text goes into a command that people paste: only what a time is made of.
    let time = |t: &str| t.chars().filter(|c| c.is_ascii_digit() || "-:+. ".contains(*c)).collect::<String>();
    let which: Vec<String> =
        sessions.iter().take(20).map(|s| format!("({},'{}')", s.pid, time(&s.backend_start))).collect();
    format!(
        "psql '{}' -c \"SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE (pid, backend_start) IN ({}) AND {still}\"",
        crate::config::PgUrl { password: None, ..p.url.clone() },
        which.join(",")
    )
}
