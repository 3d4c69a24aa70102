//! Steps that several scenarios make: a restart of the run that was seen, and a larger limit of a unit.

use super::facts;
use crate::config::Service;
use crate::plan::{Act, Ask, Draft, Needs, Remedy, Risk, draft, drop_in_with};
use crate::snapshot::Snapshot;
use crate::snapshot::memory::HostMemory;

/// The very run of a unit that is active. What somebody stopped is not started by it, and what was started
/// anew meanwhile is not restarted a second time.
pub fn run(unit: &str, ask: &Ask, now: &Snapshot) -> Result<Needs, String> {
    in_state("active", unit, ask, now)
}

fn in_state(active: &str, unit: &str, ask: &Ask, now: &Snapshot) -> Result<Needs, String> {
    match now.unit(unit) {
        Some(u) if u.active == active => {}
        Some(u) => return Err(format!("{unit} is {}", facts::state(u))),
        None => return Err(format!("how {unit} is could not be seen")),
    }
    let seen = facts::detail(now, unit).and_then(|d| d.invocation.clone());
    let invocation = seen.or_else(|| ask.near.runs.get(unit).cloned());
    let invocation = invocation.ok_or_else(|| {
        format!("which run of {unit} this is could not be seen: it is not restarted on a guess")
    })?;
    Ok(Needs::Unit { active: vec![active.into()], invocation: Some(invocation) })
}

pub fn restart(unit: &str, ask: &Ask, now: &Snapshot) -> Result<Draft, String> {
    let restart = draft(Act::RestartUnit { unit: unit.into() }, Risk::Disruptive);
    Ok(restart.needs(run(unit, ask, now)?).because("the process of before is gone"))
}

/// Who gives no answer may not heed its end either, and its unit may wait for that for ever.
const GRACE_S: u64 = 30;

/// Of a server that hangs: by force where it takes that. One job, so that who is stopped with it comes back. A stop
/// that goes on, of a run of ours that was cut off or of somebody, is gone on with.
pub fn by_force(unit: &str, risk: Risk, cost: &str, ask: &Ask, now: &Snapshot) -> Result<Draft, String> {
    let grace_s = ask.told.grace_s.unwrap_or(GRACE_S);
    let restart = draft(Act::RestartByForce { unit: unit.into(), grace_s }, risk);
    Ok(restart.needs(run_or_its_stop(unit, ask, now)?).because(cost))
}

/// The very run that was seen, in the state that it was seen in.
pub fn run_or_its_stop(unit: &str, ask: &Ask, now: &Snapshot) -> Result<Needs, String> {
    in_state(if is_stopping(unit, now) { "deactivating" } else { "active" }, unit, ask, now)
}

/// In its ordinary stop it answers nobody either while it saves: it is ended by force only after a time that somebody
/// names, or where it is the stop of a run of ours.
pub fn may_save(unit: &str, ask: &Ask, now: &Snapshot) -> bool {
    is_stopping(unit, now) && ask.told.grace_s.is_none() && !ask.near.forced.contains(unit)
}

/// It is waited for, and what ends it where that never comes is said.
pub fn wait_for_its_stop(unit: &str, subject: &str, command: &str) -> Remedy {
    let wait = draft(Act::Wait { subject: subject.into() }, Risk::Safe).because("nothing is changed");
    let note = format!(
        "{unit} is being stopped, and may be saving; where that never ends: `{command} --grace 60s` kills what has not \
         ended by then, and starts it"
    );
    Remedy::Steps { steps: vec![wait], notes: vec![note] }
}

pub fn is_stopping(unit: &str, now: &Snapshot) -> bool {
    now.unit(unit).is_some_and(|u| u.active == "deactivating")
}

/// Whose stop it is that is gone on with.
pub fn stop_goes_on(unit: &str, now: &Snapshot) -> Option<String> {
    let by = match now.unit(unit)?.job.as_deref() {
        Some(job) => format!("by systemd's job {job}"),
        None => "by itself, without a job of systemd's".into(),
    };
    is_stopping(unit, now)
        .then(|| format!("{unit} is being stopped already, {by}; it is started again behind that"))
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
    if raised(unit, (key, &to.to_string()), ask) {
        return Err(format!("{key} was raised by mcp-ir before: see what takes it"));
    }
    let mut settings = vec![(format!("{key}="), to.to_string())];
    if key == "MemoryMax" {
        let memory = now.host.memory.seen().ok_or("what the host has of memory could not be seen")?;
        let kept = kept(memory, now);
        if memory.available.saturating_sub(kept) < to {
            let mib = |bytes: u64| bytes >> 20;
            return Err(format!(
                "the host has {} MiB left, of which {} are kept free, and {key} would be {} MiB",
                mib(memory.available),
                mib(kept),
                mib(to)
            ));
        }
        // Slowed down before it is killed (errata 42).
        settings.push(("MemoryHigh=".into(), (to - to / 10).to_string()));
    }
    let settings: Vec<(&str, String)> = settings.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    at_once(unit, (key, to), &settings, ask)
}

/// What the host keeps of its memory: with less it is low, and the kernel ends whoever is the largest there.
fn kept(memory: &HostMemory, now: &Snapshot) -> u64 {
    (memory.total as f64 * now.config.thresholds.memory_available) as u64
}

/// A limit of its control group holds from the reload on.
fn at_once(
    unit: &str,
    (key, to): (&str, u64),
    settings: &[(&str, String)],
    ask: &Ask,
) -> Result<Vec<Draft>, String> {
    let (write, back) = drop_in(unit, ask, settings)?;
    Ok(vec![
        draft(write, Risk::Disruptive)
            .undo(vec![back], Risk::Disruptive)
            .because("the former limit holds at once: what takes more by then is killed, or refused"),
        proof(unit, key, to),
    ])
}

fn proof(unit: &str, key: &str, value: u64) -> Draft {
    let act = Act::ProveLimit { unit: unit.into(), key: key.into(), value };
    draft(act, Risk::Safe).because("nothing is changed")
}

/// More descriptors, once: a process has what it was started with. How far it may raise that itself is not
/// made less.
pub fn descriptors(
    s: &Service,
    to: u64,
    hard: Option<u64>,
    ask: &Ask,
    now: &Snapshot,
) -> Result<Vec<Draft>, String> {
    const KEY: &str = "LimitNOFILE";
    let unit = s.unit.as_deref().ok_or_else(|| format!("{} has no unit to write a drop-in for", s.name))?;
    let most = ask.near.nr_open.ok_or("how many the kernel allows could not be seen")?;
    if to > most {
        return Err(format!("the kernel allows {most} at most (fs.nr_open), and {KEY} would be {to}"));
    }
    let set = format!("{to}:{}", hard.map_or(to, |h| h.clamp(to, most)));
    if raised(unit, (KEY, &set), ask) {
        return Err(format!("{KEY} was raised by mcp-ir before: see what it does not close"));
    }
    let (write, back) = drop_in(unit, ask, &[("LimitNOFILE=", set)])?;
    let undo = vec![back, Act::RestartUnit { unit: unit.into() }];
    let restart = draft(Act::RestartUnit { unit: unit.into() }, Risk::Disruptive).needs(run(unit, ask, now)?);
    Ok(vec![
        draft(write, Risk::Safe).undo(undo, Risk::Disruptive),
        restart.because("with the drop-in it is taken back"),
        proof(unit, KEY, to),
    ])
}

/// The size that somebody asks for, where the host has it and the service does not need more (errata 42, 50).
pub fn memory(s: &Service, size: u64, ask: &Ask, now: &Snapshot) -> Result<Vec<Draft>, Remedy> {
    let refused = |why: String, hints: Vec<String>| Remedy::Refused { why, hints };
    let plain = |why: String| Remedy::Refused { why, hints: Vec::new() };
    let command = |mib: u64| format!("mcp-ir recover memory --service {} --memory-max {mib}M", s.name);
    let unit = s.unit.as_deref();
    let unit = unit.ok_or_else(|| plain(format!("{} has no unit to write a drop-in for", s.name)))?;
    let has = ask.near.memory.get(unit);
    let has = has.ok_or_else(|| plain(format!("the limit of {unit} could not be seen")))?;
    if *has == Some(size) {
        return Err(Remedy::Nothing(format!("{unit} has MemoryMax={size} already")));
    }
    let host = now.host.memory.seen();
    let host = host.ok_or_else(|| plain("what the host has of memory could not be seen".into()))?;
    let taken = now.host.taken.get(&s.name);
    let own =
        taken.and_then(|t| Some(t.group.seen()?.working()).or_else(|| Some(t.process.seen()?.resident)));
    let down = now.unit(unit).is_some_and(|u| u.active != "active");
    let own = own.or(down.then_some(0));
    let own = own.ok_or_else(|| plain(format!("what {} takes now could not be seen", s.name)))?;
    let mib = |bytes: u64| bytes >> 20;
    let kept = kept(host, now);
    let fits = host.available.saturating_sub(kept).saturating_add(own);
    if size > fits {
        let why = format!(
            "it does not fit: {} would have {} MiB, and the host has {} MiB left - {} MiB that are kept free + {} MiB that it has now = {} MiB",
            s.name,
            mib(size),
            mib(host.available),
            mib(kept),
            mib(own),
            mib(fits)
        );
        return Err(refused(why, vec![command(mib(fits))]));
    }
    // Slowed down before it is killed (errata 42).
    let high = size - size / 10;
    if own > high {
        let least = mib(own) * 5 / 4 + 1;
        let why = format!(
            "{} has {} MiB in use: with MemoryMax={} MiB it is slowed down at once, and then killed",
            s.name,
            mib(own),
            mib(size)
        );
        let hint = (least <= mib(fits)).then(|| command(least));
        return Err(refused(why, hint.into_iter().collect()));
    }
    let settings = [("MemoryMax=", size.to_string()), ("MemoryHigh=", high.to_string())];
    at_once(unit, ("MemoryMax", size), &settings, ask).map_err(plain)
}

/// What a run that was cut off has written is gone on with; never is it raised once more.
fn raised(unit: &str, (key, to): (&str, &str), ask: &Ask) -> bool {
    let ours = ask.near.drop_ins.get(unit).and_then(|d| d.as_ref().ok()?.as_deref()).unwrap_or_default();
    let goes_on = ask.near.former.contains_key(unit) && ours.lines().any(|l| l == format!("{key}={to}"));
    ours.lines().any(|l| l.starts_with(&format!("{key}="))) && !goes_on
}
