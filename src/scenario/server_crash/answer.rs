//! What the health answer itself tells: unwell, unreadable, or none at all in time.
//! Where nothing listens, `unit` says how it ended.

use std::collections::BTreeSet;

use super::{cause, last_words, port, runbook, shortage, silent, unit, unreachable};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::facts;
use crate::scenario::place::{Place, container};
use crate::snapshot::containers::Container;
use crate::snapshot::service::Shape;
use crate::snapshot::{FailKind, Failure, Snapshot, Stage};

pub static UNHEALTHY: Cause =
    cause("server-crash/unhealthy", Severity::P1, "the service says it is unhealthy");
pub static MALFORMED: Cause =
    cause("server-crash/malformed-health", Severity::P2, "the health answer is none");

/// It answers, and says that it is not well.
pub fn unhealthy(s: &Service, unclear: &BTreeSet<&str>, now: &Snapshot) -> Option<Finding> {
    let health = facts::health(now, &s.name).filter(|h| h.is_bad())?;
    if health.shape == Shape::Error && health.http_status < 500 {
        return Some(malformed(
            s,
            &format!("HTTP {}, an error: {}", health.http_status, health.messages.join(", ")),
        ));
    }
    let misses = health.database.is_some() && !health.says_connected();
    if misses && now.config.needs(&s.name).iter().any(|n| unclear.contains(n.as_str())) {
        return None;
    }
    let says = match &health.status {
        Some(_) => "answers that it is unhealthy".to_owned(),
        None => format!("answers HTTP {}", health.http_status),
    };
    // With its pool used up "connected" is no contradiction; else the database is not its reason.
    let connected = health.says_connected() && !facts::saturated(now, &s.name, &now.config);
    let mut f = Finding::new(&UNHEALTHY, &s.name, Certainty::Proven, format!("{} {says}", s.name))
        .connected(connected)
        .saw("http health", "HTTP status", health.http_status.to_string())
        .saw_if("http health", "database", health.database.clone());
    for m in health.messages.iter().take(3) {
        f = f.saw("http health", "says", m);
    }
    // Its database answers us: what it misses is another one, or another way. A restart keeps both.
    let answers = |n: &String| now.postgres.get(n).is_some_and(facts::takes_logins);
    if misses && now.config.needs(&s.name).iter().any(answers) {
        let words =
            "Its database answers here: see its pool, and where its own settings lead, before a restart";
        return Some(f.remedy(runbook(&UNHEALTHY), words, Risk::Safe));
    }
    f = match Place::of(s).filter(|_| !port::bare(s, now)) {
        Some(place) => last_words(f, now, place)
            .restarts(place.restart(), "Take its logs as evidence first, then restart that one service"),
        None => f.remedy(runbook(&UNHEALTHY), "Take its logs as evidence, then restart it", Risk::Disruptive),
    };
    Some(f)
}

/// No answer that could be read.
pub fn none(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    match (f.kind, f.stage) {
        // Closed in the middle is how a dying or half-dead server answers: the unit decides.
        (FailKind::Refused | FailKind::Closed, _) => {
            unreachable::detect(s, f, now).or_else(|| unit::detect(s, Some(f), now))
        }
        (FailKind::TimedOut, Some(Stage::Tls | Stage::Answer | Stage::Body)) => silent::stopped(s, f, now)
            .or_else(|| unreachable::detect(s, f, now))
            .or_else(|| shortage::tasks_of(s, now))
            .or_else(|| silent::stands(s, f, now)),
        // A stopped process does not empty its queue: then connections are no longer made.
        (FailKind::TimedOut, Some(Stage::Connect)) => {
            silent::stopped(s, f, now).or_else(|| unreachable::detect(s, f, now))
        }
        (FailKind::Unreachable | FailKind::Unresolved | FailKind::Denied | FailKind::TimedOut, _) => {
            // Who answers, be it that we must log in, is alive, whatever its unit is.
            let answered = f.kind == FailKind::Denied && f.stage != Some(Stage::Connect);
            let down = if answered { None } else { unit::down(s, f, now) };
            down.or_else(|| unreachable::detect(s, f, now)).or_else(|| check(s, f, now))
        }
        (FailKind::NotTried, _) => check(s, f, now),
        // What answers there is not this service: no database is the reason.
        (FailKind::Malformed, _) => Some(malformed(s, &f.detail).own(true)),
        _ => None,
    }
}

/// The answer is not to be had: then the engine's own check is all that speaks of it.
fn check(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    if !matches!(f.kind, FailKind::Denied | FailKind::NotTried) {
        return None;
    }
    let Some(Place::Container(name)) = Place::of(s) else { return None };
    let c = container(now, name).filter(|c| c.is_unhealthy())?;
    Some(by_check(s, Place::Container(name), c, now).saw("http health", "answer", &f.detail))
}

/// Its engine's own check says that it does not work, and nothing else does.
pub fn by_check(s: &Service, place: Place, c: &Container, now: &Snapshot) -> Finding {
    let check = c.health.clone().unwrap_or_default();
    let times = facts::count(check.failed as usize, "time");
    let summary = format!("{} fails the health check of its container", s.name);
    let f = Finding::new(&UNHEALTHY, &s.name, Certainty::Likely, summary)
        .saw("docker", place.name(), c.words())
        .saw("docker", "health check", format!("failed {times} in a row"))
        .saw_if("docker", "it says", check.says);
    last_words(f, now, place)
        .restarts(place.restart(), "Take its logs as evidence first, then restart that one service")
}

fn malformed(s: &Service, what: &str) -> Finding {
    let summary = format!("the health answer of {} can't be read: {what}", s.name);
    Finding::new(&MALFORMED, &s.name, Certainty::Proven, summary).saw("http health", "answer", what).remedy(
        format!("curl -i --max-time 5 {}", shell_word(&health_url(s))),
        "See what answers there: the wrong server, a proxy's page, a new shape",
        Risk::Safe,
    )
}

fn health_url(s: &Service) -> String {
    let path = s.health.as_ref().map_or("", |h| h.path());
    format!("{}{path}", s.url.as_deref().unwrap_or_default().trim_end_matches('/'))
}
