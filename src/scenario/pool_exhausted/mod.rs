//! No connection is left: on the server, or in a service's own pool. A full pool is not a dead
//! database, whatever the payload says: an independent login decides (errata 8).

mod full;
mod holders;
mod locks;
mod why_not;

use super::facts;
use super::registry::Scenario;
use crate::config::Config;
use crate::diagnosis::Relation::{self, NeededBy, Same};
use crate::diagnosis::{Finding, Severity, Symptom};
use crate::snapshot::Looks;

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
        &full::POOL_LEAK,
        &holders::LONG_QUERIES,
        &locks::PREPARED_TRANSACTION,
        &full::POOL_OVER_BUDGET,
    ],
    detect,
    symptoms: |_, _| -> Vec<Symptom> { Vec::new() },
    why_not: why_not::WHY_NOT,
};

fn detect(looks: &Looks, config: &Config) -> Vec<Finding> {
    let now = &looks.now;
    let mut out = Vec::new();
    for p in &config.postgres {
        out.extend(full::server(p, now, config));
        if let Some(server) = facts::server(now, &p.name) {
            out.extend(locks::chain(p, server, now, config));
            out.extend(locks::prepared(p, server, now, config));
            out.extend(holders::detect(p, server, now, config));
            out.extend(full::over_budget(p, server, now, config));
        }
    }
    out.extend(config.service.iter().filter_map(|s| full::client_pool(s, now, config)));
    out.extend(config.service.iter().filter_map(|s| full::leak(s, now, config)));
    out
}
