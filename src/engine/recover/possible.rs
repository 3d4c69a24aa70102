//! What of a plan can't be done keeps nothing from the rest: that is left, by its name, and the rest is the
//! plan. Where nothing else is left it stays whole, and is refused.

use super::choose::{Choice, Request};
use super::disk;
use super::guard::{apart, attempts};
use super::rights::{Lacking, lacking};
use crate::config::{Config, Loaded};
use crate::diagnosis::needs;
use crate::incident::{Store, now};
use crate::plan::{Act, Chore, Plan, Step};
use crate::snapshot::Looks;

/// The same before somebody agrees and under the lock. What is lacking for the rest; `None`: it was not asked.
pub(super) async fn narrowed(
    choice: Choice,
    looks: &Looks,
    loaded: &Loaded,
    store: &Store,
    request: &Request,
) -> (Choice, Option<Vec<Lacking>>) {
    let Choice::Plan(mut plan) = choice else { return (choice, None) };
    let mut left = None;
    if request.all || plan.steps.iter().any(is_upkeep) {
        let not = lacking(&plan, looks, loaded).await;
        let rest = possible(&plan, &not, request.all, &loaded.config);
        left = Some(not.iter().filter_map(|l| l.of(&plan, &rest)).collect());
        plan = rest;
    }
    if request.all && !request.force && plan.subjects.len() > 1 {
        let before = disk::of_late(store).await.unwrap_or_default();
        let rest = apart(&plan, &attempts(&before), now(), &loaded.config);
        left = left.map(|not: Vec<Lacking>| not.iter().filter_map(|l| l.of(&plan, &rest)).collect());
        plan = rest;
    }
    (Choice::Plan(plan), left)
}

/// It makes quick, and lets nobody come up.
pub(super) fn is_upkeep(s: &Step) -> bool {
    matches!(s.act, Act::Upkeep(_))
}

/// Without the upkeep that may not be done, table by table; of a plan for all also without those of whom another
/// step may not be.
pub fn possible(plan: &Plan, not: &[Lacking], all: bool, config: &Config) -> Plan {
    let of = |s: &Step| not.iter().find(|l| l.n == s.n);
    let why = |s: &Step| of(s).map(|l| format!("{} ({})", l.why, l.grant));
    let gone = match all {
        true => spared(
            plan,
            |subject| plan.steps.iter().filter(|s| s.subject == subject && !is_upkeep(s)).find_map(why),
            config,
        ),
        false => Vec::new(),
    };
    let step = |s: &Step| why(s).filter(|_| is_upkeep(s));
    without(plan, &gone, step, config).unwrap_or_else(|| plan.clone())
}

/// A subject, and why nothing is done to it.
pub(super) type Gone = (String, String);

/// Who is left as he is, for such a reason, where nobody who stays needs him: he would die of it again.
pub(super) fn spared(plan: &Plan, why: impl Fn(&str) -> Option<String>, config: &Config) -> Vec<Gone> {
    let (mut kept, mut gone) = (plan.subjects.clone(), Vec::new());
    // Who needs others stands behind them.
    for subject in plan.subjects.iter().rev() {
        let Some(why) = why(subject) else { continue };
        if kept.iter().any(|k| k != subject && needs(k, config).contains(subject.as_str())) {
            continue;
        }
        kept.retain(|k| k != subject);
        gone.push((subject.clone(), why));
    }
    gone
}

/// What a piece of upkeep is for.
fn mends(cause: &str, s: &Step) -> bool {
    let Act::Upkeep(u) = &s.act else { return false };
    match u.chore {
        Chore::Vacuum | Chore::Analyze => cause == "latency/stale-statistics",
        Chore::DropIndex | Chore::Reindex => {
            ["latency/invalid-index", "db-down/index-corrupt"].contains(&cause)
        }
    }
}

/// The plan without these subjects and these steps. `None`: nothing of it would be done.
pub(super) fn without(
    plan: &Plan,
    gone: &[Gone],
    step: impl Fn(&Step) -> Option<String>,
    config: &Config,
) -> Option<Plan> {
    let of_gone = |subject: &str| gone.iter().any(|(s, _)| s == subject);
    let (stay, go): (Vec<&Step>, Vec<&Step>) =
        plan.steps.iter().partition(|s| !of_gone(&s.subject) && step(s).is_none());
    if stay.is_empty() || go.is_empty() {
        return None;
    }
    let stays = |subject: &str| stay.iter().any(|s| s.subject == subject);
    let is_left = |finding: &str| {
        let Some((cause, subject)) = finding.rsplit_once('@') else { return false };
        let its = |s: &&&Step| s.subject == subject && mends(cause, s);
        of_gone(subject) || !stays(subject) || (go.iter().any(|s| its(&s)) && !stay.iter().any(|s| its(&s)))
    };
    let mut rest = plan.clone();
    let (left, findings): (Vec<String>, Vec<String>) =
        plan.findings.iter().cloned().partition(|f| is_left(f));
    rest.steps = stay.iter().map(|s| (*s).clone()).collect();
    rest.number();
    rest.subjects.retain(|s| stays(s));
    rest.watched.retain(|w| stays(w) || !plan.subjects.contains(w));
    // Who is slow for what is left is so afterwards.
    let quickens = |f: &String, slow: &str| {
        let (cause, subject) = f.rsplit_once('@').unwrap_or((f, ""));
        cause.starts_with("latency/") && needs(slow, config).contains(subject)
    };
    rest.slowed
        .retain(|slow| findings.iter().any(|f| quickens(f, slow)) || !left.iter().any(|f| quickens(f, slow)));
    rest.findings = findings;
    rest.left.extend(left);
    rest.notes.extend(gone.iter().map(|(subject, why)| format!("{subject} is left as it is: {why}")));
    let said = |s: &&Step| Some(format!("left as it is: {}: {}", s.describe, step(s)?));
    rest.notes.extend(go.iter().filter(|s| !of_gone(&s.subject)).filter_map(said));
    Some(rest)
}
