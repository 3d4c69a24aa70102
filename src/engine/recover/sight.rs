//! One whole look with all that a plan needs, and what is chosen by it: the same before somebody agrees
//! and under the lock, where it decides.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::choose::{Choice, Request, choose};
use super::near::{asides, connections, indexes, near, occupied, rebuilt, sessions};
use super::near_caches::{caches, stopped_with};
use super::near_holds::{forced, holds};
use super::near_removal::removable;
use super::possible::narrowed;
use super::rights::Lacking;
use crate::config::Loaded;
use crate::diagnosis::{Diagnosis, Finding, Severity, needs};
use crate::engine::look::{Depth, Patience, Plan as LookPlan, look};
use crate::engine::{Awaited, Filter, diagnose};
use crate::incident::Store;
use crate::plan::{Act, Plan};
use crate::scenario::is_unheard;
use crate::snapshot::Looks;

#[derive(Debug, Clone)]
pub struct Sight {
    pub looks: Looks,
    /// Of everything: a root elsewhere has to be seen.
    pub diagnosis: Diagnosis,
    pub choice: Choice,
    /// What is not allowed of its plan, where that was asked for it.
    pub lacking: Option<Vec<Lacking>>,
    /// What was asked, with what was looked at for it.
    pub request: Request,
    /// When all of it was in.
    pub at: Instant,
}

/// Who answers at all answers by then, unless it waits for a connection itself.
const BRIEF: Duration = Duration::from_millis(50);
/// An answer that took longer than `BRIEF` is not asked for again so soon.
const FRESH: Duration = Duration::from_secs(1);

type Health = BTreeMap<String, Patience>;

/// `start` is when the deadline of the look begins. A quick one waits for no rate; so too where a person names
/// the value: what else is slow does not make it another.
///
/// A service with a full pool may take seconds to say so. Who names it and the size for it does not wait for
/// that, where nothing else is wrong with it or what it needs.
pub async fn see(
    loaded: &Loaded,
    request: &Request,
    store: &Store,
    quick: bool,
    known: Health,
    awaited: &Awaited,
    start: Instant,
) -> Sight {
    let named = match request.services.as_slice() {
        [one] if request.ask.max_size.is_some() => Some(one),
        _ => None,
    };
    let mut health = known;
    if let Some(name) = named {
        health.entry(name.clone()).or_insert(Patience::Brief(BRIEF));
    }
    let sight = whole(loaded, request, store, quick, health, awaited, start).await;
    match named {
        Some(name) if sight.is_blind(name) => {
            whole(loaded, request, store, quick, Health::new(), awaited, start).await
        }
        _ => sight,
    }
}

impl Sight {
    /// Whether its answer is missing, and more than that is wrong: then it is waited for.
    pub fn is_blind(&self, name: &str) -> bool {
        let (now, config) = (&self.looks.now, &self.looks.now.config);
        if !config.service(name).is_some_and(|s| is_unheard(now, s)) {
            return false;
        }
        // Nothing says that it has another size.
        if now.services.get(name).and_then(|look| look.pool_max.seen()).is_none() {
            return true;
        }
        let of = needs(name, config);
        let about = |f: &Finding| f.subject == name || of.contains(f.subject.as_str());
        let other = self.diagnosis.findings.iter().any(|f| f.severity < Severity::P4 && about(f));
        let restarts = |plan: &Plan| plan.steps.iter().any(|s| matches!(s.act, Act::RestartUnit { .. }));
        other || !matches!(&self.choice, Choice::Plan(plan) if restarts(plan))
    }

    /// What the look that decides, a moment later, does not wait for again: nothing of what a person asked for
    /// by a value goes by it.
    pub fn known(&self) -> Health {
        if !self.request.names_a_value() {
            return Health::new();
        }
        let now = &self.looks.now;
        let slow = |s: &&crate::config::Service| {
            let took =
                now.services.get(&s.name).filter(|l| l.health.seen().is_some()).map(|l| l.health.elapsed_ms);
            let slow = took.is_some_and(|ms| ms > BRIEF.as_secs_f64() * 1000.0);
            (is_unheard(now, s) || slow) && self.at.elapsed() < FRESH
        };
        let known = |s: &crate::config::Service| {
            Some((s.name.clone(), Patience::Known(Box::new(now.services.get(&s.name)?.health.clone()))))
        };
        now.config.service.iter().filter(slow).filter_map(known).collect()
    }
}

async fn whole(
    loaded: &Loaded,
    request: &Request,
    store: &Store,
    quick: bool,
    health: Health,
    awaited: &Awaited,
    start: Instant,
) -> Sight {
    let asked = request.scenario.iter().cloned().collect();
    let quick = quick || request.names_a_value();
    let plan = LookPlan { asked, quick, health, ..LookPlan::of(Depth::Wrong) };
    let deadline = start + loaded.config.timeout.0;
    let (looked, near) =
        tokio::join!(look(loaded, awaited, start, &plan), near(loaded, &request.ask, store, deadline));
    let looks = looked.looks;
    let diagnosis = diagnose(&looks, &Filter::default());
    let mut request = request.clone();
    request.ask.near = near;
    let (sessions, occupied, asides, indexes, (connections, runs), rebuilt, removable, holds, forced, caches) = tokio::join!(
        sessions(loaded, &diagnosis, &request),
        occupied(loaded, &diagnosis, &request),
        asides(loaded, &diagnosis),
        indexes(loaded, &diagnosis),
        connections(loaded, &looks, &request, store),
        rebuilt(&diagnosis, store),
        removable(loaded, &request, store),
        holds(loaded, &looks, &diagnosis, &request),
        forced(&request, store, looks.now.taken_at),
        caches(loaded, &request)
    );
    let near = &mut request.ask.near;
    near.connections = connections;
    near.stopped_with = stopped_with(loaded, &caches).await;
    (near.holds, near.caches) = (holds, caches);
    near.forced = forced;
    near.runs.extend(runs);
    (near.sessions, near.occupied, near.asides, near.indexes) = (sessions, occupied, asides, indexes);
    (near.rebuilt, near.removable) = (rebuilt, removable);
    let choice = choose(&looks, &diagnosis, &request);
    let (choice, lacking) = narrowed(choice, &looks, loaded, store, &request).await;
    Sight { looks, diagnosis, choice, lacking, request, at: Instant::now() }
}

/// Whether the look that decides needs no rates: nothing was found by them but what these subjects suffer
/// themselves. What is mended for a rate, or left for one, is seen by it again.
pub fn is_without_rates(d: &Diagnosis, plan: &Plan) -> bool {
    let by_rate = |f: &&Finding| f.scenario == "latency" || f.scenario == "memory";
    d.findings
        .iter()
        .filter(by_rate)
        .all(|f| !f.is_root() && plan.subjects.contains(&f.subject) && !plan.findings.contains(&f.id))
}

/// What holds against a plan that was agreed to, by a look that was taken since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// It is the same plan, letter by letter.
    Same,
    /// Nothing is wrong any more.
    Well(String),
    /// Another plan, or none: with what may be done instead.
    Another { why: String, hints: Vec<String> },
}

/// Consent is to one plan: what is found to be another since then is not done.
pub fn still(agreed: &str, choice: &Choice) -> Now {
    let another = |why: String, hints: &[String]| Now::Another { why, hints: hints.to_vec() };
    match choice {
        Choice::Plan(plan) if plan.digest() == agreed => Now::Same,
        Choice::Plan(plan) => {
            let what: Vec<&str> = plan.steps.iter().map(|s| s.describe.as_str()).collect();
            another(format!("the plan is another now than what was agreed to: {}", what.join("; ")), &[])
        }
        Choice::NothingToDo(why) => Now::Well(why.clone()),
        Choice::Advice { why, command } => {
            let hints: Vec<String> = Some(command.clone()).filter(|c| !c.is_empty()).into_iter().collect();
            another(format!("it is another now than what was agreed to: {why}"), &hints)
        }
        Choice::Refused { why, hints } | Choice::Unclear { why, hints } => another(why.clone(), hints),
        Choice::Unknown(why) => another(why.clone(), &[]),
    }
}
