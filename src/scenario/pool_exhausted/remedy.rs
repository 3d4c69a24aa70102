//! What gives connections back: the root of a chain is ended, a pool is set to a size that fits. A size
//! that does not fit is refused with the sum, and the largest that would.

use super::super::facts;
use super::super::registry::{advice, by_symptom};
use crate::config::{Config, Postgres, Service};
use crate::diagnosis::{Finding, needs};
use crate::plan::{Act, Ask, Draft, Ending, Needs, Recovered, Remedy, Risk, draft};
use crate::snapshot::postgres::Session;
use crate::snapshot::{Looks, Snapshot};

pub fn plan(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let now = &looks.now;
    let server = config.postgres(&f.subject).and_then(|p| Some((p, facts::server(now, &p.name)?)));
    match (f.cause.as_str(), server) {
        ("pool-exhausted/client-pool-saturated", _) => {
            let Some(s) = config.service(&f.subject) else { return advice(f) };
            match ask.max_size.or_else(|| larger(s, now, config)) {
                Some(size) => resize(s, size, now, ask, config),
                None => advice(f),
            }
        }
        ("pool-exhausted/blocking-chain", Some((p, server))) => {
            let roots: Vec<&Session> = facts::root_blockers(server).iter().map(|r| r.session).collect();
            end(p, &roots, f)
        }
        ("pool-exhausted/idle-in-transaction", Some((p, server))) => {
            let limit = config.thresholds.idle_in_transaction.as_secs_f64();
            let old = |s: &&Session| s.idle_in_transaction() && s.state_s > limit;
            end(p, &server.sessions.iter().filter(old).collect::<Vec<_>>(), f)
        }
        _ => advice(f),
    }
}

/// `--max-size` where nothing is wrong.
pub fn request(looks: &Looks, service: &str, ask: &Ask, config: &Config) -> Remedy {
    match (config.service(service), ask.max_size) {
        (Some(s), Some(size)) => resize(s, size, &looks.now, ask, config),
        _ => Remedy::Nothing("nothing is asked for".into()),
    }
}

/// Sessions of the configured databases only: others' are shown, never ended.
fn end(p: &Postgres, sessions: &[&Session], f: &Finding) -> Remedy {
    let (ours, others): (Vec<&Session>, Vec<&Session>) =
        sessions.iter().partition(|s| p.databases.contains(&s.database));
    if ours.is_empty() {
        return advice(f);
    }
    let step = |s: &&Session| {
        let act = Act::EndSession {
            server: p.name.clone(),
            pid: s.pid,
            backend_start: s.backend_start.clone(),
            state: s.state.clone(),
            databases: p.databases.clone(),
            how: Ending::Terminate,
        };
        draft(act, Risk::Disruptive).because("its transaction is rolled back; its client logs in anew")
    };
    let notes = others.iter().map(|s| {
        format!(
            "session {} is of the database {}, which is not under care: it is left alone",
            s.pid, s.database
        )
    });
    Remedy::Steps { steps: ours.iter().map(step).collect(), notes: notes.collect() }
}

/// The servers that a service's connections go to.
fn servers<'a>(s: &Service, config: &'a Config) -> Vec<&'a Postgres> {
    let names = needs(&s.name, config);
    config.postgres.iter().filter(|p| names.contains(p.name.as_str())).collect()
}

/// What all others may take of a server, and what is left of its slots.
struct Budget {
    server: String,
    slots: u64,
    others: Vec<(String, u64)>,
    /// Whose pools are not known: they could only make it worse.
    unknown: Vec<String>,
}

impl Budget {
    fn of(p: &Postgres, s: &Service, now: &Snapshot, config: &Config) -> Option<Self> {
        let server = facts::server(now, &p.name)?;
        let (mut others, mut unknown) = (Vec::new(), Vec::new());
        for other in facts::dependents(&p.name, config).filter(|o| o.name != s.name) {
            match facts::pool_max(now, &other.name) {
                Some((max, _)) => others.push((other.name.clone(), max)),
                None => unknown.push(other.name.clone()),
            }
        }
        Some(Self { server: p.name.clone(), slots: server.slots().into(), others, unknown })
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

/// Twice as much, as far as it fits; nothing where that is no more than now.
fn larger(s: &Service, now: &Snapshot, config: &Config) -> Option<u64> {
    let (max, _) = facts::pool_max(now, &s.name)?;
    let mut size = max.checked_mul(2)?;
    if let Some(allowed) = s.pool.as_ref().and_then(|p| p.max_allowed) {
        size = size.min(allowed.into());
    }
    for p in servers(s, config) {
        let budget = Budget::of(p, s, now, config).filter(|b| b.unknown.is_empty())?;
        size = size.min(budget.largest());
    }
    (size > max).then_some(size)
}

fn resize(s: &Service, size: u64, now: &Snapshot, ask: &Ask, config: &Config) -> Remedy {
    let command = |n: u64| format!("mcp-ir recover pool --service {} --max-size {n}", s.name);
    let refused = |why: String, hints: Vec<String>| Remedy::Refused { why, hints };
    let from = facts::pool_max(now, &s.name).map(|(max, _)| max);
    if from == Some(size) && !ask.persist {
        return Remedy::Nothing(format!("the pool of {} has {size} already", s.name));
    }
    if size == 0 {
        return refused("a pool of 0 serves nobody".into(), Vec::new());
    }
    let allowed = s.pool.as_ref().and_then(|p| p.max_allowed).map(u64::from);
    if let Some(allowed) = allowed.filter(|a| size > *a) {
        return refused(
            format!("{} takes {allowed} at most (`max_allowed`)", s.name),
            vec![command(allowed)],
        );
    }
    let mut notes = Vec::new();
    // To make it smaller always fits.
    if from.is_none_or(|from| size > from) {
        let servers = servers(s, config);
        if servers.is_empty() {
            return refused(
                format!("{} names no database among its `needs`: what fits is not known", s.name),
                Vec::new(),
            );
        }
        for p in servers {
            let Some(budget) = Budget::of(p, s, now, config) else {
                return refused(
                    format!("the slots of {} could not be seen: what fits is not known", p.name),
                    Vec::new(),
                );
            };
            let largest = budget.largest();
            if size > largest {
                let fits = allowed.map_or(largest, |a| a.min(largest));
                let hints = if fits > 0 { vec![command(fits)] } else { Vec::new() };
                return refused(format!("it does not fit: {}", budget.sum(s, size)), hints);
            }
            notes.push(format!("it fits: {}", budget.sum(s, size)));
            notes.extend(
                budget
                    .unknown
                    .iter()
                    .map(|o| format!("the size of the pool of {o} is not known: not counted")),
            );
        }
    }
    match way(s, size, from, ask, now) {
        Ok((steps, more)) => {
            notes.extend(more);
            Remedy::Steps { steps, notes }
        }
        Err(why) => refused(why, Vec::new()),
    }
}

type Way = Result<(Vec<Draft>, Vec<String>), String>;

/// By its own interface where that answers; else by a drop-in and a restart.
fn way(s: &Service, size: u64, from: Option<u64>, ask: &Ask, now: &Snapshot) -> Way {
    let by_api = from.filter(|_| ask.near.resizable.contains(&s.name));
    let mut steps = Vec::new();
    let mut notes = Vec::new();
    if let Some(from) = by_api.filter(|from| *from != size) {
        let set = |from, to| Act::ResizePool { service: s.name.clone(), from, to };
        steps.push(draft(set(from, size), Risk::Disruptive).undo(vec![set(size, from)], Risk::Disruptive));
        if !ask.persist {
            notes.push("set in the process that runs: it ends with it; --persist adds the drop-in".into());
        }
    }
    if by_api.is_some() && !ask.persist {
        return Ok((steps, notes));
    }
    let unit = s.unit.as_deref().ok_or_else(|| format!("{} has no unit to write a drop-in for", s.name))?;
    let variable = s.pool.as_ref().and_then(|p| p.max_env.as_deref());
    let variable = variable.ok_or_else(|| format!("`pool.max_env` of {} is not configured", s.name))?;
    let found = match ask.near.drop_ins.get(unit) {
        Some(Ok(found)) => found.clone(),
        Some(Err(why)) => return Err(why.clone()),
        None => return Err(format!("the drop-ins of {unit} could not be seen")),
    };
    let text = with(found.as_deref(), variable, &size.to_string());
    let write = |from: &Option<String>, to: &Option<String>| Act::DropIn {
        unit: unit.into(),
        from: from.clone(),
        to: to.clone(),
    };
    let (former, new) = (found, Some(text));
    let restart = || Act::RestartUnit { unit: unit.into() };
    if by_api.is_some() {
        let undo = vec![write(&new, &former)];
        steps.push(draft(write(&former, &new), Risk::Safe).undo(undo, Risk::Safe));
        return Ok((steps, notes));
    }
    let undo = vec![write(&new, &former), restart()];
    steps.push(draft(write(&former, &new), Risk::Safe).undo(undo, Risk::Disruptive));
    let active = ["active", "inactive", "failed"].map(ToOwned::to_owned).to_vec();
    let invocation = facts::detail(now, unit).and_then(|d| d.invocation.clone());
    steps.push(
        draft(restart(), Risk::Disruptive)
            .needs(Needs::Unit { active, invocation })
            .because("with the drop-in it is taken back"),
    );
    let proof = Act::Prove { unit: unit.into(), variable: variable.into(), value: size.to_string() };
    steps.push(draft(proof, Risk::Safe).because("nothing is changed"));
    Ok((steps, notes))
}

const HEAD: &str = "# Written by mcp-ir: `mcp-ir undo` takes it back.\n[Service]\n";

/// Our drop-in with this variable set, and all else that stands in it.
fn with(found: Option<&str>, variable: &str, value: &str) -> String {
    let begins = format!("Environment={variable}=");
    let mut text = found.unwrap_or(HEAD).to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let kept: String = text.lines().filter(|l| !l.starts_with(&begins)).map(|l| format!("{l}\n")).collect();
    format!("{kept}{begins}{value}\n")
}

/// Of a service: it is well, and its pool has what was asked for and room in it. Of a server: none of its
/// sessions hold up others, or hold its slots.
pub fn recovered(looks: &Looks, subject: &str, ask: &Ask, config: &Config) -> Recovered {
    let now = &looks.now;
    let Some(s) = config.service(subject) else { return server(looks, subject, config) };
    let symptoms = (super::super::server_crash::SCENARIO.symptoms)(looks, config);
    let says = match by_symptom(&symptoms, subject) {
        Recovered::Yes(says) => says,
        not_yet => return not_yet,
    };
    let Some(fill) = facts::fill(now, &s.name) else {
        // A shape that leaves the largest size out: what is in use of it can't be said.
        let waits = facts::pool(now, &s.name).and_then(|p| p.waiting);
        return match waits {
            Some(0) => Recovered::Yes(format!("{says}; nobody waits for its pool")),
            _ => Recovered::NotYet("what is in use of its pool is not known".into()),
        };
    };
    let used = format!("{} of {} connections in use", fill.in_use, fill.max);
    match ask.max_size {
        Some(size) if fill.max != size => {
            Recovered::NotYet(format!("{used}: not the size that was asked for"))
        }
        _ if fill.over(config.thresholds.pool_recovered) => Recovered::NotYet(used),
        _ => Recovered::Yes(format!("{says}; {used}")),
    }
}

fn server(looks: &Looks, subject: &str, config: &Config) -> Recovered {
    if facts::server(&looks.now, subject).is_none() {
        return Recovered::NotYet("its sessions could not be seen".into());
    }
    let standing = super::detect(looks, config);
    match standing.iter().find(|f| f.subject == subject && f.severity < crate::diagnosis::Severity::P4) {
        Some(f) => Recovered::NotYet(f.summary.clone()),
        None => Recovered::Yes("no session holds up others".into()),
    }
}
