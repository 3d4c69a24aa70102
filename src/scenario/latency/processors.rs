//! No processor to run on: the host has none left, or the control group may have no more of them.

use std::collections::{BTreeMap, BTreeSet};

use super::database::slow_ones;
use super::host::{self, Judged, SHARE, in_time, not_two, own, pair, part, takers};
use super::slow::Slow;
use crate::config::Config;
use crate::diagnosis::Relation::{Host, Same};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, needs as needs_of};
use crate::scenario::against::{ruled_out, unseen};
use crate::snapshot::Looks;
use crate::snapshot::load::{Quota, Waits};

pub static CPU_SATURATED: Cause = Cause {
    name: "latency/cpu-saturated",
    severity: Severity::P2,
    title: "the host has no processor left",
    explains: &[
        ("latency/slow-queries", Host),
        ("latency/pool-wait", Host),
        ("latency/redis-slow", Host),
        ("latency/ollama-slow", Host),
        ("latency/listen-overflow", Host),
    ],
};
pub static CPU_THROTTLED: Cause = Cause {
    name: "latency/cpu-throttled",
    severity: Severity::P2,
    title: "its quota of processor time holds it up",
    explains: &[
        ("latency/slow-queries", Same),
        ("latency/pool-wait", Same),
        ("latency/redis-slow", Same),
        ("latency/ollama-slow", Same),
        ("latency/listen-overflow", Same),
    ],
};

/// Of the time, in which somebody was ready and had none.
const PRESSURE: f64 = 0.4;
/// Who wants to run, for each processor.
const LOAD: f64 = 2.0;
/// Of their time that is taken, by whomever: the load is of the last minute, and may be over.
const BUSY: f64 = 0.85;
/// Who takes them is only told where so much of it was seen.
const SEEN: f64 = 0.25;
/// Of the periods, and of the time.
const THROTTLED: f64 = 0.1;
/// A tenth of a second each: fewer say nothing.
const PERIODS: u64 = 5;

pub fn needs() -> String {
    format!(
        "somebody waits over {:.0} % of the time, over {LOAD:.0} that want each processor, and the slow ones among them",
        PRESSURE * 100.0
    )
}

/// The processes of one waited so long for a processor: seconds in a second. `None`: it was seen of none
/// of them.
fn waited(name: &str, looks: &Looks) -> Option<f64> {
    let (before, now) = own(name, looks)?;
    let old: BTreeMap<u32, &Waits> = before.processes.iter().map(|b| (b.pid, b)).collect();
    let each = now.processes.iter().filter_map(|p| {
        match old.get(&p.pid).filter(|b| b.same_as(p)) {
            // Less than before: threads that had waited have ended.
            Some(b) => Some((p.waited_s - b.waited_s).max(0.0)),
            // One that was there already and is only seen now has waited all its life.
            None => Some(p.waited_s).filter(|_| p.began_s >= before.uptime_s - 0.02),
        }
    });
    let all: Vec<f64> = each.collect();
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / (now.uptime_s - before.uptime_s))
}

/// Of the time of a slow service's requests, in which they waited for a processor.
struct Share<'a> {
    slow: &'a Slow<'a>,
    /// By its own processes, and by those of all that it needs here: these may wait for others.
    own: Option<f64>,
    all: f64,
}

fn share<'a>(slow: &'a Slow<'a>, looks: &Looks, config: &Config) -> Option<Share<'a>> {
    let part = |waited: f64| (waited / slow.load().unwrap_or(1.0)).min(1.0);
    let own = waited(&slow.s.name, looks);
    let needed = needs_of(&slow.s.name, config).into_iter().filter_map(|n| waited(n, looks));
    let all = own.into_iter().chain(needed).reduce(|a, b| a + b)?;
    Some(Share { slow, own: own.map(part), all: part(all) })
}

/// `busy` are those whose own work is told to be the reason already.
pub fn saturated(slow: &[Slow], busy: &BTreeSet<&str>, looks: &Looks, config: &Config) -> Judged {
    let (needs, fact) = (needs(), "processors");
    let Some((before, now)) = pair(looks) else { return Err(not_two(looks, fact, &needs)) };
    let seconds = now.uptime_s - before.uptime_s;
    let pressure = before.stalled.cpu.zip(now.stalled.cpu);
    let Some(pressure) = pressure.and_then(|(b, n)| part(b.some_us, n.some_us, seconds)) else {
        return Err(unseen("/proc/pressure", fact, "this kernel does not count who waits", &needs));
    };
    let waits =
        format!("somebody waited for one {:.0} % of the time, {}", pressure * 100.0, in_time(seconds));
    if pressure <= PRESSURE {
        return Err(ruled_out("/proc/pressure", fact, waits, &needs));
    }
    // The look itself runs, too.
    let wanted = f64::from(before.running.min(now.running).saturating_sub(1)).max(now.load);
    let load = format!("{wanted:.1} on {}", crate::scenario::facts::count(now.cores as usize, "processor"));
    if wanted <= LOAD * f64::from(now.cores) {
        return Err(ruled_out("/proc", "load", load, &needs));
    }
    let took = now.busy_s - before.busy_s;
    let taken = (took + now.stolen_s - before.stolen_s) / (f64::from(now.cores.max(1)) * seconds);
    if taken < BUSY {
        return Err(ruled_out("/proc", fact, format!("busy {:.0} % of the time", taken * 100.0), &needs));
    }
    let waiting: Vec<Share> = slow.iter().filter_map(|s| share(s, looks, config)).collect();
    let Some(share) = waiting.iter().map(|w| w.all).reduce(f64::max) else {
        return Err(unseen(
            "/proc",
            "who waits for one",
            "this kernel does not say whose threads wait",
            &needs,
        ));
    };
    if share < SHARE {
        let little = format!("the slow ones {:.0} % of their requests' time", share * 100.0);
        return Err(ruled_out("/proc", "who waits for one", little, &needs));
    }
    let all = takers(before, now, |w| Some(w.cpu_s));
    let seen: f64 = all.iter().map(|t| t.amount).sum();
    let Some(first) = all.first().filter(|_| took > 0.0 && seen >= SEEN * took) else {
        let little =
            format!("who takes them is not seen from here: {:.0} % of it", 100.0 * seen / took.max(0.01));
        return Err(unseen("/proc", "who takes them", little, &needs));
    };
    if let Some(name) = first.is_of(busy, &looks.now, config) {
        let own = format!("{name} itself, by what is told of it");
        return Err(ruled_out("/proc", "who takes them", own, &needs));
    }
    let held: Vec<&Share> = waiting.iter().filter(|w| w.all >= SHARE).collect();
    let own: Vec<&Slow> = held.iter().map(|w| w.slow).collect();
    let known = own.iter().any(|s| s.load().is_some());
    let summary = format!(
        "{} waits for a processor: {:.0} % of the {}; {} takes {:.0} % of one",
        host::names(&own),
        share * 100.0,
        if known { "requests' time" } else { "time" },
        first.name,
        100.0 * first.amount / seconds,
    );
    let subject = looks.now.vantage.host.as_str();
    let themselves = held.iter().any(|w| w.own.is_some_and(|own| own >= SHARE));
    let sure = if known && themselves { Certainty::Proven } else { Certainty::Likely };
    let mut f = Finding::new(&CPU_SATURATED, subject, sure, summary)
        .share(share)
        .saw("/proc/pressure", fact, waits)
        .saw("/proc", "load", load);
    for t in all.iter().take(3) {
        f = f.saw("/proc", &t.words(), format!("{:.0} % of one processor", 100.0 * t.amount / seconds));
    }
    let unseen = (took - seen) / seconds;
    f = f.saw_if(
        "/proc",
        "by processes that are not seen from here",
        (unseen > 0.1).then(|| format!("{:.0} % of one processor", 100.0 * unseen)),
    );
    let stolen = (now.stolen_s - before.stolen_s) / seconds / f64::from(now.cores.max(1));
    f = f.saw_if(
        "/proc",
        "had by other guests of its machine",
        (stolen > 0.1).then(|| format!("{:.0} % of the time", stolen * 100.0)),
    );
    let f = f.remedy(
        "ps -eo pcpu,pid,unit:30,comm --sort=-pcpu | head -n 8",
        "See who takes them; give that one less (CPUWeight, nice), or do it at another time",
        Risk::Safe,
    );
    host::about_them_alone(f, &own, config)
}

/// The quota of it, or of a group above it, that held it up the most: of periods, and of the time.
fn tightest<'a>(name: &str, looks: &'a Looks) -> Option<(&'a Quota, u64, u64, f64, f64)> {
    let (before, now) = own(name, looks)?;
    let seconds = now.uptime_s - before.uptime_s;
    let of = |q: &'a Quota| {
        let old = before.quotas.iter().find(|b| b.group == q.group)?;
        let periods = q.periods.checked_sub(old.periods)?;
        let throttled = q.throttled.checked_sub(old.throttled)?.min(periods);
        // Counted on each processor apart.
        let time = ((q.throttled_s - old.throttled_s) / seconds).clamp(0.0, 1.0);
        Some((q, throttled, periods, throttled as f64 / periods.max(1) as f64, time))
    };
    // One that had too few periods says nothing, however it spent them.
    let all = now.quotas.iter().filter_map(of);
    all.max_by(|a, b| (a.2 >= PERIODS).cmp(&(b.2 >= PERIODS)).then(a.3.total_cmp(&b.3)))
}

/// Of a slow service itself, or of what such a one needs.
pub fn throttled(name: &str, slow: &[&Slow], looks: &Looks, config: &Config) -> Judged {
    let needs = format!("held up in over {:.0} % of the periods, in both readings", THROTTLED * 100.0);
    let fact = "quota of processor time";
    let Some((_, now)) = own(name, looks) else { return Err(not_two(looks, fact, &needs)) };
    let Some((quota, throttled, periods, ratio, time)) = tightest(name, looks) else {
        return Err(match now.quotas.first() {
            None => ruled_out("cgroup", fact, "none that is seen", &needs),
            Some(q) => unseen("cgroup", fact, format!("{} was made anew", q.group), &needs),
        });
    };
    let said = format!("held up in {throttled} of {periods} periods");
    if periods < PERIODS || ratio <= THROTTLED || time <= THROTTLED {
        return Err(ruled_out("cgroup", &quota.group, said, &needs));
    }
    let share = time.min(ratio);
    // Counted on each processor apart: on several at once no more than their part of it is sure.
    let cores = looks.now.host.load.seen().map_or(f64::INFINITY, |h| f64::from(h.cores.max(1)));
    let sure = if share / cores >= SHARE { Certainty::Proven } else { Certainty::Likely };
    let summary = format!(
        "{name} may use {:.0} % of a processor, and is held up in {:.0} % of its periods",
        quota.cores * 100.0,
        ratio * 100.0
    );
    // Statements that would be slow all the same have a reason of their own.
    let limit = config.thresholds.slow_query.as_secs_f64() * 1000.0;
    let anyway = slow_ones(looks, name, config)
        .is_some_and(|all| all.iter().any(|r| r.mean_ms() * (1.0 - share) > limit));
    let f = Finding::new(&CPU_THROTTLED, name, sure, summary)
        .share(share)
        .spares_if("latency/slow-queries", anyway)
        .saw("cgroup", &quota.group, said)
        .saw("cgroup", "quota", format!("{:.0} % of a processor", quota.cores * 100.0))
        .remedy(
            format!("mcp-ir runbook {}", CPU_THROTTLED.name.replace('/', "#")),
            "Raise CPUQuota, within what the host has",
            Risk::Disruptive,
        );
    host::about(f, slow)
}
