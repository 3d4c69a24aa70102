//! What a plan touches, by the names that everybody has for it: a unit as its manager calls it, a server by
//! where it is. Names of one configuration are no target: another's may spell them otherwise.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::config::{Config, Loaded, PgHost, RedisPlace};
use crate::plan::{Act, Plan};
use crate::probe::{postgres, redis, systemd};
use crate::snapshot::FailKind;

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
        all.extend(step.act.unit().map(|unit| Target::Unit(unit.to_owned())));
        all.extend(step.act.subject().into_iter().flat_map(|name| subject(name, config)));
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
        let place = match r.place() {
            Some(RedisPlace::Tcp { host, port, .. }) => at("redis ", &host, port),
            _ => format!("redis {}", redis::endpoint(r)),
        };
        (r.unit.clone(), Some(place))
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
    let host = host.to_lowercase();
    let host = match host.as_str() {
        "localhost" | "::1" | "[::1]" => "127.0.0.1",
        other => other,
    };
    format!("{kind}{host}:{port}")
}

/// As locks are named: units by their manager and by its own name for them. Where the manager does not answer,
/// nothing is done to its units: by another spelling somebody else may hold them, and it may hear us later.
/// Where there is none, it can't.
pub async fn names(plan: &Plan, loaded: &Loaded) -> Result<Vec<String>, String> {
    let targets = of(plan, &loaded.config);
    let units: Vec<&str> = targets
        .iter()
        .filter_map(|t| match t {
            Target::Unit(unit) => Some(unit.as_str()),
            Target::Place(_) => None,
        })
        .collect();
    let bus = &loaded.config.systemd.bus;
    let end = Instant::now() + LIMIT;
    let known = match units.is_empty() {
        true => Ok((bus.clone(), Vec::new())),
        false => systemd::canonical(bus, &units, end).await,
    };
    let (manager, known) = match known {
        Ok(known) => known,
        Err(f) if f.kind != FailKind::Missing && plan.steps.iter().any(|s| is_of_a_unit(&s.act)) => {
            return Err(format!("what else may be done to its units is not known: {}", f.detail));
        }
        // Of a server elsewhere, of which only sessions are ended, its place is the name.
        Err(_) => (bus.clone(), Vec::new()),
    };
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
    Ok(all)
}

/// What the manager does, or what is done while its unit is down.
fn is_of_a_unit(act: &Act) -> bool {
    let by_name = act.unit().is_some();
    act.changes()
        && (by_name || matches!(act, Act::SetAside { .. } | Act::PutBack { .. } | Act::EndHolder(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Act, Risk, draft};

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
        let redis = |url: &str| {
            let mut config = crate::config::defaults().unwrap().config;
            let r = &mut config.redis[0];
            (r.url, r.unit) = (url.into(), None);
            subject(&r.name.clone(), &config)
        };
        let here = redis("redis://127.0.0.1:6379/0");
        assert_eq!(here, [Target::Place("redis 127.0.0.1:6379".into())]);
        for same in ["redis://localhost:6379/3", "redis://[::1]:6379", "redis://LOCALHOST:6379"] {
            assert_eq!(redis(same), here, "{same}");
        }
        assert_ne!(redis("redis://127.0.0.1:6380"), here);
    }

    #[tokio::test]
    async fn rule_4_where_the_manager_does_not_answer_nothing_is_done_to_its_units() {
        let mut loaded = crate::config::defaults().unwrap();
        // It takes the connection, and says nothing.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
        loaded.config.systemd.bus = format!("unix:path={}", path.display());
        let service = || "codebase-mcp".to_owned();
        let plan = |act: Act| {
            let mut plan = Plan::default();
            plan.add(None, &service(), vec![draft(act, Risk::Disruptive)], Vec::new());
            plan
        };
        let unit = || "codebase-mcp.service".to_owned();
        let port = crate::plan::Holding { service: service(), port: 8000, processes: Vec::new(), grace_s: 1 };
        // What is asked of the service itself does not go by its manager.
        let size = Act::ResizePool { service: service(), url: String::new(), from: 1, to: 2 };
        let (start, port, size) =
            (plan(Act::StartUnit { unit: unit() }), plan(Act::EndHolder(port)), plan(size));
        let (started, port, size) =
            tokio::join!(names(&start, &loaded), names(&port, &loaded), names(&size, &loaded));
        assert!(started.is_err() && port.is_err());
        assert!(size.as_ref().is_ok_and(|all| all.contains(&"127.0.0.1:8000".to_owned())), "{size:?}");
        loaded.config.systemd.bus = "unix:path=/nonexistent".into();
        assert!(names(&start, &loaded).await.is_ok(), "nobody is there");
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
