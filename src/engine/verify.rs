//! Whether everything does its work: by the symptoms and the findings of one look, by what each service does
//! for its clients, and under a bounded load. It does nothing that a client would not do.

mod load;
mod smoke;

use std::time::Instant;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::awaited::Awaited;
use super::diagnose::{Filter, diagnose};
use super::look::{Depth, Plan as LookPlan, look};
use crate::config::{Loaded, Service};
use crate::diagnosis::{Finding, Severity, SymptomState, Verdict};
use crate::plan::{Aim, Recovered};
use crate::scenario::{ALL, pool_fill, pool_max, pool_recovered, pool_report, serves_mcp};
use crate::snapshot::{FailKind, Looks, Reading};

pub use load::{Load, Ordered};

pub const SCHEMA: &str = "mcp-ir/verification/1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Passed,
    Failed,
    /// It could not be seen: neither of the two.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Query,
    Health,
    Pool,
    Metrics,
    Mcp,
    Smoke,
    Load,
    /// What a diagnosis finds: nothing that is wrong is verified.
    Finding,
}

impl What {
    pub fn word(self) -> &'static str {
        match self {
            What::Query => "query",
            What::Health => "health",
            What::Pool => "pool",
            What::Metrics => "metrics",
            What::Mcp => "mcp",
            What::Smoke => "smoke",
            What::Load => "load",
            What::Finding => "finding",
        }
    }

    /// Whether a scenario is about it.
    fn is_of(self, scenario: &str) -> bool {
        match scenario {
            "db-down" => self == What::Query,
            // The pool of who is down is no pool that is well.
            "pool-exhausted" => matches!(self, What::Query | What::Pool | What::Health),
            "server-crash" => !matches!(self, What::Query | What::Pool | What::Load),
            "latency" => matches!(self, What::Health | What::Smoke | What::Load),
            _ => self == What::Health,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub what: What,
    pub subject: String,
    pub state: State,
    pub says: String,
    pub elapsed_ms: Option<f64>,
    pub load: Option<Load>,
}

impl Check {
    fn new(what: What, subject: &str, state: State, says: impl Into<String>) -> Self {
        Self { what, subject: subject.into(), state, says: says.into(), elapsed_ms: None, load: None }
    }

    fn found(f: &Finding) -> Self {
        let says = format!("{} {}: {}", f.severity.word(), f.cause, f.summary);
        Self::new(What::Finding, &f.subject, State::Failed, says)
    }

    /// What passed and was late, where that is what is asked.
    fn in_time(mut self, limit_ms: Option<f64>) -> Self {
        let late = limit_ms.zip(self.elapsed_ms).filter(|(limit, took)| took > limit);
        if let Some((limit, took)) = late.filter(|_| self.state == State::Passed) {
            self.state = State::Failed;
            self.says = format!("{}, after {took:.0} ms (limit {limit:.0})", self.says);
        }
        self
    }
}

/// What is to be verified.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// By their names; empty is all.
    pub scenarios: Vec<String>,
    pub subjects: Vec<String>,
    pub load: Option<Ordered>,
}

impl Wanted {
    fn is(&self, what: What, subject: &str) -> bool {
        // A load that was ordered is made.
        let of_scenario = what == What::Load || self.scenarios.iter().any(|s| what.is_of(s));
        (self.scenarios.is_empty() || of_scenario)
            && (self.subjects.is_empty() || self.subjects.iter().any(|s| s == subject))
    }

    /// A note is nothing wrong; of what was not asked for nothing is said.
    fn is_found(&self, f: &Finding) -> bool {
        f.severity < Severity::P4 && (self.scenarios.is_empty() || self.scenarios.contains(&f.scenario))
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    pub schema: &'static str,
    pub taken_at: Timestamp,
    pub verdict: Verdict,
    pub checks: Vec<Check>,
    pub elapsed_ms: f64,
}

pub async fn verify(loaded: &Loaded, wanted: &Wanted, awaited: &Awaited, start: Instant) -> Verified {
    let end = start + loaded.config.timeout.0;
    let plan = LookPlan { asked: wanted.scenarios.clone(), ..LookPlan::of(Depth::Wrong) };
    let smokes = join_all(
        loaded
            .config
            .service
            .iter()
            .filter(|s| s.smoke.is_some() && wanted.is(What::Smoke, &s.name))
            .map(|s| smoke::check(s, loaded, end)),
    );
    let (looked, smokes) = tokio::join!(look(loaded, awaited, start, &plan), smokes);
    let looks = &looked.looks;
    let mut checks = seen(looks);
    checks.retain(|c| wanted.is(c.what, &c.subject));
    let limit = loaded.config.thresholds.p95.as_secs_f64() * 1000.0;
    let late = wanted.scenarios.iter().any(|s| s == "latency").then_some(limit);
    checks.extend(smokes.into_iter().map(|c| c.in_time(late)));
    let found = diagnose(looks, &Filter { scenarios: Vec::new(), subjects: wanted.subjects.clone() });
    checks.extend(found.findings.iter().filter(|f| wanted.is_found(f)).map(Check::found));
    if let Some(ordered) = &wanted.load {
        let services = loaded.config.service.iter().filter(|s| wanted.is(What::Load, &s.name));
        for s in services.filter(|s| s.url.is_some()) {
            // One after another: each has the machine for itself.
            checks.push(load::check(s, ordered, loaded, awaited).await);
        }
        if !checks.iter().any(|c| c.what == What::Load) {
            let of = wanted.subjects.first().map_or("services", String::as_str);
            checks.push(Check::new(
                What::Load,
                of,
                State::Unknown,
                "no load was made: no service with a `url` is meant",
            ));
        }
    }
    checks.sort_by_key(|c| c.what);
    let any = |state| checks.iter().any(|c| c.state == state);
    let verdict = match () {
        () if any(State::Failed) => Verdict::Problem,
        () if any(State::Unknown) || checks.is_empty() => Verdict::Unknown,
        () => Verdict::Healthy,
    };
    let taken_at = looked.looks.now.taken_at;
    Verified { schema: SCHEMA, taken_at, verdict, checks, elapsed_ms: crate::probe::millis(start) }
}

/// What one look says.
fn seen(looks: &Looks) -> Vec<Check> {
    let (now, config) = (&looks.now, &looks.now.config);
    let mut checks = Vec::new();
    for symptom in ALL.iter().flat_map(|s| (s.symptoms)(looks, config)) {
        let name = symptom.subject.as_str();
        let state = match symptom.state {
            SymptomState::Good => State::Passed,
            SymptomState::Bad => State::Failed,
            SymptomState::Unseen => State::Unknown,
        };
        let server = now.postgres.get(name).map(|p| &p.server.reading);
        checks.push(match server {
            Some(Reading::Seen { value }) => {
                let says = format!(
                    "PostgreSQL {} answered a query; {} of {} slots used",
                    value.version,
                    value.used,
                    value.slots()
                );
                Check::new(What::Query, name, State::Passed, says)
            }
            // That a service is connected is no answer to us.
            Some(_) if state == State::Passed => {
                let says = format!("{}: no query was asked by us", symptom.says);
                Check::new(What::Query, name, State::Unknown, says)
            }
            Some(_) => Check::new(What::Query, name, state, symptom.says),
            None if config.pooler(name).is_some() => Check::new(What::Query, name, state, symptom.says),
            None => Check::new(What::Health, name, state, symptom.says),
        });
    }
    for s in &config.service {
        let Some(look) = now.services.get(&s.name) else { continue };
        if s.pool.is_some() || pool_max(now, &s.name).is_some() {
            checks.push(pool(s, looks));
        }
        if let Some(metrics) = &look.metrics {
            checks.push(match &metrics.reading {
                Reading::Seen { .. } => Check::new(What::Metrics, &s.name, State::Passed, "they can be read"),
                Reading::Failed(f) => {
                    let state = if f.kind == FailKind::Denied { State::Unknown } else { State::Failed };
                    Check::new(What::Metrics, &s.name, state, &f.detail)
                }
                Reading::NotAsked { why } => Check::new(What::Metrics, &s.name, State::Unknown, why),
            });
        }
        if let Some(mcp) = &look.mcp {
            let denied = mcp.failure().is_some_and(|f| f.kind == FailKind::Denied);
            checks.push(match serves_mcp(s, now) {
                Recovered::Yes(says) => Check::new(What::Mcp, &s.name, State::Passed, says),
                Recovered::NotYet(why) if denied => Check::new(What::Mcp, &s.name, State::Unknown, why),
                Recovered::NotYet(why) => Check::new(What::Mcp, &s.name, State::Failed, why),
            });
        }
    }
    checks
}

/// What is not known of it is no failure of its.
fn pool(s: &Service, looks: &Looks) -> Check {
    let (now, config) = (&looks.now, &looks.now.config);
    let aim = Aim { cause: None, subject: &s.name, size: None };
    let (state, says) = match pool_recovered(looks, &aim, config) {
        _ if pool_report(now, &s.name).is_none() => (State::Unknown, "it could not be seen".into()),
        Recovered::Yes(says) => (State::Passed, says),
        Recovered::NotYet(why) => {
            let waits = pool_report(now, &s.name).and_then(|p| p.waiting).is_some_and(|n| n > 0);
            let known = waits || pool_fill(now, &s.name).is_some();
            (if known { State::Failed } else { State::Unknown }, why)
        }
    };
    Check::new(What::Pool, &s.name, state, says)
}
