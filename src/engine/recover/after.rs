//! Who suffers from what is mended: services that are starved have to be well again; of `all` also who died
//! of it, and who does not come back by himself is started behind it. And who waits for what. Pure.

use std::collections::BTreeSet;

use super::choose::{left_to_people, of};
use crate::config::Config;
use crate::diagnosis::{Diagnosis, Finding, Severity, needs};
use crate::plan::{Act, Ask, Draft, Plan, Remedy, Step};
use crate::scenario;
use crate::snapshot::Looks;

/// Services whose connections it takes: that its sessions are gone is no cure of theirs. A dead database's
/// services are another recovery's.
pub fn starved(f: &Finding, d: &Diagnosis, config: &Config) -> BTreeSet<String> {
    let its = |g: &&Finding| g.explained_by.contains(&f.id) && g.severity < Severity::P4;
    let all = d.findings.iter().filter(|_| f.scenario == "pool-exhausted").filter(its);
    all.map(|g| g.subject.clone()).filter(|s| *s != f.subject && config.service(s).is_some()).collect()
}

/// Who died of what is planned, near or far: started behind it and behind whom he needs, where he is down;
/// else he comes by himself, and is only waited for.
pub fn dead_of_it(plan: &mut Plan, d: &Diagnosis, looks: &Looks, ask: &Ask) {
    let config = &looks.now.config;
    let planned: BTreeSet<String> = plan.findings.iter().cloned().collect();
    let roots = with_what_follows(d, |f| planned.contains(&f.id));
    let suffers = |f: &&Finding| {
        roots.contains(f.id.as_str())
            && !planned.contains(&f.id)
            && f.severity < Severity::P4
            && config.service(&f.subject).is_some()
    };
    let mut all: Vec<&Finding> = d.findings.iter().filter(suffers).collect();
    all.sort_by_key(|f| first_needed(&f.subject, config));
    for f in all {
        let remedy = of(f).map(|s| left_to_people(scenario::plan(s, looks, f, ask, config), f, config));
        match remedy {
            Some(Remedy::Steps { steps, notes }) if starts(&steps) => {
                plan.add(Some(&f.id), &f.subject, steps, notes);
            }
            _ if plan.subjects.contains(&f.subject) => {}
            _ => plan.watched.push(f.subject.clone()),
        }
    }
    plan.watched.sort();
    plan.watched.dedup();
}

/// These findings, and what they explain, near and far.
fn with_what_follows(d: &Diagnosis, these: impl Fn(&Finding) -> bool) -> BTreeSet<&str> {
    let mut all: BTreeSet<&str> = d.findings.iter().filter(|f| these(f)).map(|f| f.id.as_str()).collect();
    loop {
        let more = d.findings.iter().filter(|f| f.explained_by.iter().any(|id| all.contains(id.as_str())));
        let more: Vec<&str> = more.map(|f| f.id.as_str()).filter(|id| !all.contains(id)).collect();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// What makes quick again comes last: it may take all of its time, and nobody comes up by it. An index that is
/// damaged is built anew before who died of it is started, and behind all others. `quickens`: these steps.
pub fn upkeep_last(plan: &mut Plan, quickens: &[usize], d: &Diagnosis, config: &Config) {
    let damaged = |f: &Finding| {
        let built = |s: &Step| s.subject == f.subject && matches!(s.act, Act::Upkeep(_));
        f.scenario != "latency"
            && plan.findings.contains(&f.id)
            && plan.steps.iter().any(|s| built(s) && !quickens.contains(&s.n))
    };
    let follows = with_what_follows(d, damaged);
    let dead = d.findings.iter().filter(|f| follows.contains(f.id.as_str()));
    let dead = dead.filter(|f| config.service(&f.subject).is_some());
    let dead: BTreeSet<String> = dead.map(|f| f.subject.clone()).collect();
    let is_behind = |subject: &str| {
        dead.contains(subject) || needs(subject, config).into_iter().any(|n| dead.contains(n))
    };
    plan.steps.sort_by_key(|s| match s.act {
        Act::Upkeep(_) if quickens.contains(&s.n) => 3,
        Act::Upkeep(_) => 1,
        _ if is_behind(&s.subject) => 2,
        _ => 0,
    });
    plan.number();
}

/// What has to be well before this step: whom its subject needs, of those for whom something was done before or
/// who suffer. That they are quick is nobody's condition: it may want what this step is for.
pub fn well_before(step: &Step, plan: &Plan, config: &Config) -> Option<Plan> {
    let before = || plan.steps.iter().take_while(|s| s.n < step.n);
    if before().last().is_none_or(|last| last.subject == step.subject) {
        return None;
    }
    let needs = needs(&step.subject, config);
    let first = before().map(|s| &s.subject).chain(&plan.watched).filter(|s| needs.contains(s.as_str()));
    let first: BTreeSet<String> = first.cloned().collect();
    (!first.is_empty()).then(|| until(step, first.into_iter().collect(), plan))
}

/// What a plan comes to before a step, for these alone: that they are well, and not that they are quick.
fn until(step: &Step, subjects: Vec<String>, plan: &Plan) -> Plan {
    Plan {
        findings: plan.findings.iter().filter(|f| !f.starts_with("latency/")).cloned().collect(),
        subjects,
        watched: Vec::new(),
        slowed: Vec::new(),
        steps: plan.steps.iter().take_while(|s| s.n < step.n).cloned().collect(),
        ..plan.clone()
    }
}

/// Who was started last before this one is, and needs the same server: both at once would storm it.
pub fn started_before(step: &Step, plan: &Plan, config: &Config) -> Option<Plan> {
    let start = |s: &&Step| s.act.starts().is_some();
    let before = || plan.steps.iter().take_while(|s| s.n < step.n);
    let ours = plan.steps.iter().filter(|s| s.subject == step.subject);
    if before().any(|s| s.subject == step.subject) || !ours.clone().any(|s| start(&s)) {
        return None;
    }
    let servers = |of: &str| -> BTreeSet<String> {
        let is_server = |n: &&str| config.postgres(n).is_some();
        needs(of, config).into_iter().filter(is_server).map(ToOwned::to_owned).collect()
    };
    let own = servers(&step.subject);
    let last = before().filter(start).filter(|s| !servers(&s.subject).is_disjoint(&own)).last()?;
    Some(until(step, vec![last.subject.clone()], plan))
}

/// In the order of what they need, near and far: who is needed needs less than who needs him.
pub fn first_needed<'a>(subject: &'a str, config: &'a Config) -> (usize, &'a str) {
    (needs(subject, config).len(), subject)
}

fn starts(steps: &[Draft]) -> bool {
    let start = |d: &Draft| matches!(d.act(), Act::StartUnit { .. } | Act::ResetFailed { .. });
    !steps.is_empty() && steps.iter().all(start)
}
