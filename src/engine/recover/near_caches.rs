//! The caches of a service whose state somebody wants reset, as they stand.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::choose::Request;
use super::near::elsewhere;
use crate::action::aside;
use crate::config::{Loaded, Service};
use crate::plan::Aside;

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
