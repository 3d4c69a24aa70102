//! Its port is held by a process that is not of its unit: so it can't start. Told by the kernel's
//! table of sockets, and by who holds the listener.

use std::net::{IpAddr, SocketAddr};

use super::{cause, last_words};
use crate::config::Service;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::scenario::ends;
use crate::scenario::facts::{self, state};
use crate::snapshot::Snapshot;
use crate::snapshot::process::{Holder, Listener};

pub static PORT_CONFLICT: Cause =
    cause("server-crash/port-conflict", Severity::P1, "another process holds the service's port");

/// Its unit is down, and somebody else listens where it should, whatever that one answers.
pub fn conflict(s: &Service, now: &Snapshot) -> Option<Finding> {
    let unit = s.unit.as_deref()?;
    let u = now.units.listed.seen()?.get(unit)?;
    let down = matches!(u.active.as_str(), "failed" | "inactive") || u.sub.starts_with("auto-restart");
    if !down || u.load != "loaded" {
        return None;
    }
    let (l, h) = foreign(s, unit, now)?;
    // A proxy that always stands before the service holds its port as well.
    if !found_it_taken(unit, now) {
        return None;
    }
    let of = h.control_group.as_deref().unwrap_or_default();
    let summary =
        format!("{} is down, and its port {} is held by process {} ({})", s.name, l.port, h.pid, h.name);
    let f = Finding::new(&PORT_CONFLICT, &s.name, Certainty::Proven, summary)
        // What answers there is not this service: no database is the reason.
        .own(true)
        .saw("sockets", &l.address, format!("held by process {} ({}) of {of}", h.pid, h.name))
        .saw("systemd", unit, state(u));
    let f = last_words(f, now, unit);
    let words = "See what it is, and whose; end it only if nobody needs it, then start the service";
    Some(f.remedy(format!("ps -o pid,user,lstart,args -p {}", h.pid), words, Risk::Safe))
}

/// In its last run it could not have the port, by its own words.
fn found_it_taken(unit: &str, now: &Snapshot) -> bool {
    let Some(journal) = facts::journal(now, unit) else { return false };
    let Some(death) = ends::of(now, unit).pop() else { return false };
    let in_use = |text: &str| {
        let lower = text.to_lowercase();
        ["address already in use", "address in use", "eaddrinuse", "errno 98"]
            .iter()
            .any(|w| lower.contains(w))
    };
    // journald notes the last line of a dying process a moment after its death.
    let during =
        |at| death.began.is_none_or(|b| at >= b) && death.at.duration_since(at).as_secs_f64() >= -1.0;
    journal.lines.iter().any(|l| during(l.at) && in_use(&l.text))
}

/// The process that holds the service's port, where it is none of its unit's, nor one that passes
/// connections on to it: systemd for a socket unit, docker-proxy.
fn foreign<'a>(s: &Service, unit: &str, now: &'a Snapshot) -> Option<(&'a Listener, &'a Holder)> {
    let held = held(s, now);
    let of_unit = |group: &str| group.split('/').any(|g| g == unit);
    // Whose it is must be known: else it may be the unit's own child.
    let elsewhere = |h: &Holder| {
        h.pid != 1 && h.name != "docker-proxy" && h.control_group.as_deref().is_some_and(|g| !of_unit(g))
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
        let of_unit = |g: &String| g.split('/').any(|g| Some(g) == s.unit.as_deref());
        all.retain(|(_, h)| h.control_group.as_ref().is_some_and(of_unit));
    }
    all
}

/// It runs here, if at all, without a unit or container: none is configured, or there is none.
pub fn bare(s: &Service, now: &Snapshot) -> bool {
    let here = s.address().is_some_and(|(host, _)| is_here(host));
    let without = match &s.unit {
        None => true,
        Some(unit) => {
            let u = now.units.listed.seen().and_then(|l| l.get(unit));
            u.is_some_and(|u| u.load == "not-found" || u.load == "masked" && u.active == "inactive")
        }
    };
    here && without && s.container.is_none()
}

/// Whatever is asked there is this machine: of other addresses the configuration does not say it.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Somebody listens on the port, at whatever address.
pub fn listener<'a>(s: &Service, now: &'a Snapshot) -> Option<&'a Listener> {
    let (_, port) = s.address()?;
    now.listeners.seen()?.iter().find(|l| l.port == port)
}

/// `process 77 (/usr/bin/python3)`
pub fn named(h: &Holder) -> String {
    format!("process {} ({})", h.pid, h.program.as_deref().unwrap_or(&h.name))
}

/// Whether who asks `host` meets what listens at this address.
fn meets(address: &str, host: &str) -> bool {
    let Ok(bound) = address.parse::<SocketAddr>().map(|a| a.ip()) else { return false };
    match host.parse::<IpAddr>() {
        Ok(asked) => bound == asked || bound.is_unspecified(),
        Err(_) => host == "localhost" && (bound.is_loopback() || bound.is_unspecified()),
    }
}
