//! What mends a database: it is started where it does not run, and waited for where it starts. It is
//! never restarted for being slow to come, and nothing is done to a remote one.

use jiff::Timestamp;

use super::words::{INDEX_CORRUPT, damaged_index};
use crate::config::{Config, Postgres};
use crate::diagnosis::{Finding, shell_word};
use crate::plan::{Act, Aim, Ask, Draft, Needs, Recovered, Remedy, Risk, draft};
use crate::scenario::registry::{advice, by_symptom};
use crate::scenario::{clusters, facts, latency, steps, witness};
use crate::snapshot::{Looks, Snapshot};

pub fn plan(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let now = &looks.now;
    let Some(p) = config.postgres(&f.subject) else { return advice(f) };
    let wait = || draft(Act::Wait { subject: p.name.clone() }, Risk::Safe).because("nothing is changed");
    let steps = match f.cause.as_str() {
        "db-down/starting-up" => vec![wait()],
        "db-down/postgres-stopped" => {
            let Some(unit) = clusters::own_unit(p, now) else { return advice(f) };
            let Some(listed) = now.unit(unit) else { return advice(f) };
            let invocation = facts::detail(now, unit).and_then(|d| d.invocation.clone());
            let active = ["inactive", "failed"].map(ToOwned::to_owned).to_vec();
            match listed.active.as_str() {
                _ if listed.job.is_some() || listed.active == "activating" => vec![wait()],
                "inactive" => vec![
                    draft(Act::StartUnit { unit: unit.into() }, Risk::Disruptive)
                        .needs(Needs::Unit { active, invocation })
                        .undo(vec![Act::StopUnit { unit: unit.into() }], Risk::Disruptive)
                        .because("a stop ends every session: what is in use by then is lost"),
                ],
                "failed" => once_more(unit, now),
                // By its unit it runs: which of the two is right a person has to see.
                _ => return advice(f),
            }
        }
        // What it failed of, only a person can have mended.
        "db-down/start-failed" => return start(p, f, ask, now, config),
        "db-down/hung" => match stopped(p, now, ask) {
            Some(go_on) => go_on,
            None => return restart(p, f, ask, now, config),
        },
        "db-down/shutting-down" => return finish(p, f, ask, now, config),
        c if c == INDEX_CORRUPT.name => return damaged(p, looks, f, ask, config),
        _ => return advice(f),
    };
    Remedy::Steps { steps, notes: Vec::new() }
}

/// Its own starts may have used up what systemd allows.
fn once_more(unit: &str, now: &Snapshot) -> Vec<Draft> {
    let down =
        |invocation| Needs::Unit { active: ["inactive", "failed"].map(Into::into).to_vec(), invocation };
    let seen = facts::detail(now, unit).and_then(|d| d.invocation.clone());
    vec![
        draft(Act::ResetFailed { unit: unit.into() }, Risk::Safe)
            .needs(down(seen))
            .because("a count that was reset is gone"),
        // systemd forgets a unit that nothing refers to, and with it the run.
        draft(Act::StartUnit { unit: unit.into() }, Risk::Disruptive)
            .needs(down(None))
            .because("it had failed: that is no state to go back to"),
    ]
}

/// Told to: once, and what it failed of is shown before.
fn start(p: &Postgres, f: &Finding, ask: &Ask, now: &Snapshot, config: &Config) -> Remedy {
    let Some((unit, listed)) = clusters::own_unit(p, now).and_then(|u| Some((u, now.unit(u)?))) else {
        return advice(f);
    };
    if listed.job.is_some() || !["inactive", "failed"].contains(&listed.active.as_str()) {
        return Remedy::Advice(format!("{}; {unit} is {} now", f.remedy.summary, facts::state(listed)));
    }
    if !ask.told.start {
        let command = format!("mcp-ir recover db --start{}", only(p, config));
        return Remedy::Advice(format!("{} (`{command}`)", f.remedy.summary));
    }
    Remedy::Steps { steps: once_more(unit, now), notes: vec![format!("is that mended? {}", f.summary)] }
}

/// Told to: the run that was seen, where its main process is the very postmaster that keeps silent. Who only waits
/// for a device, or for a debugger, would wait at his end as well.
fn restart(p: &Postgres, f: &Finding, ask: &Ask, now: &Snapshot, config: &Config) -> Remedy {
    let because = |why: &str| Remedy::Advice(format!("{}: {why}", f.remedy.summary));
    let Some(unit) = clusters::own_unit(p, now) else { return advice(f) };
    let Some(look) = now.postgres.get(&p.name).filter(|look| look.here == Some(true)) else {
        return advice(f);
    };
    if clusters::stuck(p, look, now).is_some() {
        return advice(f);
    }
    if let Some(service) = facts::says_connected(&p.name, now, config) {
        return because(&format!("{service} says that its database is connected"));
    }
    // A pooler, a tunnel or another cluster may be what is silent at that address.
    if !clusters::runs_in(p, look, unit, now) {
        return because(&format!("that {unit} is what keeps silent there could not be seen"));
    }
    let command = format!("mcp-ir recover db --restart{}", only(p, config));
    if steps::may_save(unit, ask, now) {
        return steps::wait_for_its_stop(unit, &p.name, &command);
    }
    if !ask.told.restart {
        return because(&format!("`{command}` restarts it"));
    }
    if !ask.near.holds.contains(&p.name) {
        return because(&format!("that {unit} is who listens there could not be seen"));
    }
    let cost = "every session ends, and what it has not committed is lost";
    match steps::by_force(unit, Risk::Destructive, cost, ask, now) {
        Ok(restart) => Remedy::Steps {
            steps: vec![restart],
            notes: [format!("all sessions of {} end, of whatever database; {KILLED}", p.name)]
                .into_iter()
                .chain(steps::stop_goes_on(unit, now))
                .collect(),
        },
        Err(why) => because(&why),
    }
}

const KILLED: &str = "temporary tables go; where it has to be killed it recovers from its WAL before it accepts, and \
                      unlogged tables are empty";

/// Told to: a shutdown can't be called back, only finished. Who is still there is ended, and it is started again. It may
/// write its last checkpoint: by force it is ended only after a time that somebody names.
fn finish(p: &Postgres, f: &Finding, ask: &Ask, now: &Snapshot, config: &Config) -> Remedy {
    let because = |why: &str| Remedy::Advice(format!("{}: {why}", f.remedy.summary));
    let look = now.postgres.get(&p.name).filter(|look| look.here == Some(true));
    let (Some(unit), Some(look)) = (clusters::own_unit(p, now), look) else { return advice(f) };
    if !now.unit(unit).is_some_and(|u| ["active", "deactivating"].contains(&u.active.as_str())) {
        return advice(f);
    }
    if clusters::stuck(p, look, now).is_some() {
        return advice(f);
    }
    if !clusters::runs_in(p, look, unit, now) {
        return because(&format!("that {unit} is what is being shut down could not be seen"));
    }
    if !ask.told.restart {
        let command = format!("mcp-ir recover db --restart{}", only(p, config));
        return because(&format!("`{command}` ends who is still there, and starts it again"));
    }
    // Where nothing listens any more, it is its pid file alone that says so.
    if facts::is_shutting_down(look) && !ask.near.holds.contains(&p.name) {
        return because(&format!("that {unit} is who listens there could not be seen"));
    }
    let restart = Act::RestartFast { unit: unit.into(), grace_s: ask.told.grace_s };
    let needs = match steps::run_or_its_stop(unit, ask, now) {
        Ok(needs) => needs,
        Err(why) => return because(&why),
    };
    let restart = draft(restart, Risk::Destructive).needs(needs);
    let whose = format!("{}. Ask who stops it, and why; all sessions that are left end", f.summary);
    let mut notes = vec![whose];
    notes.extend(ask.told.grace_s.map(|_| KILLED.to_owned()));
    notes.extend(steps::stop_goes_on(unit, now));
    let step = restart.because("every session ends, and what it has not committed is lost");
    Remedy::Steps { steps: vec![step], notes }
}

/// Which one, where there are several.
fn only(p: &Postgres, config: &Config) -> String {
    if config.postgres.len() > 1 { format!(" --service {}", shell_word(&p.name)) } else { String::new() }
}

/// By a signal: it goes on. Who waits for a device, or is slow, is left alone.
fn stopped(p: &Postgres, now: &Snapshot, ask: &Ask) -> Option<Vec<Draft>> {
    let (pid, what) = clusters::stuck(p, now.postgres.get(&p.name)?, now)?;
    let unit = clusters::own_unit(p, now)?;
    // The one that was seen is that unit's.
    let (main, _) = facts::stuck_process(now, unit)?;
    if main != pid || !what.starts_with('T') {
        return None;
    }
    let go_on = draft(Act::Continue { unit: unit.into() }, Risk::Disruptive);
    let needs = steps::run(unit, ask, now).ok()?;
    Some(vec![go_on.needs(needs).because("to stop it again would make it hang again")])
}

/// Built anew from its table. The server names it without its schema: of two by that name none is meant.
fn damaged(p: &Postgres, looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let because = |why: &str| Remedy::Advice(format!("{}: {why}", f.remedy.summary));
    let Some(name) = damaged_index(f) else { return because("which one is not said") };
    let built = ask.near.rebuilt.get(&p.name).and_then(|all| all.get(name));
    if let Some(at) = built.filter(|at| only_before(**at, p, looks, f, config)) {
        let why = format!("{name} was built anew at {at:.0}, and nothing was said of it since");
        return Remedy::Refused { why, hints: Vec::new() };
    }
    let all = ask.near.indexes.get(&p.name).map(Vec::as_slice).unwrap_or_default();
    // What is not valid may be built in the same run.
    let besides =
        all.iter().filter(|i| i.name != name && !i.valid && !i.is_left_over()).map(|i| i.bytes).sum();
    match all.iter().filter(|i| i.name == name).collect::<Vec<_>>()[..] {
        [] => because(&format!("{name} could not be seen in the database {}", p.url.dbname)),
        [one] => match latency::anew(one, p, &looks.now, besides) {
            Ok((step, note)) => {
                let steps = std::iter::once(step).chain(latency::left_of(one, all, p)).collect();
                Remedy::Steps { steps, notes: note.into_iter().collect() }
            }
            Err(not) => not.remedy(not.words(), f),
        },
        _ => because(&format!("more than one is called {name}")),
    }
}

/// What is known of it is a line of the log, and older: no service says so now, nor is our login refused by it.
fn only_before(at: Timestamp, p: &Postgres, looks: &Looks, f: &Finding, config: &Config) -> bool {
    let refused = looks.now.postgres.get(&p.name).and_then(|l| l.login.failure());
    f.since.is_some_and(|said| said < at)
        && !refused.is_some_and(|f| witness::index(&f.detail))
        && witness::of(&p.name, &looks.now, config, witness::index).is_empty()
}

pub fn recovered(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    if aim.cause == Some(INDEX_CORRUPT.name)
        && let Some(w) = witness::of(aim.subject, &looks.now, config, witness::index).first()
    {
        return Recovered::NotYet(format!("{} says {}", w.service, w.text));
    }
    match by_symptom(&super::symptoms(looks, config), aim.subject) {
        Recovered::Yes(says) if aim.cause == Some(INDEX_CORRUPT.name) => {
            let forgotten = facts::age(config.thresholds.recent_failure.as_secs_f64());
            Recovered::Yes(format!("{says}; what its log said before is told of for {forgotten}"))
        }
        judged => judged,
    }
}
