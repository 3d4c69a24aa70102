//! A process has hardly a descriptor left: soon it can accept nothing, and open nothing.

use super::who::Who;
use super::{Judged, cause};
use crate::config::Config;
use crate::diagnosis::{Cause, Certainty, Finding, Relation, Risk, shell_word};
use crate::scenario::against::{ruled_out, unseen};
use crate::scenario::facts;
use crate::scenario::place::Place;
use crate::snapshot::memory::ProcessUse;
use crate::snapshot::{Looks, Snapshot};

pub static FD_EXHAUSTION: Cause = cause(
    "memory/fd-exhaustion",
    "the service has no descriptors left",
    &[
        ("server-crash/unhealthy", Relation::Same),
        ("server-crash/hung", Relation::Same),
        ("server-crash/not-listening", Relation::Same),
        ("server-crash/malformed-health", Relation::Same),
        ("server-crash/mcp-broken", Relation::Same),
    ],
);

pub fn judge(w: &Who, looks: &Looks, config: &Config) -> Judged {
    let now = &looks.now;
    let share = config.thresholds.descriptors;
    let needs = format!("over {:.0} % of its limit, or EMFILE in its log", share * 100.0);
    let process = w.process(now);
    let fill = process.and_then(ProcessUse::fill);
    let says = process.and_then(|p| emfile(w, p, now));
    let near = fill.filter(|(open, max)| *open as f64 > share * *max as f64);
    // What it said may be over: then it has plenty again.
    let says = says.filter(|_| fill.is_none_or(|(open, max)| open * 2 >= max));
    if near.is_none() && says.is_none() {
        let Some(p) = process else { return Err(w.no_process(now, &needs)) };
        return Err(match (fill, p.descriptors.seen(), p.descriptors_max) {
            (Some((open, max)), ..) => {
                ruled_out("/proc", "descriptors", format!("{open} of {max} are open"), &needs)
            }
            (None, Some(open), None) => {
                ruled_out("/proc", "descriptors", format!("{open} are open, without a limit"), &needs)
            }
            (None, ..) => unseen("/proc", "descriptors", super::who::why(&p.descriptors), &needs),
        });
    }
    let first = process.and_then(|p| p.kinds.first());
    let most = first.map_or_else(String::new, |k| format!(", {} of them {}", k.count, k.what));
    let (certainty, summary) = match fill {
        Some((open, max)) if near.is_some() => {
            (Certainty::Proven, format!("{} has {open} of {max} descriptors open{most}", w.name))
        }
        _ => (Certainty::Likely, format!("{} says that it can open nothing more", w.name)),
    };
    let mut f = Finding::new(&FD_EXHAUSTION, w.name, certainty, summary);
    if let (Some((open, max)), Some(p)) = (fill, process) {
        f = f.saw("/proc", &format!("descriptors of process {}", p.pid), format!("{open} of {max}"));
    }
    for k in process.map(|p| p.kinds.as_slice()).unwrap_or_default() {
        f = f.saw("/proc", &k.what, k.count.to_string());
    }
    if let Some((probe, line)) = says {
        f = f.saw(probe, "says", line);
    }
    let summary = "See what it does not close, and keep that; then restart that one service, once with a larger \
                   limit (LimitNOFILE=): what fills that as well does not close what it opens";
    Ok(match w.place {
        Some(place) => {
            let f = f.restarts(place.restart(), summary);
            // Twice as much, once: what fills that as well has another trouble.
            match fill.filter(|_| w.is_service && near.is_some()) {
                Some((_, max)) => f.raises("LimitNOFILE", max.saturating_mul(2)),
                None => f,
            }
        }
        None => {
            let pid = process.map_or_else(|| "PID".to_owned(), |p| p.pid.to_string());
            f.remedy(format!("ls -l /proc/{}/fd", shell_word(&pid)), summary, Risk::Safe)
        }
    })
}

/// A line of this run of it, of late; or what its health answer says now.
fn emfile<'a>(w: &Who, p: &ProcessUse, now: &'a Snapshot) -> Option<(&'static str, &'a str)> {
    let health = facts::health(now, w.name).map(|h| h.messages.as_slice()).unwrap_or_default();
    if let Some(m) = health.iter().find(|m| none_left(m)) {
        return Some(("http health", m));
    }
    let window = now.config.thresholds.recent_failure.as_secs_f64().min(p.age_s());
    let lines = w.place.and_then(|place: Place| Some((place.log(), place.journal(now)?)));
    let (log, journal) = lines?;
    let young = |at| now.taken_at.duration_since(at).as_secs_f64() <= window;
    let line = journal.lines.iter().rev().find(|l| young(l.at) && none_left(&l.text))?;
    Some((log, &line.text))
}

/// Its own limit: that of the whole machine sounds almost the same.
fn none_left(text: &str) -> bool {
    let own = ["EMFILE", "Too many open files", "too many open files"].iter().any(|w| text.contains(w));
    own && !["open files in system", "ENFILE"].iter().any(|w| text.contains(w))
}
