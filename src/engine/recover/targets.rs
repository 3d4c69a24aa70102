//! What a plan touches, by the names that everybody has for it: a unit as its manager calls it, a server by
//! where it is. Names of one configuration are no target: another's may spell them otherwise.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::config::{Config, Loaded, PgHost};
use crate::plan::{Act, Plan, Upkeep, Whom};
use crate::probe::{postgres, redis, systemd};

/// Of the manager's word for the names of units.
const LIMIT: Duration = Duration::from_secs(2);

/// What nobody else may recover meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Unit(String),
    Place(String),
}

/// Each once.
pub fn of(plan: &Plan, config: &Config) -> BTreeSet<Target> {
    let mut all = BTreeSet::new();
    for step in &plan.steps {
        match &step.act {
            Act::StartUnit { unit }
            | Act::StopUnit { unit }
            | Act::RestartUnit { unit }
            | Act::ResetFailed { unit }
            | Act::Continue { unit }
            | Act::Thaw { unit }
            | Act::Freeze { unit }
            | Act::DropIn { unit, .. }
            | Act::Prove { unit, .. }
            | Act::ProveLimit { unit, .. } => {
                all.insert(Target::Unit(unit.clone()));
            }
            Act::ResizePool { service, .. } => all.extend(subject(service, config)),
            Act::EndSession(Whom { server, .. }) | Act::Upkeep(Upkeep { server, .. }) => {
                all.extend(subject(server, config));
            }
            Act::Flush(f) => all.extend(subject(&f.redis, config)),
            Act::Wait { subject: name } => all.extend(subject(name, config)),
        }
    }
    all.extend(plan.subjects.iter().flat_map(|s| subject(s, config)));
    all
}

/// A service or a server: its unit and where it is; where neither is known, its name has to do.
fn subject(name: &str, config: &Config) -> Vec<Target> {
    let (unit, place) = if let Some(s) = config.service(name) {
        (s.unit.clone(), s.address().map(|(host, port)| at("", host, port)))
    } else if let Some(p) = config.postgres(name) {
        let place = match &p.url.host {
            PgHost::Tcp(host) => at("postgres ", host, p.url.port),
            PgHost::Unix(_) => format!("postgres {}", postgres::endpoint(p)),
        };
        (p.unit.clone(), Some(place))
    } else if let Some(r) = config.redis(name) {
        (r.unit.clone(), Some(format!("redis {}", redis::endpoint(r))))
    } else {
        (None, None)
    };
    let unit = unit.map(Target::Unit);
    let mut all: Vec<Target> = unit.into_iter().chain(place.map(Target::Place)).collect();
    if all.is_empty() {
        all.push(Target::Place(format!("target {name}")));
    }
    all
}

fn at(kind: &str, host: &str, port: u16) -> String {
    let host = match host {
        "localhost" | "::1" | "[::1]" => "127.0.0.1",
        other => other,
    };
    format!("{kind}{}:{port}", host.to_lowercase())
}

/// As locks are named: units by their manager and by its own name for them. Where the manager can't be
/// asked, nothing is done to its units either.
pub async fn names(targets: BTreeSet<Target>, loaded: &Loaded) -> Vec<String> {
    let units: Vec<&str> = targets
        .iter()
        .filter_map(|t| match t {
            Target::Unit(unit) => Some(unit.as_str()),
            Target::Place(_) => None,
        })
        .collect();
    let bus = &loaded.config.systemd.bus;
    let end = Instant::now() + LIMIT;
    let known = if units.is_empty() { None } else { systemd::canonical(bus, &units, end).await.ok() };
    let (manager, known) = known.unwrap_or_else(|| (bus.clone(), Vec::new()));
    let mut all = Vec::new();
    for target in &targets {
        all.push(match target {
            Target::Place(place) => place.clone(),
            Target::Unit(unit) => {
                let name = known.iter().find(|(asked, _)| asked == unit).map_or(unit, |(_, name)| name);
                format!("unit {name} of {manager}")
            }
        });
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Risk, draft};

    #[test]
    fn rule_4_a_target_is_where_it_is_whatever_a_configuration_calls_it() {
        let named = |name: &str, host: &str| {
            let mut config = crate::config::defaults().unwrap().config;
            let p = &mut config.postgres[0];
            (p.name, p.url.host, p.unit) = (name.into(), PgHost::Tcp(host.into()), None);
            let mut plan = Plan::default();
            plan.add(None, name, vec![draft(Act::Wait { subject: name.into() }, Risk::Safe)], Vec::new());
            of(&plan, &config)
        };
        assert_eq!(named("postgres", "localhost"), named("pg", "127.0.0.1"));
        assert_ne!(named("postgres", "db1"), named("postgres", "db2"));
    }

    #[test]
    fn rule_4_a_service_is_its_unit_and_its_port() {
        let config = crate::config::defaults().unwrap().config;
        let all = subject("codebase-mcp", &config);
        let unit = Target::Unit("codebase-mcp.service".into());
        assert_eq!(all, [unit, Target::Place("127.0.0.1:8000".into())]);
        assert_eq!(subject("nobody's", &config), [Target::Place("target nobody's".into())]);
    }
}
