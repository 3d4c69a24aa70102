//! What gives memory and descriptors back: a larger limit where the host has the memory, else the one
//! service begins anew. The whole look is kept before.

use super::descriptors::FD_EXHAUSTION;
use super::limit::NEAR_LIMIT;
use super::who::{self, Who};
use crate::config::{Config, Service};
use crate::diagnosis::Finding;
use crate::plan::{Aim, Ask, Recovered, Remedy};
use crate::scenario::registry::{advice, by_symptom};
use crate::scenario::{server_crash, steps};
use crate::snapshot::memory::ProcessUse;
use crate::snapshot::{Looks, Snapshot};

pub fn plan(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let Some((s, unit)) = config.service(&f.subject).and_then(|s| Some((s, s.unit.as_deref()?))) else {
        return advice(f);
    };
    if ask.memory_max.is_some() {
        return request(looks, &f.subject, ask, config);
    }
    let now = &looks.now;
    let mut notes = Vec::new();
    let restart = || steps::restart(unit, ask, now).map(|step| vec![step]);
    let steps = match f.remedy.limit {
        Some((_, to)) if f.cause == FD_EXHAUSTION.name => {
            let hard = now.host.taken.get(&f.subject).and_then(|t| t.process.seen()?.descriptors_hard);
            steps::descriptors(s, to, hard, ask, now).or_else(|why| {
                notes.push(format!("its limit stays as it is: {why}"));
                restart()
            })
        }
        Some(limit) => steps::raise(s, limit, ask, now),
        None if f.remedy.restart => restart(),
        None => return advice(f),
    };
    match steps {
        Ok(steps) => Remedy::Steps { steps, notes },
        Err(why) => Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
    }
}

/// `--memory-max` where nothing is wrong.
pub fn request(looks: &Looks, service: &str, ask: &Ask, config: &Config) -> Remedy {
    match (config.service(service), ask.memory_max) {
        (Some(s), Some(size)) if is_down(s, &looks.now) => Remedy::Refused {
            why: format!("{} is down: it is started with its limit", s.name),
            hints: vec![
                format!("mcp-ir recover server --service {} --memory-max {size}", s.name),
                format!("mcp-ir recover server --service {}", s.name),
            ],
        },
        (Some(s), Some(size)) => match steps::memory(s, size, ask, &looks.now) {
            Ok(steps) => Remedy::Steps { steps, notes: Vec::new() },
            Err(other) => other,
        },
        _ => Remedy::Nothing("nothing is asked for".into()),
    }
}

fn is_down(s: &Service, now: &Snapshot) -> bool {
    s.unit
        .as_deref()
        .and_then(|unit| now.unit(unit))
        .is_some_and(|u| u.active == "failed" || u.active == "inactive")
}

/// It does its work, and has room again by the same count.
pub fn recovered(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    let now = &looks.now;
    let symptoms = (server_crash::SCENARIO.symptoms)(looks, config);
    let says = match by_symptom(&symptoms, aim.subject) {
        Recovered::Yes(says) => says,
        not_yet => return not_yet,
    };
    let Some(w) = who::all(config).find(|w| w.name == aim.subject) else {
        return Recovered::NotYet("it is not under care".into());
    };
    let (what, fill, share) = if aim.cause == Some(FD_EXHAUSTION.name) {
        let fill = w.process(now).and_then(ProcessUse::fill);
        ("descriptors", fill, config.thresholds.descriptors)
    } else if aim.cause == Some(NEAR_LIMIT.name) {
        ("bytes", of_limit(&w, looks), config.thresholds.memory)
    } else {
        // What leaks shows again in hours.
        return match w.process(now) {
            Some(p) => Recovered::Yes(format!("{says}; resident {} MiB", p.resident >> 20)),
            None => Recovered::NotYet("its memory could not be seen".into()),
        };
    };
    match fill {
        None => Recovered::NotYet(format!("its {what} could not be counted")),
        Some((used, max)) if used as f64 > share * max as f64 => {
            Recovered::NotYet(format!("{used} of {max} {what}"))
        }
        Some((used, max)) => Recovered::Yes(format!("{says}; {used} of {max} {what}")),
    }
}

fn of_limit(w: &Who, looks: &Looks) -> Option<(u64, u64)> {
    let group = w.group(&looks.now)?;
    Some((group.working(), group.limit?))
}
