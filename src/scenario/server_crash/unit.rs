//! How a service's unit stands, and how it ended: by systemd's list and the journal. What is said of it is
//! said of a container as well.

use jiff::Timestamp;

use super::{cause, container, died, last_words, port, runbook, with_refusal};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::ends;
use crate::scenario::facts;
use crate::scenario::place::{Place, container as inspected};
use crate::snapshot::{FailKind, Failure, Snapshot};

pub static STOPPED: Cause =
    cause("server-crash/stopped", Severity::P1, "the service ended without a failure");
pub static STOPPED_ON_PURPOSE: Cause =
    cause("server-crash/stopped-on-purpose", Severity::P1, "somebody stopped the service");
pub static NOT_LISTENING: Cause =
    cause("server-crash/not-listening", Severity::P1, "the process runs, its port is closed");
pub static UNIT_MISSING: Cause =
    cause("server-crash/unit-missing", Severity::P1, "nothing is there to run the service");

/// How long after its start a service may keep its port closed.
pub const STARTING_S: f64 = 30.0;

/// Nothing answers at its port, or it has none: systemd and the journal say how it ended.
pub fn detect(s: &Service, refused: Option<&Failure>, now: &Snapshot) -> Option<Finding> {
    let name = match Place::of(s) {
        Some(Place::Unit(name)) => name,
        Some(Place::Container(name)) => return container::detect(s, name, refused, now),
        None => return without(s, refused, now),
    };
    let place = Place::Unit(name);
    // A unit that was not listed is not known to be missing.
    let u = now.units.listed.seen()?.get(name)?;
    let runs = u.active == "active" || u.active == "reloading";
    // Masking a unit does not stop it.
    if u.load == "not-found" || (u.load == "masked" && !runs) {
        // Something listens, by whatever it was started.
        if refused.is_some_and(|f| f.kind != FailKind::Refused) {
            return None;
        }
        return Some(elsewhere(s, refused, now).unwrap_or_else(|| missing(s, name, &u.load, refused, now)));
    }
    match u.active.as_str() {
        // A service that ends badly when it is told to stop is `failed` too: the stop job came first.
        "failed" | "inactive" if place.stop_job(now).is_some() => Some(ended(s, name, refused, now)),
        "failed" => Some(died::detect(s, name, u, refused, now)),
        "activating" if u.sub.starts_with("auto-restart") => Some(died::detect(s, name, u, refused, now)),
        // Dead and started again, over and over: whichever of the two it is at this moment.
        "activating" if died::loops(name, now) => Some(died::detect(s, name, u, refused, now)),
        "inactive" if failed_once(now, name) => Some(died::detect(s, name, u, refused, now)),
        "inactive" => Some(ended(s, name, refused, now)),
        "active" | "reloading" => {
            let failure = refused?;
            let up = facts::detail(now, name).and_then(|d| d.state_since);
            let age = up.map(|t| now.taken_at.duration_since(t).as_secs_f64());
            let starting = age.is_none_or(|a| a < STARTING_S);
            // Who has run for long since he was brought back is not down by that death.
            let died = !ends::recent(&place.deaths(now), now).is_empty();
            if died && (starting || died::loops(name, now)) {
                return Some(died::detect(s, name, u, refused, now));
            }
            // Not known how long it runs, or still within its start: nothing to say.
            if starting || failure.kind != FailKind::Refused {
                return None;
            }
            Some(closed(s, place, refused, now).since(up))
        }
        // Starting or stopping under a job of systemd's: wait for its end, say nothing.
        _ => None,
    }
}

/// Whatever the way to it is: its unit or container does not run.
pub fn down(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    let down = match Place::of(s)? {
        Place::Unit(name) => {
            let u = now.units.listed.seen()?.get(name)?;
            u.load == "loaded" && matches!(u.active.as_str(), "failed" | "inactive")
        }
        Place::Container(name) => inspected(now, name)?.is_down(),
    };
    down.then(|| detect(s, Some(f), now))?
}

/// It runs, for longer than a start takes, and nothing listens at its port.
pub fn closed(s: &Service, place: Place, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    let summary = format!("{} runs, and its port is closed", place.name());
    let f = with_refusal(Finding::new(&NOT_LISTENING, &s.name, Certainty::Likely, summary), refused);
    last_words(f.saw_if(place.keeper(), place.name(), place.state(now)), now, place)
        .restarts(place.restart(), "Take its logs as evidence first, then restart that one service")
}

/// systemd has no such unit, or may not start it.
fn missing(s: &Service, name: &str, load: &str, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    let masked = load == "masked";
    let (how, word) = if masked { ("is masked", "masked") } else { ("does not exist", "not found") };
    let similar = now.units.similar.get(name).map(Vec::as_slice).unwrap_or_default();
    let near = match similar.first() {
        Some(near) if !masked => format!("; there is {near}"),
        _ => String::new(),
    };
    let summary = format!("{}: its unit {name} {how}{near}", s.name);
    let f = with_refusal(Finding::new(&UNIT_MISSING, &s.name, Certainty::Proven, summary), refused)
        .saw("systemd", name, word)
        .saw_if("systemd", "similar names", (!similar.is_empty()).then(|| similar.join(", ")));
    match similar.first() {
        _ if masked => {
            let unmask = format!("systemctl unmask {0} && systemctl start {0}", shell_word(name));
            f.remedy(unmask, "Ask who masked it, and why; then take that back", Risk::Disruptive)
        }
        Some(near) => {
            let words = "If that is the service's, correct its `unit` in the configuration";
            f.remedy(format!("systemctl status {}", shell_word(near)), words, Risk::Safe)
        }
        None => f.remedy("systemctl list-unit-files '*mcp*'", "See which units there are", Risk::Safe),
    }
}

/// Neither a unit nor a container is configured: only a listener could be the service.
fn without(s: &Service, refused: Option<&Failure>, now: &Snapshot) -> Option<Finding> {
    let refused = refused.filter(|f| f.kind == FailKind::Refused && port::bare(s, now))?;
    // Sockets that were not looked at are not known to be none.
    now.listeners.seen()?;
    if let Some(found) = elsewhere(s, Some(refused), now) {
        return Some(found);
    }
    let (host, port) = s.address()?;
    let summary = format!("{}: nothing listens on its port, and no unit or container is configured", s.name);
    let f = Finding::new(&UNIT_MISSING, &s.name, Certainty::Proven, summary);
    let words = "Start it as it is started here; then name its unit in the configuration";
    Some(
        with_refusal(f, Some(refused))
            .saw("sockets", &format!("{host}:{port}"), "no listener")
            .saw("configuration", "unit, container", "none")
            .remedy(runbook(&UNIT_MISSING), words, Risk::Safe),
    )
}

/// No unit, and a process that listens on its port at another address than it is asked at.
fn elsewhere(s: &Service, refused: Option<&Failure>, now: &Snapshot) -> Option<Finding> {
    let l = port::listener(s, now).filter(|_| port::bare(s, now))?;
    let who = l.holders.first().map_or_else(|| "a process".into(), port::named);
    let summary = format!("{} is not where it is asked: {who} listens at {}", s.name, l.address);
    let f = with_refusal(Finding::new(&NOT_LISTENING, &s.name, Certainty::Likely, summary), refused);
    Some(f.saw("sockets", &l.address, format!("held by {who}")).remedy(
        "mcp-ir config show",
        "Correct the address, here or in its own settings",
        Risk::Safe,
    ))
}

/// Inactive, and still it failed: `systemctl reset-failed` took only the word away.
fn failed_once(now: &Snapshot, name: &str) -> bool {
    facts::detail(now, name).is_some_and(|d| d.result != "success")
        || facts::journal(now, name).is_some_and(ends::badly)
}

/// Inactive without a failure: somebody's stop job, or it ended by itself, or it never ran.
fn ended(s: &Service, name: &str, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    let place = Place::Unit(name);
    let d = facts::detail(now, name);
    if let Some(stop) = place.stop_job(now) {
        let found = on_purpose(s, place, refused, now, Certainty::Proven, Some(stop.at));
        return found.saw("journal", "stop job", stop.at.to_string());
    }
    let (certainty, how) = match (place.journal(now), d.and_then(|d| d.exited_at)) {
        _ if place.last_job(now).is_some() => (Certainty::Proven, "ended by itself, without a failure"),
        (Some(j), None) if j.events.is_empty() => {
            (Certainty::Proven, "has not been started since this machine came up")
        }
        // The journal could not be read, or does not reach back: a person's stop is not ruled out.
        _ => (Certainty::Likely, "is not running, and did not fail"),
    };
    by_itself(s, place, refused, now, certainty, how).since(d.and_then(|d| d.state_since)).saw_if(
        "systemd",
        "result",
        d.map(|d| format!("{}, exit status {}", d.result, d.exit_status)),
    )
}

/// Somebody had it stopped, or it looks so.
pub fn on_purpose(
    s: &Service,
    place: Place,
    refused: Option<&Failure>,
    now: &Snapshot,
    certainty: Certainty,
    since: Option<Timestamp>,
) -> Finding {
    let how = match (place, certainty) {
        (Place::Unit(_), _) => "a stop job of systemd ended it",
        (Place::Container(_), Certainty::Proven) => "the engine was told to stop it",
        (Place::Container(_), Certainty::Likely) => "else its policy would bring it back",
    };
    let summary = format!("{} was stopped on purpose: {how}", s.name);
    with_refusal(Finding::new(&STOPPED_ON_PURPOSE, &s.name, certainty, summary), refused)
        .since(since)
        .saw_if(place.keeper(), place.name(), place.state(now))
        .remedy(place.start(), "Ask who stopped it, and why; then start it", Risk::Disruptive)
}

/// It is not running, and did not fail.
pub fn by_itself(
    s: &Service,
    place: Place,
    refused: Option<&Failure>,
    now: &Snapshot,
    certainty: Certainty,
    how: &str,
) -> Finding {
    let f = with_refusal(Finding::new(&STOPPED, &s.name, certainty, format!("{} {how}", s.name)), refused);
    last_words(f.saw_if(place.keeper(), place.name(), place.state(now)), now, place).remedy(
        place.start(),
        "Start it, and see why it ended",
        Risk::Disruptive,
    )
}
