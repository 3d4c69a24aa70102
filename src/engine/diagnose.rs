//! From looks to a diagnosis: every scenario detects, the graph links, the verdict falls.
//! The same for a snapshot taken now and for one read from a file: no clock, no client.

use super::rows;
use crate::diagnosis::{Diagnosis, Finding, SCHEMA, Symptom, Unknown, link, unknowns, verdict};
use crate::scenario::{ALL, causes};
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
    let now = &looks.now;
    let config = &now.config;
    let mut findings: Vec<Finding> = ALL.iter().flat_map(|s| (s.detect)(looks, config)).collect();
    link(&mut findings, &causes(), config);
    let symptoms: Vec<Symptom> = ALL.iter().flat_map(|s| (s.symptoms)(looks, config)).collect();
    let unknown = unknowns(&symptoms, &findings);
    let (findings, unknown) = filter.apply(findings, unknown, config);
    let (verdict, severity) = verdict(&findings, &unknown);
    Diagnosis {
        schema: SCHEMA.into(),
        taken_at: now.taken_at,
        vantage: now.vantage.clone(),
        elapsed_ms: now.elapsed_ms,
        verdict,
        severity,
        findings,
        symptoms,
        unknown,
        changes: Vec::new(),
        readings: rows::all(now),
    }
}

impl Filter {
    /// Keeps what was asked for, and every finding that explains it.
    fn apply(
        &self,
        findings: Vec<Finding>,
        unknown: Vec<Unknown>,
        config: &crate::config::Config,
    ) -> (Vec<Finding>, Vec<Unknown>) {
        if self.scenarios.is_empty() && self.subjects.is_empty() {
            return (findings, unknown);
        }
        let mut keep: Vec<&str> = findings
            .iter()
            .filter(|f| self.scenarios.is_empty() || self.scenarios.contains(&f.scenario))
            .filter(|f| self.subjects.is_empty() || self.subjects.contains(&f.subject))
            .map(|f| f.id.as_str())
            .collect();
        let mut at = 0;
        while let Some(id) = keep.get(at).copied() {
            for by in findings.iter().filter(|f| f.id == id).flat_map(|f| &f.explained_by) {
                if !keep.contains(&by.as_str()) {
                    keep.push(by);
                }
            }
            at += 1;
        }
        let keep: Vec<String> = keep.into_iter().map(ToOwned::to_owned).collect();
        let findings = findings.into_iter().filter(|f| keep.contains(&f.id)).collect();
        let unknown = unknown.into_iter().filter(|u| self.covers(&u.subject, config)).collect();
        (findings, unknown)
    }

    /// Whether an unknown about this subject is an answer to what was asked.
    fn covers(&self, subject: &str, config: &crate::config::Config) -> bool {
        let scenario = if config.postgres(subject).is_some() { "db-down" } else { "server-crash" };
        (self.scenarios.is_empty() || self.scenarios.iter().any(|s| s == scenario))
            && (self.subjects.is_empty() || self.subjects.iter().any(|s| s == subject))
    }
}
