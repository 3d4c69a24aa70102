//! The largest size of a pool, where the payload leaves it out: the variable in the process's environment,
//! else in that of its unit; of a container what it was made with.

use std::time::Instant;

use crate::config::{Config, Service};
use crate::probe::docker::Engine;
use crate::probe::{blocking, host, systemd};
use crate::scenario;
use crate::snapshot::service::PoolMax;
use crate::snapshot::{FailKind, Failure, Reading, Snapshot};

/// A service, and the variable that holds its pool's size.
pub type Asked = (Service, String);

/// Services whose payload leaves the pool's maximum out, or was not waited for; all that name its variable, for a preflight.
pub fn unclear(now: &Snapshot, config: &Config, everything: bool) -> Vec<Asked> {
    let unclear = |s: &&Service| {
        let pool = now.services.get(&s.name).and_then(|l| l.health.seen()).and_then(|h| h.pool.as_ref());
        everything || scenario::is_unheard(now, s) || pool.is_some_and(|p| p.max.is_none())
    };
    let placed = |s: &&Service| s.unit.is_some() || s.container.is_some();
    let all = config.service.iter().filter(unclear).filter(placed);
    all.filter_map(|s| Some((s.clone(), s.pool.as_ref()?.max_env.clone()?))).collect()
}

pub async fn largest(
    (s, variable): Asked,
    bus: Option<&systemd::Bus>,
    config: &Config,
    deadline: Instant,
) -> (String, Reading<PoolMax>) {
    let found = match (&s.unit, &s.container, bus) {
        (Some(unit), _, Some(bus)) => of_unit(unit, &variable, bus, config, deadline).await,
        (Some(_), _, None) => return (s.name, Reading::not_asked("no system bus")),
        (None, Some(name), _) => of_container(name, &variable, config, deadline).await,
        (None, None, _) => return (s.name, Reading::not_asked("neither a unit nor a container")),
    };
    let read = |(text, source): (Option<String>, String)| {
        let text = text.ok_or_else(|| Failure::new(FailKind::Missing, format!("{variable} is not set")))?;
        let value = text.trim().parse().ok().filter(|v| *v > 0);
        let value =
            value.ok_or_else(|| Failure::new(FailKind::Malformed, format!("{variable} is no number")))?;
        Ok(PoolMax { value, source })
    };
    (s.name, found.and_then(read).into())
}

type Found = Result<(Option<String>, String), Failure>;

async fn of_unit(
    unit: &str,
    variable: &str,
    bus: &systemd::Bus,
    config: &Config,
    deadline: Instant,
) -> Found {
    let d = bus.detail(unit, deadline).await?;
    let (proc, pid, group, name) =
        (config.host.proc.clone(), d.main_pid, d.control_group, variable.to_owned());
    match blocking(deadline, "/proc", move || host::variable(&proc, pid, &group, &name)).await {
        Ok(Some(text)) => Ok((Some(text), format!("{variable} of process {}", d.main_pid))),
        Ok(None) => Ok((None, String::new())),
        Err(_) => {
            let text = bus.environment(unit, &[variable], deadline).await?.remove(variable);
            Ok((text, format!("{variable} of {unit}")))
        }
    }
}

async fn of_container(name: &str, variable: &str, config: &Config, deadline: Instant) -> Found {
    let text = Engine::at(&config.docker.host)?.variable(name, variable, deadline).await?;
    Ok((text, format!("{variable} of container {name}")))
}
