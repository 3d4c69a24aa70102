//! How a service's unit stands, and how it ended: by systemd's list and the journal.

use super::{cause, died, last_words, port, runbook, with_refusal};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::ends;
use crate::scenario::facts::{self, state};
use crate::snapshot::units::Unit;
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
const STARTING_S: f64 = 30.0;

/// Nothing answers at its port, or it has none: systemd and the journal say how it ended.
pub fn detect(s: &Service, refused: Option<&Failure>, now: &Snapshot) -> Option<Finding> {
    let Some(name) = s.unit.as_deref() else { return without(s, refused, now) };
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
    let base = |cause, certainty, text: String| {
        with_refusal(Finding::new(cause, &s.name, certainty, text), refused).saw("systemd", name, state(u))
    };
    match u.active.as_str() {
        // A service that ends badly when it is told to stop is `failed` too: the stop job came first.
        "failed" | "inactive" if ends::stop_job(now, name).is_some() => Some(ended(s, name, u, refused, now)),
        "failed" => Some(died::detect(s, name, u, refused, now)),
        "activating" if u.sub.starts_with("auto-restart") => Some(died::detect(s, name, u, refused, now)),
        // Dead and started again, over and over: whichever of the two it is at this moment.
        "activating" if died::loops(name, now) => Some(died::detect(s, name, u, refused, now)),
        "inactive" if failed_once(now, name) => Some(died::detect(s, name, u, refused, now)),
        "inactive" => Some(ended(s, name, u, refused, now)),
        "active" | "reloading" => {
            let failure = refused?;
            let up = facts::detail(now, name).and_then(|d| d.state_since);
            let age = up.map(|t| now.taken_at.duration_since(t).as_secs_f64());
            let starting = age.is_none_or(|a| a < STARTING_S);
            // Who has run for long since he was brought back is not down by that death.
            let died = !ends::recent(&ends::of(now, name), now).is_empty();
            if died && (starting || died::loops(name, now)) {
                return Some(died::detect(s, name, u, refused, now));
            }
            // Not known how long it runs, or still within its start: nothing to say.
            if starting || failure.kind != FailKind::Refused {
                return None;
            }
            Some(
                last_words(
                    base(&NOT_LISTENING, Certainty::Likely, format!("{name} runs, and its port is closed")),
                    now,
                    name,
                )
                .since(up)
                .remedy(
                    format!("systemctl restart {}", shell_word(name)),
                    "Take its logs as evidence first, then restart that one service",
                    Risk::Disruptive,
                ),
            )
        }
        // Starting or stopping under a job of systemd's: wait for its end, say nothing.
        _ => None,
    }
}

/// Whatever the way to it is: its unit does not run.
pub fn down(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    let u = now.units.listed.seen()?.get(s.unit.as_deref()?)?;
    let down = u.load == "loaded" && matches!(u.active.as_str(), "failed" | "inactive");
    down.then(|| detect(s, Some(f), now))?
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
fn ended(s: &Service, name: &str, u: &Unit, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    let d = facts::detail(now, name);
    let journal = facts::journal(now, name);
    let start = |f: Finding, words: &str| {
        f.remedy(format!("systemctl start {}", shell_word(name)), words, Risk::Disruptive)
    };
    let since = d.and_then(|d| d.state_since);
    if let Some(stop) = ends::stop_job(now, name) {
        let f = with_refusal(
            Finding::new(
                &STOPPED_ON_PURPOSE,
                &s.name,
                Certainty::Proven,
                format!("{} was stopped on purpose: a stop job of systemd ended it", s.name),
            ),
            refused,
        );
        return start(
            f.since(Some(stop.at)).saw("systemd", name, state(u)).saw(
                "journal",
                "stop job",
                stop.at.to_string(),
            ),
            "Ask who stopped it, and why; then start it",
        );
    }
    let (certainty, how) = match (journal, d.and_then(|d| d.exited_at)) {
        _ if ends::last_job(now, name).is_some() => (Certainty::Proven, "ended by itself, without a failure"),
        (Some(j), None) if j.events.is_empty() => {
            (Certainty::Proven, "has not been started since this machine came up")
        }
        // The journal could not be read, or does not reach back: a person's stop is not ruled out.
        _ => (Certainty::Likely, "is not running, and did not fail"),
    };
    let f = Finding::new(&STOPPED, &s.name, certainty, format!("{} {how}", s.name));
    let f = last_words(
        with_refusal(f, refused).since(since).saw("systemd", name, state(u)).saw_if(
            "systemd",
            "result",
            d.map(|d| format!("{}, exit status {}", d.result, d.exit_status)),
        ),
        now,
        name,
    );
    start(f, "Start it, and see why it ended")
}
