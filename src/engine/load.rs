//! What this host has to do, and what those that look slow wait for: in one pass, and only where one does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use crate::probe::{blocking, host, listeners, sockets};
use crate::snapshot::load::{HostLoad, OwnLoad};
use crate::snapshot::{Reading, Snapshot};

pub struct Loads {
    pub host: Reading<HostLoad>,
    pub own: BTreeMap<String, OwnLoad>,
}

/// Whoever is found of these names: by the unit's main process, else by who listens at its port here.
pub async fn of(names: &[String], now: &Snapshot, deadline: Instant) -> Loads {
    let config = &now.config;
    let pid = |name: &String| now.host.taken.get(name).and_then(|t| t.process.seen()).map(|p| p.pid);
    let asked: Vec<(String, Option<u32>, Option<u16>)> =
        names.iter().map(|n| (n.clone(), pid(n), config.place(n).map(|(_, port)| port))).collect();
    let proc = config.host.proc.clone();
    // Apart: a host that is slow to tell of all its processes still tells of one.
    let (of_host, root) = (proc.clone(), proc);
    let host = blocking(deadline, "this host", move || host::load::of_host(&of_host));
    let own = blocking(deadline, "processes", move || {
        let lost: BTreeSet<u16> =
            asked.iter().filter(|(_, pid, _)| pid.is_none()).filter_map(|(.., port)| *port).collect();
        let found = if lost.is_empty() { Vec::new() } else { listeners::at(&root, &lost, None)? };
        let at = |port: Option<u16>| {
            let own = found.iter().filter(|l| Some(l.port) == port);
            own.flat_map(|l| &l.holders).map(|h| h.pid).min()
        };
        let one = |(name, pid, port): (String, Option<u32>, Option<u16>)| {
            let pid = pid.or_else(|| at(port))?;
            let mut own = host::own::of(&root, Path::new(host::group::MOUNTED), pid).ok()?;
            own.network = sockets::of(&root, pid, port).into();
            Some((name, own))
        };
        Ok(asked.into_iter().filter_map(one).collect::<BTreeMap<_, _>>())
    });
    let (host, own) = tokio::join!(host, own);
    Loads { host: host.into(), own: own.unwrap_or_default() }
}
