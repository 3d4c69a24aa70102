//! The guard rails: what was done of late is not done again and again, what is held or vetoed is not done
//! at all. What was taken back counts for nothing; what a person asked for by a value is no loop. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::possible::{is_upkeep, spared, without};
use crate::config::{Config, Guard, Postgres};
use crate::incident::{Event, Hold, Incident, Outcome};
use crate::plan::{Act, Plan, Step};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// However often: in the course of a shift it may be tried once more.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

const FORCE: &str = "--force-cooldown does it all the same";

/// One time that something was done to a unit for a finding, and stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub at: Timestamp,
    pub act: Act,
    /// Its run was cut off: what it came to is not known.
    pub cut_off: bool,
    /// It was asked for by its value, and did not help.
    pub in_vain: bool,
    /// Of a run that is counted already: of several tables each is looked after by itself.
    pub besides: bool,
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
                Event::Planned { run, plan, .. } if plan.findings.is_empty() || plan.asked => Some(*run),
                _ => None,
            })
            .collect();
        let counts = |o: &crate::incident::Open| is_counted(&o.act) && !asked_for.contains(&o.run);
        // Between two of its steps as well as within one.
        let came_to_its_end = |run: u32| {
            let its = |e: &crate::incident::Entry| matches!(e.event, Event::Ended { run: r, .. } if r == run);
            incident.entries.iter().any(its)
        };
        let mut runs = Vec::new();
        for o in incident.standing().into_iter().filter(counts) {
            let upkeep = matches!(o.act, Act::Upkeep(_));
            // It came to its limit, or could not be: nothing of it stands, and the next may have longer.
            if upkeep && (o.cut_off || ended_ill(incident, o.run, o.n)) {
                continue;
            }
            let run = (o.run, o.act.target());
            let besides = upkeep && runs.contains(&run);
            runs.extend(upkeep.then_some(run));
            let cut_off = o.cut_off || !came_to_its_end(o.run);
            all.push(Attempt { at: o.at, act: o.act, cut_off, in_vain: false, besides });
        }
        all.extend(values(incident));
        all.extend(ended(incident, &asked_for));
    }
    all.sort_by_key(|a| a.at);
    all
}

fn ended_ill(incident: &Incident, run: u32, n: usize) -> bool {
    let ill = |e: &Event| matches!(e, Event::StepFailed { run: r, n: of, .. } if (*r, *of) == (run, n));
    incident.entries.iter().any(|e| ill(&e.event))
}

/// Values of runs that did not end well, also where they were taken back: the same again is a loop.
fn values(incident: &Incident) -> Vec<Attempt> {
    let ill = |run: u32| {
        let is = |e: &&crate::incident::Entry| match &e.event {
            Event::Ended { run: r, outcome, .. } => {
                *r == run && matches!(outcome, Outcome::Failed | Outcome::NotRecovered)
            }
            _ => false,
        };
        incident.entries.iter().any(|e| is(&e))
    };
    // A line for the next start took no effect where that was not begun.
    let took = |run: u32, act: &Act| {
        let Act::Connections(c) = act else { return true };
        incident.entries.iter().any(|e| match &e.event {
            Event::Intent { run: r, act: Act::RestartUnit { unit }, .. } => *r == run && *unit == c.unit,
            _ => false,
        })
    };
    let of = |e: &crate::incident::Entry| match &e.event {
        Event::Intent { run, act, .. } if is_value(act) && ill(*run) && took(*run, act) => {
            Some(Attempt { at: e.at, act: act.clone(), cut_off: false, in_vain: true, besides: false })
        }
        _ => None,
    };
    incident.entries.iter().filter_map(of).collect()
}

/// Runs that ended sessions by themselves: each once for a server, however many it ended.
fn ended(incident: &Incident, asked_for: &[u32]) -> Vec<Attempt> {
    let mut all: Vec<(u32, Attempt)> = Vec::new();
    for e in &incident.entries {
        let Event::Intent { run, act: act @ Act::EndSession(_), .. } = &e.event else { continue };
        let known = all.iter().any(|(r, a)| r == run && a.act.target() == act.target());
        if !known && !asked_for.contains(run) {
            all.push((
                *run,
                Attempt { at: e.at, act: act.clone(), cut_off: false, in_vain: false, besides: false },
            ));
        }
    }
    all.into_iter().map(|(_, a)| a).collect()
}

fn is_counted(act: &Act) -> bool {
    match act {
        Act::StartUnit { .. }
        | Act::StopUnit { .. }
        | Act::RestartUnit { .. }
        | Act::RestartByForce { .. }
        | Act::RestartFast { .. }
        | Act::ResetFailed { .. }
        | Act::Continue { .. }
        | Act::Thaw { .. }
        | Act::Freeze { .. }
        | Act::EndHolder(_)
        | Act::SetAside { .. }
        | Act::PutBack { .. }
        | Act::ResizePool { .. }
        | Act::Upkeep(_) => true,
        // Each is of another session, or comes with a restart, or is asked for by its name.
        Act::DropIn { .. }
        | Act::Prove { .. }
        | Act::ProveLimit { .. }
        | Act::ProveQuiet { .. }
        | Act::EndSession { .. }
        | Act::Flush(_)
        | Act::Remove(_)
        | Act::Connections(_)
        | Act::ProveConnections { .. }
        | Act::Wait { .. } => false,
    }
}

/// What is set, as somebody may have asked for it.
fn is_value(act: &Act) -> bool {
    matches!(act, Act::DropIn { .. } | Act::ResizePool { .. } | Act::Connections(_))
}

/// The same value for the same.
fn is_same_value(a: &Act, b: &Act) -> bool {
    match (a, b) {
        (Act::DropIn { unit, to, .. }, Act::DropIn { unit: u, to: t, .. }) => unit == u && to == t,
        (Act::ResizePool { service, to, .. }, Act::ResizePool { service: s, to: t, .. }) => {
            service == s && to == t
        }
        (Act::Connections(a), Act::Connections(b)) => a.server == b.server && a.to == b.to,
        _ => false,
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
/// `by_value`: a person's own value was asked for; another one soon after is no loop, the same one is.
pub fn may(
    plan: &Plan,
    before: &[Attempt],
    by_value: bool,
    now: Timestamp,
    guard: &Guard,
) -> Result<(), Held> {
    let age = |a: &Attempt| Duration::try_from(now.duration_since(a.at)).unwrap_or(Duration::ZERO);
    let (in_vain, before): (Vec<&Attempt>, Vec<&Attempt>) =
        before.iter().filter(|a| age(a) < DAY).partition(|a| a.in_vain);
    // Who is not served sees to why, and does not ask for the same once more.
    for act in plan.steps.iter().map(|s| &s.act) {
        let mut same = in_vain.iter().filter(|a| is_same_value(&a.act, act));
        if let Some(last) = same.next_back().filter(|a| age(a) < guard.cooldown.0) {
            let why = format!(
                "`{}` was done {} ago, and did not help: not again before {} have passed",
                crate::plan::describe(act),
                human(age(last)),
                human(guard.cooldown.0)
            );
            return Err(Held { why, hint: Some(FORCE.into()) });
        }
    }
    if plan.findings.is_empty() || by_value {
        return Ok(());
    }
    let (ended, of_late): (Vec<&Attempt>, Vec<&Attempt>) =
        before.into_iter().partition(|a| matches!(a.act, Act::EndSession(_)));
    let servers = plan.steps.iter().map(|s| &s.act).filter(|a| matches!(a, Act::EndSession(_)));
    for target in servers.map(Act::target) {
        let runs = ended.iter().filter(|a| a.act.target() == target).count();
        if runs >= guard.budget as usize {
            let why =
                format!("sessions of {target} were ended {} within a day: that is its budget", times(runs));
            return Err(Held { why, hint: Some(FORCE.into()) });
        }
    }
    let forced = || Some(FORCE.to_owned());
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
        let spent = of_late.iter().filter(|a| a.act.target() == target && !a.besides).count();
        if spent >= guard.budget as usize {
            let why = format!("{target} was acted on {} within a day: that is its budget", times(spent));
            return Err(Held { why, hint: forced() });
        }
    }
    Ok(())
}

/// Of a plan for several, without those whose steps may not be done again yet, where nobody else in it needs
/// them: one that is held keeps nothing from the others. Upkeep is left piece by piece: nobody comes up by it.
/// Where all are held it stays whole, and is refused.
pub fn apart(plan: &Plan, before: &[Attempt], now: Timestamp, config: &Config) -> Plan {
    let held = |subject: &str, which: &dyn Fn(&Step) -> bool| {
        let its = |f: &&String| f.rsplit_once('@').is_some_and(|(_, s)| s == subject);
        let alone = Plan {
            findings: plan.findings.iter().filter(its).cloned().collect(),
            subjects: vec![subject.to_owned()],
            steps: plan.steps.iter().filter(|s| s.subject == subject && which(s)).cloned().collect(),
            ..Plan::default()
        };
        may(&alone, before, false, now, &config.guard).err().map(|held| held.why)
    };
    let gone = spared(plan, |subject| held(subject, &|s| !is_upkeep(s)), config);
    let piece = |s: &Step| held(&s.subject, &|other| other.n == s.n).filter(|_| is_upkeep(s));
    without(plan, &gone, piece, config).unwrap_or_else(|| plan.clone())
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
    // By its unit, as it is configured: which one a server runs as may be another (Debian's umbrella).
    let named_unit = |unit: &str| unit == "postgresql.service" || !config.units().any(|(_, u)| u == unit);
    let named = |unit: &str| config.units().filter(|(_, u)| *u == unit).any(|(name, _)| touched(name));
    // Debian's umbrella is all of its clusters; and a server without a unit may run as any of them.
    const UMBRELLA: &str = "postgresql.service";
    let cluster = |s: &Step| s.act.unit().is_some_and(|u| u.starts_with("postgresql@"));
    let all = |n: &str| {
        let any = n == UMBRELLA;
        let may_be = |p: &&Postgres| any || p.unit.as_deref().is_none_or(|u| u == UMBRELLA);
        let servers = || config.postgres.iter().filter(may_be).any(|p| touched(&p.name));
        let unknown = n.starts_with("postgresql") && n.ends_with(".service") && named_unit(n);
        (any && plan.steps.iter().any(cluster)) || (unknown && servers())
    };
    let left = |n: &&str| all(n) || touched(n) || of_unit(n).is_some_and(touched) || named(n);
    config.guard.never.iter().map(String::as_str).find(left)
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
