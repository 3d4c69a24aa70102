//! What of a run is taken back where it did not work: the settings that were written for whoever is not
//! well, and nothing of anybody else. What was started stays. Pure.

use super::verify::{as_planned, size_of};
use crate::incident::Open;
use crate::plan::{Act, Plan, Recovered};
use crate::scenario::pool_max;
use crate::snapshot::Looks;

/// The subjects of a plan that are not as it would have them by this look.
pub fn unwell(looks: &Looks, plan: &Plan) -> Vec<String> {
    let ill = |subject: &&String| {
        // Who is only watched is blamed on nobody.
        let alone = Plan { subjects: vec![(*subject).clone()], watched: Vec::new(), ..plan.clone() };
        matches!(as_planned(looks, &alone), Recovered::NotYet(_))
    };
    plan.subjects.iter().filter(ill).cloned().collect()
}

/// Whether the subject runs with the size that the plan gave it: then the size was neither ignored nor
/// fatal, and to take it back would cost one more restart for nothing.
pub fn has_its_size(looks: &Looks, plan: &Plan, subject: &str) -> bool {
    let size = size_of(subject, plan, &looks.now.config);
    size.is_some() && pool_max(&looks.now, subject).map(|(max, _)| max) == size
}

/// The standing steps to roll back for these subjects, the last one first. A run before this one may have
/// written the same file, and been cut off.
pub fn to_roll_back(standing: Vec<Open>, plan: &Plan, run: u32, subjects: &[String]) -> Vec<Open> {
    let step_of = |o: &Open| match &o.act {
        _ if o.run == run => plan.steps.iter().find(|s| s.n == o.n),
        Act::DropIn { unit, to, .. } => plan
            .steps
            .iter()
            .find(|s| matches!(&s.act, Act::DropIn { unit: u, to: t, .. } if u == unit && t == to)),
        _ => None,
    };
    let setting = |o: &Open| matches!(o.act, Act::DropIn { .. } | Act::ResizePool { .. });
    let mine = |o: &Open| {
        setting(o) && o.undo.is_some() && step_of(o).is_some_and(|s| subjects.contains(&s.subject))
    };
    standing.into_iter().rev().filter(mine).collect()
}
