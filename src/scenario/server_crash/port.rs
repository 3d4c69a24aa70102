//! Its port is held by a process that is not of its unit or container: so it can't start. Told by the kernel's
//! table of sockets, and by who holds the listener.

use std::net::{IpAddr, SocketAddr};

use super::{cause, last_words};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::scenario::place::{Place, container};
use crate::snapshot::Snapshot;
use crate::snapshot::containers::{ContainerLook, id_of};
use crate::snapshot::process::{Holder, Listener};

pub static PORT_CONFLICT: Cause =
    cause("server-crash/port-conflict", Severity::P1, "another process holds the service's port");

/// It is down, and somebody else listens where it should, whatever that one answers.
pub fn conflict(s: &Service, now: &Snapshot) -> Option<Finding> {
    let place = Place::of(s)?;
    if !down(place, now) {
        return None;
    }
    if let Some(why) = engine_says(place, now) {
        return Some(by_engine(s, place, why, now));
    }
    let (l, h) = foreign(s, place, now)?;
    // A proxy that always stands before the service holds its port as well.
    if !found_it_taken(place, now) {
        return None;
    }
    let of = h.control_group.as_deref().unwrap_or_default();
    let summary =
        format!("{} is down, and its port {} is held by process {} ({})", s.name, l.port, h.pid, h.name);
    let f = Finding::new(&PORT_CONFLICT, &s.name, Certainty::Proven, summary)
        // What answers there is not this service: no database is the reason.
        .own(true)
        .saw("sockets", &l.address, format!("held by process {} ({}) of {of}", h.pid, h.name))
        .saw_if(place.keeper(), place.name(), place.state(now));
    let f = last_words(f, now, place);
    let words =
        "See what it is, and whose. Where nobody needs it, `--free-port` ends it and starts the service";
    Some(f.remedy(format!("ps -o pid,user,lstart,args -p {}", h.pid), words, Risk::Safe))
}

fn down(place: Place, now: &Snapshot) -> bool {
    match place {
        Place::Unit(unit) => now.unit(unit).is_some_and(|u| {
            u.load == "loaded"
                && (matches!(u.active.as_str(), "failed" | "inactive") || u.sub.starts_with("auto-restart"))
        }),
        Place::Container(name) => {
            container(now, name).is_some_and(|c| c.is_down() || c.state == "restarting")
        }
    }
}

/// An engine that publishes ports takes them itself, before it starts anything.
fn engine_says<'a>(place: Place, now: &'a Snapshot) -> Option<&'a str> {
    let Place::Container(name) = place else { return None };
    let error = container(now, name)?.error.as_str();
    (error.contains("port is already allocated") || in_use(error)).then_some(error)
}

fn by_engine(s: &Service, place: Place, why: &str, now: &Snapshot) -> Finding {
    let summary = format!("{} is down: the engine can't have the port that it publishes", s.name);
    let holder = held(s, now).first().map(|(l, h)| (l.address.clone(), named(h)));
    let mut f = Finding::new(&PORT_CONFLICT, &s.name, Certainty::Proven, summary)
        .own(true)
        .saw_if("docker", place.name(), place.state(now))
        .saw("docker", "result", why);
    if let Some((address, who)) = holder {
        f = f.saw("sockets", &address, format!("held by {who}"));
    }
    let port = s.address().map_or(0, |(_, port)| port);
    let words = "See who has it, another container or a process; end it only if nobody needs it";
    f.remedy(format!("ss -ltnp 'sport = :{port}'"), words, Risk::Safe)
}

/// In its last run it could not have the port, by its own words.
fn found_it_taken(place: Place, now: &Snapshot) -> bool {
    let Some(journal) = place.journal(now) else { return false };
    let Some(death) = place.deaths(now).pop() else { return false };
    let during = |at| place.in_run(at, death.began, death.at);
    journal.lines.iter().any(|l| during(l.at) && in_use(&l.text))
}

fn in_use(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["address already in use", "address in use", "eaddrinuse", "errno 98"].iter().any(|w| lower.contains(w))
}

/// The process that holds the service's port, where it is none of its unit's, nor one that passes
/// connections on to it: systemd for a socket unit, docker-proxy.
fn foreign<'a>(s: &Service, place: Place, now: &'a Snapshot) -> Option<(&'a Listener, &'a Holder)> {
    let held = held(s, now);
    // Whose it is must be known: else it may be the service's own child.
    let elsewhere = |h: &Holder| {
        h.pid != 1
            && h.name != "docker-proxy"
            && h.control_group.as_deref().is_some_and(|g| !place.owns(g, now))
    };
    if held.iter().any(|(_, h)| !elsewhere(h)) {
        return None;
    }
    held.first().copied()
}

/// Who listens where the service is asked.
fn held<'a>(s: &Service, now: &'a Snapshot) -> Vec<(&'a Listener, &'a Holder)> {
    let Some((host, port)) = s.address() else { return Vec::new() };
    let all = now.listeners.seen().into_iter().flatten();
    let met = all.filter(|l| l.port == port && meets(&l.address, host));
    met.flat_map(|l| l.holders.iter().map(move |h| (l, h))).collect()
}

/// The service's own processes, by its listener: those of its unit, or, where it has none that could
/// run, whoever serves its port on this machine.
pub fn own<'a>(s: &Service, now: &'a Snapshot) -> Vec<(&'a Listener, &'a Holder)> {
    let mut all = held(s, now);
    if bare(s, now) {
        all.retain(|(_, h)| h.pid != 1 && h.name != "docker-proxy");
    } else {
        let own = |g: &String| Place::of(s).is_some_and(|place| place.owns(g, now));
        all.retain(|(_, h)| h.control_group.as_ref().is_some_and(own));
    }
    all
}

/// Its engine takes connections for it, and knows only afterwards whether anybody listens inside.
pub fn behind_proxy(s: &Service, now: &Snapshot) -> bool {
    held(s, now).iter().any(|(_, h)| h.name == "docker-proxy")
}

/// It runs here, if at all, without a unit or container: none is configured, or there is none.
pub fn bare(s: &Service, now: &Snapshot) -> bool {
    let here = s.address().is_some_and(|(host, _)| is_here(host));
    let without = match Place::of(s) {
        None => true,
        Some(Place::Unit(unit)) => {
            let u = now.units.listed.seen().and_then(|l| l.get(unit));
            u.is_some_and(|u| u.load == "not-found" || u.load == "masked" && u.active == "inactive")
        }
        Some(Place::Container(name)) => now.containers.get(name).is_some_and(ContainerLook::is_missing),
    };
    here && without
}

/// Whatever is asked there is this machine: of other addresses the configuration does not say it.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Somebody listens where the service is asked.
pub fn listens(s: &Service, now: &Snapshot) -> bool {
    let Some((host, port)) = s.address() else { return false };
    now.listeners.seen().is_some_and(|all| all.iter().any(|l| l.port == port && meets(&l.address, host)))
}

/// Somebody listens on the port, at whatever address.
pub fn listener<'a>(s: &Service, now: &'a Snapshot) -> Option<&'a Listener> {
    let (_, port) = s.address()?;
    now.listeners.seen()?.iter().find(|l| l.port == port)
}

/// `process 77 (/usr/bin/python3)`, and the container that it is in: `docker inspect` takes its id.
pub fn named(h: &Holder) -> String {
    let process = format!("process {} ({})", h.pid, h.program.as_deref().unwrap_or(&h.name));
    match h.control_group.as_deref().and_then(id_of) {
        Some(id) => format!("{process} of container {id}"),
        None => process,
    }
}

/// Whether who asks `host` meets what listens at this address.
pub fn meets(address: &str, host: &str) -> bool {
    let Ok(bound) = address.parse::<SocketAddr>().map(|a| a.ip()) else { return false };
    match host.parse::<IpAddr>() {
        Ok(asked) => bound == asked || bound.is_unspecified(),
        Err(_) => host == "localhost" && (bound.is_loopback() || bound.is_unspecified()),
    }
}
