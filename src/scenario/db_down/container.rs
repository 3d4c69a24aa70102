//! A server whose place is a container: what its engine says of it, where it does not answer.

use super::reach::{HUNG, POSTGRES_STOPPED, SHUTTING_DOWN};
use super::words::START_FAILED;
use crate::config::Postgres;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, shell_word};
use crate::scenario::place::{Place, container, under_way};
use crate::snapshot::Snapshot;
use crate::snapshot::containers::Container;
use crate::snapshot::postgres::PostgresLook;

/// A start that ended so soon never became ready.
const START_S: f64 = 30.0;

/// Nothing listens there, and its container does not run.
pub fn stopped(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<Finding> {
    let name = p.container.as_deref()?;
    let of_it = now.containers.get(name)?;
    let place = Place::Container(name);
    let found = |cause: &Cause, certainty, why: String| {
        let said = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
        Finding::new(cause, &p.name, certainty, why)
            .saw("postgres login", &look.endpoint, said)
            .saw_if("docker", name, place.state(now))
            .saw_if("docker logs", "last words", place.last_words(now))
    };
    if of_it.is_missing() {
        let why = format!("PostgreSQL does not run: there is no container {name}");
        let words = "See which containers there are, and create it anew: its data is in its volume";
        return Some(
            found(&POSTGRES_STOPPED, Certainty::Proven, why).saw("docker", name, "no such container").remedy(
                "docker ps -a",
                words,
                Risk::Safe,
            ),
        );
    }
    let c = container(now, name)?;
    let stop = place.stop_job(now);
    if under_way(of_it, c, now) {
        let why = format!("container {name} is being stopped");
        let words = "See who stops it, and why";
        return Some(found(&SHUTTING_DOWN, Certainty::Likely, why).remedy(place.status(), words, Risk::Safe));
    }
    if !c.is_down() && c.state != "restarting" {
        return None;
    }
    if stop.is_none() && failed_to_start(c) {
        let why = format!("container {name} does not get through its start: {}", reason(c));
        let f = found(&START_FAILED, Certainty::Likely, why).since(c.finished_at);
        return Some(f.remedy(place.status(), "Mend what its log names, then start it once", Risk::Safe));
    }
    let how = if stop.is_some() { "; the engine was told to stop it" } else { "" };
    let why = format!("PostgreSQL does not run: container {name} is {}{how}", c.words());
    let f = found(&POSTGRES_STOPPED, Certainty::Proven, why).since(stop.map(|s| s.at).or(c.finished_at));
    Some(f.remedy(place.start(), "Start it, and wait until it accepts", Risk::Disruptive))
}

/// The engine could not begin it, or it ended badly within the time of a start.
fn failed_to_start(c: &Container) -> bool {
    let short = c.ran_s().is_some_and(|s| s <= START_S) && c.exit_code != 0 && c.exit_code < 128;
    !c.error.is_empty() || short
}

fn reason(c: &Container) -> String {
    if c.error.is_empty() { c.exit() } else { c.error.clone() }
}

/// Its engine says that it runs: then it is no server that was stopped.
pub fn runs(p: &Postgres, now: &Snapshot) -> bool {
    p.container.as_deref().and_then(|name| container(now, name)).is_some_and(|c| c.state == "running")
}

/// It takes connections, or its engine does for it, and may not run.
pub fn paused(p: &Postgres, look: &PostgresLook, now: &Snapshot) -> Option<Finding> {
    let name = p.container.as_deref()?;
    container(now, name).filter(|c| c.state == "paused")?;
    let silent = look.login.failure().map(|f| f.detail.clone()).unwrap_or_default();
    let why = "PostgreSQL answers nothing: the engine keeps its container from running";
    let f = Finding::new(&HUNG, &p.name, Certainty::Proven, why)
        .saw("postgres login", &look.endpoint, silent)
        .saw("docker", name, "paused");
    let words = "Ask who paused it, and why; then let it go on";
    Some(f.remedy(format!("docker unpause {}", shell_word(name)), words, Risk::Disruptive))
}
