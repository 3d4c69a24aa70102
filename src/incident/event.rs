//! What can happen in an incident. Fields and events are added, never changed or removed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::diagnosis::Severity;
use crate::plan::{Act, Plan, Undo};

/// Of every line.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub v: u32,
    pub at: Timestamp,
    #[serde(flatten)]
    pub event: Event,
}

/// How a recovery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Recovered,
    NothingToDo,
    Planned,
    Advice,
    Refused,
    NotRecovered,
    Failed,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Recovered => "recovered",
            Outcome::NothingToDo => "nothing-to-do",
            Outcome::Planned => "planned",
            Outcome::Advice => "advice",
            Outcome::Refused => "refused",
            Outcome::NotRecovered => "not-recovered",
            Outcome::Failed => "failed",
        }
    }
}

/// `run` counts the recoveries of one incident, `n` the steps of one plan; both from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    Opened {
        incident: String,
        /// The id of the finding, or `request@subject`.
        id: String,
        subject: String,
        severity: Option<Severity>,
        summary: String,
        host: String,
        user: String,
        program: String,
    },
    Planned {
        run: u32,
        digest: String,
        plan: Plan,
    },
    Consented {
        run: u32,
        how: String,
        digest: String,
        reason: Option<String>,
    },
    /// What stood before a step ends it: the whole look, beside the journal.
    Captured {
        run: u32,
        file: Option<String>,
        why_not: Option<String>,
    },
    /// On disk before the step begins.
    Intent {
        run: u32,
        n: usize,
        describe: String,
        act: Act,
        undo: Option<Undo>,
        undo_reason: Option<String>,
    },
    Done {
        run: u32,
        n: usize,
        detail: String,
        elapsed_ms: f64,
        /// The run of the unit that was begun.
        made: Option<String>,
        already: bool,
    },
    /// `touched`: something may be another than before.
    StepFailed {
        run: u32,
        n: usize,
        why: String,
        touched: bool,
    },
    Verified {
        run: u32,
        looks: u32,
        says: String,
    },
    Unverified {
        run: u32,
        why: String,
    },
    /// By the second ^C: what the step came to is not known.
    Left {
        run: u32,
        n: Option<usize>,
    },
    Ended {
        run: u32,
        outcome: Outcome,
        reason: String,
    },
    UndoIntent {
        run: u32,
        n: usize,
        describe: String,
        by: String,
    },
    Undone {
        run: u32,
        n: usize,
        detail: String,
    },
    UndoFailed {
        run: u32,
        n: usize,
        why: String,
        touched: bool,
    },
    /// Of a version that this program does not know.
    #[serde(other)]
    Unknown,
}

/// The time that a line bears.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place where a journal's time is taken")]
    Timestamp::now()
}
