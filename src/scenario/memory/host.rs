//! The host as a whole has no memory left, or does little but swap.

use super::pace::{self, Rising};
use super::{Judged, cause, size, who};
use crate::config::Config;
use crate::diagnosis::{Cause, Certainty, Finding, Relation, Risk};
use crate::scenario::against::{ruled_out, unseen};
use crate::scenario::facts::age;
use crate::snapshot::memory::HostMemory;
use crate::snapshot::{FailKind, Looks};

pub static HOST_LOW: Cause = cause(
    "memory/host-low",
    "the host has hardly any memory left",
    &[("server-crash/oom-killed", Relation::Host), ("memory/swap-thrash", Relation::Same)],
);
pub static SWAP_THRASH: Cause = cause("memory/swap-thrash", "the host does little but swap", &[]);

/// Of two readings of one look, however often it was made longer.
const SHORT_S: f64 = 5.0;

const SEE: &str = "ps -eo pid,rss,unit:30,comm --sort=-rss | head -n 8";

/// The host itself: one word, by which it is known.
pub fn subject(looks: &Looks) -> String {
    looks.now.vantage.host.clone()
}

/// The memory of the host now, and earlier in the same run of it.
fn pair(looks: &Looks) -> Option<(Option<&HostMemory>, &HostMemory)> {
    let now = looks.now.host.memory.seen()?;
    let before = looks.before.as_ref().and_then(|b| b.host.memory.seen());
    Some((before.filter(|b| b.uptime_s < now.uptime_s), now))
}

/// It has little left, or programs wait while something is in swap; or it was too slow to say. Where the
/// kernel does not count who waits, twice as little left must do for that.
pub fn is_short(looks: &Looks, config: &Config) -> bool {
    let memory = &looks.now.host.memory;
    if memory.failure().is_some_and(|f| f.kind == FailKind::TimedOut) {
        return true;
    }
    memory.seen().is_some_and(|m| {
        let least = config.thresholds.memory_available;
        let waits = m.stalled.memory.map_or(m.share() < 2.0 * least, |s| s.lately > 0.1);
        m.share() < least || (waits && m.swap_free < m.swap_total)
    })
}

pub fn low(looks: &Looks, config: &Config) -> Judged {
    let host = subject(looks);
    let least = config.thresholds.memory_available;
    let needs = format!("less than {:.0} % of it, and programs that wait for some", least * 100.0);
    let Some((before, now)) = pair(looks) else {
        return Err(unseen("memory", "available", who::why(&looks.now.host.memory), &needs));
    };
    let left = format!("{} of {} ({:.1} %)", size(now.available), size(now.total), now.share() * 100.0);
    if now.share() >= least {
        return Err(ruled_out("memory", "available", left, &needs));
    }
    let seconds = before.map_or(0.0, |b| now.uptime_s - b.uptime_s);
    let held = match pace::stalled(before.and_then(|b| b.stalled.memory), now.stalled.memory, seconds) {
        Rising::Yes(said) => said,
        Rising::No(said) => return Err(ruled_out("memory", "programs wait for it", said, &needs)),
        Rising::Unknown(why) => match before.and_then(|b| b.reclaims).zip(now.reclaims) {
            Some((b, n)) if n > b => format!("{} had to free some first in {}", n - b, age(seconds)),
            Some(_) => return Err(ruled_out("memory", "programs wait for it", "none of late", &needs)),
            None => return Err(unseen("memory", "programs wait for it", why, &needs)),
        },
    };
    let summary = format!("{host} has {} of memory left, and programs wait for it", size(now.available));
    let fell = before.map_or(0.0, |b| b.available as f64 - now.available as f64);
    let mut f = Finding::new(&HOST_LOW, &host, Certainty::Proven, summary)
        .saw("memory", "available", left)
        .saw("memory", "programs wait for it", held)
        .saw_if("memory", "it falls", pace::end(fell, seconds, now.available, "none is left"));
    for l in now.largest.iter().take(3) {
        let group = l.group.as_deref().map_or_else(String::new, |g| format!(", in {g}"));
        let grew = before
            .and_then(|b| b.largest.iter().find(|x| x.pid == l.pid))
            .and_then(|b| l.resident.checked_sub(b.resident).filter(|n| *n >= 1 << 20));
        let grew = grew.map_or_else(String::new, |n| format!(", {} more than {} ago", size(n), age(seconds)));
        f = f.saw("/proc", &format!("{} ({})", l.name, l.pid), format!("{}{grew}{group}", size(l.resident)));
    }
    Ok(f.remedy(SEE, "See who has the memory, keep its evidence, then restart that one", Risk::Safe))
}

/// Pages come and go in bursts: in and out together are many, and in so short a time not each of them.
pub fn undecided(looks: &Looks, config: &Config) -> bool {
    let most = f64::from(config.thresholds.swap);
    let Some((Some(before), now)) = pair(looks) else { return false };
    let seconds = now.uptime_s - before.uptime_s;
    let of = |now: Option<u64>, was: Option<u64>| {
        now.zip(was).map_or(0.0, |(n, b)| n.saturating_sub(b) as f64 / seconds)
    };
    let (reads, writes) = (of(now.swapped_in, before.swapped_in), of(now.swapped_out, before.swapped_out));
    seconds < SHORT_S && reads + writes > most && reads.min(writes) <= most && reads.min(writes) > 0.0
}

pub fn thrash(looks: &Looks, config: &Config) -> Judged {
    let host = subject(looks);
    let most = f64::from(config.thresholds.swap);
    let needs = format!("over {most:.0} pages a second, in and out");
    let Some((before, now)) = pair(looks) else {
        return Err(unseen("memory", "swap", who::why(&looks.now.host.memory), &needs));
    };
    if now.swap_total == now.swap_free {
        let said = if now.swap_total == 0 { "there is none" } else { "nothing is in it" };
        return Err(ruled_out("memory", "swap", said, &needs));
    }
    let pages = |m: &HostMemory| m.swapped_in.zip(m.swapped_out);
    let Some((now_in, now_out)) = pages(now) else {
        return Err(unseen("memory", "swap", "this kernel does not count its pages", &needs));
    };
    let Some((b, (was_in, was_out))) = before.and_then(|b| Some((b, pages(b)?))) else {
        return Err(unseen("memory", "swap", "one look has no rate", &needs));
    };
    let seconds = now.uptime_s - b.uptime_s;
    let rate = |now: u64, was: u64| now.saturating_sub(was) as f64 / seconds;
    let (reads, writes) = (rate(now_in, was_in), rate(now_out, was_out));
    let said = format!("{reads:.0} pages a second in, {writes:.0} out, over {}", age(seconds));
    if reads <= most || writes <= most {
        return Err(ruled_out("memory", "swap", said, &needs));
    }
    let summary = format!("{host} swaps {reads:.0} pages a second in and {writes:.0} out");
    let taken = now.swap_total - now.swap_free;
    Ok(Finding::new(&SWAP_THRASH, &host, Certainty::Proven, summary)
        .saw("memory", "swap", said)
        .saw("memory", "in swap", format!("{} of {}", size(taken), size(now.swap_total)))
        .saw("memory", "available", format!("{} of {}", size(now.available), size(now.total)))
        .remedy(SEE, "See who has the memory, keep its evidence, then restart that one", Risk::Safe))
}
