//! The plan for what a person wants taken away by its name, beside what was found: of one server, and whoever is well,
//! or suffers from it, has to be well afterwards. Pure.

use super::after::starved;
use super::asked::{as_asked, beside, one_server};
use super::choose::{Choice, Request};
use crate::diagnosis::Diagnosis;
use crate::plan::Wanted;
use crate::scenario;
use crate::snapshot::Looks;

pub fn removed(wanted: &Wanted, looks: &Looks, d: &Diagnosis, request: &Request) -> Choice {
    let config = &looks.now.config;
    let why = match wanted {
        Wanted::Slot(name) => format!("on which PostgreSQL shall the slot {name} be dropped?"),
        Wanted::Prepared(gid) => format!("on which PostgreSQL shall '{gid}' be rolled back?"),
    };
    let p = match one_server(config, request) {
        Ok(p) => p,
        Err(hints) => return Choice::Unclear { why, hints },
    };
    let mut plan = match as_asked(&p.name, scenario::removal(p, wanted, &request.ask), config) {
        Choice::Plan(plan) => plan,
        other => return other,
    };
    plan.watched = scenario::served(p, looks, config);
    let found = d.findings.iter().find(|f| f.cause == wanted.cause() && f.subject == p.name);
    let its = found.filter(|_| scenario::is_of(wanted, p, looks, config));
    match (found, its) {
        (_, Some(f)) => plan.watched.extend(starved(f, d, config)),
        (Some(f), None) => {
            plan.notes.push(format!("{} stands without it as well: {}", f.id, f.summary));
            plan.left.push(f.id.clone());
        }
        (None, None) => {}
    }
    plan.watched.sort();
    plan.watched.dedup();
    let its: Vec<&str> = its.map(|f| f.id.as_str()).into_iter().collect();
    beside(Choice::Plan(plan), d, request, &its)
}
