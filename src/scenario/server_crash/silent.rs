//! It takes connections, or the kernel does for it, and answers nothing: frozen from outside, stopped,
//! or stuck in itself. Told by its processes; these are known by its unit, and by its listener.

use super::unit::STARTING_S;
use super::{cause, port, runbook, with_refusal};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::scenario::facts;
use crate::scenario::place::{Place, container};
use crate::snapshot::process::{Freezer, Listener};
use crate::snapshot::{Failure, Snapshot};

pub static PAUSED: Cause = cause("server-crash/paused", Severity::P1, "the service is frozen");
pub static HUNG: Cause = cause("server-crash/hung", Severity::P1, "the service accepts and does not answer");

/// Whether connected or not: who is kept from running does not empty its queue.
pub fn stopped(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    paused(s, f, now).or_else(|| stuck(s, f, now))
}

fn found(cause: &Cause, s: &Service, certainty: Certainty, what: &str, f: &Failure) -> Finding {
    let summary = format!("{} {what}", s.name);
    Finding::new(cause, &s.name, certainty, summary).saw("http health", "answer", &f.detail)
}

/// A process of its own, as far as it tells whether it can run.
struct Process<'a> {
    pid: u32,
    state: &'a str,
    freezer: Option<&'a Freezer>,
}

/// Its main process, and all that hold its listener.
fn processes<'a>(s: &Service, now: &'a Snapshot) -> Vec<Process<'a>> {
    let main = Place::of(s).and_then(|place| match place {
        Place::Unit(unit) => now.units.process.get(unit)?.seen(),
        Place::Container(name) => now.containers.get(name)?.process.seen(),
    });
    let main = main.map(|p| Process { pid: p.pid, state: &p.state, freezer: p.freezer.as_ref() });
    let listens = port::own(s, now).into_iter();
    let listens = listens.map(|(_, h)| Process { pid: h.pid, state: &h.state, freezer: h.freezer.as_ref() });
    main.into_iter().chain(listens).collect()
}

/// By its engine's word.
pub fn paused_container(s: &Service, f: Option<&Failure>, now: &Snapshot) -> Option<Finding> {
    let Some(Place::Container(name)) = Place::of(s) else { return None };
    container(now, name).filter(|c| c.state == "paused")?;
    let summary = format!("{} is paused: the engine keeps its container from running", s.name);
    let found = with_refusal(Finding::new(&PAUSED, &s.name, Certainty::Proven, summary), f);
    Some(found.own(true).saw("docker", name, "paused").remedy(
        format!("docker unpause {}", shell_word(name)),
        "Ask who paused it, and why; then let it go on",
        Risk::Disruptive,
    ))
}

fn paused(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    if let Some(found) = paused_container(s, Some(f), now) {
        return Some(found);
    }
    let unit = s.unit.as_deref().filter(|u| facts::detail(now, u).is_some_and(|d| d.frozen));
    if let Some(unit) = unit {
        let found = found(&PAUSED, s, Certainty::Proven, "is frozen: systemd keeps its unit from running", f);
        return Some(found.own(true).saw("systemd", unit, "frozen").remedy(
            format!("systemctl thaw {}", shell_word(unit)),
            "Ask who froze it, and why; then let it go on",
            Risk::Disruptive,
        ));
    }
    let all = processes(s, now);
    // One that is not frozen could answer.
    let first = all.first().filter(|_| all.iter().all(|p| p.freezer.is_some_and(|f| f.frozen)))?;
    let file = &first.freezer?.file;
    let (word, to) = match file.strip_suffix("freezer.state") {
        Some(folder) => {
            ("FROZEN", format!("echo THAWED > {}", shell_word(&format!("{folder}freezer.state"))))
        }
        None => {
            ("frozen 1", format!("echo 0 > {}", shell_word(&file.replace("cgroup.events", "cgroup.freeze"))))
        }
    };
    let found = found(&PAUSED, s, Certainty::Proven, "is frozen: its control group may not run", f);
    let found = found.own(true).saw(file, &format!("process {}", first.pid), word);
    Some(found.remedy(to, "Ask who froze it, and why; then let it go on", Risk::Disruptive))
}

/// Every process of its own waits for what does not come from within.
fn stuck(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    let all = processes(s, now);
    let first = all.first().filter(|_| all.iter().all(|p| facts::stuck(p.state).is_some()))?;
    let what = facts::stuck(first.state)?;
    // Where freezing is not ruled out, it looks like D.
    let sure = first.state != "D" || all.iter().all(|p| p.freezer.is_some());
    let certainty = if sure { Certainty::Proven } else { Certainty::Likely };
    let found = found(&HUNG, s, certainty, &format!("answers nothing: process {} is {what}", first.pid), f)
        // No database on the other side of a socket does this to a process.
        .own(true)
        .saw("/proc", &format!("state of process {}", first.pid), what);
    Some(if what.starts_with(['T', 't']) {
        found.remedy(format!("kill -CONT {}", first.pid), "Let the stopped process go on", Risk::Disruptive)
    } else {
        found.remedy(format!("cat /proc/{}/stack", first.pid), "See which device it waits for", Risk::Safe)
    })
}

/// Percent of a processor that a thread takes which does nothing but loop.
const BUSY: f64 = 90.0;

/// For longer than a start takes, as far as that is known.
fn is_up(s: &Service, now: &Snapshot) -> bool {
    let Some(Place::Unit(unit)) = Place::of(s) else { return false };
    let since = facts::detail(now, unit).and_then(|d| d.state_since);
    since.is_some_and(|t| now.taken_at.duration_since(t).as_secs_f64() >= STARTING_S)
}

/// It needs databases alone, all are seen, and at none of them it has a statement or a transaction under way.
fn asks_nobody(s: &Service, now: &Snapshot) -> bool {
    let idle = |name: &String| {
        let server = now.config.postgres(name).and_then(|p| facts::server(now, &p.name));
        server.is_some_and(|server| {
            server.consumers.iter().all(|c| c.application != s.name || c.state == "idle")
        })
    };
    !s.needs.is_empty() && s.needs.iter().all(idle)
}

/// Connected, no answer in time, and it could run. A queue that moves is overload: that is no cause of
/// this kind.
pub fn stands(s: &Service, f: &Failure, now: &Snapshot) -> Option<Finding> {
    let own = port::own(s, now);
    let queue = |l: &Listener| Some((l.queued, l.still_queued?));
    let queues: Vec<(u32, u32)> = own.iter().filter_map(|(l, _)| queue(l)).collect();
    if queues.iter().any(|(before, after)| after < before) {
        return None;
    }
    let waiting = queues.iter().map(|(_, after)| *after).max().filter(|n| *n > 0);
    let restless = own.iter().find_map(|(_, h)| Some((h, h.restless.as_ref()?)));
    let what = match (restless, waiting) {
        (Some((h, r)), _) => {
            format!("answers nothing, and thread {} of process {} never rests", r.thread, h.pid)
        }
        (None, Some(n)) => {
            format!("answers nothing: {} and nobody takes them", facts::count(n as usize, "connection waits"))
        }
        (None, None) => "accepts connections and does not answer in time".to_owned(),
    };
    let mut found = found(&HUNG, s, Certainty::Likely, &what, f);
    if let Some((h, r)) = restless {
        let did = format!("ran without sleeping, on {} % of a processor", r.cpu);
        // Who waits for a database sleeps.
        found = found.own(true).saw("/proc", &format!("thread {} of process {}", r.thread, h.pid), did);
    }
    if let Some((l, n)) = own.first().map(|(l, _)| l).zip(waiting) {
        found = found.saw("sockets", &format!("queue of {}", l.address), format!("{n} wait, none was taken"));
    }
    let words = "Take its stacks as evidence, then restart it";
    let restart = match Place::of(s) {
        Some(Place::Unit(unit)) => format!("systemctl restart {}", shell_word(unit)),
        Some(Place::Container(name)) => format!("docker restart {}", shell_word(name)),
        None => runbook(&HUNG),
    };
    // A start, a load that it works off, or what it waits for, is silent too: then it is for people.
    let busy = restless.is_some_and(|(_, r)| r.cpu >= BUSY);
    let by_itself = waiting.is_some() && (busy || restless.is_none() && asks_nobody(s, now));
    Some(match by_itself && is_up(s, now) {
        true => found.restarts(restart, words),
        false => {
            found.remedy(runbook(&HUNG), "Take its stacks as evidence before a restart", Risk::Disruptive)
        }
    })
}
