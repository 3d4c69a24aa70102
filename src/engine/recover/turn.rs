//! Whether the turn of a step has come: who it needs is well, nobody has set a hold meanwhile, and what was done
//! for others has not healed it already.

use std::time::Duration;

use super::after::{started_before, well_before};
use super::possible::is_upkeep;
use super::verify::{recovered, symptoms, verify};
use super::veto;
use super::work::Work;
use crate::plan::{Act, Plan, Recovered, Step};

/// What others who start have at most, until they are well, before the next one comes.
const APART: Duration = Duration::from_secs(2);

impl Work<'_, '_> {
    /// Its subject is another than that of the steps before.
    fn begins_another(&self, step: &Step) -> bool {
        step.n > 1 && !self.order.plan.steps.iter().any(|s| s.n < step.n && s.subject == step.subject)
    }

    /// What a service needs has to be well before it is started behind it: else it dies of it once more. Clients
    /// of one server are started apart: a database that has just come back is not stormed.
    pub async fn too_early(&mut self, step: &Step) -> Option<String> {
        let o = self.order;
        if let Some(others) = started_before(step, o.plan, &o.loaded.config) {
            // Who does not come up keeps nobody else down.
            let well = verify(o.loaded, &others, Duration::ZERO, APART, self.stop, self.awaited);
            let _ = tokio::time::timeout(APART.min(o.wait), well).await;
        }
        let alone = well_before(step, o.plan, &o.loaded.config)?;
        let v = verify(o.loaded, &alone, Duration::ZERO, o.wait, self.stop, self.awaited).await;
        (!v.verified).then_some(v.says)
    }

    /// By whom it is held since the first step. Who was begun with is not left half done for it; of upkeep each
    /// piece is whole.
    pub async fn held(&self, step: &Step) -> Option<String> {
        let whole = self.begins_another(step) || step.n > 1 && is_upkeep(step);
        if !whole {
            return None;
        }
        let held = veto::hold(self.order.store).await.err()?;
        let hint = held.hint.map(|h| format!(" ({h})")).unwrap_or_default();
        Some(format!("{}{hint}", held.why))
    }

    /// What was done for others may have healed it: the look that it was planned by may be minutes old. By
    /// what says at once whether it is well; asked once, before its first step.
    pub async fn healed(&self, step: &Step) -> Option<String> {
        const AT_ONCE: [&str; 2] = ["server-crash/", "pool-exhausted/"];
        let plan = &self.order.plan;
        if !self.begins_another(step) {
            return None;
        }
        // Who is up again under the limit that he died of dies of it again.
        let sets = |s: &Step| s.subject == step.subject && matches!(s.act, Act::DropIn { .. });
        if plan.steps.iter().any(sets) {
            return None;
        }
        let its = |f: &&String| f.rsplit_once('@').is_some_and(|(_, s)| s == step.subject);
        let findings: Vec<String> = plan.findings.iter().filter(its).cloned().collect();
        if findings.is_empty() || !findings.iter().all(|f| AT_ONCE.iter().any(|s| f.starts_with(s))) {
            return None;
        }
        let subjects = vec![step.subject.clone()];
        let seen = symptoms(self.order.loaded, plan, &subjects, self.awaited).await;
        let alone = Plan { findings, subjects, watched: Vec::new(), slowed: Vec::new(), ..(*plan).clone() };
        match recovered(&seen, &alone, &self.sight.request.ask) {
            Recovered::Yes(says) => Some(format!("it is well meanwhile ({says})")),
            Recovered::NotYet(_) => None,
        }
    }
}
