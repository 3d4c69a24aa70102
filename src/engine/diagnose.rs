//! From looks to a diagnosis: every scenario detects, the graph links, the verdict falls.
//! The same for a snapshot taken now and for one read from a file: no clock, no client.

use std::collections::{HashMap, HashSet};

use super::rows;
use crate::config::Config;
use crate::diagnosis::{
    Diagnosis, Finding, SCHEMA, Severity, Symptom, SymptomState, Unknown, changes, link, unknowns, verdict,
};
use crate::scenario::{ALL, causes, remark};
use crate::snapshot::Looks;

/// What the caller wants to read of it. Detection always covers everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Names of scenarios; none: all.
    pub scenarios: Vec<String>,
    /// Names of services and servers; none: all.
    pub subjects: Vec<String>,
}

pub fn diagnose(looks: &Looks, filter: &Filter) -> Diagnosis {
    judge(looks, detect(looks), filter)
}

/// Everything that the rules find, not yet linked. They read no `changes`: what is asked after them
/// makes no other findings.
pub fn detect(looks: &Looks) -> Vec<Finding> {
    ALL.iter().flat_map(|s| (s.detect)(looks, &looks.now.config)).collect()
}

/// The diagnosis of what was found in these looks.
pub fn judge(looks: &Looks, mut findings: Vec<Finding>, filter: &Filter) -> Diagnosis {
    let now = &looks.now;
    let config = &now.config;
    link(&mut findings, &causes(), config);
    let mut symptoms: Vec<Symptom> = ALL.iter().flat_map(|s| (s.symptoms)(looks, config)).collect();
    for s in symptoms.iter_mut().filter(|s| s.state == SymptomState::Good) {
        if let Some(said) = remark(&s.subject, looks, config) {
            s.says.push_str("; ");
            s.says.push_str(&said);
        }
    }
    let (findings, symptoms, unknown) = filter.apply(findings, symptoms, config);
    let (verdict, severity) = verdict(&findings, &unknown);
    let changes = changes(&findings, now);
    Diagnosis {
        schema: SCHEMA.into(),
        taken_at: now.taken_at,
        compared_with: looks.before.as_ref().map(|b| b.taken_at).filter(|at| *at != now.taken_at),
        vantage: now.vantage.clone(),
        elapsed_ms: now.elapsed_ms,
        verdict,
        severity,
        findings,
        symptoms,
        unknown,
        changes,
        readings: rows::all(now),
    }
}

/// The subjects of all that is wrong, by itself or not; none: nothing is.
pub fn wrong(findings: &[Finding]) -> HashSet<String> {
    findings.iter().filter(|f| f.severity < Severity::P4).map(|f| f.subject.clone()).collect()
}

impl Filter {
    /// Keeps what was asked for, and every finding that explains it. A target that was asked for
    /// and is not well for another reason is *unknown* here: its pool, say, could not be seen. What
    /// nothing was looked at for is unknown too, never healthy.
    fn apply(
        &self,
        findings: Vec<Finding>,
        symptoms: Vec<Symptom>,
        config: &Config,
    ) -> (Vec<Finding>, Vec<Symptom>, Vec<Unknown>) {
        let kept = self.keep(&findings, config);
        let asked: Vec<Symptom> = symptoms.into_iter().filter(|s| self.covers(&s.subject, config)).collect();
        let (kept, left): (Vec<_>, Vec<_>) = findings.into_iter().partition(|f| kept.contains(&f.id));
        let mut unknown = unknowns(&asked, &kept);
        // Of several the first is said: the most severe.
        let first: HashMap<&str, &Finding> = left.iter().rev().map(|f| (f.subject.as_str(), f)).collect();
        for u in &mut unknown {
            if let Some(f) = first.get(u.subject.as_str()) {
                u.why = match f.explained_by.first() {
                    Some(root) => format!("not asked for: {}, explained by {root}", f.cause),
                    None => format!("not asked for: {}, {}", f.cause, f.summary),
                };
            }
        }
        if asked.is_empty() {
            let subject =
                if self.subjects.is_empty() { "configuration".to_owned() } else { self.subjects.join(", ") };
            unknown.push(Unknown { subject, why: "nothing of the kind is looked at".into() });
        }
        (kept, asked, unknown)
    }

    fn keep(&self, findings: &[Finding], config: &Config) -> HashSet<String> {
        let by_id: HashMap<&str, &Finding> = findings.iter().map(|f| (f.id.as_str(), f)).collect();
        let mut todo: Vec<&Finding> = findings
            .iter()
            .filter(|f| self.scenarios.is_empty() || self.scenarios.contains(&f.scenario))
            .filter(|f| self.names(&f.subject, config))
            .collect();
        let mut keep = HashSet::new();
        while let Some(f) = todo.pop() {
            if keep.insert(f.id.clone()) {
                todo.extend(f.explained_by.iter().filter_map(|id| by_id.get(id.as_str())));
            }
        }
        keep
    }

    /// Whether the symptom of this subject says something about what was asked.
    fn covers(&self, subject: &str, config: &Config) -> bool {
        // A pool can't be judged where the server or the service can't be seen.
        let scenarios: &[&str] = match config.service(subject) {
            Some(_) => &["server-crash", "pool-exhausted", "latency", "memory"],
            None if config.postgres(subject).is_some() => &["db-down", "pool-exhausted", "latency", "memory"],
            None => &["server-crash", "latency", "memory"],
        };
        (self.scenarios.is_empty() || self.scenarios.iter().any(|s| scenarios.contains(&s.as_str())))
            && self.names(subject, config)
    }

    /// Whether the subject was asked for: itself or, where a scenario was named, by what needs it.
    fn names(&self, subject: &str, config: &Config) -> bool {
        self.subjects.is_empty()
            || self.subjects.iter().any(|s| {
                s == subject
                    || (!self.scenarios.is_empty() && crate::diagnosis::needs(s, config).contains(subject))
            })
    }
}
