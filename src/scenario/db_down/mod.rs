//! The database takes no work: told by a real login, and by what its host says of it.
//! Our own refused login is "alive, cannot look inside", never a cause.

mod ahead;
mod container;
mod disk;
mod inside;
mod reach;
mod remedy;
mod service;
mod target;
mod why_not;
mod words;

use std::collections::BTreeSet;

pub use ahead::remark;
pub use disk::size;

pub use words::damaged_index;

use super::facts;
use super::login::{Meaning, meaning};
use super::registry::Scenario;
use crate::config::{Config, Postgres};
use crate::diagnosis::Relation::NeededBy;
use crate::diagnosis::{Cause, Finding, Severity, Symptom, SymptomState};
use crate::snapshot::postgres::PostgresLook;
use crate::snapshot::{FailKind, Looks, Reading, Snapshot};

/// What everything that dies of a dead database shows: the same list for every cause here.
const DIES_OF_IT: &[(&str, crate::diagnosis::Relation)] = &[
    ("server-crash/unhealthy", NeededBy),
    ("server-crash/hung", NeededBy),
    // Threads that wait for it pile up.
    ("server-crash/tasks-limit", NeededBy),
    ("server-crash/failed", NeededBy),
    ("server-crash/crash-loop", NeededBy),
    ("server-crash/oom-killed", NeededBy),
    ("server-crash/not-listening", NeededBy),
    ("server-crash/malformed-health", NeededBy),
    ("server-crash/mcp-broken", NeededBy),
    ("pool-exhausted/client-pool-saturated", NeededBy),
    ("pool-exhausted/pooler-full", NeededBy),
    ("latency/pool-wait", NeededBy),
];

/// A cause of P1 that all who need the database die of.
const fn cause(name: &'static str, title: &'static str) -> Cause {
    Cause { name, severity: Severity::P1, title, explains: DIES_OF_IT }
}

pub static SCENARIO: Scenario = Scenario {
    name: "db-down",
    alias: "db",
    severity: Severity::P1,
    title: "Database connection failure",
    first_action: "see whether it runs, starts, hangs or refuses",
    causes: &[
        &reach::POSTGRES_STOPPED,
        &reach::STARTING_UP,
        &reach::SHUTTING_DOWN,
        &words::START_FAILED,
        &words::BACKEND_CRASH,
        &disk::DISK_FULL,
        &disk::DISK_LOW,
        &disk::READ_ONLY_FILESYSTEM,
        &reach::HUNG,
        &reach::UNREACHABLE,
        &reach::REFUSED_REMOTE,
        &reach::DNS_FAILURE,
        &service::AUTH_FAILED,
        &service::CONNECTION_LIMIT,
        &service::DATABASE_MISSING,
        &service::TLS_FAILED,
        &service::CERTIFICATE_ENDS,
        &target::WRONG_TARGET,
        &inside::READ_ONLY,
        &inside::WRAPAROUND,
        &inside::WAL_RETAINED,
        &inside::DATA_CORRUPTION,
        &words::INDEX_CORRUPT,
    ],
    detect,
    symptoms,
    again: |_, _, _| Vec::new(),
    plan: remedy::plan,
    recovered: remedy::recovered,
    why_not: why_not::WHY_NOT,
};

fn detect(looks: &Looks, config: &Config) -> Vec<Finding> {
    config
        .postgres
        .iter()
        .filter_map(|p| Some((p, looks.now.postgres.get(&p.name)?)))
        .flat_map(|(p, look)| {
            let found = of_server(p, look, &looks.now, config).collect();
            ahead::told(p, look.here, found, looks)
        })
        .chain(config.service.iter().filter_map(|s| target::detect(s, &looks.now, config)))
        .collect()
}

fn of_server<'a>(
    p: &'a Postgres,
    look: &'a PostgresLook,
    now: &'a Snapshot,
    config: &'a Config,
) -> impl Iterator<Item = Finding> + 'a {
    reach::detect(p, look, now, config)
        .into_iter()
        .chain(service::detect(p, look, now, config))
        .chain(inside::detect(p, look, now, config))
        .chain(disk::detect(p, look, now, config))
        .chain(words::crashes(p, look, now, config))
        .chain(words::index(p, look, now, config))
}

/// The servers that are not well by their login, and nothing that is known here says why. Who misses
/// one is not the root of anything then, and no restart of theirs brings it back.
pub fn unclear<'a>(now: &Snapshot, config: &'a Config) -> BTreeSet<&'a str> {
    let unclear = |p: &&Postgres| {
        now.postgres.get(&p.name).is_some_and(|look| {
            // Full slots are a cause of another scenario.
            facts::login_meaning(look) != Some(Meaning::SlotsFull)
                && symptom(p, look, now, config).0 == SymptomState::Bad
                && of_server(p, look, now, config).next().is_none()
        })
    };
    config.postgres.iter().filter(unclear).map(|p| p.name.as_str()).collect()
}

/// A login by us or, where ours is refused, a service that says it is connected.
fn symptoms(looks: &Looks, config: &Config) -> Vec<Symptom> {
    let now = &looks.now;
    config
        .postgres
        .iter()
        .map(|p| {
            let (state, says) = match now.postgres.get(&p.name) {
                None => (SymptomState::Unseen, "not looked at".to_owned()),
                Some(look) => symptom(p, look, now, config),
            };
            Symptom { subject: p.name.clone(), state, says }
        })
        .collect()
}

fn symptom(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> (SymptomState, String) {
    let f = match &look.login.reading {
        Reading::Seen { .. } => return (SymptomState::Good, "accepts logins".into()),
        Reading::NotAsked { why } => return (SymptomState::Unseen, format!("not asked: {why}")),
        Reading::Failed(f) => f,
    };
    if f.kind == FailKind::NotTried {
        return (SymptomState::Unseen, f.detail.clone());
    }
    let how = match meaning(f) {
        Meaning::OurLogin | Meaning::RoleLimit | Meaning::DatabaseMissing | Meaning::Tls => {
            "alive, cannot look inside"
        }
        Meaning::DatabaseLimit if !service::same_database(p) => "alive, cannot look inside",
        // A connection that this user may not even make says nothing of the server.
        Meaning::NotPermitted => "not permitted to connect",
        _ => return (SymptomState::Bad, format!("{}: {}", look.endpoint, f.detail)),
    };
    let closed = format!("{how}: {}", f.detail);
    match facts::says_connected(&p.name, now, config) {
        Some(service) => (SymptomState::Good, format!("{closed}; {service} says it is connected")),
        None => (SymptomState::Unseen, closed),
    }
}
