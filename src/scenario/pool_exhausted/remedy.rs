//! What gives connections back: who holds up others is ended, a pool is set to a size that fits.

use super::super::facts;
use super::super::registry::{advice, by_symptom};
use super::holders::{self, IDLE, Kind, LONG};
use super::{leak, size, useless};
use crate::config::{Config, Postgres};
use crate::diagnosis::{Finding, Severity};
use crate::plan::{Act, Aim, Ask, Draft, Ending, Recovered, Remedy, Risk, Whom, draft};
use crate::scenario::steps;
use crate::snapshot::postgres::{Server, Session};
use crate::snapshot::{Looks, Snapshot};

/// What of an idle session is not seen from outside.
pub(super) const COST: &str = "their clients log in anew; who listens, or has temporary tables, loses them";

pub fn plan(looks: &Looks, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let now = &looks.now;
    let server = config.postgres(&f.subject).and_then(|p| Some((p, facts::server(now, &p.name)?)));
    match (f.cause.as_str(), server) {
        ("pool-exhausted/client-pool-saturated", _) => widen(now, f, ask, config),
        ("pool-exhausted/pool-leak", _) => anew(now, f, ask, config),
        ("pool-exhausted/blocking-chain", Some((p, server))) => {
            let roots: Vec<&Session> = facts::root_blockers(server).iter().map(|r| r.session).collect();
            end(&roots, p, f, blocker)
        }
        ("pool-exhausted/idle-in-transaction", Some((p, server))) => {
            end(&holders::harmful(&IDLE, 0.0, p, server, now, config), p, f, idle)
        }
        ("pool-exhausted/long-queries", Some((p, server))) => {
            let limit = config.thresholds.terminate_after.as_secs_f64();
            end(&holders::harmful(&LONG, limit, p, server, now, config), p, f, long_query)
        }
        ("pool-exhausted/server-slots-full", Some((p, server))) => {
            let Some(all) = ask.near.sessions.get(&p.name) else {
                return Remedy::Advice(format!("{}: who holds them could not be seen", f.remedy.summary));
            };
            match useless::sessions(p, all, server, config) {
                Some(found) => match end(&found, p, f, follower) {
                    Remedy::Steps { steps, mut notes } => {
                        notes.push(COST.into());
                        Remedy::Steps { steps, notes }
                    }
                    other => other,
                },
                None => Remedy::Advice(format!(
                    "{}: too few hold a slot for nothing; more of `max_connections` takes a restart (recover pool --max-connections N)",
                    f.remedy.summary
                )),
            }
        }
        _ => advice(f),
    }
}

/// A larger pool for the subject of a finding: as large as was asked for, else as fits.
pub fn widen(now: &Snapshot, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let Some(s) = config.service(&f.subject) else { return advice(f) };
    match ask.max_size.map_or_else(|| size::larger(s, now, config), Ok) {
        Ok(to) => size::resize(s, to, now, ask, config),
        Err(why) => Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
    }
}

/// What it does not give back ends with its process. What that was doing is kept before.
fn anew(now: &Snapshot, f: &Finding, ask: &Ask, config: &Config) -> Remedy {
    let Some(s) = config.service(&f.subject) else { return advice(f) };
    let Some(unit) = s.unit.as_deref() else { return advice(f) };
    // A twin on another host bears its name: whose sessions are idle is not known by that.
    let own = |p: &'_ Postgres| {
        let all = facts::server(now, &p.name).map(|s| s.consumers.as_slice()).unwrap_or_default();
        all.iter().filter(|c| c.application == s.name).cloned().collect::<Vec<_>>()
    };
    let own: Vec<_> = leak::servers(s, config).flat_map(own).collect();
    let busy: u32 = own.iter().filter(|c| c.state != "idle").map(|c| c.count).sum();
    let clients: std::collections::BTreeSet<&str> = own.iter().map(|c| c.client.as_str()).collect();
    let idle: u32 = own.iter().filter(|c| c.state == "idle").map(|c| c.count).sum();
    if clients.len() > 1 || f64::from(busy) > f64::from(idle) * (1.0 - config.thresholds.pool) {
        let why = "not all sessions of its name are idle, or not all come from one host";
        return Remedy::Advice(format!("{}: {why}", f.remedy.summary));
    }
    match steps::restart(unit, ask, now) {
        Ok(restart) => {
            let again = "it will leak again: `mcp-ir incident show` has where its evidence is kept";
            Remedy::Steps { steps: vec![restart], notes: vec![again.into()] }
        }
        Err(why) => Remedy::Advice(format!("{}: {why}", f.remedy.summary)),
    }
}

/// `--max-size` where nothing is wrong.
pub fn request(looks: &Looks, service: &str, ask: &Ask, config: &Config) -> Remedy {
    match (config.service(service), ask.max_size) {
        (Some(s), Some(to)) => size::resize(s, to, &looks.now, ask, config),
        _ => Remedy::Nothing("nothing is asked for".into()),
    }
}

/// `who --kill`: these sessions, whoever they are, at what they are seen doing; all of them or none.
pub fn kill(server: &str, ask: &Ask, config: &Config) -> Remedy {
    let refused = |why: String| Remedy::Refused { why, hints: vec!["mcp-ir who".into()] };
    let Some((p, all)) = config.postgres(server).zip(ask.near.sessions.get(server)) else {
        return refused(format!("the sessions of {server} could not be seen"));
    };
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    for pid in &ask.kill {
        let Some(s) = all.iter().find(|s| s.pid == *pid) else {
            return refused(format!("{server} has no client session {pid}"));
        };
        if !p.databases.contains(&s.database) {
            return refused(format!(
                "session {pid} is of the database {}, which is not under care",
                s.database
            ));
        }
        // By the time it is typed a pid may be another's.
        if !ask.like.is(s, all) {
            return refused(format!(
                "session {pid} is none of those that were named: it is {} as {} in {}, {}",
                holders::session_name(s),
                s.user,
                s.database,
                s.state
            ));
        }
        let whom = match s.state.as_str() {
            "active" => Whom { query_start: s.query_start.clone(), ..whom(s, p) },
            _ => idle(s, p),
        };
        if let Err(why) = whom.statements() {
            return refused(format!("session {pid}: {why}"));
        }
        let backup = holders::meant_to_last(&s.application);
        let risk = if backup { Risk::Destructive } else { Risk::Disruptive };
        steps.push(draft(Act::EndSession(whom), risk).because("its client loses what it has begun"));
        notes.push(who(s));
    }
    Remedy::Steps { steps, notes }
}

/// Whose it is, and what it does.
pub(super) fn who(s: &Session) -> String {
    let (pid, name, age) = (s.pid, holders::session_name(s), facts::age(s.state_s));
    format!("session {pid}: {name} as {} from {}, {} for {age}: {}", s.user, s.client, s.state, s.query)
}

/// A session as it was seen: without what it does, a pool's session is the same for days.
fn whom(s: &Session, p: &Postgres) -> Whom {
    Whom {
        server: p.name.clone(),
        url: p.place(),
        databases: p.databases.clone(),
        pid: s.pid,
        backend_start: s.backend_start.clone(),
        state: s.state.clone(),
        xact_start: s.xact_start.clone(),
        query_start: None,
        state_change: None,
        blocks: false,
        follows: false,
        how: Ending::Terminate,
    }
}

/// While others wait for that very transaction. Where it runs a statement, that is cancelled first.
fn blocker(s: &Session, p: &Postgres) -> Whom {
    let of = whom(s, p);
    let runs = s.state == "active";
    let how = if runs { Ending::CancelThenTerminate } else { Ending::Terminate };
    Whom { blocks: true, how, query_start: s.query_start.clone().filter(|_| runs), ..of }
}

/// Idle since the very moment that was seen: who did something meanwhile is at work.
pub(super) fn idle(s: &Session, p: &Postgres) -> Whom {
    Whom { state_change: s.state_change.clone(), ..whom(s, p) }
}

fn follower(s: &Session, p: &Postgres) -> Whom {
    Whom { follows: s.state == "idle", ..idle(s, p) }
}

pub(super) fn long_query(s: &Session, p: &Postgres) -> Whom {
    Whom { query_start: s.query_start.clone(), how: Ending::CancelThenTerminate, ..whom(s, p) }
}

/// `None` where it was not shown exactly enough.
pub(super) fn step(whom: Whom) -> Option<Draft> {
    if whom.statements().is_err() || (whom.xact_start.is_none() && whom.state != "idle") {
        return None;
    }
    let lost = match whom.state.as_str() {
        "idle" => "its client logs in anew",
        _ => "its transaction is rolled back; its client logs in anew",
    };
    Some(draft(Act::EndSession(whom), Risk::Disruptive).because(lost))
}

/// Sessions of the configured databases only: others' are shown, never ended. Nor is a backup, nor who is
/// not named exactly.
fn end(sessions: &[&Session], p: &Postgres, f: &Finding, whom: fn(&Session, &Postgres) -> Whom) -> Remedy {
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    for s in sessions {
        let spared = if !p.databases.contains(&s.database) {
            format!("of the database {}, which is not under care", s.database)
        } else if holders::meant_to_last(&s.application) {
            format!("of {}, whose work would be lost", s.application)
        } else {
            let whom = whom(s, p);
            if let Some(step) = step(whom) {
                steps.push(step);
                continue;
            }
            "not shown to us as exactly as it takes to end no other".to_owned()
        };
        notes.push(format!("session {} ({}) is {spared}: it is left alone", s.pid, holders::session_name(s)));
    }
    if steps.is_empty() {
        return match notes.first() {
            Some(note) => Remedy::Advice(format!("{}: {note}", f.remedy.summary)),
            None => advice(f),
        };
    }
    Remedy::Steps { steps, notes }
}

/// Of a service: it is well, and its pool has what it shall have and room in it. Of a server: what was found
/// of its sessions is not so any more.
pub fn recovered(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    let now = &looks.now;
    let Some(s) = config.service(aim.subject) else { return server(looks, aim, config) };
    let symptoms = (super::super::server_crash::SCENARIO.symptoms)(looks, config);
    let says = match by_symptom(&symptoms, aim.subject) {
        Recovered::Yes(says) => says,
        not_yet => return not_yet,
    };
    let waiting = facts::pool(now, &s.name).and_then(|p| p.waiting);
    if let Some(n) = waiting.filter(|n| *n > 0) {
        return Recovered::NotYet(format!("{n} wait for its pool"));
    }
    match (facts::fill(now, &s.name), aim.size) {
        (None, Some(_)) => Recovered::NotYet("the largest size of its pool is not known".into()),
        // Who only suffered from it: that he is well is all he says.
        (None, None) if aim.cause.is_none() && waiting.is_none() => Recovered::Yes(says),
        // A shape that leaves the largest size out: only who waits is known.
        (None, None) if waiting == Some(0) => Recovered::Yes(format!("{says}; nobody waits for its pool")),
        (None, None) => Recovered::NotYet("what is in use of its pool is not known".into()),
        (Some(fill), size) => {
            let used = format!("{} of {} connections in use (by {})", fill.in_use, fill.max, fill.max_source);
            match size {
                // What we have set ourselves proves nothing of what the server made of it (errata 33).
                Some(size) if fill.max_source != facts::PAYLOAD => Recovered::NotYet(format!(
                    "whether its pool took the size of {size} is not said by its payload; {used}"
                )),
                Some(size) if fill.max != size => Recovered::NotYet(format!("{used}, and not of {size}")),
                _ if fill.over(config.thresholds.pool_recovered) => Recovered::NotYet(used),
                _ => Recovered::Yes(format!("{says}; {used}")),
            }
        }
    }
}

fn server(looks: &Looks, aim: &Aim, config: &Config) -> Recovered {
    let now = &looks.now;
    let Some((p, seen)) = config.postgres(aim.subject).zip(facts::server(now, aim.subject)) else {
        return Recovered::NotYet("its sessions could not be seen".into());
    };
    let standing = super::detect(looks, config);
    let same = |f: &&Finding| {
        f.subject == aim.subject && f.severity < Severity::P4 && aim.cause.is_none_or(|c| f.cause == c)
    };
    if let Some(f) = standing.iter().find(same) {
        return Recovered::NotYet(f.summary.clone());
    }
    let kind = [&IDLE, &LONG].into_iter().find(|k| aim.cause == Some(k.cause.name));
    match kind.and_then(|k| harm_unseen(k, p, seen, looks, config)) {
        Some(why) => Recovered::NotYet(why),
        None => Recovered::Yes("no session holds up others".into()),
    }
}

/// Such sessions are there still, and whether a service misses what they hold could not be seen.
fn harm_unseen(kind: &Kind, p: &Postgres, seen: &Server, looks: &Looks, config: &Config) -> Option<String> {
    if holders::none(kind, seen, config) {
        return None;
    }
    let unseen =
        |s: &&crate::config::Service| s.url.is_some() && facts::health(&looks.now, &s.name).is_none();
    let s = facts::dependents(&p.name, config).find(unseen)?;
    Some(format!("whether {} misses what they hold could not be seen", s.name))
}
