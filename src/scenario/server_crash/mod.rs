//! A service does not do its work: told by its health answer, its unit or container, and
//! the log of that. The health answer is the symptom; its place only where the service has no URL.

mod answer;
mod certificate;
mod container;
mod dependency;
mod died;
mod free_port;
mod mcp;
mod ollama;
mod port;
mod redis;
mod remedy;
mod reset;
mod shortage;
mod silent;
mod state;
mod taken_back;
mod unit;
mod unreachable;
mod why_not;
mod words;

pub use dependency::blaming;
pub use mcp::serves as serves_mcp;
pub use port::meets;
pub use remedy::recovered;
pub use reset::reset;
use std::collections::BTreeSet;

use super::db_down;
use super::facts::{self, state};
use super::place::{Place, container as inspected};
use super::registry::Scenario;
use crate::config::Service;
use crate::diagnosis::{Cause, Finding, Severity, Symptom, SymptomState};
use crate::snapshot::service::Status;
use crate::snapshot::{FailKind, Failure, Looks, Reading, Snapshot};

use unit::UNIT_MISSING;

const fn cause(name: &'static str, severity: Severity, title: &'static str) -> Cause {
    Cause { name, severity, title, explains: &[] }
}

pub static SCENARIO: Scenario = Scenario {
    name: "server-crash",
    alias: "server",
    severity: Severity::P1,
    title: "Server crash",
    first_action: "see how it ended, before starting it",
    causes: &[
        &unit::STOPPED,
        &unit::STOPPED_ON_PURPOSE,
        &died::FAILED,
        &died::OOM_KILLED,
        &died::CRASH_LOOP,
        &died::EXEC_FAILED,
        &died::BAD_CONFIGURATION,
        &state::CORRUPTED_STATE,
        &shortage::DISK_FULL,
        &shortage::TASKS_LIMIT,
        &port::PORT_CONFLICT,
        &unit::NOT_LISTENING,
        &unreachable::UNREACHABLE,
        &silent::PAUSED,
        &silent::HUNG,
        &answer::UNHEALTHY,
        &answer::MALFORMED,
        &mcp::MCP_BROKEN,
        &unit::UNIT_MISSING,
        &dependency::DEPENDENCY_DOWN,
        &certificate::CERTIFICATE_ENDS,
    ],
    detect: |looks, config| {
        let unclear = db_down::unclear(&looks.now, config);
        let services = config.service.iter().filter_map(|s| detect(s, &unclear, &looks.now));
        let found = services.chain(dependency::detect(looks, config));
        found.chain(certificate::detect(&looks.now, config)).collect()
    },
    symptoms: |looks, config| {
        let services = config.service.iter().map(|s| symptom(s, looks));
        services.chain(dependency::symptoms(looks, config)).collect()
    },
    again: |_, _, _| Vec::new(),
    plan: remedy::plan,
    recovered: remedy::recovered,
    why_not: why_not::WHY_NOT,
};

/// `unclear`: the servers that are not well for no reason that is known.
fn detect(s: &Service, unclear: &BTreeSet<&str>, now: &Snapshot) -> Option<Finding> {
    let found = cause_of(s, unclear, now).or_else(|| mcp::broken(s, now))?;
    // Without a unit nothing else says what it is that runs there.
    let bare = port::own(s, now).first().copied().filter(|_| port::bare(s, now));
    Some(match bare {
        Some((l, h)) => found.saw("sockets", &l.address, format!("served by {}", port::named(h))),
        None => found,
    })
}

/// The process of a service of this machine without unit or container, by its listener; of workers the
/// first stands for all.
pub fn bare_process(s: &Service, now: &Snapshot) -> Option<u32> {
    let own = port::own(s, now);
    own.iter().map(|(_, h)| h.pid).min().filter(|_| port::bare(s, now))
}

fn cause_of(s: &Service, unclear: &BTreeSet<&str>, now: &Snapshot) -> Option<Finding> {
    if s.url.is_none() || s.health.is_none() {
        return unit::detect(s, None, now);
    }
    match &now.services.get(&s.name)?.health.reading {
        Reading::Seen { value } if !value.is_bad() => None,
        Reading::Seen { .. } => port::conflict(s, now)
            .or_else(|| shortage::alive(s, now))
            .or_else(|| answer::unhealthy(s, unclear, now)),
        Reading::Failed(f) => port::conflict(s, now).or_else(|| answer::none(s, f, now)),
        Reading::NotAsked { .. } => None,
    }
}

fn symptom(s: &Service, looks: &Looks) -> Symptom {
    let now = &looks.now;
    let by_health = s.url.is_some() && s.health.is_some();
    let (state, says) = match now.services.get(&s.name).filter(|_| by_health) {
        Some(look) => match &look.health.reading {
            Reading::Seen { value } if value.is_bad() => {
                (SymptomState::Bad, format!("unhealthy (HTTP {})", value.http_status))
            }
            Reading::Seen { value } => match &value.status {
                Some(Status::Healthy) => (SymptomState::Good, "healthy".into()),
                Some(Status::Degraded) => (SymptomState::Good, "healthy, with a warning of its own".into()),
                Some(Status::Other(word)) => (SymptomState::Unseen, format!("says `{word}`")),
                Some(Status::Unhealthy) | None => (SymptomState::Unseen, "does not say how it is".into()),
            },
            Reading::Failed(f) => match f.kind {
                FailKind::NotTried => (SymptomState::Unseen, f.detail.clone()),
                FailKind::Denied => {
                    (SymptomState::Unseen, format!("alive, does not let us look: {}", f.detail))
                }
                _ => (SymptomState::Bad, f.detail.clone()),
            },
            Reading::NotAsked { why } => (SymptomState::Unseen, format!("not asked: {why}")),
        },
        None if by_health => (SymptomState::Unseen, "not looked at".into()),
        None => by_place_alone(s, now),
    };
    let (state, says) = match mcp::doubt(s, now).filter(|_| state == SymptomState::Good) {
        Some(doubt) => {
            (SymptomState::Unseen, format!("{says}, and its MCP endpoint can't be judged: {doubt}"))
        }
        None => (state, says),
    };
    Symptom { subject: s.name.clone(), state, says }
}

fn by_place_alone(s: &Service, now: &Snapshot) -> (SymptomState, String) {
    match Place::of(s) {
        Some(Place::Unit(name)) => by_unit_alone(name, now),
        Some(Place::Container(name)) => by_container_alone(name, now),
        None => (SymptomState::Unseen, "neither a URL, a unit nor a container is configured".into()),
    }
}

fn by_unit_alone(name: &str, now: &Snapshot) -> (SymptomState, String) {
    match &now.units.listed.reading {
        Reading::Seen { value } => match value.get(name) {
            Some(u) if u.active == "active" || u.active == "reloading" => {
                (SymptomState::Good, format!("{name} is {}", state(u)))
            }
            Some(u) => (SymptomState::Bad, format!("{name} is {}", state(u))),
            None => (SymptomState::Unseen, format!("{name} was not listed")),
        },
        Reading::Failed(f) => (SymptomState::Unseen, f.detail.clone()),
        Reading::NotAsked { why } => (SymptomState::Unseen, format!("not asked: {why}")),
    }
}

/// The engine's own check counts, where there is one.
fn by_container_alone(name: &str, now: &Snapshot) -> (SymptomState, String) {
    let Some(look) = now.containers.get(name) else {
        return (SymptomState::Unseen, "not looked at".into());
    };
    let Some(c) = inspected(now, name) else {
        return match &look.inspected.reading {
            Reading::Failed(f) if look.is_missing() => (SymptomState::Bad, f.detail.clone()),
            Reading::Failed(f) => (SymptomState::Unseen, f.detail.clone()),
            Reading::NotAsked { why } => (SymptomState::Unseen, format!("not asked: {why}")),
            Reading::Seen { .. } => (SymptomState::Unseen, "not looked at".into()),
        };
    };
    let state = match (c.state.as_str(), c.health.as_ref().map(|h| h.status.as_str())) {
        ("running", Some("starting")) => SymptomState::Unseen,
        ("running", Some("unhealthy")) => SymptomState::Bad,
        ("running", _) => SymptomState::Good,
        _ => SymptomState::Bad,
    };
    (state, format!("{name} is {}", c.words()))
}

/// How many of a service's own last lines a finding shows.
const WORDS: usize = 3;

/// The last that the service itself said; a warning or worse before that takes the first place.
fn last_words(mut f: Finding, now: &Snapshot, place: Place) -> Finding {
    let Some(journal) = place.journal(now) else { return f };
    let said = journal.lines.iter().filter(|l| !l.text.trim().is_empty());
    let mut last: Vec<_> = said.rev().take(WORDS).collect();
    last.reverse();
    if let Some(worst) = facts::last_line(journal).filter(|w| !last.contains(w)) {
        last.splice(..last.len().min(1), [worst]);
    }
    for l in last {
        f = f.saw(place.log(), "last words", &l.text);
    }
    f
}

fn with_refusal(f: Finding, refused: Option<&Failure>) -> Finding {
    f.saw_if("http health", "answer", refused.map(|r| r.detail.clone()))
}

fn runbook(c: &Cause) -> String {
    format!("mcp-ir runbook {}", c.name.replace('/', "#"))
}
