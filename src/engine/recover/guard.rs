//! The guard rails: what was done of late is not done again and again, what is held or vetoed is not done
//! at all. What was taken back counts for nothing; what a person asked for by a value is no loop. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Config, Guard};
use crate::incident::{Event, Hold, Incident};
use crate::plan::{Act, Plan};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// However often: in the course of a shift it may be tried once more.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// One time that something was done to a unit for a finding, and stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub at: Timestamp,
    pub act: Act,
    /// Its run was cut off: what it came to is not known.
    pub cut_off: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub why: String,
    pub hint: Option<String>,
}

/// Of all incidents, the oldest first.
pub fn attempts(incidents: &[Incident]) -> Vec<Attempt> {
    let mut all = Vec::new();
    for incident in incidents {
        let asked_for: Vec<u32> = incident
            .entries
            .iter()
            .filter_map(|e| match &e.event {
                Event::Planned { run, plan, .. } if plan.findings.is_empty() => Some(*run),
                _ => None,
            })
            .collect();
        let counts = |o: &crate::incident::Open| is_counted(&o.act) && !asked_for.contains(&o.run);
        let standing = incident.standing().into_iter().filter(counts);
        all.extend(standing.map(|o| Attempt { at: o.at, act: o.act, cut_off: o.cut_off }));
    }
    all.sort_by_key(|a| a.at);
    all
}

fn is_counted(act: &Act) -> bool {
    match act {
        Act::StartUnit { .. }
        | Act::StopUnit { .. }
        | Act::RestartUnit { .. }
        | Act::ResetFailed { .. }
        | Act::Continue { .. }
        | Act::Thaw { .. }
        | Act::Freeze { .. }
        | Act::ResizePool { .. } => true,
        // Each is of another session, or comes with a restart.
        Act::DropIn { .. }
        | Act::Prove { .. }
        | Act::ProveLimit { .. }
        | Act::EndSession { .. }
        | Act::Wait { .. } => false,
    }
}

/// A pool that is widened again and again is so by another size each time.
fn is_same(a: &Act, b: &Act) -> bool {
    match (a, b) {
        (Act::ResizePool { service, .. }, Act::ResizePool { service: other, .. }) => service == other,
        _ => a == b,
    }
}

/// Whether a plan may be done by what was done before. A run that was cut off may be gone on with once.
pub fn may(plan: &Plan, before: &[Attempt], now: Timestamp, guard: &Guard) -> Result<(), Held> {
    if plan.findings.is_empty() {
        return Ok(());
    }
    let age = |a: &Attempt| Duration::try_from(now.duration_since(a.at)).unwrap_or(Duration::ZERO);
    let of_late: Vec<&Attempt> = before.iter().filter(|a| age(a) < DAY).collect();
    let forced = || Some("--force-cooldown does it all the same".to_owned());
    for act in plan.steps.iter().map(|s| &s.act).filter(|a| is_counted(a)) {
        let mut same: Vec<&&Attempt> = of_late.iter().filter(|a| is_same(&a.act, act)).collect();
        let once = matches!(same[..], [_] | [.., Attempt { cut_off: false, .. }, _]);
        if once && same.last().is_some_and(|a| a.cut_off) {
            same.pop();
        }
        if let Some(last) = same.last() {
            let doubled = u32::try_from(same.len() - 1).ok().and_then(|n| 2_u32.checked_pow(n));
            let wait =
                doubled.and_then(|n| guard.cooldown.0.checked_mul(n)).map_or(LONGEST, |w| w.min(LONGEST));
            if age(last) < wait {
                let why = format!(
                    "`{}` was done {} ago for what was found then, and {} within a day: not again before {} have passed",
                    crate::plan::describe(act),
                    human(age(last)),
                    times(same.len()),
                    human(wait),
                );
                return Err(Held { why, hint: forced() });
            }
        }
        let target = act.target();
        let spent = of_late.iter().filter(|a| a.act.target() == target).count();
        if spent >= guard.budget as usize {
            let why = format!("{target} was acted on {} within a day: that is its budget", times(spent));
            return Err(Held { why, hint: forced() });
        }
    }
    Ok(())
}

/// What is left to people by configuration: the name of it.
pub fn never<'a>(plan: &Plan, config: &'a Config) -> Option<&'a str> {
    let touched = |name: &str| {
        plan.subjects.iter().any(|s| s == name)
            || plan.steps.iter().any(|s| s.act.target().split_once(' ').is_some_and(|(_, of)| of == name))
    };
    let of_unit = |name: &str| {
        let unit = config.service(name).and_then(|s| s.unit.as_deref());
        unit.or_else(|| config.postgres(name).and_then(|p| p.unit.as_deref()))
    };
    config.guard.never.iter().map(String::as_str).find(|n| touched(n) || of_unit(n).is_some_and(touched))
}

/// A hold of somebody's is respected by everybody, whatever is forced.
pub fn held(hold: &Hold, now: Timestamp) -> Option<Held> {
    if hold.until.is_some_and(|until| until <= now) {
        return None;
    }
    let until = hold.until.map_or_else(String::new, |at| format!(", until {at}"));
    let why = format!("held by {} since {}{until}: {}", hold.by, hold.since, hold.reason);
    Some(Held { why, hint: Some("mcp-ir hold --off ends it".into()) })
}

fn times(n: usize) -> String {
    match n {
        1 => "once".into(),
        2 => "twice".into(),
        n => format!("{n} times"),
    }
}

fn human(d: Duration) -> String {
    match d.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h", s.div_ceil(3600)),
    }
}
