//! What makes a service slow by itself: its pool, what it is told to log; and where nothing fits.

use std::collections::BTreeSet;

use super::super::facts::{self, Fill};
use super::database::{ran, slow_ones, work};
use super::slow::Slow;
use crate::config::{Config, Service};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, needs};
use crate::snapshot::{Looks, Snapshot};

pub static POOL_WAIT: Cause = Cause {
    name: "latency/pool-wait",
    severity: Severity::P2,
    title: "requests wait for a connection of the service's own pool",
    explains: &[],
};
pub static DEBUG_LOGGING: Cause = Cause {
    name: "latency/debug-logging",
    severity: Severity::P3,
    title: "the service is told to log everything",
    explains: &[],
};
pub static UNATTRIBUTED: Cause = Cause {
    name: "latency/unattributed",
    severity: Severity::P2,
    title: "slow, and none of the causes that are told apart fits",
    explains: &[],
};

/// Callers that wait, or a pool that is nearly full.
pub fn short(s: &Service, look: &Snapshot, config: &Config) -> bool {
    let waits = facts::pool(look, &s.name).and_then(|p| p.waiting).is_some_and(|w| w > 0);
    waits || facts::fill(look, &s.name).is_some_and(|f| f.over(config.thresholds.pool_recovered))
}

/// In both readings. Statements that are slow themselves explain it, by the graph.
pub fn pool_wait(slow: &Slow, looks: &Looks, config: &Config) -> Option<Finding> {
    let s = slow.s;
    let before = looks.before.as_ref()?;
    if !short(s, before, config) || !short(s, &looks.now, config) {
        return None;
    }
    let report = facts::pool(&looks.now, &s.name)?;
    // By its own word nobody waits, however little is left.
    let nobody = |look| facts::pool(look, &s.name).is_some_and(|p| p.waiting == Some(0));
    if nobody(before) && nobody(&looks.now) {
        return None;
    }
    let fill = facts::fill(&looks.now, &s.name);
    let used = fill.as_ref().map(|Fill { in_use, max, .. }| format!("{in_use} of {max} in use"));
    let waiting = report.waiting.filter(|w| *w > 0);
    let words = match (waiting, &used) {
        (Some(n), _) => format!(
            "{} for a connection of its pool",
            if n == 1 { "1 caller waits".into() } else { format!("{n} callers wait") }
        ),
        (None, Some(used)) => format!("its pool has {used}"),
        (None, None) => "its pool is nearly used up".to_owned(),
    };
    let servers = needs(&s.name, config);
    let all: Vec<_> = servers.iter().filter(|n| config.postgres(n).is_some()).collect();
    let quick = |n: &&str| slow_ones(looks, n, config).is_some_and(|all| all.is_empty());
    let sure = !all.is_empty() && all.iter().all(|n| quick(n));
    // Who waits takes the rest of the request's time, where that is known.
    let share = slow.load().zip(waiting).map(|(load, w)| (w as f64 / load).min(1.0));
    let mut f =
        Finding::new(&POOL_WAIT, &s.name, if sure { Certainty::Proven } else { Certainty::Likely }, words)
            .share(share.unwrap_or(0.0))
            .saw_if("http health", "pool", used)
            .saw_if("http health", "callers waiting", waiting.map(|w| w.to_string()));
    if sure {
        f = f.saw("pg_stat_statements", "slow statements", "none");
    }
    let f = f.remedy(
        "mcp-ir recover latency",
        "Raise the pool's size, within the server's slots",
        Risk::Disruptive,
    );
    Some(slow.shown(f))
}

pub fn debug_logging(slow: &Slow, looks: &Looks) -> Option<Finding> {
    let level = looks.now.services.get(&slow.s.name)?.log_level.as_ref()?.seen()?;
    if !facts::is_chatty(&level.value) {
        return None;
    }
    let f = Finding::new(
        &DEBUG_LOGGING,
        &slow.s.name,
        Certainty::Likely,
        format!("{} is told to log everything, and is slow", slow.s.name),
    )
    .saw("/proc", &level.source, level.value.clone())
    .remedy(
        format!("mcp-ir runbook {}", DEBUG_LOGGING.name.replace('/', "#")),
        "Set it to INFO or WARNING and restart; then look whether it had an effect",
        Risk::Disruptive,
    );
    Some(slow.shown(f))
}

/// The service is well, what it needs is well, and no cause was told for either.
pub fn unattributed(slow: &Slow, told: &BTreeSet<String>, looks: &Looks, config: &Config) -> Option<Finding> {
    let (s, now) = (slow.s, &looks.now);
    let needed = needs(&s.name, config);
    if told.contains(&s.name) || needed.iter().any(|n| told.contains(*n)) || !well(s, now, config) {
        return None;
    }
    let mut f = Finding::new(
        &UNATTRIBUTED,
        &s.name,
        Certainty::Likely,
        format!("{} answers slowly; its statements, locks, pool and needs are not why", s.name),
    );
    for n in &needed {
        if config.postgres(n).is_some() {
            let words = match (work(now, n), ran(looks, n)) {
                (None, _) => "its statements and waits were not seen".to_owned(),
                (Some(_), None) => {
                    "no statement runs for long, nobody waits; no pg_stat_statements".to_owned()
                }
                (Some(_), Some(all)) => {
                    let worst = all.iter().map(super::database::Ran::mean_ms).fold(0.0, f64::max);
                    format!("no statement takes the time (the longest {worst:.0} ms), nobody waits")
                }
            };
            f = f.saw("postgres sessions", n, words);
        } else if let Some(r) = now.redis.get(*n).filter(|r| r.ping.seen().is_some()) {
            f = f.saw("redis", n, format!("answers PING in {:.0} ms", r.ping.elapsed_ms));
        } else if let Some(o) = now.ollama.get(*n).filter(|o| o.models.seen().is_some()) {
            f = f.saw("http ollama", n, format!("answers in {:.0} ms", o.models.elapsed_ms));
        }
    }
    f = f.saw_if(
        "http health",
        "pool",
        facts::fill(now, &s.name).map(|Fill { in_use, max, .. }| format!("{in_use} of {max} in use")),
    );
    let f = f.remedy(
        format!("mcp-ir runbook {}", UNATTRIBUTED.name.replace('/', "#")),
        "Look at the route that is slow, and at what it calls that is not under care",
        Risk::Safe,
    );
    Some(slow.shown(f))
}

/// Nothing else is wrong that would say it better.
pub fn well(s: &Service, now: &Snapshot, config: &Config) -> bool {
    let healthy = facts::health(now, &s.name).is_some_and(|h| !h.is_bad());
    let needed = needs(&s.name, config).into_iter().all(|n| {
        let postgres = now.postgres.get(n).is_none_or(|p| p.server.seen().is_some());
        let redis = now
            .redis
            .get(n)
            .is_none_or(|r| r.ping.seen().is_some() || config.redis(n).is_some_and(|r| r.optional));
        let ollama = now
            .ollama
            .get(n)
            .is_none_or(|o| o.models.seen().is_some() || config.ollama(n).is_some_and(|o| o.optional));
        postgres && redis && ollama
    });
    healthy && needed && !facts::saturated(now, &s.name, config)
}
