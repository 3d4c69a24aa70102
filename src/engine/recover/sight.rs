//! One whole look with all that a plan needs, and what is chosen by it: the same before somebody agrees
//! and under the lock, where it decides.

use std::time::Instant;

use super::choose::{Choice, Request, choose};
use super::near::{near, sessions};
use crate::config::Loaded;
use crate::diagnosis::Diagnosis;
use crate::engine::look::{Depth, Plan as LookPlan, look};
use crate::engine::{Awaited, Filter, diagnose};
use crate::incident::Store;
use crate::snapshot::{Looks, Snapshot};

#[derive(Debug, Clone)]
pub struct Sight {
    pub looks: Looks,
    /// Of everything: a root elsewhere has to be seen.
    pub diagnosis: Diagnosis,
    pub choice: Choice,
    /// What was asked, with what was looked at for it.
    pub request: Request,
}

/// `start` is when the deadline of the look begins. Where there is an earlier look, what has a rate stands
/// beside that one: it is not waited for again. Nor where a person names the value: what else is slow does not
/// make it another.
pub async fn see(
    loaded: &Loaded,
    request: &Request,
    store: &Store,
    before: Option<&Snapshot>,
    awaited: &Awaited,
    start: Instant,
) -> Sight {
    let asked = request.scenario.iter().cloned().collect();
    let (quick, before) = (request.names_a_value() || before.is_some(), before.cloned());
    let plan = LookPlan { asked, quick, before, ..LookPlan::of(Depth::Wrong) };
    let deadline = start + loaded.config.timeout.0;
    let (looked, near) = tokio::join!(look(loaded, awaited, start, &plan), near(loaded, store, deadline));
    let looks = looked.looks;
    let diagnosis = diagnose(&looks, &Filter::default());
    let mut request = request.clone();
    request.ask.near = near;
    let sessions = sessions(loaded, &diagnosis, &request).await;
    request.ask.near.sessions = sessions;
    let choice = choose(&looks, &diagnosis, &request);
    Sight { looks, diagnosis, choice, request }
}

/// What holds against a plan that was agreed to, by a look that was taken since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// It is the same plan, letter by letter.
    Same,
    /// Nothing is wrong any more.
    Well(String),
    /// Another plan, or none: with what may be done instead.
    Another { why: String, hints: Vec<String> },
}

/// Consent is to one plan: what is found to be another since then is not done.
pub fn still(agreed: &str, choice: &Choice) -> Now {
    let another = |why: String, hints: &[String]| Now::Another { why, hints: hints.to_vec() };
    match choice {
        Choice::Plan(plan) if plan.digest() == agreed => Now::Same,
        Choice::Plan(plan) => {
            let what: Vec<&str> = plan.steps.iter().map(|s| s.describe.as_str()).collect();
            another(format!("the plan is another now than what was agreed to: {}", what.join("; ")), &[])
        }
        Choice::NothingToDo(why) => Now::Well(why.clone()),
        Choice::Advice { why, command } => {
            let hints: Vec<String> = Some(command.clone()).filter(|c| !c.is_empty()).into_iter().collect();
            another(format!("it is another now than what was agreed to: {why}"), &hints)
        }
        Choice::Refused { why, hints } | Choice::Unclear { why, hints } => another(why.clone(), hints),
        Choice::Unknown(why) => another(why.clone(), &[]),
    }
}
