//! The caches of a service whose state somebody wants reset, as they stand.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::choose::Request;
use super::near::{bus_of, elsewhere};
use crate::action::aside;
use crate::config::{Config, Loaded, Service};
use crate::plan::Aside;
use crate::snapshot::Failure;

const LIMIT: Duration = Duration::from_secs(2);

type Caches = Vec<Result<Option<Aside>, String>>;

/// Of the services that are named, or of all that have some.
pub async fn caches(loaded: &Loaded, request: &Request) -> BTreeMap<String, Caches> {
    let named = |s: &&Service| request.services.is_empty() || request.services.contains(&s.name);
    let asked = loaded.config.service.iter().filter(|_| request.ask.reset_state).filter(named);
    let of_one = async |s: &Service| {
        let look = async |folder: &String| {
            let end = Instant::now() + LIMIT;
            match elsewhere(&s.name, folder, &loaded.config, end).await {
                Some(why) => Err(why),
                None => aside(folder, &loaded.config, end).await,
            }
        };
        (s.name.clone(), join_all(s.caches.iter().map(look)).await)
    };
    join_all(asked.filter(|s| !s.caches.is_empty()).map(of_one)).await.into_iter().collect()
}

/// Of their units: who runs and is stopped with each.
pub async fn stopped_with(
    loaded: &Loaded,
    caches: &BTreeMap<String, Caches>,
) -> BTreeMap<String, Result<Vec<String>, String>> {
    let config = &loaded.config;
    let units = caches.keys().filter_map(|name| config.service(name)?.unit.as_deref());
    let of_one = async |unit: &str| (unit.to_owned(), running(unit, config).await.map_err(|f| f.detail));
    join_all(units.map(of_one)).await.into_iter().collect()
}

async fn running(unit: &str, config: &Config) -> Result<Vec<String>, Failure> {
    let end = Instant::now() + LIMIT;
    let (bus, _) = bus_of(&[unit], config, end).await?;
    let all = bus.stopped_with(unit, end).await?;
    if all.is_empty() {
        return Ok(all);
    }
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let (_, listed) = bus_of(&names, config, end).await?;
    let runs = |name: &String| {
        listed.get(name).is_some_and(|u| !["inactive", "failed"].contains(&u.active.as_str()))
    };
    Ok(all.iter().filter(|name| runs(name)).cloned().collect())
}
