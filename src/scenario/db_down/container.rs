//! A server whose place is a container: what its engine says of it, where it does not answer.

use super::reach::{HUNG, POSTGRES_STOPPED, SHUTTING_DOWN};
use super::words::{self, START_FAILED};
use crate::config::Postgres;
use crate::diagnosis::{Certainty, Finding, Risk};
use crate::scenario::clusters;
use crate::scenario::contained::{self, End, Why};
use crate::scenario::log::Said;
use crate::scenario::place::{Place, container};
use crate::snapshot::Snapshot;
use crate::snapshot::postgres::{PostgresLook, Postmaster};

/// Nothing listens there, and its container does not run.
pub fn stopped(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<Finding> {
    let name = p.container.as_deref()?;
    let end = contained::end(name, now).filter(|e| !matches!(e.why, Why::Paused))?;
    // Who is not where he was may run elsewhere: that is asked of the host's processes first.
    if matches!(end.why, Why::Missing) && runs_elsewhere(p, look) {
        return None;
    }
    // What became ready did start, however soon it ended.
    let failed = words::of_start(p, end.speaks_from(now), now).filter(|_| end.in_its_start());
    if let Some(why) = failed {
        return Some(failed_start(p, look, now, &end, &why));
    }
    let words = end.words();
    let (cause, certainty, why) = match end.why {
        Why::Moving => (&SHUTTING_DOWN, Certainty::Likely, words),
        // It may go by another name, or have moved out of containers.
        Why::Missing => (&POSTGRES_STOPPED, Certainty::Likely, format!("nothing answers, and {words}")),
        _ if look.here != Some(true) => {
            (&POSTGRES_STOPPED, Certainty::Likely, format!("PostgreSQL does not run: {words}"))
        }
        _ => (&POSTGRES_STOPPED, Certainty::Proven, format!("PostgreSQL does not run: {words}")),
    };
    let place = Place::Container(name);
    let said = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
    let (command, advice, risk) = end.next();
    let told = match end.why {
        Why::ToldToStop(at) => Some(at.to_string()),
        _ => None,
    };
    let missing = matches!(end.why, Why::Missing).then_some("no such container");
    let near = now.containers.get(name).filter(|l| !l.similar.is_empty()).map(|l| l.similar.join(", "));
    let others = look.postmasters.seen().filter(|all| missing.is_some() && !all.is_empty());
    let f = Finding::new(cause, &p.name, certainty, why)
        .since(end.since)
        .saw("postgres login", &look.endpoint, said)
        .saw_if("docker", name, place.state(now).or(missing.map(Into::into)))
        .saw_if("docker", "similar names", near)
        .saw_if("/proc", "postmasters that run", others.map(|all| listed(all)))
        .saw_if("docker events", "told to stop", told)
        .saw_if("docker logs", "last words", place.last_words(now));
    Some(f.remedy(command, advice, risk))
}

/// A postmaster of its folder or port runs on this host, or one that may be.
fn runs_elsewhere(p: &Postgres, look: &PostgresLook) -> bool {
    let (ours, unclear) = clusters::postmasters(p, look);
    look.here == Some(true) && (unclear || !ours.is_empty())
}

/// `process 700 of port 5433`
fn listed(all: &[Postmaster]) -> String {
    let port = |m: &Postmaster| m.port.map_or_else(String::new, |port| format!(" of port {port}"));
    let each: Vec<String> = all.iter().map(|m| format!("process {}{}", m.pid, port(m))).collect();
    each.join(", ")
}

fn failed_start(p: &Postgres, look: &PostgresLook, now: &Snapshot, end: &End, why: &[Said]) -> Finding {
    let place = Place::Container(end.name);
    let fatal = why.iter().any(|l| l.is(&["FATAL", "PANIC"]));
    let first = why.first().filter(|_| fatal).and_then(Said::parts);
    let (certainty, summary) = match first {
        Some((_, text)) => (Certainty::Proven, format!("container {} failed to start: {text}", end.name)),
        None => (Certainty::Likely, end.words()),
    };
    let said = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
    let mut f = Finding::new(&START_FAILED, &p.name, certainty, summary)
        .since(end.since)
        .saw("postgres login", &look.endpoint, said)
        .saw_if("docker", end.name, place.state(now));
    if let Some(again) = end.again() {
        f = f.saw("docker", "brought back", again);
    }
    for l in why {
        f = f.saw(l.probe, "PostgreSQL says", l.words());
    }
    if why.is_empty() {
        let (command, advice, risk) = end.next();
        return f.saw_if("docker logs", "last words", place.last_words(now)).remedy(command, advice, risk);
    }
    let (command, what) = words::first(why, p, place);
    let then = match end.comes_back() {
        true => format!("{what}: its engine starts it again by itself"),
        false => format!("{what}; then start it once: `{}`", place.start()),
    };
    f.remedy(command, then, Risk::Safe)
}

/// Its engine says that it runs: then it is no server that was stopped.
pub fn runs(p: &Postgres, now: &Snapshot) -> bool {
    p.container.as_deref().and_then(|name| container(now, name)).is_some_and(|c| c.state == "running")
}

/// It takes connections, or its engine does for it, and may not run.
pub fn paused(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<Finding> {
    let name = p.container.as_deref()?;
    let end = contained::end(name, now).filter(|e| matches!(e.why, Why::Paused))?;
    let silent = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
    let why = "PostgreSQL answers nothing: the engine keeps its container from running";
    let f = Finding::new(&HUNG, &p.name, Certainty::Proven, why)
        .saw("postgres login", &look.endpoint, silent)
        .saw("docker", name, "paused");
    let (command, advice, risk) = end.next();
    Some(f.remedy(command, advice, risk))
}
