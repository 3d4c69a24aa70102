//! Which services are slow: by their own histogram between two readings, else by their health answer
//! both times. One slow answer is a spike.

use super::super::facts;
use super::database;
use super::quantile::{Between, between, wholes};
use crate::config::{Config, Service};
use crate::diagnosis::{Finding, needs};
use crate::snapshot::metrics::Metrics;
use crate::snapshot::{Looks, Snapshot};

/// A service that is slow, and by what.
pub struct Slow<'a> {
    pub s: &'a Service,
    /// The worst of its histograms.
    pub p95: Option<Between>,
    /// The slowest routes, each with its own.
    pub routes: Vec<(String, Between)>,
    /// Milliseconds, both times.
    pub health: Option<(f64, f64)>,
}

/// How fast a service answers, as far as that was seen.
pub enum Pace<'a> {
    Slow(Box<Slow<'a>>),
    /// In a few words: `p95 under 0.1 s`.
    Quick(&'static str, String),
    Unseen(&'static str, String),
}

pub fn slow<'a>(looks: &'a Looks, config: &'a Config) -> Vec<Slow<'a>> {
    let slow = |s| match pace(s, looks, config) {
        Pace::Slow(slow) => Some(*slow),
        Pace::Quick(..) | Pace::Unseen(..) => None,
    };
    config.service.iter().filter_map(slow).collect()
}

fn page<'a>(s: &Service, look: &'a Snapshot) -> Option<&'a Metrics> {
    look.services.get(&s.name)?.metrics.as_ref()?.seen()
}

/// So few requests say little of the others.
pub const FEW: f64 = 4.0;

/// What ended in between, by whichever of its histograms has the most.
pub fn ended(s: &Service, looks: &Looks) -> Option<Between> {
    let (before, now) = (page(s, looks.before.as_ref()?)?, page(s, &looks.now)?);
    wholes(before, now).reduce(|a, b| if b.count > a.count { b } else { a })
}

/// Whether its requests are what it is judged by: it counts how long they take, or is not known not to.
pub fn is_timed(s: &Service, looks: &Looks) -> bool {
    let seen = |look: &Snapshot| page(s, look).map(|m| m.durations.iter().any(|h| h.whole));
    let both = [looks.before.as_ref(), Some(&looks.now)].map(|l| l.and_then(seen));
    s.metrics.is_some() && both != [Some(false); 2]
}

/// Whether what ended in between tells of the others.
pub fn enough(s: &Service, looks: &Looks) -> bool {
    ended(s, looks).is_some_and(|b| b.count >= FEW)
}

/// How long a health answer took that says that all is well.
pub fn health_ms(s: &Service, look: &Snapshot) -> Option<f64> {
    let look = &look.services.get(&s.name)?.health;
    look.seen().filter(|h| !h.is_bad()).map(|_| look.elapsed_ms)
}

pub fn pace<'a>(s: &'a Service, looks: &'a Looks, config: &'a Config) -> Pace<'a> {
    let limit = config.thresholds.p95.as_secs_f64();
    let before = looks.before.as_ref();
    let pages = before.and_then(|b| Some((page(s, b)?, page(s, &looks.now)?)));
    let p95 = pages.and_then(|(b, n)| {
        let all = wholes(b, n).filter(|w| w.count > 0.0);
        all.max_by(|a, b| a.p95().map(|p| p.0).unwrap_or(0.0).total_cmp(&b.p95().map(|p| p.0).unwrap_or(0.0)))
    });
    let last = health_ms(s, &looks.now);
    let health = before.and_then(|b| health_ms(s, b)).zip(last);
    let over = |ms: f64| ms > limit * 1000.0;
    let slow_health = health.filter(|(a, b)| over(*a) && over(*b));
    // A job's own histogram is not of the requests, where one of those was quick.
    let none_quick = || {
        let mut whole = pages.iter().flat_map(|(b, n)| wholes(b, n));
        whole.all(|w| w.count <= 0.0 || w.are_all_over(limit, u64::MAX))
    };
    let all = |p: &Between| p.are_all_over(limit, under_way(s, &looks.now, config, limit)) && none_quick();
    let slow_p95 = p95.as_ref().is_some_and(|p| p.is_over(limit) || all(p));
    if slow_p95 || slow_health.is_some() {
        let routes = pages.map(|(b, n)| routes(b, n)).unwrap_or_default();
        return Pace::Slow(Box::new(Slow { s, p95, routes, health: slow_health }));
    }
    if s.metrics.is_some() {
        return match (p95, before) {
            (Some(p), _) => Pace::Quick("http metrics", format!("p95 {}", p.words())),
            (None, None) => Pace::Unseen("http metrics", "one reading: a rate needs two".into()),
            (None, Some(_)) => match last {
                Some(ms) if !over(ms) => Pace::Quick(
                    "http health",
                    format!("no request was timed in between; answered in {ms:.0} ms"),
                ),
                _ => Pace::Unseen("http metrics", "no request was timed in between".into()),
            },
        };
    }
    match last {
        Some(ms) if !over(ms) => Pace::Quick("http health", format!("answered in {ms:.0} ms")),
        Some(ms) if before.is_some() => {
            Pace::Quick("http health", format!("answered in {ms:.0} ms, and faster the other time"))
        }
        Some(ms) => Pace::Unseen("http health", format!("answered in {ms:.0} ms, once")),
        None => Pace::Unseen("http health", "no good answer".into()),
    }
}

/// How many of its requests are under way for longer already: connections of its pool in use, by its own word,
/// and as many statements of no tool's where it keeps its data.
fn under_way(s: &Service, now: &Snapshot, config: &Config, limit: f64) -> u64 {
    let in_use = facts::pool(now, &s.name).and_then(|p| p.in_use).unwrap_or(0);
    let works = needs(&s.name, config).into_iter().filter_map(|n| Some((n, database::work(now, n)?)));
    let long = works.map(|(n, w)| database::longer(&w.running, n, limit, now).count());
    in_use.min(long.sum::<usize>() as u64)
}

/// The routes whose requests took the most time.
fn routes(before: &Metrics, now: &Metrics) -> Vec<(String, Between)> {
    let mut all: Vec<(String, Between)> = now
        .durations
        .iter()
        .filter(|h| !h.whole)
        .filter_map(|h| {
            let name: Vec<&str> = [&h.method, &h.route].into_iter().flatten().map(String::as_str).collect();
            Some((name.join(" "), between(before, now, h).filter(|b| b.count > 0.0)?))
        })
        .collect();
    all.sort_by(|a, b| b.1.sum.unwrap_or(b.1.count).total_cmp(&a.1.sum.unwrap_or(a.1.count)));
    all.truncate(3);
    all
}

impl Slow<'_> {
    /// How many of its requests were under way at a time, on average: the seconds that they took, by the
    /// seconds that passed.
    pub fn load(&self) -> Option<f64> {
        let p = self.p95.as_ref()?;
        p.sum.map(|s| s / p.seconds).filter(|l| *l > 0.0)
    }

    /// What makes it slow, as evidence of a finding.
    pub fn shown(&self, mut f: Finding) -> Finding {
        if let Some(p) = &self.p95 {
            let text = format!("{}, of {} requests in {}", p.words(), p.count, facts::age(p.seconds));
            f = f.saw("http metrics", &format!("p95 of {}", self.s.name), text);
        }
        for (route, p) in self.routes.iter().filter(|(name, _)| !name.is_empty()) {
            f = f.saw(
                "http metrics",
                &format!("p95 of {route}"),
                format!("{}, of {} requests", p.words(), p.count),
            );
        }
        if let Some((a, b)) = self.health {
            f = f.saw("http health", &self.s.name, format!("answered in {a:.0} ms, and in {b:.0} ms"));
        }
        f
    }
}
