//! Where services are told to find their database: asked of those that are not well, and of those
//! that are and yet are not seen at their server. What their names mean, and what answers there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::future::join_all;

use crate::config::{Config, PgHost, Service};
use crate::probe::{blocking, host, postgres, systemd, target};
use crate::snapshot::network::{Door, Target, endpoint};
use crate::snapshot::{FailKind, Failure, Reading, Snapshot};

/// The services to ask, with their units.
pub fn doubtful(now: &Snapshot, config: &Config, everything: bool) -> Vec<(Service, String)> {
    let asked = |s: &&Service| everything || unwell(s, now) || unseen(s, now, config);
    config.service.iter().filter(asked).filter_map(|s| Some((s.clone(), s.unit.clone()?))).collect()
}

/// It runs, and is not well.
fn unwell(s: &Service, now: &Snapshot) -> bool {
    match now.services.get(&s.name).map(|l| &l.health.reading) {
        Some(Reading::Seen { value }) => value.is_bad(),
        Some(Reading::Failed(_)) => true,
        Some(Reading::NotAsked { .. }) | None => false,
    }
}

/// It is well and has no session of its name in its database: it may be told of another one. Most
/// healthy services are seen there by name, and cost no question.
fn unseen(s: &Service, now: &Snapshot, config: &Config) -> bool {
    let mut servers = crate::diagnosis::needs(&s.name, config)
        .into_iter()
        .filter_map(|n| Some((config.postgres(n)?, now.postgres.get(n)?.server.seen()?)))
        .peekable();
    servers.peek().is_some()
        && !servers.any(|(p, server)| {
            server.consumers.iter().any(|c| c.application == s.name && p.databases.contains(&c.database))
        })
}

/// By the process's environment, else by the unit's. Only what the names ask for leaves the probe.
pub async fn of_service(
    s: Service,
    unit: String,
    bus: Option<&systemd::Bus>,
    config: &Config,
    deadline: Instant,
) -> (String, Reading<Vec<Target>>) {
    let Some(bus) = bus else { return (s.name, Reading::not_asked("no system bus")) };
    let found = async {
        let d = bus.detail(&unit, deadline).await?;
        let (proc, pid, group) = (config.host.proc.clone(), d.main_pid, d.control_group);
        let configured = s.database_env.clone();
        let by_process = blocking(deadline, "/proc", move || {
            host::variables(&proc, pid, &group, &target::names(&configured))
        });
        let names = target::names(&s.database_env);
        match by_process.await {
            Ok(variables) => target::read(&variables, &names, &format!("process {}", d.main_pid)),
            Err(_) => target::read(&bus.environment(&unit, &names, deadline).await?, &names, &unit),
        }
    };
    let found: Result<Vec<Target>, Failure> = found.await;
    (s.name, found.into())
}

/// What the hosts of these targets and of all that is configured mean; and what answers at a
/// target's door, where that is none of what is configured.
pub async fn look_there(now: &mut Snapshot, deadline: Instant) {
    let config = now.config.clone();
    let targets: Vec<Target> =
        now.services.values().filter_map(|s| s.targets.seen()).flatten().cloned().collect();
    if targets.is_empty() {
        return;
    }
    let places: BTreeSet<(String, u16)> = configured(&config).collect();
    let hosts: BTreeSet<String> =
        places.iter().map(|(host, _)| host.clone()).chain(targets.iter().map(|t| t.host.clone())).collect();
    let hosts = hosts.into_iter().map(|h| async move {
        let found = postgres::host(&PgHost::named(&h), deadline).await;
        (h, Reading::from(found))
    });
    now.network.hosts.extend(join_all(hosts).await);
    let elsewhere: BTreeMap<String, Target> = targets
        .into_iter()
        .filter(|t| !places.contains(&(t.host.clone(), t.port)))
        .map(|t| (t.endpoint(), t))
        .collect();
    let doors: Vec<(String, Reading<Door>)> =
        join_all(elsewhere.into_iter().map(|(name, t)| knock(name, t, now, &config, deadline))).await;
    now.network.doors.extend(doors);
}

fn configured(config: &Config) -> impl Iterator<Item = (String, u16)> + '_ {
    let servers = config.postgres.iter().map(|p| &p.url);
    servers.chain(config.pooler.iter().map(|p| &p.url)).map(|u| (u.host.text(), u.port))
}

async fn knock(
    name: String,
    t: Target,
    now: &Snapshot,
    config: &Config,
    deadline: Instant,
) -> (String, Reading<Door>) {
    debug_assert_eq!(name, endpoint(&t.host, t.port));
    let database = t.database.as_deref().unwrap_or("postgres");
    let who = (t.user.as_deref().unwrap_or("mcp-ir"), database);
    let mut door = postgres::door(&PgHost::named(&t.host), t.port, who, deadline).await;
    let here = now.network.hosts.get(&t.host).and_then(Reading::seen).is_some_and(|h| h.here);
    // A pooler, or whatever leads to a server, is no postmaster.
    if here && matches!(door, Ok(Door::Other)) {
        let proc = config.host.proc.clone();
        let all = blocking(deadline, "/proc", move || host::postmasters(&proc)).await.unwrap_or_default();
        if let Some(m) = all.iter().find(|m| m.port == Some(t.port)) {
            door = Ok(Door::Cluster { pid: m.pid });
        }
    }
    // A socket that is not there: nobody listens.
    if let Err(f) = &mut door
        && f.kind == FailKind::Missing
    {
        f.kind = FailKind::Refused;
    }
    (name, door.into())
}
