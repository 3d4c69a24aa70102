//! Steps that several scenarios make: a restart of the run that was seen, and a larger limit of a unit.

use super::facts;
use crate::config::Service;
use crate::plan::{Act, Ask, Draft, Needs, Risk, draft, drop_in_with};
use crate::snapshot::Snapshot;

/// The very run of a unit that is active. What somebody stopped is not started by it, and what was started
/// anew meanwhile is not restarted a second time.
pub fn run(unit: &str, ask: &Ask, now: &Snapshot) -> Result<Needs, String> {
    match now.unit(unit) {
        Some(u) if u.active == "active" => {}
        Some(u) => return Err(format!("{unit} is {}", facts::state(u))),
        None => return Err(format!("how {unit} is could not be seen")),
    }
    let seen = facts::detail(now, unit).and_then(|d| d.invocation.clone());
    let invocation = seen.or_else(|| ask.near.runs.get(unit).cloned());
    let invocation = invocation.ok_or_else(|| {
        format!("which run of {unit} this is could not be seen: it is not restarted on a guess")
    })?;
    Ok(Needs::Unit { active: vec!["active".into()], invocation: Some(invocation) })
}

pub fn restart(unit: &str, ask: &Ask, now: &Snapshot) -> Result<Draft, String> {
    let restart = draft(Act::RestartUnit { unit: unit.into() }, Risk::Disruptive);
    Ok(restart.needs(run(unit, ask, now)?).because("the process of before is gone"))
}

/// What our drop-in of the unit of a service has to become: these settings and all else of ours.
pub fn drop_in(unit: &str, ask: &Ask, settings: &[(&str, String)]) -> Result<(Act, Act), String> {
    let found = match ask.near.drop_ins.get(unit) {
        Some(Ok(found)) => found.clone(),
        Some(Err(why)) => return Err(why.clone()),
        None => return Err(format!("the drop-ins of {unit} could not be seen")),
    };
    let mut text = found.clone();
    for (setting, value) in settings {
        text = Some(drop_in_with(text.as_deref(), setting, value));
    }
    let write = |from: &Option<String>, to: &Option<String>| Act::DropIn {
        unit: unit.into(),
        from: from.clone(),
        to: to.clone(),
    };
    // What a run of ours wrote that was cut off: the way back is to what stood there before that one.
    let before = ask.near.former.get(unit).filter(|_| text == found).unwrap_or(&found);
    Ok((write(&found, &text), write(&text, before)))
}

/// A larger limit, once: what reaches that one too has another trouble. Of memory only what the host has.
pub fn raise(s: &Service, (key, to): (&str, u64), ask: &Ask, now: &Snapshot) -> Result<Vec<Draft>, String> {
    let unit = s.unit.as_deref().ok_or_else(|| format!("{} has no unit to write a drop-in for", s.name))?;
    let ours = ask.near.drop_ins.get(unit).and_then(|d| d.as_ref().ok()?.as_deref());
    let raised = ours.is_some_and(|text| text.lines().any(|l| l.starts_with(&format!("{key}="))));
    // What a run that was cut off has written is gone on with; never is it raised once more.
    let goes_on = ask.near.former.contains_key(unit)
        && ours.is_some_and(|text| text.lines().any(|l| l == format!("{key}={to}")));
    if raised && !goes_on {
        return Err(format!("{key} was raised by mcp-ir before: see what takes it"));
    }
    let mut settings = vec![(format!("{key}="), to.to_string())];
    if key == "MemoryMax" {
        let memory = now.host.memory.seen().ok_or("what the host has of memory could not be seen")?;
        if memory.available < to {
            let mib = |bytes: u64| bytes >> 20;
            return Err(format!(
                "the host has {} MiB left, and {key} would be {} MiB",
                mib(memory.available),
                mib(to)
            ));
        }
        // Slowed down before it is killed (errata 42).
        settings.push(("MemoryHigh=".into(), (to - to / 10).to_string()));
    }
    let settings: Vec<(&str, String)> = settings.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let (write, back) = drop_in(unit, ask, &settings)?;
    let proof = Act::ProveLimit { unit: unit.into(), key: key.into(), value: to };
    Ok(vec![
        draft(write, Risk::Disruptive)
            .undo(vec![back], Risk::Disruptive)
            .because("the former limit holds at once: what takes more by then is killed, or refused"),
        draft(proof, Risk::Safe).because("nothing is changed"),
    ])
}
