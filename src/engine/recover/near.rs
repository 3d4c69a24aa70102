//! What a plan needs to know beyond a diagnosis: our own drop-ins, and which resize interfaces answer.
//! All at once, each by the deadline; it changes nothing.

use std::time::Instant;

use futures_util::future::join_all;

use crate::action::{drop_in, ours};
use crate::config::{Loaded, Service};
use crate::plan::Near;
use crate::probe::http;

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
    let (drop_ins, resizable) = tokio::join!(drop_ins, resizable);
    Near { drop_ins: drop_ins.into_iter().collect(), resizable: resizable.into_iter().flatten().collect() }
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
