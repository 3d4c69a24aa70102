//! `--why-not`: for a cause, how it stands at every subject that it could concern.

use super::diagnose::{Filter, diagnose};
use crate::diagnosis::{Answer, Asked, Cause, WHY_NOT_SCHEMA, WhyNot};
use crate::scenario;
use crate::snapshot::Looks;

/// Answers for each of these causes, for the subjects asked for; none named: all.
pub fn why_not(looks: &Looks, causes: &[&'static Cause], subjects: &[String]) -> WhyNot {
    let now = &looks.now;
    let d = diagnose(looks, &Filter::default());
    let asked = |cause: &&'static Cause| {
        let stands = scenario::why_not(cause, looks, &now.config);
        let stands = stands.into_iter().filter(|(s, _)| subjects.is_empty() || subjects.contains(s));
        Asked {
            cause: cause.name.into(),
            title: cause.title.into(),
            subjects: stands
                .map(|(subject, stand)| {
                    let found = d.findings.iter().find(|f| f.cause == cause.name && f.subject == subject);
                    found.map_or_else(|| Answer::not_found(subject, stand), Answer::found)
                })
                .collect(),
        }
    };
    WhyNot {
        schema: WHY_NOT_SCHEMA.into(),
        taken_at: now.taken_at,
        vantage: now.vantage.clone(),
        causes: causes.iter().map(asked).collect(),
    }
}
