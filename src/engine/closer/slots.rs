//! Who holds the slots of a server that lets nobody in any more, since none is left or since it is being shut down:
//! asked of its host.

use std::time::Instant;

use futures_util::future::join_all;

use crate::config::{Config, Postgres};
use crate::probe::{backends, blocking, host};
use crate::scenario::{clusters, is_closed, is_shutting_down};
use crate::snapshot::slots::Slots;
use crate::snapshot::{FailKind, Failure, Reading, Snapshot};

/// The servers of this host that have no slot left, or whose clients are waited for.
pub fn closed(now: &Snapshot, config: &Config) -> Vec<Postgres> {
    let closed = |p: &&Postgres| {
        let look = now.postgres.get(&p.name).filter(|l| l.here == Some(true));
        look.is_some_and(|l| is_closed(l) || is_shutting_down(l))
    };
    config.postgres.iter().filter(closed).cloned().collect()
}

pub async fn look(
    servers: Vec<Postgres>,
    config: &Config,
    deadline: Instant,
) -> Vec<(String, Reading<Slots>)> {
    join_all(servers.into_iter().map(|p| async {
        let (name, proc) = (p.name.clone(), config.host.proc.clone());
        let held = blocking(deadline, "backends", move || {
            let all = host::postmasters(&proc)?;
            let unknown =
                || Failure::new(FailKind::Missing, "which postmaster is this server's is not known");
            let postmaster = clusters::one(&p, &all).ok_or_else(unknown)?;
            backends::of(&proc, postmaster.pid, p.url.port)
        });
        (name, held.await.into())
    }))
    .await
}
