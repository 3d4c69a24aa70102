//! Why a cause does not hold: the fact that rules it out, or the reading that it needs and was not
//! had. Pure; each scenario says this for its own causes, from what its rules read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::finding::{Evidence, Finding};
use crate::snapshot::Vantage;

pub const WHY_NOT_SCHEMA: &str = "mcp-ir/why-not/1";

/// What was seen, or was not, and what the cause would need instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    #[serde(flatten)]
    pub seen: Evidence,
    pub needs: String,
}

impl Fact {
    pub fn new(probe: &str, fact: &str, value: impl Into<String>, needs: &str) -> Self {
        let seen = Evidence { probe: probe.into(), fact: fact.into(), value: value.into() };
        Self { seen, needs: needs.into() }
    }

    /// The evidence of another finding: what makes it that one, and so not this.
    pub fn of(other: &Finding, needs: &str) -> Vec<Self> {
        other.evidence.iter().map(|e| Self { seen: e.clone(), needs: needs.into() }).collect()
    }
}

/// How a condition, or a cause as a whole, stands at one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    Holds,
    RuledOut(Vec<Fact>),
    /// A reading that it needs was not had.
    Unseen(Vec<Fact>),
}

impl Stand {
    pub fn when(holds: bool, otherwise: impl FnOnce() -> Fact) -> Self {
        if holds { Stand::Holds } else { Stand::RuledOut(vec![otherwise()]) }
    }

    pub fn unless(holds: bool, otherwise: impl FnOnce() -> Stand) -> Self {
        if holds { Stand::Holds } else { otherwise() }
    }

    /// Every condition must hold: one that is ruled out decides, whatever could not be seen.
    pub fn all(conditions: impl IntoIterator<Item = Stand>) -> Self {
        let (out, unseen) = Self::sorted(conditions).1;
        match (out.is_empty(), unseen.is_empty()) {
            (true, true) => Stand::Holds,
            (true, false) => Stand::Unseen(unseen),
            (false, _) => Stand::RuledOut(out),
        }
    }

    /// One of these will do: it is ruled out only where each of them is.
    pub fn any(conditions: impl IntoIterator<Item = Stand>) -> Self {
        let (holds, (out, unseen)) = Self::sorted(conditions);
        match (holds, unseen.is_empty()) {
            (true, _) => Stand::Holds,
            (false, false) => Stand::Unseen(unseen),
            (false, true) => Stand::RuledOut(out),
        }
    }

    /// Whether one holds; the facts that rule out, and those that were not seen.
    fn sorted(conditions: impl IntoIterator<Item = Stand>) -> (bool, (Vec<Fact>, Vec<Fact>)) {
        let (mut holds, mut out, mut unseen) = (false, Vec::new(), Vec::new());
        for c in conditions {
            match c {
                Stand::Holds => holds = true,
                Stand::RuledOut(facts) => out.extend(facts),
                Stand::Unseen(facts) => unseen.extend(facts),
            }
        }
        (holds, (out, unseen))
    }
}

/// The document of `diagnose --why-not CAUSE -o json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyNot {
    pub schema: String,
    pub taken_at: Timestamp,
    pub vantage: Vantage,
    pub causes: Vec<Asked>,
}

/// A cause that was asked about, at every subject that it could concern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub cause: String,
    pub title: String,
    pub subjects: Vec<Answer>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub subject: String,
    pub outcome: Outcome,
    /// Of the finding, where there is one.
    pub summary: Option<String>,
    /// Ids of the findings that explain it.
    pub explained_by: Vec<String>,
    pub facts: Vec<Fact>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Found,
    /// Found, and a consequence of another finding.
    Explained,
    RuledOut,
    /// A reading that it needs was not had.
    Unknown,
}

impl Answer {
    pub fn found(f: &Finding) -> Self {
        Self {
            subject: f.subject.clone(),
            outcome: if f.is_root() { Outcome::Found } else { Outcome::Explained },
            summary: Some(f.summary.clone()),
            explained_by: f.explained_by.clone(),
            facts: Vec::new(),
        }
    }

    /// Of a cause that no rule found. That nothing speaks against it is then not known either.
    pub fn not_found(subject: String, stand: Stand) -> Self {
        let (outcome, facts) = match stand {
            Stand::RuledOut(facts) => (Outcome::RuledOut, facts),
            Stand::Unseen(facts) => (Outcome::Unknown, facts),
            Stand::Holds => (Outcome::Unknown, Vec::new()),
        };
        Self { subject, outcome, summary: None, explained_by: Vec::new(), facts }
    }
}
