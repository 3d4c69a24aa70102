//! What mends a service that does not do its work: the one unit, and nothing else. Who stopped it, who is
//! about to bring it back, and what needs a person's eye are respected.

use super::dependency::DEPENDENCY_DOWN;
use crate::config::Config;
use crate::diagnosis::Finding;
use crate::plan::{Act, Aim, Ask, Draft, Needs, Recovered, Remedy, Risk, draft};
use crate::scenario::facts;
use crate::scenario::place::Place;
use crate::scenario::registry::{advice, by_symptom};
use crate::scenario::steps;
use crate::snapshot::{FailKind, Failure, Looks, Snapshot, Stage};

pub fn plan(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let now = &looks.now;
    if f.cause == DEPENDENCY_DOWN.name {
        return dependency(f, now, ask, config);
    }
    let Some((s, unit)) = config.service(&f.subject).and_then(|s| Some((s, s.unit.as_deref()?))) else {
        return advice(f);
    };
    let Some(listed) = now.unit(unit) else { return advice(f) };
    let goes_on = listed.sub.starts_with("auto-restart") || listed.job.is_some();
    let cause = f.cause.rsplit('/').next().unwrap_or_default();
    // What a drop-in of ours has begun ends with it.
    let loops = listed.sub.starts_with("auto-restart");
    if (loops || DOWN.contains(&listed.active.as_str()) && listed.job.is_none())
        && let Some((back, why)) = super::taken_back::drop_in(f, unit, ask, now)
    {
        return anew_without(back, why, unit, loops);
    }
    let steps = match cause {
        "stopped" | "stopped-on-purpose" | "failed" | "crash-loop" | "not-listening" | "unhealthy"
        | "mcp-broken"
            if goes_on =>
        {
            let notes = vec![format!("systemd is about to bring {unit} back: nothing is done beside it")];
            return Remedy::Steps { steps: vec![wait(&f.subject)], notes };
        }
        "stopped" | "stopped-on-purpose" => {
            vec![start(unit, now).undo(vec![Act::StopUnit { unit: unit.into() }], Risk::Disruptive)]
        }
        "failed" if listed.active == "active" => vec![wait(&f.subject)],
        "failed" => vec![start(unit, now).because(FAILED)],
        "crash-loop" if matches!(listed.active.as_str(), "failed" | "inactive") => {
            vec![reset(unit, now), start_again(unit).because(FAILED)]
        }
        // Only where the finding itself says that a restart mends it, and of the run that was seen.
        "not-listening" | "unhealthy" | "mcp-broken" | "hung"
            if listed.active == "active" && f.remedy.restart =>
        {
            match steps::restart(unit, ask, now) {
                Ok(restart) => vec![restart],
                Err(why) => return because(f, &why),
            }
        }
        "oom-killed" | "tasks-limit" => {
            let Some(limit) = f.remedy.limit else { return advice(f) };
            let then = match listed.active.as_str() {
                _ if goes_on => Ok(Some(wait(&f.subject))),
                "failed" | "inactive" => Ok(Some(start(unit, now).because(FAILED))),
                // A larger limit holds at once; what was refused its threads stays without them.
                "active" if f.remedy.restart => steps::restart(unit, ask, now).map(Some),
                _ => Ok(None),
            };
            let raised = match ask.memory_max.filter(|_| cause == "oom-killed") {
                Some(size) => match steps::memory(s, size, ask, now) {
                    Ok(steps) => Ok(steps),
                    Err(other) => return other,
                },
                None => steps::raise(s, limit, ask, now),
            };
            match raised.and_then(|steps| Ok(steps.into_iter().chain(then?).collect())) {
                Ok(steps) => steps,
                Err(why) => return because(f, &why),
            }
        }
        "port-conflict" => {
            let Some(grace_s) = ask.free_port else { return advice(f) };
            let (end, notes) = match super::free_port::step(s, unit, grace_s, ask, now, config) {
                Ok(step) => step,
                Err(why) => return because(f, &why),
            };
            let mut steps = vec![end];
            match listed.active.as_str() {
                _ if goes_on => steps.push(wait(&f.subject)),
                // Its own starts have used up what systemd allows.
                "failed" => steps.extend([reset(unit, now), start_again(unit).because(FAILED)]),
                _ => steps
                    .push(start(unit, now).undo(vec![Act::StopUnit { unit: unit.into() }], Risk::Disruptive)),
            }
            return Remedy::Steps { steps, notes };
        }
        "corrupted-state" => {
            let (Some(_), Some(seen)) = (&f.remedy.aside, ask.near.asides.get(&f.subject)) else {
                return advice(f);
            };
            let aside = match seen {
                Ok(aside) => aside.clone(),
                Err(why) => return because(f, why),
            };
            // A run that was cut off has set it aside, or somebody has: it was not started since.
            let empty = aside.is_none().then(|| "its cache is empty by now: nothing is set aside".to_owned());
            let notes: Vec<String> = empty.into_iter().collect();
            if aside.is_none() && goes_on {
                return Remedy::Steps { steps: vec![wait(&f.subject)], notes };
            }
            // Of a loop of starts no run is the one that was seen.
            let state = |active: &[&str]| Needs::Unit {
                active: active.iter().map(|a| (*a).to_owned()).collect(),
                invocation: None,
            };
            let set = aside.map(|aside| {
                let back = Act::PutBack { service: s.name.clone(), aside: aside.clone() };
                let set = draft(Act::SetAside { service: s.name.clone(), aside }, Risk::Disruptive);
                set.needs(state(&DOWN)).undo(vec![back], Risk::Disruptive).because("it dies of it again")
            });
            let stop = draft(Act::StopUnit { unit: unit.into() }, Risk::Disruptive);
            let stop = stop.needs(state(&["activating", "failed", "inactive"]));
            let again = draft(Act::StartUnit { unit: unit.into() }, Risk::Disruptive).needs(state(&DOWN));
            let mut steps = Vec::new();
            steps.extend(goes_on.then(|| stop.because("it was in a loop of starts that failed")));
            steps.extend(set);
            let count = draft(Act::ResetFailed { unit: unit.into() }, Risk::Safe).needs(state(&DOWN));
            steps.push(count.because("a count that was reset is gone"));
            steps.push(again.undo(vec![Act::StopUnit { unit: unit.into() }], Risk::Disruptive));
            return Remedy::Steps { steps, notes };
        }
        "paused" if facts::detail(now, unit).is_some_and(|d| d.frozen) => {
            vec![
                draft(Act::Thaw { unit: unit.into() }, Risk::Disruptive)
                    .needs(needs(unit, &["active"], now))
                    .undo(vec![Act::Freeze { unit: unit.into() }], Risk::Disruptive),
            ]
        }
        "hung" if facts::stuck_process(now, unit).is_some_and(|(_, what)| what.starts_with('T')) => {
            vec![
                draft(Act::Continue { unit: unit.into() }, Risk::Disruptive)
                    .needs(needs(unit, &["active"], now))
                    .because("to stop it again would make it hang again"),
            ]
        }
        _ => return advice(f),
    };
    Remedy::Steps { steps, notes: notes(cause, f) }
}

/// Whatever is between two starts of a loop is stopped first: no run of it is the one that was seen.
fn anew_without(back: Act, why: String, unit: &str, loops: bool) -> Remedy {
    let state = |active: &[&str]| Needs::Unit {
        active: active.iter().map(|a| (*a).to_owned()).collect(),
        invocation: None,
    };
    let stop = draft(Act::StopUnit { unit: unit.into() }, Risk::Disruptive);
    let stop = stop.needs(state(&["activating", "failed", "inactive"]));
    let mut steps = Vec::new();
    steps.extend(loops.then(|| stop.because("it was in a loop of starts that failed")));
    // Not under a process that lives.
    steps.push(draft(back, Risk::Disruptive).needs(state(&DOWN)).because("with it, it does not start"));
    let count = draft(Act::ResetFailed { unit: unit.into() }, Risk::Safe).needs(state(&DOWN));
    steps.push(count.because("a count that was reset is gone"));
    steps.push(start_again(unit).because(FAILED));
    Remedy::Steps { steps, notes: vec![why] }
}

/// What a service needs beside its database: started where it does not run, let go on where it was stopped
/// by a signal, waited for where it loads. What it holds is its own: it is never restarted.
fn dependency(f: &Finding, now: &Snapshot, ask: &Ask, config: &Config) -> Remedy {
    let steps = |step: Draft| Remedy::Steps { steps: vec![step], notes: Vec::new() };
    if f.remedy.wait {
        return steps(wait(&f.subject));
    }
    let redis = config.redis.iter().find(|r| r.name == f.subject).and_then(|r| r.unit.as_deref());
    let ollama = config.ollama.iter().find(|o| o.name == f.subject).and_then(|o| o.unit.as_deref());
    // The unit of this host is not that of an address elsewhere: nobody wants a second, empty one.
    let here = match now.redis.get(&f.subject) {
        Some(look) => look.here,
        None => now.ollama.get(&f.subject).and_then(|look| look.here),
    };
    let unit = redis.or(ollama).filter(|_| here == Some(true));
    let Some((unit, listed)) = unit.and_then(|unit| Some((unit, now.unit(unit)?))) else {
        return advice(f);
    };
    match listed.active.as_str() {
        // Its stop waits for who gives no answer, for ever where its unit knows no limit.
        "deactivating" if silent(&f.subject, now) && steps::may_save(unit, ask, now) => {
            steps::wait_for_its_stop(unit, &f.subject, &by_word(&f.subject))
        }
        "deactivating" if silent(&f.subject, now) && ask.told.dependencies => {
            told(unit, redis.is_some(), f, now, ask)
        }
        _ if listed.sub.starts_with("auto-restart") || listed.job.is_some() => steps(wait(&f.subject)),
        "inactive" => {
            let stop = vec![Act::StopUnit { unit: unit.into() }];
            let step = start(unit, now).undo(stop, Risk::Disruptive);
            let step = step.because("a stop ends every connection; what was not saved by then is lost");
            Remedy::Steps { steps: vec![step], notes: who_stopped(unit, now) }
        }
        "failed" => steps(start(unit, now).because(FAILED)),
        "active" => match facts::stuck_process(now, unit) {
            Some((_, what)) if what.starts_with('T') => {
                let go_on = draft(Act::Continue { unit: unit.into() }, Risk::Disruptive);
                let again = "to stop it again would make it hang again";
                steps(go_on.needs(needs(unit, &["active"], now)).because(again))
            }
            // Whoever waits for a device waits for it at his end, too.
            Some(_) => advice(f),
            None => told(unit, redis.is_some(), f, now, ask),
        },
        _ => advice(f),
    }
}

/// Restarted where it is told to, and only who takes connections and gives no answer at all: what it refuses it would
/// refuse again, and who does not listen there may well serve elsewhere.
fn told(unit: &str, holds_data: bool, f: &Finding, now: &Snapshot, ask: &Ask) -> Remedy {
    if !silent(&f.subject, now) {
        return advice(f);
    }
    if !ask.told.dependencies {
        return because(f, &format!("`{}` restarts it", by_word(&f.subject)));
    }
    if !ask.near.holds.contains(&f.subject) {
        return because(f, &format!("that {unit} is what keeps silent there could not be seen"));
    }
    // What was not saved of a Redis is lost.
    let (risk, cost) = match holds_data {
        true => (Risk::Destructive, "what it has not saved is lost"),
        false => (Risk::Disruptive, "what it has loaded is loaded anew"),
    };
    match steps::by_force(unit, risk, cost, ask, now) {
        Ok(restart) => {
            let notes = steps::stop_goes_on(unit, now).into_iter().collect();
            Remedy::Steps { steps: vec![restart], notes }
        }
        Err(why) => because(f, &why),
    }
}

fn silent(name: &str, now: &Snapshot) -> bool {
    let asked = match now.redis.get(name) {
        Some(look) => look.ping.failure(),
        None => now.ollama.get(name).and_then(|look| look.models.failure()),
    };
    let silent = |f: &Failure| f.kind == FailKind::TimedOut && f.stage != Some(Stage::Connect);
    asked.is_some_and(silent)
}

fn by_word(name: &str) -> String {
    let of = crate::diagnosis::shell_word(name);
    format!("mcp-ir recover server --restart-dependencies --service {of}")
}

/// For people, with what keeps us from it.
fn because(f: &Finding, why: &str) -> Remedy {
    Remedy::Advice(format!("{}: {why}", f.remedy.summary))
}

const FAILED: &str = "it had failed: that is no state to go back to";
const DOWN: [&str; 2] = ["inactive", "failed"];

/// Who stopped it, and when, is shown before it is started again.
fn notes(cause: &str, f: &Finding) -> Vec<String> {
    if cause != "stopped-on-purpose" {
        return Vec::new();
    }
    let when = f.since.map(|at| format!(" at {at}")).unwrap_or_default();
    vec![format!("{}{when}: ask who did it, and why", f.summary)]
}

pub(super) fn who_stopped(unit: &str, now: &Snapshot) -> Vec<String> {
    let stop = Place::Unit(unit).stop_job(now);
    stop.map(|stop| format!("{unit} was stopped by a stop job at {}: ask who did it, and why", stop.at))
        .into_iter()
        .collect()
}

fn reset(unit: &str, now: &Snapshot) -> Draft {
    draft(Act::ResetFailed { unit: unit.into() }, Risk::Safe)
        .needs(needs(unit, &DOWN, now))
        .because("a count that was reset is gone")
}

fn start(unit: &str, now: &Snapshot) -> Draft {
    draft(Act::StartUnit { unit: unit.into() }, Risk::Disruptive).needs(needs(unit, &DOWN, now))
}

/// Behind a reset: systemd forgets a unit that nothing refers to, and with it the run.
fn start_again(unit: &str) -> Draft {
    let active = DOWN.map(ToOwned::to_owned).to_vec();
    draft(Act::StartUnit { unit: unit.into() }, Risk::Disruptive)
        .needs(Needs::Unit { active, invocation: None })
}

fn wait(subject: &str) -> Draft {
    draft(Act::Wait { subject: subject.into() }, Risk::Safe).because("nothing is changed")
}

/// The state that was seen, of the run that was seen.
pub fn needs(unit: &str, active: &[&str], now: &Snapshot) -> Needs {
    let invocation = facts::detail(now, unit).and_then(|d| d.invocation.clone());
    Needs::Unit { active: active.iter().map(|a| (*a).to_owned()).collect(), invocation }
}

pub fn recovered(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    match config.service(aim.subject) {
        Some(s) if aim.cause == Some(super::mcp::MCP_BROKEN.name) => super::mcp::serves(s, &looks.now),
        _ => by_symptom(&(super::SCENARIO.symptoms)(looks, config), aim.subject),
    }
}
