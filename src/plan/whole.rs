//! A plan: its steps in order, numbered, and the digest that consent is bound to.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::act::{Act, Needs};
use super::risk::Risk;
use super::words;

/// How a step is taken back, in this order. Each act is a compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    pub acts: Vec<Act>,
    pub risk: Risk,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// From 1.
    pub n: usize,
    /// Whose symptom it is to mend.
    #[serde(default)]
    pub subject: String,
    /// In people's words.
    pub describe: String,
    /// What an engineer would type.
    pub command: String,
    pub risk: Risk,
    pub act: Act,
    pub needs: Needs,
    pub undo: Option<Undo>,
    /// Why there is no undo, or what it costs.
    pub undo_reason: Option<String>,
}

/// A step that has no number yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    act: Act,
    risk: Risk,
    needs: Needs,
    undo: Option<Undo>,
    undo_reason: Option<String>,
}

/// Begins a step; without `undo` it says why there is none.
pub fn draft(act: Act, risk: Risk) -> Draft {
    Draft { act, risk, needs: Needs::Nothing, undo: None, undo_reason: None }
}

impl Draft {
    pub fn risk(&self) -> Risk {
        self.risk
    }

    pub fn act(&self) -> &Act {
        &self.act
    }

    #[must_use]
    pub fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    #[must_use]
    pub fn undo(mut self, acts: Vec<Act>, risk: Risk) -> Self {
        self.undo = Some(Undo { acts, risk });
        self
    }

    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.undo_reason = Some(reason.into());
        self
    }
}

/// What a scenario makes of a finding or a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    Steps {
        steps: Vec<Draft>,
        notes: Vec<String>,
    },
    /// For people: no step of ours is safe here.
    Advice(String),
    /// It is so already.
    Nothing(String),
    /// It would do harm; with what would fit.
    Refused {
        why: String,
        hints: Vec<String>,
    },
}

/// Whether the symptom is gone. What was not seen is no recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    Yes(String),
    NotYet(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Ids of the findings that it is for; none for a request.
    pub findings: Vec<String>,
    /// Whose symptom decides whether it worked.
    pub subjects: Vec<String>,
    pub steps: Vec<Step>,
    pub notes: Vec<String>,
    /// Who is not well because of these: he has to be well again, too.
    #[serde(default)]
    pub watched: Vec<String>,
    /// Services that were slow because of these: their own requests have to be quick again.
    #[serde(default)]
    pub slowed: Vec<String>,
    /// A person named whom it is about: it counts against no budget of what is done by itself.
    #[serde(default)]
    pub asked: bool,
    /// Ids of the roots that it leaves as they are: for people, or for a run of their own.
    #[serde(default)]
    pub left: Vec<String>,
}

impl Plan {
    /// Adds steps for a subject.
    pub fn add(&mut self, finding: Option<&str>, subject: &str, drafts: Vec<Draft>, notes: Vec<String>) {
        self.findings.extend(finding.map(ToOwned::to_owned));
        if !self.subjects.iter().any(|s| s == subject) {
            self.subjects.push(subject.to_owned());
        }
        for d in drafts {
            let undo_reason = d
                .undo_reason
                .or_else(|| d.undo.is_none().then(|| "what it changes can't be put back".to_owned()));
            self.steps.push(Step {
                n: self.steps.len() + 1,
                subject: subject.to_owned(),
                describe: words::describe(&d.act),
                command: words::command(&d.act),
                risk: d.risk,
                act: d.act,
                needs: d.needs,
                undo: d.undo,
                undo_reason,
            });
        }
        self.notes.extend(notes);
    }

    /// Its steps by their order.
    pub fn number(&mut self) {
        for (n, step) in (1..).zip(&mut self.steps) {
            step.n = n;
        }
    }

    /// The worst of its steps.
    pub fn risk(&self) -> Risk {
        self.steps.iter().map(|s| s.risk).max().unwrap_or(Risk::Safe)
    }

    pub fn changes(&self) -> bool {
        self.steps.iter().any(|s| s.act.changes())
    }

    /// Of everything that consent is asked for: a plan that differs in anything has another.
    pub fn digest(&self) -> String {
        let text = serde_json::to_string(&(&self.findings, &self.subjects, &self.steps)).unwrap_or_default();
        Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl Undo {
    pub fn command(&self) -> String {
        self.acts.iter().map(words::command).collect::<Vec<_>>().join(" && ")
    }

    pub fn describe(&self) -> String {
        self.acts.iter().map(words::describe).collect::<Vec<_>>().join(", then ")
    }
}
