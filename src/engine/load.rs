//! What this host has to do, and what those that look slow wait for: in one pass, and only where one does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::containers;
use crate::probe::docker::Engine;
use crate::probe::{blocking, host, listeners, sockets};
use crate::snapshot::load::{HostLoad, OwnLoad};
use crate::snapshot::process::{Holder, Listener};
use crate::snapshot::{Reading, Snapshot};

pub struct Loads {
    pub host: Reading<HostLoad>,
    pub own: BTreeMap<String, OwnLoad>,
}

/// One to be found.
struct Sought {
    name: String,
    /// Its main process, where that is known already.
    pid: Option<u32>,
    port: Option<u16>,
    unit: Option<String>,
    /// Its container's process is the engine's to say: who listens for it may be a proxy.
    contained: bool,
}

/// Whoever is found of these names: by the unit's or the container's main process, else by who listens at
/// its port here.
pub async fn of(names: &[String], now: &Snapshot, deadline: Instant) -> Loads {
    let config = &now.config;
    let proc = config.host.proc.clone();
    // Apart: a host that is slow to tell of all its processes still tells of one.
    let (of_host, root) = (proc.clone(), proc);
    let host = blocking(deadline, "this host", move || host::load::of_host(&of_host));
    let own = async {
        let gate = Semaphore::new(containers::AT_ONCE);
        let sought = join_all(names.iter().map(|name| sought(name, now, &gate, deadline))).await;
        blocking(deadline, "processes", move || {
            let lost = |s: &&Sought| s.pid.is_none() && !s.contained;
            let ports: BTreeSet<u16> = sought.iter().filter(lost).filter_map(|s| s.port).collect();
            let found = if ports.is_empty() { Vec::new() } else { listeners::at(&root, &ports, None)? };
            let groups = host::own::groups(&root);
            let mut shared = sockets::Shared::default();
            let one = |s: Sought| {
                let pid = s.pid.or_else(|| listening(&s, &found))?;
                let mut own = host::own::of(&root, Path::new(host::group::MOUNTED), pid, &groups).ok()?;
                own.network = sockets::of(&root, pid, s.port, &mut shared).into();
                Some((s.name, own))
            };
            Ok(sought.into_iter().filter_map(one).collect::<BTreeMap<_, _>>())
        })
        .await
    };
    let (host, own) = tokio::join!(host, own);
    Loads { host: host.into(), own: own.unwrap_or_default() }
}

async fn sought(name: &str, now: &Snapshot, gate: &Semaphore, deadline: Instant) -> Sought {
    let config = &now.config;
    let (unit, container) = config.placed(name);
    let known = now.host.taken.get(name).and_then(|t| t.process.seen()).map(|p| p.pid);
    let pid = match (known, container) {
        (Some(pid), _) => Some(pid),
        (None, Some(container)) => of_container(container, now, gate, deadline).await,
        (None, None) => None,
    };
    let port = config.place(name).map(|(_, port)| port);
    Sought {
        name: name.to_owned(),
        pid,
        port,
        unit: unit.map(ToOwned::to_owned),
        contained: container.is_some(),
    }
}

/// Where the engine runs here: of another host's a process of that number is a stranger.
async fn of_container(name: &str, now: &Snapshot, gate: &Semaphore, deadline: Instant) -> Option<u32> {
    let host = &now.config.docker.host;
    Engine::at(host).ok().filter(Engine::is_here)?;
    let seen = containers::inspect(host, name, gate, deadline).await;
    seen.seen().map(|c| c.pid).filter(|pid| *pid > 0)
}

/// Who listens at its port: of its unit where it has one, and nobody who only passes on.
fn listening(s: &Sought, found: &[Listener]) -> Option<u32> {
    let own = |h: &&Holder| match (&s.unit, h.control_group.as_deref()) {
        (Some(unit), Some(group)) => group.split('/').any(|g| g == unit),
        _ => h.name != PROXY,
    };
    let at = found.iter().filter(|l| !s.contained && Some(l.port) == s.port);
    at.flat_map(|l| &l.holders).filter(own).map(|h| h.pid).min()
}

/// Docker's own, for a port that a container publishes.
const PROXY: &str = "docker-proxy";

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: u32, name: &str, group: Option<&str>) -> Holder {
        Holder {
            pid,
            name: name.into(),
            state: "S".into(),
            control_group: group.map(Into::into),
            program: None,
            freezer: None,
            restless: None,
        }
    }

    fn at(unit: Option<&str>, contained: bool, holders: Vec<Holder>) -> Option<u32> {
        let sought =
            Sought { name: "api".into(), pid: None, port: Some(80), unit: unit.map(Into::into), contained };
        let listener = Listener {
            port: 80,
            address: "0.0.0.0:80".into(),
            queued: 0,
            still_queued: None,
            holders,
            sees_all: true,
        };
        listening(&sought, &[listener])
    }

    #[test]
    fn who_only_passes_on_is_not_the_service_that_is_slow() {
        let all =
            || vec![holder(7, PROXY, Some("/docker.service")), holder(9, "python", Some("/api.service"))];
        assert_eq!(at(None, false, all()), Some(9));
        assert_eq!(at(Some("api.service"), false, all()), Some(9));
        assert_eq!(at(Some("other.service"), false, all()), None);
        assert_eq!(at(None, true, all()), None, "the engine says who it is");
        assert_eq!(at(None, false, vec![holder(7, PROXY, None)]), None);
    }
}
