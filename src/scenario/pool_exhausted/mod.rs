//! No connection is left: on the server, or in a service's own pool. A full pool is not a dead
//! database, whatever the payload says: an independent login decides (errata 8).

mod ages;
mod connections;
mod full;
mod holders;
mod leak;
mod locks;
mod pooler;
mod remedy;
mod size;
mod titles;
mod useless;
mod why_not;

pub use ages::{by_age, is_of_age};
pub use connections::{raise as more_connections, watched as served};
pub use holders::is_long_query;
pub use remedy::{kill, recovered, request, widen};

use super::facts;
use super::registry::Scenario;
use crate::config::Config;
use crate::diagnosis::Relation::{self, NeededBy, Same};
use crate::diagnosis::{Finding, Severity, Symptom, SymptomState};
use crate::snapshot::{FailKind, Looks, Reading};

/// What services show whose connections are gone.
const STARVED: [(&str, Relation); 9] = [
    ("pool-exhausted/client-pool-saturated", NeededBy),
    ("server-crash/unhealthy", NeededBy),
    ("server-crash/hung", NeededBy),
    ("server-crash/failed", NeededBy),
    ("server-crash/crash-loop", NeededBy),
    ("server-crash/malformed-health", NeededBy),
    ("server-crash/tasks-limit", NeededBy),
    ("server-crash/mcp-broken", NeededBy),
    ("latency/pool-wait", NeededBy),
];
/// The same, where sessions hold the server's slots.
const HOLDS: [(&str, Relation); 12] = [
    ("pool-exhausted/server-slots-full", Same),
    STARVED[0],
    STARVED[1],
    STARVED[2],
    STARVED[3],
    STARVED[4],
    STARVED[5],
    STARVED[6],
    STARVED[7],
    STARVED[8],
    ("latency/lock-waits", Same),
    ("latency/slow-queries", Same),
];

pub static SCENARIO: Scenario = Scenario {
    name: "pool-exhausted",
    alias: "pool",
    severity: Severity::P2,
    title: "Pool exhaustion",
    first_action: "see who holds the connections",
    causes: &[
        &full::SERVER_SLOTS_FULL,
        &full::CLIENT_POOL_SATURATED,
        &holders::IDLE_IN_TRANSACTION,
        &locks::BLOCKING_CHAIN,
        &leak::POOL_LEAK,
        &holders::LONG_QUERIES,
        &locks::PREPARED_TRANSACTION,
        &pooler::POOLER_FULL,
        &full::POOL_OVER_BUDGET,
    ],
    detect,
    symptoms,
    again: |_, _, _| Vec::new(),
    plan: remedy::plan,
    recovered: remedy::recovered,
    why_not: why_not::WHY_NOT,
};

fn detect(looks: &Looks, config: &Config) -> Vec<Finding> {
    let now = &looks.now;
    let mut out = Vec::new();
    for p in &config.postgres {
        out.extend(full::server(p, now, config));
        out.extend(titles::detect(p, now, config));
        if let Some(server) = facts::server(now, &p.name) {
            out.extend(locks::chain(p, server, now, config));
            out.extend(locks::prepared(p, server, now, config));
            out.extend(holders::detect(p, server, now, config));
            out.extend(full::over_budget(p, server, now, config));
        }
    }
    out.extend(pooler::detect(now, config));
    out.extend(config.service.iter().filter_map(|s| full::client_pool(s, now, config)));
    let full = leak::full(now, config);
    out.extend(config.service.iter().filter_map(|s| leak::detect(s, &full, now, config)));
    out
}

/// Of a pooler: a login to its console or, where ours is refused, a service that says it is connected.
fn symptoms(looks: &Looks, config: &Config) -> Vec<Symptom> {
    let now = &looks.now;
    let symptom = |p: &crate::config::Pooler| {
        let (state, says) = match now.poolers.get(&p.name).map(|l| (&l.endpoint, &l.pools.reading)) {
            None => (SymptomState::Unseen, "not looked at".to_owned()),
            // Whatever they wait for: somebody's PAUSE, a limit, a server that hangs only for it.
            Some((_, Reading::Seen { value })) => match value.longest_wait_s() {
                Some(s) if s >= pooler::WAIT_S => {
                    (SymptomState::Bad, format!("answers, and clients wait for {}", facts::age(s)))
                }
                _ => (SymptomState::Good, "answers".into()),
            },
            Some((_, Reading::NotAsked { why })) => (SymptomState::Unseen, format!("not asked: {why}")),
            Some((_, Reading::Failed(f))) if f.kind == FailKind::NotTried => {
                (SymptomState::Unseen, f.detail.clone())
            }
            Some((_, Reading::Failed(f))) if f.kind == FailKind::Denied => {
                let closed = format!("alive, cannot look inside: {}", f.detail);
                match facts::says_connected(&p.name, now, config) {
                    Some(service) => {
                        (SymptomState::Good, format!("{closed}; {service} says it is connected"))
                    }
                    None => (SymptomState::Unseen, closed),
                }
            }
            Some((at, Reading::Failed(f))) => (SymptomState::Bad, format!("{at}: {}", f.detail)),
        };
        Symptom { subject: p.name.clone(), state, says }
    };
    config.pooler.iter().map(symptom).collect()
}
