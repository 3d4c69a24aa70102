//! Whether everything does its work: by the symptoms of one look, by what each service does for its clients,
//! and under a bounded load. It does nothing that a client would not do.

mod load;
mod smoke;

use std::time::Instant;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::awaited::Awaited;
use super::look::{Depth, Plan as LookPlan, look};
use crate::config::Loaded;
use crate::diagnosis::{SymptomState, Verdict};
use crate::plan::{Aim, Recovered};
use crate::scenario::{ALL, pool_max, pool_recovered, serves_mcp};
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
        }
    }

    /// Whether a scenario is about it.
    fn is_of(self, scenario: &str) -> bool {
        match scenario {
            "db-down" => self == What::Query,
            "pool-exhausted" => matches!(self, What::Query | What::Pool),
            "server-crash" => !matches!(self, What::Query | What::Pool | What::Load),
            "latency" => matches!(self, What::Smoke | What::Load),
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
    let plan = LookPlan { quick: true, ..LookPlan::of(Depth::Symptoms) };
    let smokes = join_all(
        loaded
            .config
            .service
            .iter()
            .filter(|s| s.smoke.is_some() && wanted.is(What::Smoke, &s.name))
            .map(|s| smoke::check(s, loaded, end)),
    );
    let (looked, smokes) = tokio::join!(look(loaded, awaited, start, &plan), smokes);
    let mut checks = seen(&looked.looks);
    checks.retain(|c| wanted.is(c.what, &c.subject));
    checks.extend(smokes);
    if let Some(ordered) = &wanted.load {
        let services = loaded.config.service.iter().filter(|s| wanted.is(What::Load, &s.name));
        for s in services.filter(|s| s.url.is_some()) {
            // One after another: each has the machine for itself.
            checks.push(load::check(s, ordered, loaded, awaited).await);
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
        if pool_max(now, &s.name).is_some() {
            let aim = Aim { cause: None, subject: &s.name, size: None };
            checks.push(match pool_recovered(looks, &aim, config) {
                Recovered::Yes(says) => Check::new(What::Pool, &s.name, State::Passed, says),
                Recovered::NotYet(why) => Check::new(What::Pool, &s.name, State::Failed, why),
            });
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
