//! What a plan needs to know beyond a diagnosis: our own drop-ins, which runs of units these are, and which
//! resize interfaces answer.
//! All at once, each by the deadline; it changes nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;

use crate::action::{drop_in, ours};
use crate::config::{Config, Loaded, Service};
use crate::plan::Near;
use crate::probe::{http, systemd};

pub async fn near(loaded: &Loaded, deadline: Instant) -> Near {
    let config = &loaded.config;
    let pools = || config.service.iter().filter(|s| s.pool.is_some());
    let of = async |s: &Service, unit: &String| {
        let found = drop_in(unit, config, deadline).await;
        // What is not ours is not shown in a plan, nor kept in a journal: it may be a secret.
        let found = found.and_then(|text| text.as_ref().map_or(Ok(()), |t| ours(t, s)).map(|()| text));
        (unit.clone(), found)
    };
    let drop_ins = join_all(pools().filter_map(|s| Some(of(s, s.unit.as_ref()?))));
    let resizable =
        join_all(pools().map(async |s| answers(s, loaded, deadline).await.then(|| s.name.clone())));
    let units: Vec<&str> = pools().filter_map(|s| s.unit.as_deref()).collect();
    let (drop_ins, resizable, runs) = tokio::join!(drop_ins, resizable, runs(&units, config, deadline));
    Near {
        drop_ins: drop_ins.into_iter().collect(),
        runs,
        resizable: resizable.into_iter().flatten().collect(),
    }
}

/// What could not be seen is missing: then nothing is restarted.
async fn runs(units: &[&str], config: &Config, deadline: Instant) -> BTreeMap<String, String> {
    if units.is_empty() {
        return BTreeMap::new();
    }
    let Ok(mut bus) = systemd::Bus::connect(&config.systemd.bus, deadline).await else {
        return BTreeMap::new();
    };
    let listed = bus.list(units, &[], deadline).await.unwrap_or_default();
    let bus = &bus;
    let run = async |unit: String| Some((unit.clone(), bus.detail(&unit, deadline).await.ok()?.invocation?));
    let active = listed.into_iter().filter(|(_, u)| u.active == "active").map(|(unit, _)| run(unit));
    join_all(active).await.into_iter().flatten().collect()
}

/// There is something at that path: a GET of what takes only a POST gets 405, and a path that is not
/// there 404 (errata 35).
async fn answers(s: &Service, loaded: &Loaded, deadline: Instant) -> bool {
    let Some((base, path)) = s.url.as_ref().zip(s.pool.as_ref().and_then(|p| p.resize.as_ref())) else {
        return false;
    };
    let url = format!("{base}{path}");
    let Ok(client) = http::client_for(&url, s.ca_file.as_deref(), deadline).await else { return false };
    let answer = http::get(&client, &url, loaded.secrets.headers(&s.name), deadline).await;
    answer.is_ok_and(|a| a.status == 405)
}
