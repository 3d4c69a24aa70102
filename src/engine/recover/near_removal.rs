//! What a plan needs to know where something is to be taken away by its name: what there is of the kind, and whether
//! we may. It changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::choose::Request;
use crate::config::{Loaded, Postgres};
use crate::plan::Removable;
use crate::probe::postgres;

const LIMIT: Duration = Duration::from_secs(2);
/// Where all slots are taken one is free the next moment.
const AGAIN: Duration = Duration::from_millis(50);

/// Of the servers that are named, or of all.
pub async fn removable(loaded: &Loaded, request: &Request) -> BTreeMap<String, Result<Removable, String>> {
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
    join_all(loaded.config.postgres.iter().filter(named).map(ask)).await.into_iter().collect()
}
