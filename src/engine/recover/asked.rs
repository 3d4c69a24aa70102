//! What a person asks for by a value or a name, though nothing may be wrong. Pure.

use super::choose::{Choice, Request, foreign};
use super::guard::never;
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::{Diagnosis, Finding, Severity};
use crate::plan::{Plan, Remedy};
use crate::scenario::{self, environment_request, memory_request, pool_request};
use crate::snapshot::Looks;

/// A value that is asked for, though nothing is wrong.
pub(super) fn requested(looks: &Looks, request: &Request) -> Choice {
    let config = &looks.now.config;
    let pool = request.ask.max_size.is_some();
    let what = if pool { "a pool that is configured" } else { "a unit" };
    let has = |s: &&Service| if pool { s.pool.is_some() } else { s.unit.is_some() };
    let services: Vec<&str> = match request.services.as_slice() {
        [] => config.service.iter().filter(has).map(|s| s.name.as_str()).collect(),
        named => named.iter().map(String::as_str).collect(),
    };
    let service = match services.as_slice() {
        [one] => *one,
        [] => {
            return Choice::Unclear { why: format!("no service has {what}"), hints: Vec::new() };
        }
        several => {
            let hints = several.iter().map(|s| format!("--service {s}")).collect();
            let why = format!("nothing is wrong, and more than one service has {what}");
            return Choice::Unclear { why, hints };
        }
    };
    if config.service(service).is_none() {
        return Choice::Unclear {
            why: format!("{service} is no service: it has no pool, and no unit of its own here"),
            hints: Vec::new(),
        };
    }
    let asked = match (pool, request.ask.memory_max) {
        (true, _) => pool_request,
        (false, Some(_)) => memory_request,
        (false, None) => environment_request,
    };
    as_asked(service, asked(looks, service, &request.ask, config), config)
}

/// The one server that is named, or the only one; else those that could be, as they are named.
pub(super) fn one_server<'a>(config: &'a Config, request: &Request) -> Result<&'a Postgres, Vec<String>> {
    let named = |p: &&Postgres| request.services.is_empty() || request.services.contains(&p.name);
    match config.postgres.iter().filter(named).collect::<Vec<_>>()[..] {
        [p] => Ok(p),
        _ => Err(config.postgres.iter().map(|p| format!("--service {}", p.name)).collect()),
    }
}

/// Sessions that somebody names by their age. What is found of them has to be gone by it; what else is wrong is
/// not hidden.
pub(super) fn by_age(looks: &Looks, d: &Diagnosis, request: &Request) -> Choice {
    let config = &looks.now.config;
    let p = match one_server(config, request) {
        Ok(p) => p,
        Err(hints) => return Choice::Unclear { why: "the sessions of which PostgreSQL?".into(), hints },
    };
    let of = |f: &&Finding| {
        let stands = f.is_root() && f.severity < Severity::P4 && f.subject == p.name;
        stands && scenario::is_of_age(f, request.ask.ages)
    };
    let found: Vec<&Finding> = d.findings.iter().filter(of).collect();
    let ids: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
    let choice = as_asked(&p.name, scenario::by_age(p, looks, &request.ask, config), config);
    about(beside(choice, d, request, &ids), &found)
}

/// Of one service that has caches, that is named or the only one. What is found of it has to be gone afterwards.
pub(super) fn reset(looks: &Looks, d: &Diagnosis, request: &Request) -> Choice {
    let config = &looks.now.config;
    let named = |s: &&Service| request.services.is_empty() || request.services.contains(&s.name);
    let all: Vec<&Service> = config.service.iter().filter(named).filter(|s| !s.caches.is_empty()).collect();
    let [s] = all[..] else {
        let hints = all.iter().map(|s| format!("--service {}", s.name)).collect();
        let why = match all.is_empty() {
            true => "none of them has `caches` in the configuration",
            false => "the state of which service?",
        };
        return Choice::Unclear { why: why.into(), hints };
    };
    // Whatever is wrong of it: it is stopped for that, and started anew.
    let its = |f: &&Finding| f.severity < Severity::P4 && f.scenario == "server-crash" && f.subject == s.name;
    let found: Vec<&Finding> = d.findings.iter().filter(its).collect();
    if let Some(refused) = foreign(&found, d).filter(|_| !request.anyway) {
        return refused;
    }
    let ids: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
    let choice = as_asked(&s.name, scenario::state_reset(s, &request.ask, &looks.now), config);
    about(beside(choice, d, request, &ids), &found)
}

/// What a person asked for is for these findings as well. Where there is nothing to do for it, they stand.
fn about(choice: Choice, found: &[&Finding]) -> Choice {
    match (choice, found.first()) {
        (Choice::Plan(mut plan), _) => {
            plan.asked = true;
            plan.findings.extend(found.iter().map(|f| f.id.clone()));
            Choice::Plan(plan)
        }
        (Choice::NothingToDo(why), Some(f)) => Choice::Advice {
            why: format!("{}: {why}: {}", f.id, f.summary),
            command: f.remedy.command.clone(),
        },
        (other, _) => other,
    }
}

/// Of one server. Who needs it and is well has to be so again.
pub(super) fn more_connections(to: u64, looks: &Looks, request: &Request) -> Choice {
    let config = &looks.now.config;
    let p = match one_server(config, request) {
        Ok(p) => p,
        Err(hints) => {
            return Choice::Unclear { why: "which PostgreSQL shall take more connections?".into(), hints };
        }
    };
    match as_asked(&p.name, scenario::more_connections(p, to, looks, &request.ask, config), config) {
        Choice::Plan(mut plan) => {
            plan.watched = scenario::served(p, looks, config);
            Choice::Plan(plan)
        }
        other => other,
    }
}

/// Sessions that somebody named, whatever is wrong.
pub(super) fn ended(looks: &Looks, request: &Request) -> Choice {
    let config = &looks.now.config;
    let [server] = request.services.as_slice() else {
        return Choice::Unclear { why: "more than one server could be meant".into(), hints: Vec::new() };
    };
    as_asked(server, scenario::kill(server, &request.ask, config), config)
}

/// What somebody asks for by a value or a name: no finding's.
pub(super) fn as_asked(subject: &str, remedy: Remedy, config: &Config) -> Choice {
    let mut plan = Plan::default();
    match remedy {
        Remedy::Steps { steps, notes } => plan.add(None, subject, steps, notes),
        Remedy::Advice(why) => return Choice::Advice { why, command: String::new() },
        Remedy::Nothing(why) => return Choice::NothingToDo(why),
        Remedy::Refused { why, hints } => return Choice::Refused { why, hints },
    }
    match never(&plan, config) {
        Some(name) => {
            let why = format!("{name} is left to people (`guard.never`)");
            Choice::Refused { why, hints: Vec::new() }
        }
        None => Choice::Plan(plan),
    }
}

/// What else is wrong of the scenario that was named is not mended by it, and not hidden by it; `mended` are the
/// findings that it is asked for.
pub(super) fn beside(choice: Choice, d: &Diagnosis, request: &Request, mended: &[&str]) -> Choice {
    let Choice::Plan(mut plan) = choice else { return choice };
    let stands = |f: &&Finding| {
        f.is_root()
            && f.severity < Severity::P4
            && request.scenario.as_ref().is_none_or(|s| f.scenario == *s)
            && (request.services.is_empty() || request.services.contains(&f.subject))
            && !mended.contains(&f.id.as_str())
            && !plan.left.contains(&f.id)
    };
    let left: Vec<&Finding> = d.findings.iter().filter(stands).collect();
    for f in left {
        plan.notes.push(format!("{} is left as it is: {}", f.id, f.summary));
        plan.left.push(f.id.clone());
    }
    Choice::Plan(plan)
}
