//! The host's disks have more to do than they can.

use std::collections::BTreeSet;

use super::database::{load, waiting};
use super::host::{self, Judged, SHARE, in_time, involved, not_two, own, pair, part, takers};
use super::slow::Slow;
use crate::config::Config;
use crate::diagnosis::Relation::Host;
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity};
use crate::scenario::against::{ruled_out, unseen};
use crate::snapshot::Looks;
use crate::snapshot::load::{Device, HostLoad, Waits};

pub static IO_SATURATED: Cause = Cause {
    name: "latency/io-saturated",
    severity: Severity::P2,
    title: "the host's disks are busy without a pause",
    explains: &[("latency/slow-queries", Host), ("latency/lock-waits", Host), ("latency/pool-wait", Host)],
};

/// Of the time, in which all who had something to do waited for a disk.
const PRESSURE: f64 = 0.2;
/// Who computes waits for no disk, and hides all who do: where the processors are so busy, those who wait
/// are seen by themselves.
const BUSY: f64 = 0.8;
const SOME: f64 = 0.6;

/// Who moves so much is only told where so much of it was seen.
const SEEN: f64 = 0.25;

fn is_io(event: &str) -> bool {
    event.starts_with("IO/") || event == "LWLock/WALWrite"
}

/// Of one of these, that it waits for a disk, both times: in a few words.
fn waits(s: &Slow, looks: &Looks, config: &Config) -> Option<String> {
    let by_sessions = |name: &str| {
        let (count, _) = waiting(looks, name, is_io)?;
        let share = load(&[s]).map_or(SHARE, |l| count / l);
        (share >= SHARE).then(|| format!("{count:.0} sessions of {name} at a time"))
    };
    let by_group = |name: &str| {
        let (before, now) = own(name, looks)?;
        let stall = before.io.zip(now.io)?;
        let part = part(stall.0.some_us, stall.1.some_us, now.uptime_s - before.uptime_s)?;
        (part > PRESSURE).then(|| format!("{name} {:.0} % of the time", part * 100.0))
    };
    let by_state = |name: &str| {
        let (before, now) = own(name, looks)?;
        let stuck = |p: &Waits| before.processes.iter().any(|b| b.same_as(p) && b.state == "D");
        let both = now.processes.iter().find(|p| p.state == "D" && stuck(p))?;
        Some(format!("process {} of {name}, both times", both.pid))
    };
    involved(&s.s.name, config)
        .into_iter()
        .find_map(|n| by_sessions(n).or_else(|| by_group(n)).or_else(|| by_state(n)))
}

/// The busiest, and how much of the time it was.
fn busiest<'a>(looks: &'a Looks) -> Option<(&'a Device, f64, u64, u64)> {
    let (before, now) = pair(looks)?;
    let seconds = now.uptime_s - before.uptime_s;
    let of = |d: &'a Device| {
        let old = before.devices.iter().find(|b| b.name == d.name)?;
        let busy = d.busy_ms.checked_sub(old.busy_ms)? as f64 / 1000.0 / seconds;
        Some((d, busy.min(1.0), d.read.checked_sub(old.read)?, d.written.checked_sub(old.written)?))
    };
    now.devices.iter().filter_map(of).max_by(|a, b| a.1.total_cmp(&b.1))
}

fn mib(bytes: f64) -> String {
    format!("{:.0} MiB a second", bytes / f64::from(1 << 20))
}

/// The part of the time that speaks for it, and whose; `None` where there is none of these.
fn pressure(before: &HostLoad, now: &HostLoad) -> Option<(f64, &'static str, bool)> {
    let seconds = now.uptime_s - before.uptime_s;
    let (b, n) = before.stalled.io.zip(now.stalled.io)?;
    let full = part(b.full_us?, n.full_us?, seconds)?;
    let some = part(b.some_us, n.some_us, seconds)?;
    let busy = (now.busy_s - before.busy_s) / (f64::from(now.cores.max(1)) * seconds);
    if full <= PRESSURE && some > SOME && busy > BUSY {
        return Some((some, "somebody", true));
    }
    Some((full, "all", full > PRESSURE))
}

/// `busy` are those whose own work is told to be the reason already.
pub fn saturated(slow: &[Slow], busy: &BTreeSet<&str>, looks: &Looks, config: &Config) -> Judged {
    let needs = format!(
        "all wait for one over {:.0} % of the time, and what the slow ones need among them",
        PRESSURE * 100.0
    );
    let fact = "disks";
    let Some((before, now)) = pair(looks) else { return Err(not_two(looks, fact, &needs)) };
    let seconds = now.uptime_s - before.uptime_s;
    let Some((pressure, all, is_high)) = pressure(before, now) else {
        return Err(unseen("/proc/pressure", fact, "this kernel does not count who waits", &needs));
    };
    let said = format!("{all} waited for one {:.0} % of the time, {}", pressure * 100.0, in_time(seconds));
    if !is_high {
        return Err(ruled_out("/proc/pressure", fact, said, &needs));
    }
    let tied: Vec<(&Slow, String)> =
        slow.iter().filter_map(|s| Some((s, waits(s, looks, config)?))).collect();
    let Some((_, who)) = tied.first() else {
        let none = "none that the slow ones need, as far as that is seen";
        return Err(ruled_out("/proc", "who waits for one", none, &needs));
    };
    let device = busiest(looks);
    let movers = takers(before, now, |w| w.moved.map(|m| m as f64));
    // Who stands in a device's queue can't be asked what it moved, nor may those of others be.
    let went = device.as_ref().map_or(0.0, |(_, _, read, written)| (read + written) as f64);
    let seen: f64 = movers.iter().map(|t| t.amount).sum();
    let told = went > 0.0 && seen >= SEEN * went;
    let first = movers.first().filter(|_| told);
    if !told && !busy.is_empty() {
        // It may be the very work that another cause is told of.
        let little =
            format!("who uses them is not seen from here: {:.0} % of it", 100.0 * seen / went.max(1.0));
        return Err(unseen("/proc", "who uses them", little, &needs));
    }
    if let Some(name) = first.and_then(|t| t.is_of(busy, &looks.now, config)) {
        return Err(ruled_out(
            "/proc",
            "who uses them",
            format!("{name} itself, by what is told of it"),
            &needs,
        ));
    }
    let named = device.as_ref().map_or_else(|| "a disk".to_owned(), |(d, ..)| d.name.clone());
    let by = first.map(|t| format!("; {} moves {}", t.name, mib(t.amount / seconds))).unwrap_or_default();
    let own: Vec<&Slow> = tied.iter().map(|(s, _)| *s).collect();
    let who_did = format!("{all} did {:.0} % of the time", pressure * 100.0);
    let summary = format!("{} waits for {named}: {who_did}{by}", host::names(&own));
    let mut f = Finding::new(&IO_SATURATED, &looks.now.vantage.host, Certainty::Likely, summary)
        .share(pressure.min(1.0))
        .saw("/proc/pressure", fact, said)
        .saw("/proc", "who waits for one", who.clone());
    if let Some((d, part, read, written)) = device {
        let moved = format!("{} read, {} written", mib(read as f64 / seconds), mib(written as f64 / seconds));
        f = f.saw("/proc/diskstats", &d.name, format!("busy {:.0} % of the time, {moved}", part * 100.0));
    }
    for t in movers.iter().take(3).filter(|_| told) {
        f = f.saw("/proc", &t.words(), mib(t.amount / seconds));
    }
    let f = f.remedy(
        format!("mcp-ir runbook {}", IO_SATURATED.name.replace('/', "#")),
        "See who reads or writes so much; slow that one down (IOWeight), or do it at another time",
        Risk::Safe,
    );
    host::about_them_alone(f, &own, config)
}
