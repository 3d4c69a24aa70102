//! The state of a service is reset where somebody asks for it: its configured caches are set aside while it is down,
//! and nothing is deleted.

use super::remedy::who_stopped;
use crate::config::Service;
use crate::plan::{Act, Ask, Needs, Remedy, Risk, draft};
use crate::scenario::steps;
use crate::snapshot::Snapshot;

/// `--reset-state` of this service.
pub fn reset(s: &Service, ask: &Ask, now: &Snapshot) -> Remedy {
    let refused = |why: String| Remedy::Refused { why, hints: Vec::new() };
    let Some(unit) = s.unit.as_deref() else {
        return refused(format!("{} has no unit: it can't be stopped and started for it", s.name));
    };
    let Some(seen) = ask.near.caches.get(&s.name) else {
        return refused(format!("no `caches` of {} are configured", s.name));
    };
    let mut asides = Vec::new();
    for one in seen {
        match one {
            Ok(aside) => asides.extend(aside.clone()),
            Err(why) => return refused(why.clone()),
        }
    }
    let Some(listed) = now.unit(unit) else { return refused(format!("how {unit} is could not be seen")) };
    let loops = listed.sub.starts_with("auto-restart");
    if listed.job.is_some() && !loops {
        return refused(format!("systemd is at {unit} right now"));
    }
    match ask.near.stopped_with.get(unit) {
        Some(Ok(all)) if all.is_empty() => {}
        Some(Ok(all)) => {
            return refused(format!("{} is stopped with {unit}, and would not come back", all.join(", ")));
        }
        Some(Err(why)) => return refused(format!("who is stopped with {unit} could not be seen: {why}")),
        None => return refused(format!("who is stopped with {unit} could not be seen")),
    }
    let mut notes = vec![format!("what {} has cached is made anew: it may be slow until then", s.name)];
    if asides.is_empty() {
        if listed.active == "active" {
            return Remedy::Nothing(format!("the caches of {} are empty", s.name));
        }
        // A run that was cut off has set them aside: it is not started since.
        notes = vec![format!("the caches of {} are empty: nothing is set aside, and it is started", s.name)];
    }
    notes.extend(who_stopped(unit, now).into_iter().filter(|_| listed.active == "inactive"));
    let unit = || unit.to_owned();
    let down = || Needs::Unit { active: ["inactive", "failed"].map(Into::into).to_vec(), invocation: None };
    let mut steps = Vec::new();
    if listed.active == "active" {
        let needs = match steps::run(&unit(), ask, now) {
            Ok(needs) => needs,
            Err(why) => return refused(why),
        };
        let stop = draft(Act::StopUnit { unit: unit() }, Risk::Disruptive).needs(needs);
        steps.push(stop.undo(vec![Act::StartUnit { unit: unit() }], Risk::Disruptive));
    }
    if loops {
        let active = ["activating", "failed", "inactive"].map(Into::into).to_vec();
        let stop = draft(Act::StopUnit { unit: unit() }, Risk::Disruptive);
        let stop = stop.needs(Needs::Unit { active, invocation: None });
        steps.push(stop.because("it was in a loop of starts that failed"));
    }
    for aside in asides {
        let back = Act::PutBack { service: s.name.clone(), aside: aside.clone() };
        let set = draft(Act::SetAside { service: s.name.clone(), aside }, Risk::Disruptive).needs(down());
        steps.push(set.undo(vec![back], Risk::Disruptive));
    }
    let count = draft(Act::ResetFailed { unit: unit() }, Risk::Safe).needs(down());
    steps.push(count.because("a count that was reset is gone"));
    let start = draft(Act::StartUnit { unit: unit() }, Risk::Disruptive).needs(down());
    steps.push(start.undo(vec![Act::StopUnit { unit: unit() }], Risk::Disruptive));
    Remedy::Steps { steps, notes }
}
