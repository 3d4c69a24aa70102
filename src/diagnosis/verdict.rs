//! The verdict over all findings and symptoms, and the diagnosis as a whole.
//! *Unknown* where a symptom could not be had, or is bad and no cause stands for it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cause::Severity;
use super::changes::Changed;
use super::finding::Finding;
use crate::snapshot::Vantage;

pub const SCHEMA: &str = "mcp-ir/diagnosis/1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Healthy,
    Problem,
    Unknown,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Healthy => "healthy",
            Verdict::Problem => "problem",
            Verdict::Unknown => "unknown",
        }
    }
}

/// How the symptom of one subject stands. Each scenario says this for its own subjects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symptom {
    pub subject: String,
    pub state: SymptomState,
    /// In a few words: `logged in in 3 ms`, `refused`, `healthy, pool 3 of 20`.
    pub says: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SymptomState {
    Good,
    Bad,
    /// It could not be had.
    Unseen,
}

/// What `diagnose` says: the document of `-o json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    pub schema: String,
    pub taken_at: Timestamp,
    /// When the earlier look was taken that this one is compared with, where there is one.
    #[serde(default)]
    pub compared_with: Option<Timestamp>,
    pub vantage: Vantage,
    pub elapsed_ms: f64,
    pub verdict: Verdict,
    /// Of the worst root; null where there is none.
    pub severity: Option<Severity>,
    pub findings: Vec<Finding>,
    pub symptoms: Vec<Symptom>,
    /// Subjects for which the verdict is held back, and why.
    pub unknown: Vec<Unknown>,
    /// What was changed of late, where there is a root: no cause, and what to think of first.
    #[serde(default)]
    pub changes: Vec<Changed>,
    pub readings: Vec<ReadingRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    pub subject: String,
    pub why: String,
}

/// One reading as a row: how it came out and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadingRow {
    pub probe: String,
    pub subject: String,
    pub outcome: String,
    pub elapsed_ms: f64,
    pub detail: String,
}

/// Problem outranks unknown: what is proven broken is not made doubtful by what could not be seen.
pub fn verdict(findings: &[Finding], unknown: &[Unknown]) -> (Verdict, Option<Severity>) {
    let worst = findings.iter().filter(|f| f.is_root()).map(|f| f.severity).min();
    match worst {
        Some(s) if s < Severity::P4 => (Verdict::Problem, worst),
        _ if !unknown.is_empty() => (Verdict::Unknown, worst),
        _ => (Verdict::Healthy, worst),
    }
}

/// Symptoms that hold the verdict back: not had, or bad without any finding that stands for them.
pub fn unknowns(symptoms: &[Symptom], findings: &[Finding]) -> Vec<Unknown> {
    let stands: BTreeSet<&str> =
        findings.iter().filter(|f| f.severity < Severity::P4).map(|f| f.subject.as_str()).collect();
    symptoms
        .iter()
        .filter_map(|s| {
            let found = stands.contains(s.subject.as_str());
            match s.state {
                SymptomState::Good => None,
                _ if found => None,
                SymptomState::Bad => Some(Unknown {
                    subject: s.subject.clone(),
                    why: format!("{}: no cause that this version tells apart fits", s.says),
                }),
                SymptomState::Unseen => Some(Unknown { subject: s.subject.clone(), why: s.says.clone() }),
            }
        })
        .collect()
}
