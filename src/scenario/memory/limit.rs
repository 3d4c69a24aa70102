//! A control group is near its limit, and the kernel has to fight for every page: the next step is a kill.
//! A full page cache is none of it: what nobody uses is given back at once.

use super::pace::{self, Rising};
use super::who::Who;
use super::{Judged, cause, size};
use crate::config::Config;
use crate::diagnosis::{Cause, Certainty, Finding, Relation, Risk, shell_word};
use crate::scenario::against::ruled_out;
use crate::scenario::facts::age;
use crate::scenario::place::Place;
use crate::snapshot::memory::GroupUse;
use crate::snapshot::{Looks, Snapshot};

pub static NEAR_LIMIT: Cause = cause(
    "memory/near-limit",
    "the service is at its limit of memory",
    &[("server-crash/oom-killed", Relation::Same), ("server-crash/hung", Relation::Same)],
);

pub fn judge(w: &Who, looks: &Looks, config: &Config) -> Judged {
    let now = &looks.now;
    let share = config.thresholds.memory;
    let needs = format!("over {:.0} % of a limit, and a limit that is hit", share * 100.0);
    let Some(g) = w.group(now) else { return Err(w.no_group(now, &needs)) };
    let Some(limit) = g.limit else {
        return Err(ruled_out("cgroup", w.name, format!("{} and no limit", size(g.current)), &needs));
    };
    let cached = g.inactive_file.filter(|c| *c > 0);
    let cached = cached.map_or_else(String::new, |c| format!(", {} of files nobody uses left out", size(c)));
    let taken = format!("{} of {}{cached}", size(g.working()), size(limit));
    if g.working() as f64 <= share * limit as f64 {
        return Err(ruled_out("cgroup", &g.of, taken, &needs));
    }
    let before = before(w, looks, g);
    let seconds = before.map_or(0.0, |(_, seconds)| seconds);
    let hits = before.and_then(|(b, _)| g.hits?.checked_sub(b.hits?)).filter(|_| seconds > 0.0);
    let hit = hits.filter(|n| *n > 0).map(|n| format!("{n} times in {}", age(seconds)));
    let stalled = pace::stalled(before.and_then(|(b, _)| b.stalled), g.stalled, seconds);
    let (hit, held) = match (hit, stalled) {
        (None, Rising::No(said)) => return Err(ruled_out("cgroup", "its limit was hit", said, &needs)),
        (None, Rising::Unknown(why)) => {
            let Some(n) = hits else {
                let said = format!("one look has no rate, and of waiting {why}");
                return Err(crate::scenario::against::unseen("cgroup", "its limit was hit", said, &needs));
            };
            let said = format!("{n} times in {}", age(seconds));
            return Err(ruled_out("cgroup", "its limit was hit", said, &needs));
        }
        (hit, Rising::Yes(said)) => (hit, Some(said)),
        (hit, _) => (hit, None),
    };
    let whose = if g.of == g.group { "its limit".to_owned() } else { format!("the limit of {}", g.of) };
    let summary = format!("{} has {} of the {} that are {whose}", w.name, size(g.working()), size(limit));
    let rose = before.map_or(0.0, |(b, _)| g.working() as f64 - b.working() as f64);
    let f = Finding::new(&NEAR_LIMIT, w.name, Certainty::Proven, summary)
        .saw("cgroup", &g.of, format!("{taken} ({})", g.limit_file))
        .saw_if("cgroup", "its limit was hit", hit)
        .saw_if("cgroup", "it waited for memory", held)
        .saw_if(
            "cgroup",
            "killed for memory",
            g.oom_kills.filter(|n| *n > 0).map(|n| format!("{n} since it was made")),
        )
        .saw_if("cgroup", "it rises", pace::end(rose, seconds, g.left().unwrap_or(0), "the limit is reached"))
        .saw_if("/proc", "resident", w.process(now).map(|p| size(p.resident)));
    Ok(remedy(f, w, g, limit, now))
}

pub fn is_high(w: &Who, looks: &Looks, config: &Config) -> bool {
    let high =
        |g: &GroupUse| g.limit.is_some_and(|l| g.working() as f64 > config.thresholds.memory * l as f64);
    w.group(&looks.now).is_some_and(high)
}

/// The same group in an earlier look, and how long ago. One that was made anew counts from nothing.
fn before<'a>(w: &Who, looks: &'a Looks, g: &GroupUse) -> Option<(&'a GroupUse, f64)> {
    let earlier = looks.before.as_ref()?;
    let process = w.process(&looks.now)?;
    let was = w.before(Some(earlier), process)?;
    let b = w.group(earlier).filter(|b| b.of == g.of && b.limit_file == g.limit_file)?;
    Some((b, process.uptime_s - was.uptime_s))
}

/// As much again, where the host has it; else whoever takes it begins anew.
fn remedy(f: Finding, w: &Who, g: &GroupUse, limit: u64, now: &Snapshot) -> Finding {
    let room = now.host.memory.seen().is_some_and(|m| m.available > limit.saturating_mul(2));
    let unit = g.of.rsplit('/').next().filter(|u| u.ends_with(".slice") || u.ends_with(".service"));
    let key = if g.limit_file == "memory.high" { "MemoryHigh" } else { "MemoryMax" };
    match (w.place, unit) {
        (Some(Place::Unit(own)), Some(unit)) if room => {
            let to = limit.saturating_mul(2);
            let f = f.remedy(
                format!("systemctl set-property --runtime {} {key}={to}", shell_word(unit)),
                "Keep its evidence; a larger limit, for which the host has the memory; if it comes again, it leaks",
                Risk::Disruptive,
            );
            // Of a slice others live as well.
            if unit == own && key == "MemoryMax" { f.raises(key, to) } else { f }
        }
        // In a limit that it shares it may be an innocent.
        (Some(place), _) if w.is_service && g.of == g.group => f.restarts(
            place.restart(),
            "Keep its evidence first, then restart that one service; if it comes again, it leaks",
        ),
        _ => f.remedy(
            "ps -eo pid,rss,unit:30,comm --sort=-rss | head -n 8",
            "See who takes it, and keep the evidence",
            Risk::Safe,
        ),
    }
}
