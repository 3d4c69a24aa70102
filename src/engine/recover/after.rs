//! Who suffers from what is mended: services that are starved have to be well again; of `all` also who died
//! of it, and who does not come back by himself is started behind it. Pure.

use std::collections::BTreeSet;

use super::choose::{left_to_people, of};
use crate::config::Config;
use crate::diagnosis::{Diagnosis, Finding, Severity, needs};
use crate::plan::{Act, Ask, Draft, Plan, Remedy};
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
    let mut roots: BTreeSet<&str> =
        d.findings.iter().map(|f| f.id.as_str()).filter(|id| planned.contains(*id)).collect();
    loop {
        let more = d.findings.iter().filter(|f| f.explained_by.iter().any(|id| roots.contains(id.as_str())));
        let more: Vec<&str> = more.map(|f| f.id.as_str()).filter(|id| !roots.contains(id)).collect();
        if more.is_empty() {
            break;
        }
        roots.extend(more);
    }
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

/// In the order of what they need, near and far: who is needed needs less than who needs him.
pub fn first_needed<'a>(subject: &'a str, config: &'a Config) -> (usize, &'a str) {
    (needs(subject, config).len(), subject)
}

fn starts(steps: &[Draft]) -> bool {
    let start = |d: &Draft| matches!(d.act(), Act::StartUnit { .. } | Act::ResetFailed { .. });
    !steps.is_empty() && steps.iter().all(start)
}
