//! How a service's container stands, and how it ended: by the engine's word of it, its events, its log.
//! The same causes as of a unit. An engine that does not answer says nothing of a service.

use super::died::{self, End};
use super::{UNIT_MISSING, answer, port, silent, unit, with_refusal};
use crate::config::Service;
use crate::diagnosis::{Certainty, Finding, Risk, shell_word};
use crate::scenario::contained::looped;
use crate::scenario::ends;
use crate::scenario::place::{Place, under_way};
use crate::snapshot::containers::{Container, ContainerLook};
use crate::snapshot::{FailKind, Failure, Snapshot};

pub fn detect(s: &Service, name: &str, refused: Option<&Failure>, now: &Snapshot) -> Option<Finding> {
    let look = now.containers.get(name)?;
    // Something listens, by whatever it was started.
    if look.is_missing() {
        let listens = refused.is_some_and(|f| f.kind != FailKind::Refused);
        return (!listens).then(|| missing(s, name, look, refused));
    }
    let c = look.inspected.seen()?;
    if under_way(look, c, now) {
        return None;
    }
    match c.state.as_str() {
        "paused" => silent::paused_container(s, refused, now),
        "restarting" => Some(died::told(&end(s, name, c, refused, now))),
        "exited" | "dead" | "created" => Some(down(s, name, c, refused, now)),
        "running" => running(s, name, c, refused, now),
        // It is being removed.
        _ => None,
    }
}

fn down(s: &Service, name: &str, c: &Container, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    let place = Place::Container(name);
    // What its start says was said after whatever stopped it.
    if c.error.is_empty() {
        if let Some(stop) = place.stop_job(now) {
            let found = unit::on_purpose(s, place, refused, now, Certainty::Proven, Some(stop.at));
            return found.saw("docker events", "told to stop", stop.at.to_string());
        }
        let seen_to_end = place.last_job(now).is_some();
        if !seen_to_end && c.comes_back() && c.started_at.is_some() {
            let found = unit::on_purpose(s, place, refused, now, Certainty::Likely, c.finished_at);
            return found.saw("docker", "restart policy", format!("{}, and it does not come back", c.policy));
        }
        if c.exit_code == 0 {
            return ended(s, place, c, refused, now);
        }
    }
    died::told(&end(s, name, c, refused, now))
}

/// Exit code 0, and nobody is known to have stopped it.
fn ended(s: &Service, place: Place, c: &Container, refused: Option<&Failure>, now: &Snapshot) -> Finding {
    let (certainty, how) = match c.started_at {
        None => (Certainty::Proven, "was created and never started"),
        Some(_) if place.last_job(now).is_some() => (Certainty::Proven, "ended by itself, without a failure"),
        // The engine forgets: a person's stop is not ruled out.
        Some(_) => (Certainty::Likely, "is not running, and did not fail"),
    };
    unit::by_itself(s, place, refused, now, certainty, how).since(c.finished_at)
}

fn running(
    s: &Service,
    name: &str,
    c: &Container,
    refused: Option<&Failure>,
    now: &Snapshot,
) -> Option<Finding> {
    let place = Place::Container(name);
    let Some(failure) = refused else {
        return c.is_unhealthy().then(|| answer::by_check(s, place, c, now));
    };
    let age = c.started_at.map(|t| now.taken_at.duration_since(t).as_secs_f64());
    let starting = age.is_none_or(|a| a < unit::STARTING_S);
    // Who has run for long since he was brought back is not down by that death.
    if starting && !ends::recent(&place.deaths(now), now).is_empty() {
        return Some(died::told(&end(s, name, c, refused, now)));
    }
    // A proxy of the engine's takes the connection, and closes it where nobody listens inside.
    let shut = failure.kind == FailKind::Refused || port::behind_proxy(s, now);
    if starting || !shut {
        return None;
    }
    let found = unit::closed(s, place, refused, now).since(c.started_at);
    Some(found.saw_if("docker", "health check", c.health.as_ref().and_then(|h| h.says.clone())))
}

/// How it ended, for the rules that tell the reason.
fn end<'a>(
    s: &'a Service,
    name: &'a str,
    c: &'a Container,
    refused: Option<&'a Failure>,
    now: &'a Snapshot,
) -> End<'a> {
    let place = Place::Container(name);
    let all = place.deaths(now);
    let recent = ends::recent(&all, now);
    let stays = c.is_down();
    let (first, last) = if stays { (all.first(), all.last()) } else { (recent.first(), recent.last()) };
    // What is seen to have ended is known not to have been stopped; of the rest it may be forgotten.
    let known = last.is_some() || !c.error.is_empty();
    // What it says of its last run is of the one that ended.
    let ended = stays || c.state == "restarting";
    let how = match (ended, last) {
        (true, _) => c.exit(),
        // It runs again: that of its last run is in the events alone.
        (false, Some(l)) => l.how.clone(),
        (false, None) => c.exit(),
    };
    let status = last.and_then(|l| l.status).unwrap_or(c.exit_code);
    let no_program = (status == 126 || status == 127).then_some(Certainty::Likely);
    let exec = if c.error.is_empty() { no_program } else { Some(Certainty::Proven) };
    // The mark stays when a child was killed and the rest went on: somebody's SIGKILL may have ended it.
    let marked = (c.oom_killed && c.exit_code == 137 && ended).then_some(Certainty::Likely);
    let oom = if last.is_some_and(|l| l.oom) { Some(Certainty::Proven) } else { marked };
    End {
        s,
        place,
        state: c.words(),
        refused,
        now,
        result: (!c.error.is_empty()).then(|| c.error.clone()),
        known,
        exec,
        how: Some(how),
        oom,
        kernel_name: &c.id,
        killed_at: (status == 137).then(|| last.map(|l| l.at).or(c.finished_at)).flatten(),
        memory_max: c.memory_max,
        memory_swap: c.memory_swap,
        last: last.cloned(),
        first: first.and_then(|f| f.began),
        deaths: recent.len(),
        restarts: looped(c, recent.len()),
        gave_up: c.gave_up() && c.state == "exited" && c.exit_code != 0,
        since: first.map(|f| f.at).or(c.finished_at),
    }
}

fn missing(s: &Service, name: &str, look: &ContainerLook, refused: Option<&Failure>) -> Finding {
    let near = look.similar.first();
    let there = near.map_or_else(String::new, |n| format!("; there is {n}"));
    let summary = format!("{}: its container {name} does not exist{there}", s.name);
    let f = with_refusal(Finding::new(&UNIT_MISSING, &s.name, Certainty::Proven, summary), refused)
        .saw("docker", name, "no such container")
        .saw_if("docker", "similar names", near.map(|_| look.similar.join(", ")));
    match near {
        Some(near) => {
            let words = "If that is the service's, correct its `container` in the configuration";
            f.remedy(format!("docker logs --tail 50 {}", shell_word(near)), words, Risk::Safe)
        }
        None => f.remedy("docker ps -a", "See which containers there are, and create it anew", Risk::Safe),
    }
}
