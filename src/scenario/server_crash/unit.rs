//! How a service's unit stands, and how it ended: by systemd's list and the journal.

use super::{cause, died, last_words, with_refusal};
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
pub static UNIT_MISSING: Cause = cause("server-crash/unit-missing", Severity::P1, "there is no such unit");

/// How long after its start a service may keep its port closed.
const STARTING_S: f64 = 30.0;

/// Nothing answers at its port, or it has none: systemd and the journal say how it ended.
pub fn detect(s: &Service, refused: Option<&Failure>, now: &Snapshot) -> Option<Finding> {
    let name = s.unit.as_deref()?;
    // A unit that was not listed is not known to be missing.
    let u = now.units.listed.seen()?.get(name)?;
    let runs = u.active == "active" || u.active == "reloading";
    // Masking a unit does not stop it.
    if u.load == "not-found" || (u.load == "masked" && !runs) {
        // Something listens, by whatever it was started.
        if refused.is_some_and(|f| f.kind != FailKind::Refused) {
            return None;
        }
        let (how, word) =
            if u.load == "masked" { ("is masked", "masked") } else { ("does not exist", "not found") };
        let summary = format!("{}: its unit {name} {how}", s.name);
        return Some(
            with_refusal(Finding::new(&UNIT_MISSING, &s.name, Certainty::Proven, summary), refused)
                .saw("systemd", name, word)
                .remedy("systemctl list-unit-files '*mcp*'", "See which units there are", Risk::Safe),
        );
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
            if !ends::recent(&ends::of(now, name), now).is_empty() {
                return Some(died::detect(s, name, u, refused, now));
            }
            let up = facts::detail(now, name).and_then(|d| d.state_since);
            let age = up.map(|t| now.taken_at.duration_since(t).as_secs_f64());
            // Not known how long it runs, or still within its start: nothing to say.
            if age.is_none_or(|a| a < STARTING_S) || failure.kind != FailKind::Refused {
                return None;
            }
            Some(
                base(&NOT_LISTENING, Certainty::Likely, format!("{name} runs, and its port is closed"))
                    .since(up)
                    .saw_if("journal", "last words", last_words(now, name))
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
    start(
        with_refusal(f, refused)
            .since(since)
            .saw("systemd", name, state(u))
            .saw_if("systemd", "result", d.map(|d| format!("{}, exit status {}", d.result, d.exit_status)))
            .saw_if("journal", "last words", last_words(now, name)),
        "Start it, and see why it ended",
    )
}
