//! What of a run is taken back where it did not work: the settings that were written for whoever is not
//! well, and nothing of anybody else. What was started stays. Pure.

use super::verify::{as_planned, size_of};
use crate::incident::Open;
use crate::plan::{Act, Connections, Plan, Recovered, Step};
use crate::scenario::{PAYLOAD, pool_max};
use crate::snapshot::Looks;

/// The subjects of a plan that are not as it would have them by this look.
pub fn unwell(looks: &Looks, plan: &Plan) -> Vec<String> {
    let ill = |subject: &&String| {
        // Who is only watched is blamed on nobody.
        let alone = Plan {
            subjects: vec![(*subject).clone()],
            watched: Vec::new(),
            slowed: Vec::new(),
            ..plan.clone()
        };
        matches!(as_planned(looks, &alone), Recovered::NotYet(_))
    };
    plan.subjects.iter().filter(ill).cloned().collect()
}

/// What was seen against the settings that a plan gave a subject: its payload shows another size, or its unit
/// is down, or died since (`anew`: units whose run is another than ours). What was not seen is nothing
/// against them: to take them back would cost one more restart for nothing.
pub fn refuted(looks: &Looks, plan: &Plan, subject: &str, anew: &[String]) -> bool {
    let now = &looks.now;
    let said = pool_max(now, subject).filter(|(_, by)| *by == PAYLOAD).map(|(max, _)| max);
    if size_of(subject, plan, &now.config).zip(said).is_some_and(|(planned, said)| planned != said) {
        return true;
    }
    let units = plan.steps.iter().filter(|s| s.subject == subject).filter_map(|s| match &s.act {
        Act::DropIn { unit, .. } | Act::Connections(Connections { unit, .. }) => Some(unit),
        _ => None,
    });
    let down = |unit: &String| {
        let state = now.unit(unit);
        state.is_some_and(|u| {
            u.active == "failed" || u.active == "inactive" || u.sub.starts_with("auto-restart")
        })
    };
    units.into_iter().any(|unit| anew.contains(unit) || down(unit))
}

/// What starts a unit again that was stopped for this step, where it could not be done: with where each stands
/// in the plan.
pub fn started_again<'a>(plan: &'a Plan, step: &Step) -> Vec<(usize, &'a Step)> {
    let its = |s: &Step| s.subject == step.subject;
    let stopped = plan.steps.iter().any(|s| its(s) && s.n < step.n && matches!(s.act, Act::StopUnit { .. }));
    let starts = |s: &Step| matches!(s.act, Act::ResetFailed { .. } | Act::StartUnit { .. });
    let all = plan.steps.iter().enumerate();
    all.filter(|(_, s)| stopped && its(s) && s.n > step.n && starts(s)).collect()
}

/// What was stopped before this step, to be started behind it: said where it ends here.
pub fn left_down(plan: &Plan, step: &Step) -> String {
    let stopped = plan.steps.iter().filter(|s| s.n < step.n).filter_map(|s| match &s.act {
        Act::StopUnit { unit } => Some((s.n, unit)),
        _ => None,
    });
    let starts = |n: usize, unit: &String| {
        let between = plan.steps.iter().filter(|s| s.n > n && s.n < step.n);
        between.map(|s| &s.act).any(|a| matches!(a, Act::StartUnit { unit: u } if u == unit))
    };
    let down = stopped.filter(|(n, unit)| !starts(*n, unit));
    let mut words: String =
        down.map(|(_, unit)| format!("; {unit} is stopped: `systemctl start {unit}`")).collect();
    let armed = plan.steps.iter().find(|s| s.n < step.n && matches!(s.act, Act::Connections(_)));
    if let Some(Act::Connections(Connections { server, to: Some(n), .. })) = armed.map(|s| &s.act) {
        words.push_str(&format!("; {server} has max_connections = {n} written for its next start: undo it"));
    }
    words
}

/// Whether something is written for the next start of what this step is done to.
pub fn arms(plan: &Plan, step: &Step) -> bool {
    plan.steps.iter().any(|s| s.subject == step.subject && matches!(s.act, Act::Connections(_)))
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
        Act::Connections(c) => plan
            .steps
            .iter()
            .find(|s| matches!(&s.act, Act::Connections(o) if o.server == c.server && o.to == c.to)),
        _ => None,
    };
    let setting =
        |o: &Open| matches!(o.act, Act::DropIn { .. } | Act::ResizePool { .. } | Act::Connections(_));
    let mine = |o: &Open| {
        setting(o) && o.undo.is_some() && step_of(o).is_some_and(|s| subjects.contains(&s.subject))
    };
    standing.into_iter().rev().filter(mine).collect()
}
