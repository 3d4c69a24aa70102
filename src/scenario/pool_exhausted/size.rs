//! The size of a service's own pool. A size that does not fit is refused with the sum, and the largest that
//! would; what could not be verified afterwards is not begun.

use super::super::facts;
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::needs;
use crate::plan::{Act, Ask, Draft, Remedy, Risk, draft};
use crate::scenario::steps;
use crate::snapshot::Snapshot;

/// What all others may take of a server, and what is left of its slots.
struct Budget {
    server: String,
    slots: u64,
    others: Vec<(String, u64)>,
}

impl Budget {
    /// `Err`: what fits is not known.
    fn of(p: &Postgres, s: &Service, now: &Snapshot, config: &Config) -> Result<Self, String> {
        let server = facts::server(now, &p.name)
            .ok_or_else(|| format!("the slots of {} could not be seen: what fits is not known", p.name))?;
        let mut others = Vec::new();
        for other in facts::dependents(&p.name, config).filter(|o| o.name != s.name) {
            let said = facts::pool_max(now, &other.name).map(|(max, _)| max);
            // What it can't outgrow is as good as what it has.
            let most = said.or_else(|| other.pool.as_ref()?.max_allowed.map(u64::from));
            let most = most.ok_or_else(|| {
                let name = &other.name;
                format!("the size of the pool of {name} is not known, so neither is what fits beside it (`pool.max_allowed` of {name} would say it)")
            })?;
            others.push((other.name.clone(), most));
        }
        Ok(Self { server: p.name.clone(), slots: server.slots().into(), others })
    }

    fn all(s: &Service, now: &Snapshot, config: &Config) -> Result<Vec<Self>, String> {
        let names = needs(&s.name, config);
        let servers: Vec<&Postgres> =
            config.postgres.iter().filter(|p| names.contains(p.name.as_str())).collect();
        if servers.is_empty() {
            return Err(format!("{} names no database among its `needs`: what fits is not known", s.name));
        }
        servers.into_iter().map(|p| Self::of(p, s, now, config)).collect()
    }

    fn largest(&self) -> u64 {
        self.slots.saturating_sub(self.others.iter().map(|(_, max)| max).sum())
    }

    fn sum(&self, s: &Service, size: u64) -> String {
        let mut terms = vec![format!("{} {size}", s.name)];
        terms.extend(self.others.iter().map(|(name, max)| format!("{name} {max}")));
        let sum: u64 = size + self.others.iter().map(|(_, max)| max).sum::<u64>();
        format!("{} = {sum}, and {} has {} slots", terms.join(" + "), self.server, self.slots)
    }
}

fn allowed(s: &Service) -> Option<u64> {
    s.pool.as_ref().and_then(|p| p.max_allowed).map(u64::from)
}

/// Twice as much, as far as it fits; `Err` where that is no more than now, or not known.
pub fn larger(s: &Service, now: &Snapshot, config: &Config) -> Result<u64, String> {
    let (max, _) = facts::pool_max(now, &s.name).ok_or("its largest size is not known")?;
    let fits = Budget::all(s, now, config)?.iter().map(Budget::largest).min().unwrap_or(0);
    let size = max.saturating_mul(2).min(fits).min(allowed(s).unwrap_or(u64::MAX));
    if size > max { Ok(size) } else { Err(format!("it has {max}, and {fits} fit")) }
}

pub fn resize(s: &Service, size: u64, now: &Snapshot, ask: &Ask, config: &Config) -> Remedy {
    let command = |n: u64| format!("mcp-ir recover pool --service {} --max-size {n}", s.name);
    let refused = |why: String, hints: Vec<String>| Remedy::Refused { why, hints };
    // By the service itself: that its process has a variable does not say that it reads it (errata 33).
    let said = facts::pool_max(now, &s.name).filter(|(_, by)| *by == facts::PAYLOAD);
    let unheard = facts::is_unheard(now, s);
    let from = said.map(|(from, _)| from);
    if from.is_none() && !unheard {
        let why = format!(
            "the payload of {} does not say the size of its pool: what is set could not be verified",
            s.name
        );
        return refused(why, Vec::new());
    }
    if from == Some(size) && !ask.persist {
        return Remedy::Nothing(format!("the pool of {} has {size} already", s.name));
    }
    let has = now.services.get(&s.name).and_then(|look| look.pool_max.seen());
    if let Some(has) = has.filter(|has| unheard && has.value == size) {
        let why =
            format!("it has {size} by the {} already, and its health gave no answer as yet", has.source);
        return refused(why, Vec::new());
    }
    if size == 0 {
        return refused("a pool of 0 serves nobody".into(), Vec::new());
    }
    if let Some(allowed) = allowed(s).filter(|a| size > *a) {
        let why = format!("{} takes {allowed} at most (`max_allowed`)", s.name);
        return refused(why, vec![command(allowed)]);
    }
    let mut notes = Vec::new();
    // To make it smaller always fits.
    if from.is_none_or(|from| size > from) {
        let budgets = match Budget::all(s, now, config) {
            Ok(budgets) => budgets,
            Err(why) => return refused(why, Vec::new()),
        };
        let fits = budgets.iter().map(Budget::largest).min().unwrap_or(0).min(allowed(s).unwrap_or(u64::MAX));
        if let Some(tight) = budgets.iter().find(|b| size > b.largest()) {
            let hints = if fits > 0 { vec![command(fits)] } else { Vec::new() };
            return refused(format!("it does not fit: {}", tight.sum(s, size)), hints);
        }
        notes.extend(budgets.iter().map(|b| format!("it fits: {}", b.sum(s, size))));
    }
    match way(s, size, from, ask, now) {
        Ok((steps, more)) => {
            notes.extend(more);
            notes.extend(unheard.then(|| UNHEARD.to_owned()));
            Remedy::Steps { steps, notes }
        }
        Err((why, hints)) => refused(why, hints),
    }
}

const UNHEARD: &str = "its health answer was not waited for: that it takes the size is seen by it after the \
     restart; where it says another, this is taken back";

type Way = Result<(Vec<Draft>, Vec<String>), (String, Vec<String>)>;

/// By its own interface where that answers; else by a drop-in and a restart.
fn way(s: &Service, size: u64, from: Option<u64>, ask: &Ask, now: &Snapshot) -> Way {
    let refuse = |why: String| (why, Vec::new());
    let by_api = interface(s).filter(|_| ask.near.resizable.contains(&s.name));
    let mut drafts = Vec::new();
    let mut notes = Vec::new();
    if by_api.is_some() && from.is_none() {
        return Err(refuse(format!(
            "the size of the pool of {} is not known, so neither is its undo",
            s.name
        )));
    }
    if let Some((url, from)) = by_api.clone().zip(from).filter(|(_, from)| *from != size) {
        let set = |from, to| Act::ResizePool { service: s.name.clone(), url: url.clone(), from, to };
        drafts.push(draft(set(from, size), Risk::Disruptive).undo(vec![set(size, from)], Risk::Disruptive));
        if !ask.persist {
            notes.push("set in the process that runs: it ends with it; --persist adds the drop-in".into());
        }
    }
    if by_api.is_some() && !ask.persist {
        return Ok((drafts, notes));
    }
    let unit = s.unit.as_deref();
    let unit = unit.ok_or_else(|| refuse(format!("{} has no unit to write a drop-in for", s.name)))?;
    let variable = s.pool.as_ref().and_then(|p| p.max_env.as_deref());
    let variable =
        variable.ok_or_else(|| refuse(format!("`pool.max_env` of {} is not configured", s.name)))?;
    let setting = (format!("Environment={variable}="), size.to_string());
    let (write, back) = steps::drop_in(unit, ask, &[(setting.0.as_str(), setting.1)]).map_err(refuse)?;
    if by_api.is_some() {
        drafts.push(draft(write, Risk::Safe).undo(vec![back], Risk::Safe));
        return Ok((drafts, notes));
    }
    let needs = steps::run(unit, ask, now).map_err(|why| {
        let down = now.unit(unit).is_some_and(|u| u.active != "active");
        let hint = down.then(|| format!("mcp-ir recover server --service {}", s.name));
        (format!("{why}: a size is set where it runs"), hint.into_iter().collect())
    })?;
    let restart = || Act::RestartUnit { unit: unit.into() };
    drafts.push(draft(write, Risk::Safe).undo(vec![back, restart()], Risk::Disruptive));
    drafts.push(draft(restart(), Risk::Disruptive).needs(needs).because("with the drop-in it is taken back"));
    let proof = Act::Prove { unit: unit.into(), variable: variable.into(), value: size.to_string() };
    drafts.push(draft(proof, Risk::Safe).because("nothing is changed"));
    Ok((drafts, notes))
}

/// Where its own interface is.
fn interface(s: &Service) -> Option<String> {
    Some(format!("{}{}", s.url.as_ref()?, s.pool.as_ref()?.resize.as_ref()?))
}
