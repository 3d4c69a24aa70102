//! What a recovery came to, as data: the document of `-o json`, and what people are told meanwhile.

use serde::Serialize;

use crate::diagnosis::{Diagnosis, Risk};
use crate::incident::Outcome;
use crate::plan::{Plan, Step};

pub const SCHEMA: &str = "mcp-ir/recovery/1";

#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    pub schema: &'static str,
    pub incident: Option<String>,
    pub outcome: Outcome,
    pub reason: String,
    pub hints: Vec<String>,
    pub diagnosis: Option<Diagnosis>,
    pub steps: Vec<StepRow>,
    pub verification: Option<Verification>,
    pub notes: Vec<String>,
    pub elapsed_ms: f64,
    /// By a signal, before anything was changed.
    #[serde(skip)]
    pub interrupted: bool,
    /// Under the lock the plan was another than what was agreed to.
    #[serde(skip)]
    pub another: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct StepRow {
    pub n: usize,
    pub describe: String,
    pub command: String,
    pub risk: Risk,
    pub status: StepStatus,
    pub elapsed_ms: Option<f64>,
    /// What takes it back, as an engineer would type it.
    pub undo: Option<String>,
    pub undo_reason: Option<String>,
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    Planned,
    Done,
    /// It was so already.
    Already,
    /// What was seen did not hold any more: not done.
    Changed,
    /// A proof that could not be looked at: what it was for may be so, or not.
    Unseen,
    /// Not done, or not known to be.
    Failed,
    /// Taken back, since what came after it failed.
    Undone,
}

impl StepStatus {
    pub fn word(self) -> &'static str {
        match self {
            StepStatus::Planned => "planned",
            StepStatus::Done => "done",
            StepStatus::Already => "already",
            StepStatus::Changed => "changed",
            StepStatus::Unseen => "unseen",
            StepStatus::Failed => "failed",
            StepStatus::Undone => "undone",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    pub verified: bool,
    /// Good looks in a row.
    pub looks: u32,
    pub says: String,
    pub elapsed_ms: f64,
}

/// What is told while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    Incident(&'a str),
    Begin(&'a Step),
    End(&'a StepRow),
    Verifying,
    Back(&'a str),
    Warning(&'a str),
}

impl StepRow {
    pub fn of(s: &Step) -> Self {
        Self {
            n: s.n,
            describe: s.describe.clone(),
            command: s.command.clone(),
            risk: s.risk,
            status: StepStatus::Planned,
            elapsed_ms: None,
            undo: s.undo.as_ref().map(crate::plan::Undo::command),
            undo_reason: s.undo_reason.clone(),
            detail: None,
        }
    }
}

impl Recovery {
    pub fn new(outcome: Outcome, reason: impl Into<String>, diagnosis: Option<Diagnosis>) -> Self {
        Self {
            schema: SCHEMA,
            incident: None,
            outcome,
            reason: reason.into(),
            hints: Vec::new(),
            diagnosis,
            steps: Vec::new(),
            verification: None,
            notes: Vec::new(),
            elapsed_ms: 0.0,
            interrupted: false,
            another: false,
        }
    }

    #[must_use]
    pub fn plan(mut self, plan: &Plan) -> Self {
        self.steps = plan.steps.iter().map(StepRow::of).collect();
        self.notes.clone_from(&plan.notes);
        self
    }

    /// Before anything was begun.
    #[must_use]
    pub fn refused(mut self, why: impl std::fmt::Display) -> Self {
        (self.outcome, self.reason) = (Outcome::Refused, format!("{why}: nothing was changed"));
        self
    }

    #[must_use]
    pub fn interrupted(mut self) -> Self {
        self.interrupted = true;
        self.refused("interrupted")
    }

    #[must_use]
    pub fn hints(mut self, hints: Vec<String>) -> Self {
        self.hints = hints;
        self
    }
}
