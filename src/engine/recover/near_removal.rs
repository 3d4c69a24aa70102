//! What a plan needs to know where something is to be taken away by its name: what there is of the kind, whether we
//! may, and what was taken away by us. It changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::choose::Request;
use super::disk;
use crate::config::{Loaded, Postgres};
use crate::incident::Store;
use crate::plan::{Act, Removable, TakenAway};
use crate::probe::postgres;

const LIMIT: Duration = Duration::from_secs(2);
/// Where all slots are taken one is free the next moment.
const AGAIN: Duration = Duration::from_millis(50);

/// Of the servers that are named, or of all.
pub async fn removable(
    loaded: &Loaded,
    request: &Request,
    store: &Store,
) -> BTreeMap<String, Result<Removable, String>> {
    let Some(wanted) = &request.ask.remove else { return BTreeMap::new() };
    let named = |p: &&Postgres| request.services.is_empty() || request.services.contains(&p.name);
    let ask = async |p: &Postgres| {
        let (password, end) = (loaded.secrets.postgres(&p.name), Instant::now() + LIMIT);
        loop {
            match postgres::removable(p, password, wanted, end).await {
                Err(f)
                    if f.postgres.as_ref().is_some_and(|e| e.sqlstate == "53300")
                        && Instant::now() + AGAIN < end =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                seen => return (p.name.clone(), seen.map_err(|f| f.detail)),
            }
        }
    };
    let all = join_all(loaded.config.postgres.iter().filter(named).map(ask));
    let (all, incidents) = tokio::join!(all, disk::of_late(store));
    let mut all: BTreeMap<String, Result<Removable, String>> = all.into_iter().collect();
    let ours = incidents.iter().flatten().filter(|i| i.is_ours());
    for (incident, open) in ours.flat_map(|i| i.standing().into_iter().map(move |open| (i, open))) {
        // By that name it may be another server by now.
        if let Act::Remove(r) = open.act
            && loaded.config.postgres(&r.server).is_some_and(|p| p.place() == r.url)
            && let Some(Ok(seen)) = all.get_mut(&r.server)
        {
            let done = incident.done().any(|(act, _)| *act == Act::Remove(r.clone()));
            seen.taken.push(TakenAway { of: r.of, at: open.at, done });
        }
    }
    all
}
