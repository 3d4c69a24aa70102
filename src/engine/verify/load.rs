//! A bounded load: so many clients at once, each asking again when it has its answer, for so long. Each
//! request has a connection of its own, as a look has.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;

use super::smoke::Requests;
use super::{Check, State, What};
use crate::config::{Health, Loaded, Service, Smoke, SmokeRequest};
use crate::engine::awaited::Awaited;
use crate::snapshot::FailKind;

/// Of one request.
const LIMIT: Duration = Duration::from_secs(10);
/// Who is refused asks again no faster than this.
const PAUSE: Duration = Duration::from_millis(50);
/// Of all clients together, a second. Each request takes a port of this host for a minute, and others need
/// some too: of 28,000 to one address.
const MOST: u32 = 400;

#[derive(Debug, Clone, Copy)]
pub struct Ordered {
    pub users: usize,
    pub length: Duration,
}

#[derive(Debug, Clone, Serialize)]
pub struct Load {
    pub users: usize,
    pub seconds: f64,
    pub requests: usize,
    pub failed: usize,
    pub per_second: f64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub longest_ms: Option<f64>,
}

pub async fn check(s: &Service, ordered: &Ordered, loaded: &Loaded, awaited: &Awaited) -> Check {
    let _guard = awaited.begin(format!("the load on {}", s.name));
    let unknown = |why: String| Check::new(What::Load, &s.name, State::Unknown, why);
    // What does no work is no load: else the health answer has to do.
    let path = s.health.as_ref().map(|h: &Health| h.path().to_owned());
    let health = path.map(|path| SmokeRequest { method: "GET".into(), path, json: None });
    let request = match (&s.smoke, &health) {
        (Some(Smoke::Request(r)), _) | (_, Some(r)) => r,
        _ => return unknown("neither `smoke` nor `health` says what to ask".into()),
    };
    let requests = match Requests::of(s, request, loaded, Instant::now() + LIMIT).await {
        Ok(requests) => requests,
        Err(why) => return unknown(why),
    };
    let begun = Instant::now();
    let end = begun + ordered.length;
    let each = Duration::from_secs(1) * u32::try_from(ordered.users).unwrap_or(u32::MAX) / MOST;
    let users = join_all((0..ordered.users).map(|_| user(&requests, each, end))).await;
    let seconds = begun.elapsed().as_secs_f64();
    let mut took: Vec<f64> = Vec::new();
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    for user in users {
        let (well, ill) = match user {
            Ok(user) => user,
            Err(why) => return unknown(why),
        };
        took.extend(well);
        for (why, n) in ill {
            *wrong.entry(why).or_default() += n;
        }
    }
    let load = figures(ordered.users, seconds, took, wrong.values().sum());
    let limit = loaded.config.thresholds.p95.as_secs_f64() * 1000.0;
    let (state, says) = judged(&load, &wrong, limit, &request.path);
    Check { load: Some(load), ..Check::new(What::Load, &s.name, state, says) }
}

/// What each request took, and what went wrong how often.
async fn user(
    requests: &Requests<'_>,
    each: Duration,
    end: Instant,
) -> Result<(Vec<f64>, BTreeMap<String, usize>), String> {
    let (mut took, mut wrong) = (Vec::new(), BTreeMap::<String, usize>::new());
    while Instant::now() < end {
        let begun = Instant::now();
        let why = match requests.send(begun + LIMIT).await {
            Ok((status, _)) if (200..300).contains(&status) => {
                took.push(crate::probe::millis(begun));
                tokio::time::sleep_until((begun + each).into()).await;
                continue;
            }
            Ok((status, _)) => format!("HTTP {status}"),
            // It is this host that could not ask: nothing is known of the service.
            Err(f) if f.kind == FailKind::NotTried => return Err(f.detail),
            Err(f) => f.detail,
        };
        *wrong.entry(why).or_default() += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok((took, wrong))
}

fn figures(users: usize, seconds: f64, mut took: Vec<f64>, failed: usize) -> Load {
    took.sort_by(f64::total_cmp);
    // Nearest rank: a value that was measured.
    let rank = |share: f64| {
        let at = ((took.len() as f64 * share).ceil() as usize).max(1) - 1;
        took.get(at).copied()
    };
    Load {
        users,
        seconds,
        requests: took.len() + failed,
        failed,
        per_second: if seconds > 0.0 { took.len() as f64 / seconds } else { 0.0 },
        p50_ms: rank(0.5),
        p95_ms: rank(0.95),
        p99_ms: rank(0.99),
        longest_ms: took.last().copied(),
    }
}

fn judged(load: &Load, wrong: &BTreeMap<String, usize>, limit_ms: f64, path: &str) -> (State, String) {
    let Some(p95) = load.p95_ms else {
        let why = wrong.keys().next().map_or("no request came to its end", String::as_str);
        return (State::Failed, format!("{path}: none of {} succeeded: {why}", load.requests));
    };
    let mut says = format!(
        "{path}: {} by {} at once, {:.0} a second, p95 {p95:.1} ms (limit {limit_ms:.0}), longest {:.1} ms",
        load.requests,
        load.users,
        load.per_second,
        load.longest_ms.unwrap_or(p95)
    );
    if let Some((why, n)) = wrong.iter().max_by_key(|(_, n)| **n) {
        says.push_str(&format!("; {} failed, {n} of them: {why}", load.failed));
    }
    let good = load.failed == 0 && p95 <= limit_ms;
    (if good { State::Passed } else { State::Failed }, says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let load = figures(2, 2.0, (1..=100).rev().map(f64::from).collect(), 3);
        assert_eq!((load.p50_ms, load.p95_ms, load.p99_ms), (Some(50.0), Some(95.0), Some(99.0)));
        assert_eq!((load.longest_ms, load.requests, load.failed), (Some(100.0), 103, 3));
        let one = figures(1, 1.0, vec![7.0], 0);
        assert_eq!((one.p50_ms, one.p99_ms), (Some(7.0), Some(7.0)));
        let none = figures(1, 1.0, Vec::new(), 0);
        assert_eq!(none.p95_ms, None);
    }

    #[test]
    fn a_failure_or_a_late_answer_is_no_pass_and_no_answer_is_a_failure() {
        let of = |took: Vec<f64>, failed| figures(1, 1.0, took, failed);
        let (wrong, none) = (BTreeMap::from([("HTTP 503".to_owned(), 1)]), BTreeMap::new());
        let state = |load: &Load, wrong: &BTreeMap<String, usize>| judged(load, wrong, 500.0, "/search").0;
        assert_eq!(state(&of(vec![10.0], 0), &none), State::Passed);
        assert_eq!(state(&of(vec![501.0], 0), &none), State::Failed);
        assert_eq!(state(&of(vec![10.0], 1), &wrong), State::Failed);
        assert_eq!(state(&of(Vec::new(), 1), &wrong), State::Failed);
        let (_, says) = judged(&of(vec![10.0], 1), &wrong, 500.0, "/search");
        assert!(says.contains("1 failed, 1 of them: HTTP 503"), "{says}");
    }
}
