//! The way to what was not reached: what its name means, and this host's own rules.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::future::join_all;

use crate::config::PgHost;
use crate::probe::{network, postgres};
use crate::snapshot::{FailKind, Failure, Reading, Snapshot, Stage};

/// The hosts of servers and poolers to which no connection was made.
pub fn shut(now: &Snapshot) -> BTreeSet<String> {
    let servers = now.config.postgres.iter().filter_map(|p| {
        let f = now.postgres.get(&p.name)?.login.failure()?;
        is_shut(f).then(|| p.url.host.text())
    });
    let poolers = now.config.pooler.iter().filter_map(|p| {
        let f = now.poolers.get(&p.name)?.pools.failure()?;
        is_shut(f).then(|| p.url.host.text())
    });
    servers.chain(poolers).filter(|h| !h.starts_with('/')).collect()
}

fn is_shut(f: &Failure) -> bool {
    matches!(f.kind, FailKind::Refused | FailKind::TimedOut | FailKind::Unreachable)
        && f.stage == Some(Stage::Connect)
}

pub async fn look(hosts: BTreeSet<String>, now: &mut Snapshot, deadline: Instant) {
    let named = join_all(hosts.into_iter().map(|h| async move {
        let found = postgres::host(&PgHost::named(&h), deadline).await;
        (h, Reading::from(found))
    }));
    let (hosts, rules) = tokio::join!(named, network::rules(deadline));
    now.network.hosts.extend(hosts);
    now.network.rules = rules.into();
}
