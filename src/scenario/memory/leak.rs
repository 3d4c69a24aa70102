//! A process grows and grows while its load does not. Of two looks it is likely, never proven: a cache that
//! fills looks the same, until it is full.

use super::pace;
use super::who::Who;
use super::{Judged, cause, size};
use crate::diagnosis::{Cause, Certainty, Finding, Relation, Risk, Severity};
use crate::scenario::against::{ruled_out, unseen};
use crate::scenario::facts::{self, age};
use crate::snapshot::{Looks, Snapshot};

pub static LEAK: Cause = cause(
    "memory/leak",
    "the service takes ever more memory",
    &[("memory/near-limit", Relation::Same), ("server-crash/oom-killed", Relation::Same)],
);

/// Looks nearer than this show a request, not a leak.
const APART_S: f64 = 30.0;
/// What grows so shortly after its start warms up.
const WARM_S: f64 = 30.0;
/// So much, and so much of what it had.
const GREW: u64 = 32 << 20;
const GREW_SHARE: f64 = 0.1;
/// What lasts longer than this wakes nobody.
const SOON_S: f64 = 86_400.0;

pub fn judge(w: &Who, looks: &Looks) -> Judged {
    let now = &looks.now;
    let needs = format!("two looks of one run, {APART_S:.0} s apart or more, between which it grew steadily");
    let Some(p) = w.process(now) else { return Err(w.no_process(now, &needs)) };
    let Some(earlier) = &looks.before else {
        let said = format!("{}, in one look", size(p.resident));
        return Err(unseen("/proc", "resident", said, &needs));
    };
    let Some(b) = w.before(Some(earlier), p) else {
        let said = match w.process(earlier) {
            Some(b) => format!("another run of it in the earlier look: process {}", b.pid),
            None => "not seen in the earlier look".into(),
        };
        return Err(unseen("/proc", "resident", said, &needs));
    };
    let seconds = p.uptime_s - b.uptime_s;
    let grew = p.resident.saturating_sub(b.resident);
    let said = format!("{}, after {} {} before", size(p.resident), size(b.resident), age(seconds));
    if grew < GREW || (grew as f64) < GREW_SHARE * b.resident as f64 {
        return Err(ruled_out("/proc", "resident", said, &needs));
    }
    if seconds < APART_S || b.age_s() < WARM_S {
        return Err(unseen("/proc", "resident", format!("{said}: too short to tell"), &needs));
    }
    if let Some(more) = busier(w, earlier, now) {
        return Err(ruled_out("http health", "load", more, &needs));
    }
    let (left, end) = room(w, now);
    let until = pace::until(grew as f64, seconds, left);
    let soon = until.is_some_and(|s| s < SOON_S);
    let summary = match pace::end(grew as f64, seconds, left, end).filter(|_| soon) {
        Some(end) => format!("{} grew to {}: {end}", w.name, size(p.resident)),
        None => format!("{} grew by {} in {}, to {}", w.name, size(grew), age(seconds), size(p.resident)),
    };
    // Where its load is not known, or growing is its work, it wakes nobody.
    let known = w.is_service && in_use(w, earlier).is_some() && in_use(w, now).is_some();
    let f = Finding::new(&LEAK, w.name, Certainty::Likely, summary)
        .severity(if soon && known { LEAK.severity } else { Severity::P4 })
        .saw("/proc", &format!("resident memory of process {}", p.pid), said)
        .saw_if(
            "http health",
            "load",
            in_use(w, now).map(|n| format!("{n} connections in use, no more than before")),
        );
    Ok(match w.place.filter(|_| w.is_service) {
        Some(place) => f.restarts(
            place.restart(),
            "Keep its evidence first (what grew is gone after a restart), then restart that one service",
        ),
        None => {
            let see = format!("cat /proc/{}/smaps_rollup", p.pid);
            f.remedy(see, "Keep its evidence; then restart it by whoever started it", Risk::Safe)
        }
    })
}

fn in_use(w: &Who, now: &Snapshot) -> Option<u64> {
    facts::pool(now, w.name)?.in_use
}

/// More is asked of it than before: what it takes for that is no leak.
fn busier(w: &Who, before: &Snapshot, now: &Snapshot) -> Option<String> {
    let (b, n) = in_use(w, before).zip(in_use(w, now))?;
    (n > b).then(|| format!("{n} connections in use, after {b}"))
}

/// How much it may still take, and what happens then.
fn room(w: &Who, now: &Snapshot) -> (u64, &'static str) {
    let of_host = now.host.memory.seen().map(|m| m.available);
    match (w.group(now).and_then(|g| g.left()), of_host) {
        (Some(own), Some(host)) if host < own => (host, "the host has none left"),
        (Some(own), _) => (own, "its limit is reached"),
        (None, Some(host)) => (host, "the host has none left"),
        (None, None) => (u64::MAX, ""),
    }
}
