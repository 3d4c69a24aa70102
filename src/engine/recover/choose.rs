//! What is to be recovered, by the findings and by what was asked for; and the plan for it. Pure.

use std::collections::BTreeSet;

use super::after::{dead_of_it, first_needed, starved, upkeep_last};
use super::asked::{as_asked, beside, by_age, ended, more_connections, requested, reset};
use super::guard::never;
use super::removed::removed;
use crate::config::Config;
use crate::diagnosis::{Diagnosis, Finding, Severity};
use crate::plan::{Act, Ask, Draft, Plan, Remedy};
use crate::scenario::{self, ALL, Scenario, by_name};
use crate::snapshot::Looks;

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// By its name; `None` is the first root.
    pub scenario: Option<String>,
    /// Every root.
    pub all: bool,
    pub services: Vec<String>,
    pub ask: Ask,
    /// Though another root explains it.
    pub anyway: bool,
    /// Though the same was done of late.
    pub force: bool,
}

impl Request {
    /// A person's own value: to set another one soon after is no loop.
    pub fn names_a_value(&self) -> bool {
        self.ask.mends().is_some() || self.ask.is_by_name()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    Plan(Plan),
    NothingToDo(String),
    Advice {
        why: String,
        command: String,
    },
    Refused {
        why: String,
        hints: Vec<String>,
    },
    /// More than one could be meant.
    Unclear {
        why: String,
        hints: Vec<String>,
    },
    /// A symptom of what was asked for could not be seen.
    Unknown(String),
}

const SATURATED: &str = "pool-exhausted/client-pool-saturated";
/// What a larger pool mends.
const POOLS: [&str; 2] = [SATURATED, "latency/pool-wait"];

/// `d` is the whole diagnosis: a root elsewhere has to be seen.
pub fn choose(looks: &Looks, d: &Diagnosis, request: &Request) -> Choice {
    if !request.ask.kill.is_empty() {
        return ended(looks, request);
    }
    let config = &looks.now.config;
    if let Some((subject, remedy)) = scenario::flush(&looks.now, &request.ask, &request.services, config) {
        return beside(as_asked(&subject, remedy, config), d, request, &[]);
    }
    if let Some(wanted) = &request.ask.remove {
        return removed(wanted, looks, d, request);
    }
    if let Some(to) = request.ask.max_connections {
        return more_connections(to, looks, request);
    }
    if request.ask.reset_state {
        return reset(looks, d, request);
    }
    if request.ask.ages.any() {
        return by_age(looks, d, request);
    }
    let wanted = request.ask.mends();
    let asked = |f: &&Finding| {
        f.severity < Severity::P4
            && request.scenario.as_ref().is_none_or(|s| f.scenario == *s)
            && wanted.is_none_or(|causes| causes.contains(&f.cause.as_str()))
            && (request.services.is_empty() || request.services.contains(&f.subject))
    };
    let mut found: Vec<&Finding> = d.findings.iter().filter(asked).collect();
    if request.scenario.is_none() {
        // Of a service that was named, a consequence is refused with its root, not passed over.
        if request.services.is_empty() {
            found.retain(|f| f.is_root());
        }
        // A value is one's alone: of several it is asked which.
        if !request.all && wanted.is_none() {
            found.sort_by_key(|f| !f.is_root());
            found.truncate(1);
        }
    }
    // What another one of them explains goes with it.
    let ids: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
    let among = |f: &&Finding| !f.explained_by.iter().any(|id| ids.contains(&id.as_str()));
    let found: Vec<&Finding> = found.iter().copied().filter(among).collect();
    let subjects: BTreeSet<&str> = found.iter().map(|f| f.subject.as_str()).collect();
    if wanted.is_some() && subjects.len() > 1 {
        let hints = subjects.iter().map(|s| format!("--service {s}")).collect();
        return Choice::Unclear { why: "more than one of them is short: which shall have it?".into(), hints };
    }
    if let Some(refused) = foreign(&found, d).filter(|_| !request.anyway) {
        return refused;
    }
    match (found.is_empty(), wanted) {
        (true, Some(_)) => requested(looks, request),
        (true, None) => nothing(d, looks, request),
        (false, _) => plan(&found, d, looks, request),
    }
}

/// A root that is not among what was asked for: that comes first.
pub(super) fn foreign(found: &[&Finding], d: &Diagnosis) -> Option<Choice> {
    let f = found.iter().find(|f| !f.is_root())?;
    let root = d.findings.iter().find(|r| f.explained_by.contains(&r.id) && r.is_root());
    let root = root.or_else(|| d.findings.iter().find(|r| f.explained_by.contains(&r.id)))?;
    let alias = by_name(&root.scenario).map_or(root.scenario.as_str(), |s| s.alias);
    Some(Choice::Refused {
        why: format!("{} is a consequence of {}: {}", f.id, root.id, root.summary),
        hints: vec![format!("mcp-ir recover {alias}"), "--anyway acts all the same".into()],
    })
}

/// What could not be judged is not called well: of the subjects that were named, or of those whose symptom
/// the scenario goes by.
fn nothing(d: &Diagnosis, looks: &Looks, request: &Request) -> Choice {
    let config = &looks.now.config;
    let scenario = request.scenario.as_deref().and_then(by_name);
    let of = scenario.map(|s| (s.symptoms)(looks, config)).unwrap_or_default();
    let asked = |subject: &String| match request.services.as_slice() {
        [] => of.is_empty() || of.iter().any(|s| s.subject == *subject),
        named => named.contains(subject),
    };
    match d.unknown.iter().find(|u| asked(&u.subject)) {
        Some(u) => Choice::Unknown(format!("{} can't be judged: {}", u.subject, u.why)),
        None => {
            let what = request.scenario.as_deref().unwrap_or("anything");
            Choice::NothingToDo(format!("no finding of {what}: nothing was changed"))
        }
    }
}

fn plan(found: &[&Finding], d: &Diagnosis, looks: &Looks, request: &Request) -> Choice {
    let config = &looks.now.config;
    let (mut plan, mut advice, mut refused) = (Plan::default(), None, None);
    let mut quickens = Vec::new();
    // Each is measured against what all others have now: one after another.
    let pools: Vec<&str> =
        found.iter().filter(|f| POOLS.contains(&f.cause.as_str())).map(|f| f.id.as_str()).collect();
    let later = |f: &Finding| pools.iter().skip(1).any(|id| *id == f.id);
    // What others need comes before them.
    let mut found = found.to_vec();
    found.sort_by_key(|f| (config.service(&f.subject).is_some(), first_needed(&f.subject, config).0));
    for f in found.iter().copied() {
        if later(f) {
            plan.notes.push(format!("{} is for a run of its own: what fits is another sum then", f.id));
            plan.left.push(f.id.clone());
            continue;
        }
        let Some(scenario) = of(f) else { continue };
        let remedy = scenario::plan(scenario, looks, f, &request.ask, config);
        match left_to_people(remedy, f, config) {
            // So are larger limits of memory.
            Remedy::Steps { steps, .. }
                if plan.steps.iter().any(|s| takes_memory(&s.act))
                    && steps.iter().any(|d| takes_memory(d.act())) =>
            {
                plan.notes.push(format!("{} is for a run of its own: the host has less memory then", f.id));
                plan.left.push(f.id.clone());
            }
            Remedy::Steps { steps, notes } => {
                let Some(steps) = without_done(&plan, steps) else {
                    plan.notes.push(format!("{} is for a run of its own: its unit is another then", f.id));
                    plan.left.push(f.id.clone());
                    continue;
                };
                let begun = plan.steps.len();
                plan.add(Some(&f.id), &f.subject, steps, notes);
                quickens.extend((begun + 1..=plan.steps.len()).filter(|_| f.scenario == "latency"));
                plan.watched.extend(starved(f, d, config));
                plan.slowed.extend(scenario::slowed(f, looks, config));
            }
            Remedy::Advice(why) => {
                let said = format!("{}: {why}", f.id);
                if advice.is_none() {
                    advice = Some(Choice::Advice { why: said.clone(), command: f.remedy.command.clone() });
                }
                plan.notes.push(format!("for people: {said} ({})", f.remedy.command));
                plan.left.push(f.id.clone());
            }
            // What is asked for is so already, and it is ill all the same.
            Remedy::Nothing(why) => {
                let said = format!("{}: {why}: {}", f.id, f.summary);
                plan.left.push(f.id.clone());
                let command = f.remedy.command.clone();
                advice = advice.or(Some(Choice::Advice { why: said, command }));
            }
            // A value that somebody asked for, and that does not fit: nothing is begun.
            Remedy::Refused { why, hints } if request.names_a_value() || !request.all => {
                return Choice::Refused { why, hints };
            }
            Remedy::Refused { why, hints } => {
                plan.notes.push(format!("{} is left as it is: {why}", f.id));
                plan.left.push(f.id.clone());
                refused = refused.or(Some(Choice::Refused { why, hints }));
            }
        }
    }
    plan.slowed.sort();
    plan.slowed.dedup();
    if !plan.steps.is_empty() {
        if request.all {
            dead_of_it(&mut plan, d, looks, &request.ask);
        }
        upkeep_last(&mut plan, &quickens, d, config);
        return Choice::Plan(plan);
    }
    advice.or(refused).unwrap_or_else(|| Choice::NothingToDo("nothing was changed".into()))
}

fn takes_memory(act: &Act) -> bool {
    matches!(act, Act::ProveLimit { key, .. } if key == "MemoryMax")
}

/// The steps of a further finding beside those that are planned. Each was made by one look: a unit that is
/// started anew by then is so for both, and what else would be done to it is another run's (`None`).
fn without_done(plan: &Plan, steps: Vec<Draft>) -> Option<Vec<Draft>> {
    let done = |unit: &String| {
        plan.steps.iter().any(|s| s.act.changes() && s.act.target() == format!("unit {unit}"))
    };
    let starts = |unit: &String| plan.steps.iter().any(|s| s.act.starts() == Some(unit));
    let mut kept = Vec::new();
    for d in steps {
        match d.act() {
            Act::StartUnit { unit } | Act::RestartUnit { unit } if starts(unit) && kept.is_empty() => {}
            Act::StartUnit { unit }
            | Act::RestartUnit { unit }
            | Act::RestartByForce { unit, .. }
            | Act::RestartFast { unit, .. }
            | Act::ResetFailed { unit }
            | Act::Continue { unit }
            | Act::Thaw { unit }
            | Act::DropIn { unit, .. }
                if done(unit) =>
            {
                return None;
            }
            _ => kept.push(d),
        }
    }
    Some(kept)
}

/// What the configuration says is never touched, whatever would mend it.
pub(super) fn left_to_people(remedy: Remedy, f: &Finding, config: &Config) -> Remedy {
    let Remedy::Steps { steps, notes } = remedy else { return remedy };
    let mut alone = Plan::default();
    alone.add(Some(&f.id), &f.subject, steps.clone(), Vec::new());
    match never(&alone, config) {
        Some(name) => Remedy::Advice(format!("{name} is left to people (`guard.never`)")),
        None => Remedy::Steps { steps, notes },
    }
}

pub(super) fn of(f: &Finding) -> Option<&'static Scenario> {
    ALL.iter().copied().find(|s| s.name == f.scenario)
}
