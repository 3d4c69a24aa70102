//! Services answer, and slowly: told by their own histograms between two readings, or by their health
//! answers; then by where the time goes: statements, locks, pools, what they need, what they are told to log.

mod beneath;
mod beside;
mod database;
mod devices;
mod host;
mod network;
mod processors;
mod quantile;
mod remedy;
mod service;
mod slow;
mod tables;
mod why_not;

use std::collections::BTreeSet;

use super::facts;
use super::registry::Scenario;
use crate::config::{Config, Service};
use crate::diagnosis::{Finding, Severity, needs};
use crate::snapshot::metrics::Metrics;
use crate::snapshot::{Again, Looks, Snapshot};

pub use remedy::{anew, left_of, slowed};
use slow::{Pace, Slow, pace, slow};

pub static SCENARIO: Scenario = Scenario {
    name: "latency",
    alias: "slow",
    severity: Severity::P2,
    title: "Slow answers",
    first_action: "see where the time goes, before restarting anything",
    causes: &[
        &database::SLOW_QUERIES,
        &database::LOCK_WAITS,
        &database::SYNC_REPLICATION_WAIT,
        &tables::XMIN_HELD,
        &tables::STALE_STATISTICS,
        &tables::INVALID_INDEX,
        &service::POOL_WAIT,
        &processors::CPU_SATURATED,
        &processors::CPU_THROTTLED,
        &devices::IO_SATURATED,
        &network::LISTEN_OVERFLOW,
        &network::NETWORK_LOSS,
        &network::CONNTRACK_FULL,
        &network::EPHEMERAL_PORTS,
        &beside::REDIS_SLOW,
        &beside::OLLAMA_SLOW,
        &service::DEBUG_LOGGING,
        &tables::REPLICATION_LAG,
        &service::UNATTRIBUTED,
    ],
    detect,
    // The symptom of a service is its health answer, which server-crash shows.
    symptoms: |_, _| Vec::new(),
    again,
    plan: remedy::plan,
    recovered: remedy::recovered,
    why_not: why_not::WHY_NOT,
};

fn detect(looks: &Looks, config: &Config) -> Vec<Finding> {
    let slow = slow(looks, config);
    let mut out = Vec::new();
    for p in &config.postgres {
        let own: Vec<&Slow> =
            slow.iter().filter(|s| needs(&s.s.name, config).contains(p.name.as_str())).collect();
        out.extend(database::sync_wait(p, &own, looks));
        if !own.is_empty() {
            out.extend(database::detect(p, &own, looks, config));
            out.extend(tables::detect(p, &own, looks, config));
        }
    }
    out.extend(beside::detect(&slow, looks, config));
    for s in &slow {
        out.extend(service::pool_wait(s, looks, config));
        out.extend(service::debug_logging(s, looks));
    }
    let (beneath, about) = beneath::detect(&slow, &out, looks, config);
    // A standby may be meant to lag: that makes nobody slow.
    let reason = |f: &&Finding| f.cause != tables::REPLICATION_LAG.name;
    let mut told: BTreeSet<String> = out.iter().filter(reason).map(|f| f.subject.clone()).collect();
    told.extend(about);
    out.extend(beneath);
    let none = |s| service::unattributed(s, &told, looks, config).map(|f| (s, f));
    let mut unattributed: Vec<(&Slow, Finding)> = slow.iter().filter_map(none).collect();
    if !unattributed.is_empty() {
        let of_all = beneath::of_all(&slow, &out, looks, config);
        for (s, f) in &mut unattributed {
            f.evidence.extend(beneath::looked_at(s, &of_all, looks, config));
        }
    }
    out.extend(unattributed.into_iter().map(|(_, f)| f));
    out
}

/// What is read a second time: of services that look slow, or of all where that was asked.
fn again(looks: &Looks, config: &Config, asked: bool) -> Vec<Again> {
    // What an unhealthy service blames although it answers may only be slow.
    let blamed = |name: &String| !beside::blamed_by(name, &looks.now, config).is_empty();
    let redis = config.redis.iter().map(|r| &r.name).filter(|n| blamed(n)).map(|n| Again::Redis(n.clone()));
    let ollama =
        config.ollama.iter().map(|o| &o.name).filter(|n| blamed(n)).map(|n| Again::Ollama(n.clone()));
    let mut out: Vec<Again> = redis.chain(ollama).collect();
    let mut here = BTreeSet::new();
    for s in config.service.iter().filter(|s| s.url.is_some()) {
        let Some(look) = looks.now.services.get(&s.name) else { continue };
        if !(asked || looks_slow(s, looks, config)) || look.health.failure().is_some() {
            continue;
        }
        out.extend([Again::Health(s.name.clone()), Again::Level(s.name.clone())]);
        out.extend(s.metrics.as_ref().map(|_| Again::Metrics(s.name.clone())));
        here.extend(host::involved(&s.name, config));
        for need in needs(&s.name, config) {
            let well = |p: &crate::snapshot::postgres::PostgresLook| p.server.seen().is_some();
            if looks.now.postgres.get(need).is_some_and(well) {
                out.push(Again::Work(need.into()));
            } else if looks.now.redis.get(need).is_some_and(|r| r.ping.seen().is_some()) {
                out.push(Again::Redis(need.into()));
            } else if looks.now.ollama.get(need).is_some_and(|o| o.models.seen().is_some()) {
                out.push(Again::Ollama(need.into()));
            }
        }
    }
    out.extend(beneath::again(here, looks, config));
    out
}

/// A sign in one reading that it may be slow now: its health answer, its whole histogram since it
/// began, callers that wait for its pool, or what it needs being busy for long.
fn looks_slow(s: &Service, looks: &Looks, config: &Config) -> bool {
    if matches!(pace(s, looks, config), Pace::Slow(_)) {
        return true;
    }
    let now = &looks.now;
    let limit = config.thresholds.p95.as_secs_f64();
    let late = slow::health_ms(s, now).is_some_and(|ms| ms > limit * 1000.0);
    late || (s.metrics.is_some()
        && (slow_so_far(s, now, limit) || short_of_pool(s, now, config) || busy(s, now, config)))
}

/// Something of a service's is slow, by a sign, and hardly any of its requests ended in between, or too few
/// of them slowly to tell them from a spike. Where none did, and nothing is under way, it only is idle.
pub fn undecided(looks: &Looks, config: &Config) -> bool {
    let (now, limit) = (&looks.now, config.thresholds.p95.as_secs_f64());
    config.service.iter().filter(|s| s.metrics.is_some()).any(|s| {
        let Some(between) = slow::ended(s, looks) else { return false };
        let ended = between.count;
        if ended >= slow::FEW && !between.is_doubtful(limit) {
            return false;
        }
        let some = || ended > 0.0 || is_under_way(s, now, config);
        // Nobody waits for long where nothing is seen to be under way: at night it only is idle.
        let early = between.seconds < IDLE_S;
        let sign = (busy(s, now, config) && (early || some()))
            || (slow_so_far(s, now, limit) && (some() || (early && is_due(s, now, &between))));
        sign && !matches!(pace(s, looks, config), Pace::Slow(_))
    })
}

/// After so many seconds in which none of its requests ended.
const IDLE_S: f64 = 2.5;

/// By its pace since it began one would have ended in that time: that none did may be chance, or all of them
/// hang where its pool does not show it.
fn is_due(s: &Service, now: &Snapshot, between: &quantile::Between) -> bool {
    let page = now.services.get(&s.name).and_then(|l| l.metrics.as_ref()).and_then(|m| m.seen());
    let by_page = |m: &Metrics| m.started.map(|began| m.at.as_duration().as_secs_f64() - began);
    let up_s = page.and_then(by_page).or_else(|| facts::health(now, &s.name)?.uptime_s);
    let counts = page.iter().flat_map(|m| &m.durations).filter(|h| h.whole).map(|h| h.count);
    let so_far = counts.fold(0.0, f64::max);
    up_s.is_some_and(|up| up > 0.0 && so_far * between.seconds / up >= 1.0)
}

/// What its health answer does not say: most of its time is unseen where none of its requests ended
/// while it was watched. No verdict: what is under way may be a job that is meant to take long.
pub fn remark(service: &str, looks: &Looks, config: &Config) -> Option<String> {
    let (s, now) = (config.service(service)?, &looks.now);
    let none = slow::ended(s, looks).filter(|b| b.count == 0.0)?;
    let so_far = slow_so_far(s, now, config.thresholds.p95.as_secs_f64());
    let told = so_far && is_under_way(s, now, config);
    told.then(|| format!("slow so far, and no request ended in {}", facts::age(none.seconds)))
}

/// A connection of its pool is in use, or a statement where it keeps its data runs on.
fn is_under_way(s: &Service, now: &Snapshot, config: &Config) -> bool {
    let limit = config.thresholds.p95.as_secs_f64();
    let in_use = facts::pool(now, &s.name).and_then(|p| p.in_use).is_some_and(|n| n > 0);
    in_use || needs(&s.name, config).into_iter().any(|n| runs_on(n, now, limit))
}

/// A statement that has run for over half of the limit.
fn runs_on(server: &str, now: &Snapshot, limit: f64) -> bool {
    database::work(now, server).is_some_and(|w| w.waits.iter().any(|x| x.longest_s > limit / 2.0))
}

/// More than a twentieth of all its requests since it began.
fn slow_so_far(s: &Service, now: &Snapshot, limit: f64) -> bool {
    let page = now.services.get(&s.name).and_then(|l| l.metrics.as_ref()).and_then(|m| m.seen());
    let wholes = page.iter().flat_map(|m| &m.durations).filter(|h| h.whole && h.count > 0.0);
    wholes.into_iter().any(|h| {
        let within = h.bounds.iter().zip(&h.counts).filter(|(b, _)| **b <= limit + 1e-9).map(|(_, c)| *c);
        within.fold(0.0, f64::max) < 0.95 * h.count
    })
}

fn short_of_pool(s: &Service, now: &Snapshot, config: &Config) -> bool {
    let waits = facts::pool(now, &s.name).and_then(|p| p.waiting).is_some_and(|w| w > 0);
    // A pool is not well before it is below this again.
    let most = config.thresholds.pool_recovered;
    waits || facts::fill(now, &s.name).is_some_and(|f| f.max > 0 && f.in_use as f64 >= most * f.max as f64)
}

/// Statements that run for over a second or wait, in a database that it uses; a Redis or Ollama that
/// answers late.
fn busy(s: &Service, now: &Snapshot, config: &Config) -> bool {
    needs(&s.name, config).into_iter().any(|need| {
        let sessions = facts::server(now, need).map(|x| x.sessions.as_slice()).unwrap_or_default();
        let statements =
            sessions.iter().any(|x| super::pool_exhausted::is_long_query(x) || !x.blocked_by.is_empty());
        let redis = now
            .redis
            .get(need)
            .is_some_and(|r| r.ping.seen().is_some() && r.ping.elapsed_ms > beside::REDIS_MS);
        let limit = config.thresholds.p95.as_secs_f64() * 1000.0;
        let ollama =
            now.ollama.get(need).is_some_and(|o| o.models.seen().is_some() && o.models.elapsed_ms > limit);
        statements || redis || ollama
    })
}
