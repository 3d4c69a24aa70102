//! Which findings explain which: by the causes' own declarations and the needs of services.
//! Pure. The graph over causes is acyclic by test, so "explained" never goes in a circle.

use std::collections::{BTreeSet, HashMap};

use super::cause::{Cause, Relation, Severity};
use super::finding::Finding;
use crate::config::Config;

/// Fills `explained_by` and sorts: roots first, the most severe and most certain first.
pub fn link(findings: &mut [Finding], causes: &[&'static Cause], config: &Config) {
    let mut by_cause: HashMap<&str, Vec<&Finding>> = HashMap::new();
    for f in findings.iter() {
        by_cause.entry(&f.cause).or_default().push(f);
    }
    let explained: Vec<Vec<String>> =
        findings.iter().map(|f| explainers(f, &by_cause, causes, config)).collect();
    for (f, by) in findings.iter_mut().zip(explained) {
        f.explained_by = by;
    }
    // What is broken comes before what is slow. Of this, what explains more of the time comes first; those
    // of whom that is not known follow.
    findings.sort_by(|a, b| {
        let slow = |f: &Finding| f.scenario == "latency";
        let first = |f: &Finding| (!f.is_root(), f.severity, slow(f), slow(f) && f.share <= 0.0);
        first(a)
            .cmp(&first(b))
            .then_with(|| b.share.total_cmp(&a.share))
            .then_with(|| (a.certainty, &a.subject, &a.cause).cmp(&(b.certainty, &b.subject, &b.cause)))
    });
}

/// Only findings of causes that are declared to explain this one are tried: of a thousand services
/// with one trouble, none explains another.
fn explainers(
    f: &Finding,
    by_cause: &HashMap<&str, Vec<&Finding>>,
    causes: &[&'static Cause],
    config: &Config,
) -> Vec<String> {
    let declared =
        causes.iter().flat_map(|c| c.explains.iter().map(|(of, relation)| (c.name, *of, *relation)));
    let mut by: Vec<&str> = declared
        .filter(|(_, of, _)| *of == f.cause)
        .flat_map(|(cause, _, relation)| {
            let all = by_cause.get(cause).map(Vec::as_slice).unwrap_or_default();
            all.iter().copied().filter(move |by| {
                let against = match relation {
                    Relation::NeededBy => contradicted(f, by, config),
                    // What it is not seen to hold up has a reason of its own.
                    Relation::Host => {
                        f.of_its_limit || by.about.as_ref().is_some_and(|a| !a.contains(&f.subject))
                    }
                    Relation::Same | Relation::Needs => false,
                };
                !against && related(&by.subject, &f.subject, relation, config)
            })
        })
        // A note makes nothing red: what is only noted can't be the reason for an outage.
        .filter(|by| by.id != f.id && (by.severity != Severity::P4 || f.severity == Severity::P4))
        .filter(|by| !began_before(f, by) && !by.leaves(f))
        .map(|by| by.id.as_str())
        .collect();
    let mut seen = BTreeSet::new();
    by.retain(|id| seen.insert(*id));
    by.into_iter().map(ToOwned::to_owned).collect()
}

/// Its own evidence speaks against it: that nothing it needs is the reason, or no database.
fn contradicted(f: &Finding, by: &Finding, config: &Config) -> bool {
    f.own || (f.connected && config.postgres(&by.subject).is_some())
}

/// A consequence does not come before its cause. Both times are from one machine's systemd; five
/// seconds are left for a service that notices before the unit's state is written.
fn began_before(f: &Finding, by: &Finding) -> bool {
    match (f.since, by.since) {
        (Some(f), Some(by)) => by.as_second().saturating_sub(f.as_second()) > 5,
        _ => false,
    }
}

/// Whether `consequence` stands in this relation to `cause`.
fn related(cause: &str, consequence: &str, relation: Relation, config: &Config) -> bool {
    match relation {
        Relation::Same => cause == consequence,
        Relation::NeededBy => needs(consequence, config).contains(cause),
        Relation::Needs => needs(cause, config).contains(consequence),
        Relation::Host => config.runs_here(consequence),
    }
}

/// Everything that a name needs, near and far.
pub fn needs<'a>(name: &'a str, config: &'a Config) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![name];
    while let Some(n) = todo.pop() {
        for need in config.needs(n) {
            if seen.insert(need.as_str()) {
                todo.push(need);
            }
        }
    }
    seen
}
