//! Who may do what, by whether somebody looks on and what was said beforehand.

use std::collections::BTreeSet;

use crate::plan::{Act, Needs, Plan, Risk};

/// What the command line says about it.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Somebody reads the plan and can answer: stdin and stderr are terminals, no JSON was asked for.
    pub terminal: bool,
    pub yes: bool,
    /// `--allow`: the ceiling. Without it disruptive; on a terminal the typed name lifts it.
    pub allow: Option<Risk>,
}

/// What is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Yes or no.
    Yes,
    /// The name of the target, letter by letter.
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub why: String,
    pub hint: Option<String>,
}

/// Proof that this plan may be done. Its fields are private, and `ask` alone makes one.
#[derive(Debug)]
pub struct Consent {
    digest: String,
    /// Acts with what has to hold for them.
    steps: BTreeSet<String>,
    /// Ways back: what has to hold for those, only what was done says.
    back: BTreeSet<String>,
    how: String,
}

impl Consent {
    /// Whether this act is one that was consented to, on this condition.
    pub fn covers(&self, act: &Act, needs: &Needs) -> bool {
        self.steps.contains(&key(&(act, needs))) || self.back.contains(&key(act))
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How it was given, for the journal.
    pub fn how(&self) -> &str {
        &self.how
    }
}

fn key(of: &impl serde::Serialize) -> String {
    serde_json::to_string(of).unwrap_or_default()
}

/// Asks what has to be asked. `answer` gives what was typed; `None` where nobody answers.
pub fn ask(
    plan: &Plan,
    policy: &Policy,
    answer: &mut dyn FnMut(&Question) -> Option<String>,
) -> Result<Consent, Refused> {
    let risk = plan.risk();
    let refuse = |why: String, hint: Option<&str>| Err(Refused { why, hint: hint.map(ToOwned::to_owned) });
    let ceiling = match (policy.allow, policy.terminal) {
        (Some(allow), _) => allow,
        (None, true) => Risk::Destructive,
        (None, false) => Risk::Disruptive,
    };
    if risk > ceiling {
        let hint = format!("--allow {}", risk.word());
        let why = format!("the plan is {}, and no more than {} is allowed", risk.word(), ceiling.word());
        return refuse(why, Some(&hint));
    }
    let how = match (policy.terminal, risk) {
        _ if !plan.changes() => "nothing is changed",
        (true, Risk::Safe) => "safe",
        (_, Risk::Safe | Risk::Disruptive) if policy.yes => "--yes",
        (false, Risk::Destructive) if policy.yes => "--yes --allow destructive",
        (true, Risk::Disruptive) => match answer(&Question::Yes) {
            Some(a) if matches!(a.trim().to_lowercase().as_str(), "y" | "yes") => "answered yes",
            _ => return refuse("it was not agreed to".into(), None),
        },
        (true, Risk::Destructive) => {
            let name = target(plan);
            match answer(&Question::Name(name.clone())) {
                Some(a) if !name.is_empty() && a.trim() == name => "typed its name",
                _ => return refuse("its name was not typed".into(), None),
            }
        }
        (false, _) => return refuse("nobody is there to ask".into(), Some("--yes agrees to it beforehand")),
    };
    let undo = plan.steps.iter().flat_map(|s| s.undo.iter().flat_map(|u| &u.acts));
    let steps = plan.steps.iter().map(|s| key(&(&s.act, &s.needs))).collect();
    Ok(Consent { digest: plan.digest(), steps, back: undo.map(key).collect(), how: how.to_owned() })
}

/// What is typed. Of several databases of one Redis the number is what matters; of what a server keeps, which.
fn target(plan: &Plan) -> String {
    let named = plan.steps.iter().find_map(|s| match &s.act {
        Act::Flush(f) if f.prefix.is_none() => Some(f.name()),
        Act::Remove(r) => Some(r.name().to_owned()),
        _ => None,
    });
    named.or_else(|| plan.subjects.first().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
