//! The way to what was not reached: what its name means, this host's own routes and rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use futures_util::future::join_all;

use crate::config::PgHost;
use crate::probe::{network, postgres};
use crate::snapshot::{FailKind, Failure, Reading, Snapshot, Stage};

/// A thousand services may be on as many hosts: these stand for the rest.
const HOSTS: usize = 16;

/// The hosts to which no connection was made, or on which nothing came back: databases and poolers
/// first, on which the others hang.
pub fn shut(now: &Snapshot) -> BTreeSet<String> {
    let servers = now.config.postgres.iter().filter_map(|p| {
        let f = now.postgres.get(&p.name)?.login.failure()?;
        is_shut(f).then(|| p.url.host.text())
    });
    let poolers = now.config.pooler.iter().filter_map(|p| {
        let f = now.poolers.get(&p.name)?.pools.failure()?;
        is_shut(f).then(|| p.url.host.text())
    });
    let services = now.config.service.iter().filter_map(|s| {
        let f = now.services.get(&s.name)?.health.failure()?;
        let (host, port) = s.address()?;
        // Refused, and nobody listens: a closed port needs no rule to be closed by.
        let closed = f.kind == FailKind::Refused
            && now.listeners.seen().is_none_or(|all| all.iter().all(|l| l.port != port));
        (is_shut(f) && !closed).then(|| host.to_owned())
    });
    let mut out = BTreeSet::new();
    for host in servers.chain(poolers).chain(services).filter(|h| !h.starts_with('/')) {
        if out.len() < HOSTS {
            out.insert(host);
        }
    }
    out
}

fn is_shut(f: &Failure) -> bool {
    match f.kind {
        FailKind::Refused | FailKind::Unreachable | FailKind::Denied => f.stage == Some(Stage::Connect),
        FailKind::TimedOut => matches!(f.stage, Some(Stage::Connect | Stage::Tls | Stage::Answer)),
        _ => false,
    }
}

pub async fn look(hosts: BTreeSet<String>, now: &mut Snapshot, deadline: Instant) {
    let named = join_all(hosts.into_iter().map(|h| async move {
        let found = postgres::host(&PgHost::named(&h), deadline).await;
        (h, Reading::from(found))
    }));
    let ways = async {
        let named = named.await;
        let of = |(_, found): &(String, Reading<_>)| found.seen().map(addresses).unwrap_or_default();
        let addresses: BTreeSet<IpAddr> = named.iter().flat_map(of).take(HOSTS).collect();
        let routes = join_all(
            addresses.into_iter().map(|a| async move { (a, network::routes(a, deadline).await.into()) }),
        );
        (named, routes.await.into_iter().collect::<BTreeMap<_, _>>())
    };
    let ((hosts, routes), rules) = tokio::join!(ways, network::rules(deadline));
    now.network.hosts.extend(hosts);
    now.network.routes.extend(routes);
    now.network.rules = rules.into();
}

fn addresses(host: &crate::snapshot::network::Host) -> Vec<IpAddr> {
    host.addresses.clone()
}
