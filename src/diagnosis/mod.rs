//! Findings of all scenarios → roots, what explains what, the verdict. Pure.
//! Knows no scenario by name: the causes are handed in.

mod cause;
mod changes;
mod finding;
mod graph;
mod permission;
mod verdict;
mod why_not;

pub use crate::plan::{Risk, shell_word};
pub use cause::{Cause, Certainty, Relation, Severity};
pub use changes::{Changed, changes, line as changed_line};
pub use finding::{Evidence, Finding, Remedy};
pub use graph::{link, needs};
pub use permission::{Permission, Permit, permissions};
pub use verdict::{
    Diagnosis, ReadingRow, SCHEMA, Symptom, SymptomState, Unknown, Verdict, unknowns, verdict,
};
pub use why_not::{Answer, Asked, Fact, Outcome, Stand, WHY_NOT_SCHEMA, WhyNot};
