//! The scenarios there are. To add one: its file, one line here, one runbook.

use std::collections::BTreeSet;

use super::against::Against;
use super::{db_down, latency, memory, pool_exhausted, server_crash};
use crate::config::Config;
use crate::diagnosis::{Cause, Finding, Severity, Stand, Symptom, SymptomState};
use crate::plan::{Aim, Ask, Recovered, Remedy};
use crate::snapshot::{Again, Looks};

/// One pipeline. Functions, not closures: a scenario keeps no state.
pub struct Scenario {
    pub name: &'static str,
    /// The short name that commands take as well.
    pub alias: &'static str,
    /// As the runbook's quick reference has it.
    pub severity: Severity,
    pub title: &'static str,
    pub first_action: &'static str,
    pub causes: &'static [&'static Cause],
    pub detect: fn(&Looks, &Config) -> Vec<Finding>,
    pub symptoms: fn(&Looks, &Config) -> Vec<Symptom>,
    /// What it needs to read a second time, where it looks as if it were so; or, where it was asked for
    /// by its name, to be sure.
    pub again: fn(&Looks, &Config, bool) -> Vec<Again>,
    /// What mends a finding of its own, as steps; or why people have to. By way of `plan` alone.
    pub plan: fn(&Looks, &Finding, &Ask, &Config) -> Remedy,
    /// Whether it is well again, by the symptom that it had.
    pub recovered: fn(&Looks, &Aim, &Config) -> Recovered,
    /// What speaks against each of the causes.
    pub why_not: &'static [(&'static Cause, Against)],
}

pub static ALL: &[&Scenario] = &[
    &db_down::SCENARIO,
    &pool_exhausted::SCENARIO,
    &server_crash::SCENARIO,
    &latency::SCENARIO,
    &memory::SCENARIO,
];

/// By its name or its alias.
pub fn by_name(name: &str) -> Option<&'static Scenario> {
    ALL.iter().copied().find(|s| s.name == name || s.alias == name)
}

pub fn causes() -> Vec<&'static Cause> {
    ALL.iter().flat_map(|s| s.causes).copied().collect()
}

/// What all of them need to read a second time; `asked` are the names of those that were asked for.
pub fn again(looks: &Looks, config: &Config, asked: &[String]) -> Vec<Again> {
    let of = |s: &&Scenario| (s.again)(looks, config, asked.iter().any(|a| a == s.name));
    let all: BTreeSet<Again> = ALL.iter().flat_map(of).collect();
    all.into_iter().collect()
}

/// Whether a longer time between the two readings would tell more.
pub fn undecided(looks: &Looks, config: &Config) -> bool {
    latency::undecided(looks, config) || memory::undecided(looks, config)
}

/// What the symptom of a subject does not say, though it is well.
pub fn remark(subject: &str, looks: &Looks, config: &Config) -> Option<String> {
    latency::remark(subject, looks, config).or_else(|| db_down::remark(subject, looks, config))
}

/// How a cause stands at every subject that it could concern; empty where no scenario says it.
pub fn why_not(cause: &'static Cause, looks: &Looks, config: &Config) -> Vec<(String, Stand)> {
    let said = ALL.iter().flat_map(|s| s.why_not).find(|(c, _)| c.name == cause.name);
    said.map(|(_, against)| against.stands(cause, looks, config)).unwrap_or_default()
}

/// What mends a finding. No step costs more than the finding itself says that its remedy may, or what was
/// asked for by its name.
pub fn plan(scenario: &Scenario, looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let most = f.remedy.risk.max(ask.allows(&f.cause));
    match (scenario.plan)(looks, f, ask, config) {
        Remedy::Steps { steps, .. } if steps.iter().any(|s| s.risk() > most) => advice(f),
        remedy => remedy,
    }
}

/// People have to: what the finding itself says.
pub fn advice(f: &Finding) -> Remedy {
    Remedy::Advice(f.remedy.summary.clone())
}

/// By the symptom of the subject; a symptom that was not seen is no recovery.
pub fn by_symptom(symptoms: &[Symptom], subject: &str) -> Recovered {
    match symptoms.iter().find(|s| s.subject == subject) {
        Some(s) if s.state == SymptomState::Good => Recovered::Yes(s.says.clone()),
        Some(s) => Recovered::NotYet(s.says.clone()),
        None => Recovered::NotYet("it has no symptom that can be seen".into()),
    }
}
